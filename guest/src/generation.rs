//! Generations: one for each response of a model, and for each call that failed.

use crate::chat::{Input, Output};
use crate::entry::{Content, Entry, Message, Usage};
use crate::event::{Context, Object};
use crate::identity::{EventId, FixedSet};
use crate::prompt;
use crate::text::{ERROR_LIMIT, TextRules};
use crate::time;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// A response whose lines have not all been read yet.
#[derive(Debug)]
pub struct Generation {
    /// Its event's id.
    pub id: EventId,
    /// Order of beginning, for those still open at the end.
    pub sequence: u64,
    /// Index of its turn.
    pub turn: u32,
    /// Index of its thread.
    pub thread: u32,
    /// Where it was written.
    pub context: Rc<Context>,
    /// When the call began: its `api-request` line, else the line it answers.
    pub started: Option<i64>,
    /// When its last line was written.
    pub ended: i64,
    /// What it answers.
    pub input: Input,
    /// What it says.
    pub output: Output,
    /// Names of the tools it calls.
    pub tools: Vec<String>,
    /// Tokens, as its last line has them.
    pub usage: Usage,
    /// The failed call, if it is one.
    pub failure: Option<Failure>,
    /// The user stopped it.
    pub interrupted: bool,
    model: Option<Rc<str>>,
    stop_reason: Option<String>,
    effort: Option<String>,
    skill: Option<String>,
    blocks: FixedSet<u64>,
}

/// A call that failed.
#[derive(Debug)]
pub struct Failure {
    kind: Option<String>,
    status: Option<u64>,
}

impl Generation {
    /// A response begins with this entry.
    pub fn begin(id: EventId, sequence: u64, place: crate::turns::Place, context: Rc<Context>, ended: i64) -> Self {
        Self {
            id,
            sequence,
            turn: place.turn,
            thread: place.thread,
            context,
            started: None,
            ended,
            input: Input::default(),
            output: Output::default(),
            tools: Vec::new(),
            usage: Usage::default(),
            failure: None,
            interrupted: false,
            model: None,
            stop_reason: None,
            effort: None,
            skill: None,
            blocks: FixedSet::default(),
        }
    }

    /// Is this block new to the response? Copies of a line repeat its blocks; a call is known by its id.
    pub fn is_new(&mut self, block: &crate::entry::Block<'_>) -> bool {
        let mut hasher = DefaultHasher::new();
        block.kind.hash(&mut hasher);
        if let Some(id) = &block.id {
            id.hash(&mut hasher);
        } else {
            for raw in [block.text, block.thinking, block.content] {
                raw.map(serde_json::value::RawValue::get).hash(&mut hasher);
            }
            block.tool_use_id.hash(&mut hasher);
            block.source.as_ref().and_then(|s| s.data).map(serde_json::value::RawValue::get).hash(&mut hasher);
        }
        self.blocks.insert(hasher.finish())
    }

    /// Takes what a line says of the response as a whole. `model`: the response's own, or for a failed call the thread's last.
    pub fn update(&mut self, entry: &Entry<'_>, message: &Message<'_>, model: Option<Rc<str>>) {
        if let Some(model) = model {
            self.model = Some(model);
        }
        // The last line holds the maximum. A copy of an earlier line, with other ids, must not take it back.
        if let Some(usage) = &message.usage
            && usage.output_tokens.unwrap_or(0) >= self.usage.output_tokens.unwrap_or(0)
        {
            self.usage = usage.clone();
        }
        self.stop_reason = message.stop_reason.as_deref().map(str::to_owned);
        let owned = |text: &crate::lenient::Str<'_>| text.as_deref().map(str::to_owned);
        self.effort = owned(&entry.effort).or_else(|| self.effort.take());
        self.skill = owned(&entry.attribution_skill).or_else(|| self.skill.take());
        self.interrupted |= entry.is_aborted_mid_stream;
        if entry.is_api_error_message {
            self.failure = Some(Failure {
                kind: owned(&entry.api_error_type).or_else(|| owned(&entry.error)),
                status: entry
                    .api_error_status
                    .or_else(|| status_in(&prompt::beginning(&Content::of(message.content), entry.elided))),
            });
        }
    }

