//! Passes complete events to the traces that cover them, the counts and the queue.

use super::costs::Costs;
use crate::events::event::{Envelope, Event, Kind};
use crate::events::generation::Generation;
use crate::events::outcome::{Intent, PullRequest};
use crate::events::span::{Span, ToolResult};
use crate::events::trace::{self, Trace};
use crate::identity::{EventId, FixedSet};
use crate::redact;
use crate::session::threads::Thread;
use crate::session::timelines::Timelines;
use crate::session::turns::{self, Turn, Turns};
use crate::session::types::{Before, Counts, Policy, ToolSpans, TraceGrouping};
use crate::transcript::entry::Entry;
use crate::transcript::text::TextRules;
use crate::transcript::verdict::Verdict;
use std::collections::VecDeque;
use std::rc::Rc;

/// Turns what is complete into events, and tracks what each trace covers.
#[derive(Debug)]
pub(super) struct Emitter {
    /// Rules for texts that are sent.
    pub(super) rules: Rc<TextRules>,
    /// Events that are complete, in order.
    pub(super) events: VecDeque<Event>,
    /// Tool calls that are counted but not sent, in order.
    pub(super) left_out: Vec<EventId>,
    /// Counts so far.
    pub(super) counts: Counts,
    policy: Policy,
    /// The client's own totals.
    pub(super) costs: Costs,
    envelope: Envelope,
    before: Before,
    traces: Vec<Trace>,
    seen: Seen,
}

/// Changes so far, by key: a file counts only at its first change, and a commit only once.
#[derive(Debug, Default)]
struct Seen {
    files: FixedSet<u128>,
    commits: FixedSet<u128>,
}

impl Seen {
    fn file(&mut self, file: u128) -> u64 {
        u64::from(self.files.insert(file))
    }

    fn commits(&mut self, commits: &[u128]) -> u64 {
        commits.iter().filter(|commit| self.commits.insert(**commit)).count() as u64
    }
}

impl Emitter {
    /// Starts with the session's trace, and no event.
    pub(super) fn new(rules: TextRules, policy: Policy, envelope: Envelope, before: Before) -> Self {
        // Within another program's trace, the whole session is one span.
        let grouping = if envelope.parent.is_some() { TraceGrouping::Session } else { policy.grouping };
        Self {
            rules: Rc::new(rules),
            events: VecDeque::new(),
            left_out: Vec::new(),
            counts: Counts::default(),
            policy: Policy { grouping, ..policy },
            costs: Costs::default(),
            envelope,
            before,
            traces: vec![Trace::of_session()],
            seen: Seen::default(),
        }
    }

    /// `$ai_session_id`.
    pub(super) fn session_id(&self) -> &str {
        &self.envelope.session_id
    }

    /// Is this time before the one from which events are sent?
    pub(super) fn is_before(&self, at: i64) -> bool {
        self.policy.since.is_some_and(|since| at < since)
    }

    /// What was delivered before.
    pub(super) fn before(&self) -> &Before {
        &self.before
    }

    /// What one trace covers.
    pub(super) fn grouping(&self) -> TraceGrouping {
        self.policy.grouping
    }

    /// Links a pull request to a trace of the session.
    pub(super) fn link(&mut self, trace: u32, entry: &Entry<'_>) {
        if let Some(pull_request) = PullRequest::of(entry) {
            self.trace(trace).pull_request = Some(pull_request);
        }
    }

    /// A trace.
    pub(super) fn trace(&mut self, trace: u32) -> &mut Trace {
        &mut self.traces[trace as usize]
    }

    /// The trace of a new prompt: its own with this id, or the session's.
    pub(super) fn trace_of_prompt(&mut self, id: EventId) -> u32 {
        if self.policy.grouping == TraceGrouping::Session {
            return 0;
        }
        self.traces.push(Trace::of_prompt(id));
        self.traces.len() as u32 - 1
    }

    /// Does a tool call become an event, given whether it `failed`?
    pub(super) fn sends(&self, failed: bool) -> bool {
        match self.policy.tool_spans {
            ToolSpans::All => true,
            ToolSpans::Errors => failed,
            ToolSpans::None => false,
        }
    }

