//! Traces: the source of `$ai_trace` events.

use crate::events::event::{Context, Envelope, Event, Kind};
use crate::events::outcome::{PullRequest, TraceOutcome};
use crate::identity::EventId;
use crate::redact;
use crate::transcript::prompt;
use std::rc::Rc;

/// A trace and its totals.
#[derive(Debug, Default)]
pub struct Trace {
    /// `None` for the session's trace, whose id is the session's id.
    id: Option<EventId>,
    name: Option<String>,
    /// Is the name more than a command such as `/clear`?
    named_well: bool,
    first: Option<EventId>,
    timestamp: i64,
    context: Rc<Context>,
    /// When a model call last failed, and its error message.
    failure: Option<(i64, Option<String>)>,
    /// The last pull request that was linked.
    pub pull_request: Option<PullRequest>,
    /// Totals of its events.
    pub totals: Totals,
}

/// Totals over the events of a trace that are sent now.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    /// Tokens; `None` until a generation reports them.
    pub input_tokens: Option<u64>,
    /// See `input_tokens`.
    pub output_tokens: Option<u64>,
    /// See `input_tokens`.
    pub cache_read_tokens: Option<u64>,
    /// See `input_tokens`.
    pub cache_creation_tokens: Option<u64>,
    /// Responses and failed calls.
    pub generations: u64,
    /// Spans.
    pub tool_calls: u64,
    /// Spans whose result is an error.
    pub tool_errors: u64,
    /// Spans that the user refused.
    pub rejected: u64,
    /// Responses and spans that the user stopped.
    pub interrupted: u64,
    /// Their outcome.
    pub outcome: TraceOutcome,
    /// Sub-agents whose first generation is among the events; those that the client started for itself don't count.
    pub subagents: u64,
    /// Responses without a stop reason, whose output tokens are the count from the beginning of the stream.
    pub partial_generations: u64,
    /// Attempts that failed before a call was answered.
    pub retries: u64,
    /// Tokens that the client counted but no event has: input, output, cache read, cache write.
    pub unaccounted: [u64; 4],
    /// Are they more than a hundredth of all tokens?
    pub many_unaccounted: bool,
    /// What was noticed in its lines.
    pub noticed: Noticed,
}

/// What was noticed in lines that don't become events.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// `compact_boundary` lines.
    pub compactions: u64,
    /// Lines of an unknown type.
    pub unknown_lines: u64,
    /// Lines that are not complete.
    pub bad_lines: u64,
    /// Secrets that were replaced.
    pub redactions: redact::Counts,
}

impl Totals {
    /// Adds a generation's tokens: input, output, cache read, cache write.
    pub fn add_tokens(&mut self, tokens: [Option<u64>; 4]) {
        let sums = [
            &mut self.input_tokens,
            &mut self.output_tokens,
            &mut self.cache_read_tokens,
            &mut self.cache_creation_tokens,
        ];
        for (sum, count) in sums.into_iter().zip(tokens) {
            if let Some(count) = count {
                *sum = Some(sum.unwrap_or(0).saturating_add(count));
            }
        }
    }
}

impl std::ops::AddAssign for Noticed {
    fn add_assign(&mut self, other: Self) {
        self.compactions += other.compactions;
        self.unknown_lines += other.unknown_lines;
        self.bad_lines += other.bad_lines;
        redact::add(&mut self.redactions, &other.redactions);
    }
}

impl Trace {
    /// The session's trace.
    pub fn of_session() -> Self {
        Self::default()
    }

