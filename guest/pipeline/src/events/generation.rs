//! Generations: one for each response of a model, and one for each failed call.

use crate::events::chat::{ChatInput, Output};
use crate::events::event::{Context, Object};
use crate::events::provider;
use crate::identity::EventId;
use crate::place::Place;
use crate::time;
use crate::transcript::context::{LONGEST_NAME, name};
use crate::transcript::entry::{Content, Entry, Iteration, Message, Usage};
use crate::transcript::lenient;
use crate::transcript::prompt;
use crate::transcript::text::{self, ERROR_LIMIT, Text, TextRules};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Maximum characters of `$ai_tools_called`. A real response has a few calls.
const LONGEST_TOOLS: usize = 100_000;

/// A response that is still being read.
#[derive(Debug)]
pub struct Generation {
    /// Its event's id.
    pub id: EventId,
    /// Position in the order of beginnings, for those still open at the end.
    pub sequence: u64,
    /// Index of its turn.
    pub turn: u32,
    /// Index of its thread.
    pub thread: u32,
    /// Where it was written.
    pub context: Rc<Context>,
    /// When the call began: its `api-request` line, otherwise the line it answers.
    pub started: Option<i64>,
    /// When its last line was written.
    pub ended: i64,
    /// What it responds to.
    pub input: ChatInput,
    /// What it says.
    pub output: Output,
    /// Names of the tools it calls.
    pub tools: Vec<String>,
    /// The largest of each count.
    pub usage: Usage,
    /// Calls that the counts don't include, by their index in `usage.iterations`.
    pub beside: BTreeMap<usize, Iteration>,
    /// Does it have content?
    pub said: bool,
    /// The client's failed attempts before it, and how long it waited between them.
    pub retries: Retries,
    /// The failed call, if it is one.
    pub failure: Option<Failure>,
    /// Did the user stop it?
    pub interrupted: bool,
    /// Is it the first with a compacted context?
    pub compacted: bool,
    model: Option<Rc<str>>,
    stop_reason: Option<String>,
    effort: Option<String>,
    skill: Option<String>,
}

/// Attempts that failed before a call was answered (`api_error` lines).
#[derive(Debug, Default, Clone, Copy)]
pub struct Retries {
    /// The number of attempts.
    pub count: u64,
    /// Milliseconds that the client waited between them.
    pub waited: u64,
}

impl Retries {
    /// Counts one more.
    pub fn add(&mut self, waited: u64) {
        self.count += 1;
        self.waited = self.waited.saturating_add(waited);
    }
}

/// A failed call.
#[derive(Debug)]
pub struct Failure {
    kind: Option<String>,
    status: Option<u64>,
}

impl Failure {
    fn of(entry: &Entry<'_>, message: &Message<'_>) -> Self {
        // A word, a status, or an object with more detail.
        let error = entry.error.map(|raw| raw.get().trim_matches('"'));
        let status = error.and_then(|error| error.parse().ok()).filter(is_status);
        let text = || status_in(&prompt::beginning(&Content::of(message.content)));
        let kind = entry.api_error_type.as_deref().or(error.filter(|_| status.is_none()));
        Self {
            kind: kind.filter(|kind| is_word(kind)).map(str::to_owned),
            status: entry.api_error_status.or(status).or_else(text),
        }
    }
}

/// A type of error is a word, such as `rate_limit`. Longer text would be content.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        && text != "null"
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "a filter; where pointers have 32 bits, clippy agrees")]
fn is_status(status: &u64) -> bool {
    (400..600).contains(status)
}

impl Generation {
    /// Begins a response at this entry.
    pub fn begin(id: EventId, sequence: u64, place: Place, context: Rc<Context>, ended: i64) -> Self {
        Self {
            id,
            sequence,
            turn: place.turn,
            thread: place.thread,
            context,
            started: None,
            ended,
            input: ChatInput::default(),
            output: Output::default(),
            tools: Vec::new(),
            usage: Usage::default(),
            beside: BTreeMap::new(),
            said: false,
            retries: Retries::default(),
            failure: None,
            interrupted: false,
            compacted: false,
            model: None,
            stop_reason: None,
            effort: None,
            skill: None,
        }
    }

    /// Takes what a line says about the response as a whole. `model`: the response's own, or for a failed call the
    /// thread's last. `adds`: the line holds something new, and is not a copy of an earlier one under other IDs.
    pub fn update(&mut self, entry: &Entry<'_>, message: &Message<'_>, model: Option<Rc<str>>, adds: bool) {
        if let Some(model) = model {
            self.model = Some(model);
        }
        if let Some(usage) = &message.usage {
            self.usage.raise(usage);
            if !entry.is_api_error_message {
                self.beside.extend(usage.beside().into_iter().map(|(at, iteration)| (at, iteration.clone())));
            }
        }
        if adds || message.stop_reason.is_some() {
            self.stop_reason = name(&message.stop_reason).map(str::to_owned);
        }
        let owned = |text: &lenient::Str<'_>| name(text).map(str::to_owned);
        self.effort = owned(&entry.effort).or_else(|| self.effort.take());
        self.skill = owned(&entry.attribution_skill).or_else(|| self.skill.take());
        self.interrupted |= entry.is_aborted_mid_stream;
        if entry.is_api_error_message {
            self.failure = Some(Failure::of(entry, message));
        }
    }

    /// The message of a failed call's error, within the limit for errors.
    pub fn error(&self, rules: &TextRules) -> Option<String> {
        self.failure.as_ref()?;
        Some(rules.of_within(&self.output.text(), ERROR_LIMIT)).filter(|error| !error.is_empty())
    }