    /// Was this event covered by an earlier delivery, or is it too old to be sent?
    fn covers(&self, event: EventId, at: i64) -> bool {
        self.before.covered.contains(&event) || self.is_before(at)
    }

    /// Sends a generation. If its thread is a sub-agent's, `call` started it. Returns false if an earlier delivery
    /// covered it.
    pub(super) fn generation(
        &mut self,
        generation: &Generation,
        call: Option<EventId>,
        turn: &mut Turn,
        thread: &mut Thread,
    ) -> bool {
        let is_first_of_agent = thread.is_agent && !std::mem::replace(&mut thread.counted, true);
        let tokens = generation.tokens();
        let covered = self.covers(generation.id, generation.ended);
        self.costs.add(tokens, covered);
        if covered {
            self.exclude(turn, thread, generation.ended);
            self.beside(generation, turn, thread);
            return false;
        }
        turn.sent = true;
        let prompt = turn.prompt.clone();
        let trace = &mut self.traces[turn.trace as usize];
        let trace_id = trace.id(&self.envelope);
        let parent = call.map_or_else(|| trace.top(&self.envelope), |call| call.to_string());
        let agent = thread.agent_type.clone();
        let (mut event, shortened) = self.envelope.event(
            Kind::Generation,
            generation.id,
            generation.ended,
            &trace_id,
            &generation.context,
            |p| generation.write(p, &self.rules, &parent, prompt.as_deref(), agent.as_deref()),
        );
        trace.cover(generation.id, generation.ended, &generation.context);
        trace.totals.generations += 1;
        trace.totals.interrupted += u64::from(generation.interrupted);
        trace.totals.subagents += u64::from(is_first_of_agent);
        trace.totals.partial_generations += u64::from(generation.is_partial());
        trace.totals.retries += generation.retries.count;
        if generation.failure.is_some() {
            trace.fail(generation.ended, generation.error(&self.rules));
        }
        trace.totals.add_tokens(tokens);
        event.tokens = tokens.map(Option::unwrap_or_default);
        self.emit(event, shortened, generation.ended);
        self.beside(generation, turn, thread);
        true
    }

    /// Sends the calls that a generation's counts leave out.
    fn beside(&mut self, generation: &Generation, turn: &mut Turn, thread: &Thread) {
        for (position, iteration) in &generation.beside {
            let id = generation.id.iteration(*position);
            let tokens = iteration.usage().tokens();
            let covered = self.covers(id, generation.ended);
            self.costs.add(tokens, covered);
            if covered {
                self.counts.excluded_events += 1;
                continue;
            }
            turn.sent = true;
            let trace = &mut self.traces[turn.trace as usize];
            let trace_id = trace.id(&self.envelope);
            let agent = thread.agent_type.clone();
            let (mut event, shortened) =
                self.envelope.event(Kind::Generation, id, generation.ended, &trace_id, &generation.context, |p| {
                    generation.write_beside(p, id, iteration, agent.as_deref());
                });
            trace.cover(id, generation.ended, &generation.context);
            trace.totals.generations += 1;
            trace.totals.add_tokens(tokens);
            event.tokens = tokens.map(Option::unwrap_or_default);
            self.emit(event, shortened, generation.ended);
        }
    }