    /// The trace of a prompt: `id` is derived from its `promptId`.
    pub fn of_prompt(id: EventId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// `$ai_trace_id`.
    pub fn id(&self, envelope: &Envelope) -> String {
        match (&envelope.parent, self.id) {
            (Some(parent), _) => parent.trace_id.clone(),
            (None, Some(id)) => id.to_string(),
            (None, None) => envelope.session_id.clone(),
        }
    }

    /// `$ai_parent_id` of its top-level events.
    pub fn top(&self, envelope: &Envelope) -> String {
        if envelope.parent.is_some() { envelope.session_span().to_string() } else { self.id(envelope) }
    }

    /// Would a prompt give it a better name?
    pub fn wants_name(&self) -> bool {
        !self.named_well
    }

    /// Takes its name from a prompt, with at most `limit` characters.
    pub fn name_after(&mut self, prompt: &str, limit: usize) {
        if let Some(name) = prompt::name(prompt, limit) {
            self.named_well = !prompt::is_housekeeping(&name);
            if self.named_well || self.name.is_none() {
                self.name = Some(name);
            }
        }
    }

    /// Takes the session's own title, which is better than a name from a prompt.
    pub fn entitle(&mut self, title: &str, limit: usize) {
        if let Some(name) = prompt::name(title, limit) {
            self.name = Some(name);
        }
    }

    /// Covers an event that is sent and belongs to this trace.
    pub fn cover(&mut self, id: EventId, timestamp: i64, context: &Rc<Context>) {
        let first = self.first.replace(self.first.unwrap_or(id)).is_none();
        if first || timestamp >= self.timestamp {
            self.timestamp = timestamp;
            self.context = Rc::clone(context);
        }
    }

    /// Notes a failed model call. The trace reports the last error; sub-agents' calls are not read in the order of
    /// time.
    pub fn fail(&mut self, at: i64, error: Option<String>) {
        if self.failure.as_ref().is_none_or(|(last, _)| at >= *last) {
            self.failure = Some((at, error));
        }
    }

    /// Does it cover any event?
    pub fn is_sent(&self) -> bool {
        self.first.is_some()
    }

    /// The `$ai_trace` event, if it covers any.
    pub fn event(&self, envelope: &Envelope, work: Work) -> Option<(Event, bool)> {
        let trace_id = self.id(envelope);
        // Another program's trace may hold several sessions.
        let id = EventId::trace(if envelope.parent.is_some() { &envelope.session_id } else { &trace_id }, self.first?);
        let totals = &self.totals;
        let kind = if envelope.parent.is_some() { Kind::Session } else { Kind::Trace };
        Some(envelope.event(kind, id, self.timestamp, &trace_id, &self.context, |p| {
            if let Some(parent) = &envelope.parent {
                p.field("$ai_span_id", &envelope.session_span().to_string());
                p.field("$ai_span_type", "agent");
                p.field("$ai_parent_id", parent.span_id.as_ref().unwrap_or(&parent.trace_id));
            } else {
                // Neither empty nor the trace's id: otherwise PostHog adds its latency to that of its generations.
                p.field("$ai_parent_id", "root");
            }
            p.content(|p| {
                // Another program's trace is named by its owner.
                p.some("$ai_trace_name", self.name.as_ref().filter(|_| envelope.parent.is_none()));
                p.some("$ai_span_name", self.name.as_ref());
            });
            p.some("$ai_latency", work.seconds);
            p.some("$ai_total_input_tokens", totals.input_tokens);
            p.some("$ai_total_output_tokens", totals.output_tokens);
            p.some("$ai_total_cache_read_input_tokens", totals.cache_read_tokens);
            p.some("$ai_total_cache_creation_input_tokens", totals.cache_creation_tokens);
            p.field("$ai_is_error", &self.failure.is_some());
            p.content(|p| p.some("$ai_error", self.failure.as_ref().and_then(|(_, error)| error.as_ref())));
            p.field("claude_code_turns", &work.turns);
            p.field("claude_code_generations", &totals.generations);
            p.field("claude_code_tool_calls", &totals.tool_calls);
            p.field("claude_code_tool_errors", &totals.tool_errors);
            p.field("claude_code_rejected", &totals.rejected);
            p.field("claude_code_interrupted", &totals.interrupted);
            p.field("claude_code_wait_seconds", &(work.waited as f64 / 1000.0));
            p.field("claude_code_subagents", &totals.subagents);
            p.field("claude_code_lines_added", &totals.outcome.lines_added);
            p.field("claude_code_lines_removed", &totals.outcome.lines_removed);
            p.field("claude_code_files_changed", &totals.outcome.files_changed);
            p.field("claude_code_edits_accepted", &totals.outcome.edits_accepted);
            p.field("claude_code_edits_rejected", &totals.outcome.edits_rejected);
            p.field("claude_code_edits_user_modified", &totals.outcome.edits_user_modified);
            p.field("claude_code_commits", &totals.outcome.commits);
            if let Some(pull_request) = &self.pull_request {
                p.field("claude_code_pr_url", &pull_request.url);
                p.some("claude_code_pr_number", pull_request.number);
            }
            p.field("claude_code_compactions", &totals.noticed.compactions);
            p.field("claude_code_unknown_lines", &totals.noticed.unknown_lines);
            p.field("claude_code_bad_lines", &totals.noticed.bad_lines);
            p.field("claude_code_redactions", &totals.noticed.redactions.values().sum::<u64>());
            p.count("claude_code_partial_generations", totals.partial_generations);
            p.count("claude_code_retries", totals.retries);
            let [input, output, cache_read, cache_write] = totals.unaccounted;
            p.count("claude_code_unaccounted_input_tokens", input);
            p.count("claude_code_unaccounted_output_tokens", output);
            p.count("claude_code_unaccounted_cache_read_tokens", cache_read);
            p.count("claude_code_unaccounted_cache_creation_tokens", cache_write);
            if totals.many_unaccounted {
                p.field("claude_code_unaccounted_tokens", &totals.unaccounted.into_iter().fold(0, u64::saturating_add));
            }
        }))
    }
}

/// The work in the turns of a trace.
#[derive(Debug, Default, Clone, Copy)]
pub struct Work {
    /// Prompts.
    pub turns: u64,
    /// Seconds from each prompt to the last line that follows from it, without waiting: a night between two prompts
    /// does not count, nor does one at a permission prompt.
    pub seconds: Option<f64>,
    /// Milliseconds of waiting.
    pub waited: i64,
}

/// Moves what was noticed under a prompt without events (a `/compact`, say) to the next trace that is sent, or at the
/// end to the last one, so that exactly one of them reports it.
pub fn hand_on_noticed(traces: &mut [Trace]) {
    let mut waiting = Noticed::default();
    let mut last = None;
    for (i, trace) in traces.iter_mut().enumerate() {
        if trace.is_sent() {
            trace.totals.noticed += std::mem::take(&mut waiting);
            last = Some(i);
        } else {
            waiting += std::mem::take(&mut trace.totals.noticed);
        }
    }
    if let Some(last) = last {
        traces[last].totals.noticed += waiting;
    }
}