    /// What a failed call's error says, within the limit of errors.
    pub fn error(&self, rules: TextRules) -> Option<String> {
        self.failure.as_ref()?;
        Some(rules.of_within(&self.output.text(), ERROR_LIMIT)).filter(|error| !error.is_empty())
    }

    /// Writes its own properties.
    pub fn write(&self, p: &mut Object, rules: TextRules, parent: &str, prompt: Option<&str>, agent: Option<&str>) {
        p.field("$ai_span_id", &self.id.to_string());
        p.field("$ai_parent_id", parent);
        p.some("$ai_agent_name", agent);
        p.field("$ai_provider", "anthropic");
        p.some("$ai_model", self.model.as_deref());
        p.some("$ai_latency", self.started.map(|started| time::seconds(started, self.ended)));
        if let Some(failure) = &self.failure {
            p.field("$ai_is_error", &true);
            p.some("$ai_error", self.error(rules));
            p.some("$ai_error_type", failure.kind.as_ref());
            p.some("$ai_http_status", failure.status);
        } else {
            self.write_usage(p);
            p.some("$ai_stop_reason", self.stop_reason.as_deref().map(stop_reason));
            p.field("$ai_tool_call_count", &self.tools.len());
            if !self.tools.is_empty() {
                p.field("$ai_tools_called", &self.tools.join(","));
            }
        }
        p.some("$ai_effort", self.effort.as_ref());
        p.some("claude_code_skill", self.skill.as_ref());
        p.flag("claude_code_interrupted", self.interrupted);
        if !rules.privacy {
            if !self.input.is_empty() {
                p.field("$ai_input", &self.input);
            }
            p.field("$ai_output_choices", &self.output);
            p.some("$ai_user_prompt", prompt);
        }
    }

    fn write_usage(&self, p: &mut Object) {
        let usage = &self.usage;
        p.some("$ai_input_tokens", usage.input_tokens);
        p.some("$ai_output_tokens", usage.output_tokens);
        p.some("$ai_cache_read_input_tokens", usage.cache_read_input_tokens);
        p.some("$ai_cache_creation_input_tokens", usage.cache_creation_input_tokens);
        // PostHog prices them apart only if it has both.
        if let Some(c) = &usage.cache_creation
            && let (Some(five_minutes), Some(hour)) = (c.ephemeral_5m_input_tokens, c.ephemeral_1h_input_tokens)
        {
            p.field("$ai_cache_creation_5m_input_tokens", &five_minutes);
            p.field("$ai_cache_creation_1h_input_tokens", &hour);
        }
        p.field("$ai_cache_reporting_exclusive", &true);
        if let (Some(input), Some(output)) = (usage.input_tokens, usage.output_tokens) {
            p.field("$ai_total_tokens", &input.saturating_add(output));
        }
        p.some("$ai_reasoning_tokens", usage.output_tokens_details.as_ref().and_then(|d| d.thinking_tokens));
        p.some("$ai_web_search_count", usage.server_tool_use.as_ref().and_then(|s| s.web_search_requests));
        p.some("$ai_service_tier", usage.service_tier.as_ref());
        p.some("claude_code_speed", usage.speed.as_ref());
        // Without a stop reason, `output_tokens` is what the stream began with.
        p.flag("claude_code_output_tokens_partial", self.stop_reason.is_none());
    }
}

/// PostHog's words for the common reasons.
fn stop_reason(reason: &str) -> &str {
    match reason {
        "end_turn" => "stop",
        "tool_use" => "tool_calls",
        "max_tokens" => "length",
        other => other,
    }
}

/// The status in an error's text, where the line has no field for it: `API Error: 529 …`, `… (429) …`.
fn status_in(text: &str) -> Option<u64> {
    let after = |mark: &str| text.split(mark).skip(1).find_map(|rest| rest.get(..3));
    [after("API Error: "), after("(")]
        .into_iter()
        .flatten()
        .filter_map(|digits| digits.parse().ok())
        .find(|status| (400..600).contains(status))
}