    /// Writes its own properties.
    pub fn write(&self, p: &mut Object, rules: &TextRules, parent: &str, prompt: Option<&Text>, agent: Option<&str>) {
        p.field("$ai_span_id", &self.id.to_string());
        p.field("$ai_parent_id", parent);
        p.some("$ai_agent_name", agent.map(short));
        write_model(p, self.model.as_deref());
        p.some("$ai_latency", self.started.map(|started| time::seconds(started, self.ended)));
        if let Some(failure) = &self.failure {
            p.field("$ai_is_error", &true);
            p.content(|p| p.some("$ai_error", self.error(rules)));
            p.some("$ai_error_type", failure.kind.as_ref());
            p.some("$ai_http_status", failure.status);
        } else {
            self.write_usage(p);
            p.some("$ai_stop_reason", self.stop_reason.as_deref().map(stop_reason));
            p.field("$ai_tool_call_count", &self.tools.len());
            if !self.tools.is_empty() {
                p.field("$ai_tools_called", &text::prefix(&self.tools.join(","), LONGEST_TOOLS));
            }
        }
        p.some("$ai_effort", self.effort.as_ref());
        p.some("claude_code_skill", self.skill.as_ref());
        p.flag("claude_code_interrupted", self.interrupted);
        p.flag("claude_code_compacted", self.compacted);
        if self.retries.count > 0 {
            p.field("claude_code_retries", &self.retries.count);
            p.field(
                "claude_code_retry_seconds",
                &time::seconds(0, i64::try_from(self.retries.waited).unwrap_or(i64::MAX)),
            );
        }
        p.content(|p| {
            if !self.input.is_empty() {
                p.clean("$ai_input", &self.input);
            }
            p.clean("$ai_output_choices", &self.output);
            if let Some(prompt) = prompt {
                p.clean("$ai_user_prompt", prompt);
            }
        });
    }

    fn write_usage(&self, p: &mut Object) {
        if self.is_usage_unknown() {
            p.field("claude_code_usage_unknown", &true);
        } else {
            self.usage.write_tokens(p);
        }
        let usage = &self.usage;
        p.some("$ai_reasoning_tokens", usage.output_tokens_details.as_ref().and_then(|d| d.thinking_tokens));
        p.some("$ai_web_search_count", usage.server_tool_use.as_ref().and_then(|s| s.web_search_requests));
        // PostHog sets the price by tier. A fast answer is not priced as a standard one, whichever tier served it.
        let tier = if usage.speed.as_deref() == Some(FAST) { Some(FAST) } else { usage.service_tier.as_deref() };
        p.some("$ai_service_tier", tier.map(short));
        p.some("claude_code_speed", usage.speed.as_deref().map(short));
        p.flag("claude_code_output_tokens_partial", self.is_partial());
    }

    /// Is there an answer without a token count? Some gateways don't count.
    fn is_usage_unknown(&self) -> bool {
        self.said && self.usage.is_zero()
    }

    /// Without a stop reason, `output_tokens` is the count from the beginning of the stream.
    pub fn is_partial(&self) -> bool {
        self.failure.is_none() && self.stop_reason.is_none()
    }

    /// Input, output, cache read, cache write, as they are sent.
    pub fn tokens(&self) -> [Option<u64>; 4] {
        if self.failure.is_some() || self.is_usage_unknown() { [None; 4] } else { self.usage.tokens() }
    }

    /// Writes the properties of one of the calls not included in its counts.
    pub fn write_beside(&self, p: &mut Object, id: EventId, iteration: &Iteration, agent: Option<&str>) {
        p.field("$ai_span_id", &id.to_string());
        p.field("$ai_parent_id", &self.id.to_string());
        p.some("$ai_agent_name", agent.map(short));
        write_model(p, iteration.model.as_deref().filter(|model| !model.is_empty()).or(self.model.as_deref()));
        iteration.usage().write_tokens(p);
        p.field("$ai_is_error", &false);
        p.some("claude_code_iteration", iteration.kind.as_deref().filter(|kind| is_word(kind)));
    }
}

/// `usage.speed` of the client's fast mode.
const FAST: &str = "fast";

fn write_model(p: &mut Object, model: Option<&str>) {
    p.some("$ai_provider", model.and_then(provider::of));
    p.some("$ai_model", model.map(|model| provider::model(short(model))));
}

fn short(text: &str) -> &str {
    text::prefix(text, LONGEST_NAME)
}

/// PostHog's names for the common reasons.
fn stop_reason(reason: &str) -> &str {
    match reason {
        "end_turn" => "stop",
        "tool_use" => "tool_calls",
        "max_tokens" => "length",
        other => other,
    }
}

/// The status in an error's text, if the line has no field for it: `API Error: 529 …`, `… (429) …`.
fn status_in(text: &str) -> Option<u64> {
    let after = |mark: &'static str, ends: fn(char) -> bool| {
        text.split(mark).skip(1).filter_map(move |rest| {
            let (digits, rest) = rest.split_at_checked(3)?;
            digits.parse().ok().filter(|status| is_status(status) && rest.chars().next().is_none_or(ends))
        })
    };
    after("API Error: ", |c| !c.is_alphanumeric()).chain(after("(", |c| c == ')')).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_found_in_the_texts_that_the_client_wrote() {
        for (text, status) in [
            (r#"API Error: 429 {"type":"error"}"#, Some(429)),
            ("API Error: Request rejected (429) · slow down", Some(429)),
            ("API Error: Connection (to the API) was lost (503)", Some(503)),
            ("API Error: 529", Some(529)),
            ("API Error: Connection error.", None),
            ("Invalid API key", None),
            ("API Error: 4290 tokens", None),
            ("API Error: the prompt is too long (413 pages)", None),
            ("API Error: 200 OK", None),
            ("API Error: é€", None),
        ] {
            assert_eq!(status_in(text), status, "{text}");
        }
    }
}