    /// Sends a span. Returns false if an earlier delivery covered it.
    pub(super) fn span(&mut self, span: &Span, result: Option<&ToolResult>, turn: &mut Turn, thread: &Thread) -> bool {
        let timestamp = span.timestamp(result);
        let verdict = result.map(|result| result.verdict);
        if self.covers(span.id, span.called) {
            // A change that it made first was also reported with it.
            if let Some(result) = result {
                self.seen.commits(&result.commits);
                result.change.map(|change| self.seen.file(change.file));
            }
            return self.exclude(turn, thread, timestamp);
        }
        turn.sent = true;
        let failed = result.is_some_and(ToolResult::is_error);
        let sends = self.sends(failed);
        let trace = &mut self.traces[turn.trace as usize];
        let event = sends.then(|| {
            let (trace_id, agent) = (trace.id(&self.envelope), thread.agent_type.as_deref());
            self.envelope.event(Kind::Span, span.id, timestamp, &trace_id, &span.context, |p| {
                span.write(p, &self.rules, result, agent);
            })
        });
        trace.cover(span.id, timestamp, &span.context);
        trace.totals.tool_calls += 1;
        let totals = &mut trace.totals;
        totals.tool_errors += u64::from(failed);
        totals.rejected += u64::from(verdict == Some(Verdict::Rejected));
        totals.interrupted += u64::from(verdict == Some(Verdict::Interrupted));
        if let Some(result) = result {
            totals.outcome.edits_rejected +=
                u64::from(result.verdict == Verdict::Rejected && matches!(span.intent, Intent::Edit(_)));
            totals.outcome.commits += self.seen.commits(&result.commits);
            if let Some(change) = &result.change {
                totals.outcome.edits_accepted += 1;
                totals.outcome.edits_user_modified += u64::from(change.user_modified);
                totals.outcome.lines_added = totals.outcome.lines_added.saturating_add(change.added);
                totals.outcome.lines_removed = totals.outcome.lines_removed.saturating_add(change.removed);
                totals.outcome.files_changed += self.seen.file(change.file);
            }
        }
        match event {
            Some((event, shortened)) => {
                let before = self.counts.spans;
                self.emit(event, shortened, timestamp);
                self.counts.failed_spans += (self.counts.spans - before) * u64::from(failed);
            }
            None => self.leave_out(span.id),
        }
        true
    }

    /// Counts a tool call that is not sent.
    fn leave_out(&mut self, span: EventId) {
        // It is not sent, so the secrets replaced in it don't count.
        self.rules.redactor.take_counts();
        if self.before.uncovered.contains(&span) {
            self.counts.excluded_events += 1;
            return;
        }
        self.counts.spans_left_out += 1;
        self.left_out.push(span);
    }

    /// Leaves an event out: all up to it was covered by an earlier delivery.
    fn exclude(&mut self, turn: &mut Turn, thread: &Thread, at: i64) -> bool {
        self.counts.excluded_events += 1;
        turn.leave_out_until(at, !thread.is_agent);
        // What was replaced in it was counted then.
        self.rules.redactor.take_counts();
        false
    }

    /// Outputs an event, unless it was already delivered without its trace.
    fn emit(&mut self, event: Event, shortened: bool, timestamp: i64) {
        let counts = &mut self.counts;
        if self.before.uncovered.contains(&event.id) {
            counts.excluded_events += 1;
            return;
        }
        let (count, tokens) = match event.kind {
            Kind::Generation => (&mut counts.generations, event.tokens),
            Kind::Span | Kind::Session => (&mut counts.spans, [0; 4]),
            Kind::Trace => (&mut counts.traces, [0; 4]),
        };
        *count += 1;
        for (sum, tokens) in [
            &mut counts.input_tokens,
            &mut counts.output_tokens,
            &mut counts.cache_read_tokens,
            &mut counts.cache_creation_tokens,
        ]
        .into_iter()
        .zip(tokens)
        {
            *sum = sum.saturating_add(tokens);
        }
        counts.shortened_events += u64::from(shortened);
        counts.earliest = Some(counts.earliest.map_or(timestamp, |e| e.min(timestamp)));
        self.events.push_back(event);
    }

    /// The end: the traces are complete now.
    pub(super) fn finish(&mut self, turns: &Turns, timelines: &Timelines) {
        let by_line = self.before.knows_lines() || self.policy.since.is_some();
        let work = turns::work(turns, timelines, by_line, self.policy.grouping, self.traces.len());
        trace::hand_on_noticed(&mut self.traces);
        if let Some(last) = self.traces.iter_mut().rfind(|trace| trace.is_sent()) {
            (last.totals.unaccounted, last.totals.many_unaccounted) = self.costs.unaccounted();
        }
        for trace in self.traces.iter().filter(|trace| trace.is_sent()) {
            redact::add(&mut self.counts.redactions, &trace.totals.noticed.redactions);
        }
        for (trace, work) in std::mem::take(&mut self.traces).iter().zip(work) {
            if let Some((event, shortened)) = trace.event(&self.envelope, work) {
                let earliest = self.counts.earliest;
                self.emit(event, shortened, earliest.unwrap_or(0));
            }
        }
    }
}
