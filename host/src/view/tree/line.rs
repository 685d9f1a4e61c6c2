//! The text of the tree's lines.

use super::{AGENT, ERROR, FAINT, MODEL, STRONG, TEXT, TOOL, clean};
use crate::delivery::counted::{count, number};
use crate::view::words::{self, duration};
use posthog_llma_pipeline::identity::LONGEST_ID;
use serde_json::Value;
use std::fmt::{self, Write as _};

/// What a person wants to know about an event besides its text.
#[derive(Debug, Default)]
pub(super) struct Facts {
    input: u64,
    cached: u64,
    output: u64,
    /// Model calls whose tokens are unknown.
    uncounted: u64,
    errors: u64,
    /// Milliseconds it waited.
    pub(super) waited: i64,
    rejected: u64,
    interrupted: u64,
    retries: u64,
    added: u64,
    removed: u64,
    /// Number of secrets replaced in its own texts.
    redacted: u64,
}

impl Facts {
    /// The facts about a generation or a span.
    pub(super) fn of(p: &Value) -> Self {
        let number = |name: &str| p[name].as_u64().unwrap_or(0);
        let flag = |name: &str| u64::from(p[name] == true);
        Self {
            input: number("$ai_input_tokens"),
            cached: number("$ai_cache_read_input_tokens").saturating_add(number("$ai_cache_creation_input_tokens")),
            output: number("$ai_output_tokens"),
            uncounted: flag("claude_code_usage_unknown"),
            errors: flag("$ai_is_error"),
            waited: milliseconds(p, "claude_code_wait_seconds"),
            rejected: flag("claude_code_rejected"),
            interrupted: flag("claude_code_interrupted"),
            retries: number("claude_code_retries"),
            added: number("claude_code_lines_added"),
            removed: number("claude_code_lines_removed"),
            redacted: TEXTS.iter().map(|name| redactions_in(&p[*name])).sum(),
        }
    }
}

impl std::ops::AddAssign<&Facts> for Facts {
    fn add_assign(&mut self, other: &Facts) {
        for (sum, more) in [
            (&mut self.input, other.input),
            (&mut self.cached, other.cached),
            (&mut self.output, other.output),
            (&mut self.uncounted, other.uncounted),
            (&mut self.errors, other.errors),
            (&mut self.rejected, other.rejected),
            (&mut self.interrupted, other.interrupted),
            (&mut self.retries, other.retries),
            (&mut self.added, other.added),
            (&mut self.removed, other.removed),
            (&mut self.redacted, other.redacted),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// An event's own texts.
const TEXTS: [&str; 5] = ["$ai_input", "$ai_output_choices", "$ai_input_state", "$ai_output_state", "$ai_error"];

/// The replacement for a secret, up to the rule's name.
const REDACTED: &str = "[redacted:";

/// Counts the secrets replaced in a string, or in the strings of a value.
fn redactions_in(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.matches(REDACTED).count() as u64,
        Value::Array(values) => values.iter().map(redactions_in).sum(),
        Value::Object(members) => members.values().map(redactions_in).sum(),
        _ => 0,
    }
}

/// A time in which nothing happens.
pub(super) struct Gap {
    pub(super) milliseconds: i64,
    pub(super) reason: &'static str,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "⋯ {} {}", duration(self.milliseconds), self.reason)
    }
}

/// A property in seconds, as milliseconds.
pub(super) fn milliseconds(p: &Value, name: &str) -> i64 {
    (p[name].as_f64().unwrap_or(0.0) * 1000.0).round() as i64
}

/// Tokens that the client counted but no event contains.
const NOT_IN_THE_TRANSCRIPT: [(&str, &str); 4] = [
    ("claude_code_unaccounted_input_tokens", "in"),
    ("claude_code_unaccounted_output_tokens", "out"),
    ("claude_code_unaccounted_cache_read_tokens", "cache read"),
    ("claude_code_unaccounted_cache_creation_tokens", "cache write"),
];

/// A trace's name, and below it the session's costs and results.
pub(super) fn of_trace(p: &Value) -> String {
    // An attached session's span has no trace name.
    let name = p["$ai_span_name"].as_str().or_else(|| p["$ai_trace_name"].as_str()).unwrap_or("(no name)");
    let n = |name: &str| p[name].as_u64().unwrap_or(0);
    let cached = n("$ai_total_cache_read_input_tokens").saturating_add(n("$ai_total_cache_creation_input_tokens"));
    let mut out = format!("{STRONG}{}{STRONG:#}\n", clean(name, 100));
    let waited = milliseconds(p, "claude_code_wait_seconds");
    let waited = if waited > 0 { format!(" + {} waiting", duration(waited)) } else { String::new() };
    let took = p["$ai_latency"].as_f64().map_or_else(String::new, |_| format!("{}{waited}  ", latency(p)));
    // Without them, no call's tokens are known.
    let tokens = match (p["$ai_total_input_tokens"].as_u64(), p["$ai_total_output_tokens"].as_u64()) {
        (None, None) => UNKNOWN.to_owned(),
        (input, output) => tokens(input.unwrap_or(0), cached, output.unwrap_or(0)),
    };
    let _ = writeln!(out, "{FAINT}{took}{tokens}{FAINT:#}{}", error(p));
    if p["$ai_span_type"] == "agent" {
        let id = |name: &str| clean(p[name].as_str().unwrap_or_default(), LONGEST_ID);
        let (trace, span) = (id("$ai_trace_id"), id("$ai_parent_id"));
        let below = if span == trace { String::new() } else { format!(", below the span {span}") };
        let _ = writeln!(out, "{FAINT}attached to the trace {trace}{below}{FAINT:#}");
    }
    let missing = NOT_IN_THE_TRANSCRIPT.iter().filter(|(name, _)| n(name) > 0);
    let missing: Vec<_> = missing.map(|(name, word)| format!("{} {word}", number(n(name)))).collect();
    if !missing.is_empty() {
        let _ = writeln!(out, "{FAINT}not in the transcript: {}{FAINT:#}", missing.join(", "));
    }
    let (added, removed) = (n("claude_code_lines_added"), n("claude_code_lines_removed"));
    let mut came = Vec::new();
    if added > 0 || removed > 0 {
        came.push(format!("{} in {}", lines(added, removed), count(n("claude_code_files_changed"), "file")));
    }
    for (name, word) in [
        ("claude_code_edits_user_modified", "edit changed by the user"),
        ("claude_code_commits", "commit"),
        ("claude_code_compactions", "compaction"),
        ("claude_code_redactions", "redaction"),
    ] {
        match n(name) {
            0 => {}
            1 if word.contains(' ') => came.push(format!("1 {word}")),
            many if word.contains(' ') => came.push(format!("{} {}", number(many), word.replacen("edit", "edits", 1))),
            many => came.push(count(many, word)),
        }
    }
    for (name, word) in [("claude_code_rejected", "refused"), ("claude_code_interrupted", "stopped")] {
        if n(name) > 0 {
            came.push(format!("{} {word}", number(n(name))));
        }
    }
    match n("claude_code_retries") {
        0 => {}
        1 => came.push("1 retry".to_owned()),
        many => came.push(format!("{} retries", number(many))),
    }
    came.extend(p["claude_code_pr_url"].as_str().map(|url| clean(url, 200)));
    if !came.is_empty() {
        let _ = writeln!(out, "{FAINT}{}{FAINT:#}", came.join(", "));
    }
    out
}

/// A prompt and what followed from it.
pub(super) fn of_turn(prompt: &str, work: i64, waited: i64, sum: &Facts) -> String {
    let waited = if waited >= 1000 { format!(" + {} waiting", duration(waited)) } else { String::new() };
    let errors = if sum.errors == 0 { String::new() } else { format!("  {ERROR}✗ {}{ERROR:#}", number(sum.errors)) };
    let mut marks = String::new();
    for (n, mark) in [(sum.rejected, "⊘"), (sum.interrupted, "■"), (sum.retries, "↻")] {
        if n > 0 {
            let _ = write!(marks, "  {mark} {}", number(n));
        }
    }
    let changed = changed(sum) + &redacted(sum);
    let tokens = match (sum.input.max(sum.cached).max(sum.output), sum.uncounted) {
        (0, 1..) => UNKNOWN.to_owned(),
        (_, 0) => tokens(sum.input, sum.cached, sum.output),
        (_, some) => {
            format!("{}, unknown for {}", tokens(sum.input, sum.cached, sum.output), count(some, "model call"))
        }
    };
    format!(
        "{STRONG}❯ {prompt}{STRONG:#}  {FAINT}{}{waited}{FAINT:#}{errors}{marks}{changed}  {FAINT}{tokens}{FAINT:#}",
        duration(work)
    )
}

/// A generation or a tool call.
pub(super) fn of_event(event: &Value, facts: &Facts) -> String {
    let p = &event["properties"];
    if event["event"] == "$ai_span" {
        return of_span(p, facts);
    }
    // Errors come before text, which a narrow terminal cuts off.
    let agent = p["$ai_agent_name"].as_str();
    let agent = agent.map_or_else(String::new, |agent| format!(" {AGENT}[{}]{AGENT:#}", clean(agent, 30)));
    let model = clean(p["$ai_model"].as_str().unwrap_or("?"), 40);
    let tokens = match (p["$ai_input_tokens"].as_u64(), p["$ai_output_tokens"].as_u64()) {
        (Some(input), Some(output)) => format!("  {}", tokens(input, facts.cached, output)),
        _ => String::new(),
    };
    let retries = match facts.retries {
        0 => String::new(),
        n => {
            let word = if n == 1 { "retry" } else { "retries" };
            let lost = milliseconds(p, "claude_code_retry_seconds");
            let lost = if lost > 0 { format!(", {}", duration(lost)) } else { String::new() };
            format!("  {ERROR}↻ {} {word}{lost}{ERROR:#}", number(n))
        }
    };
    // A failed call's answer would repeat the error.
    let answer = if p["$ai_is_error"] == true { String::new() } else { clean(&answer(p), TEXT) };
    let compacted = if p["claude_code_compacted"] == true { "  after a compaction" } else { "" };
    format!(
        "{MODEL}{model}{MODEL:#}{agent}  {FAINT}{}{tokens}{compacted}{FAINT:#}{retries}{}{}{}{}",
        latency(p),
        stopped(facts),
        error(p),
        redacted(facts),
        text(&answer)
    )
}

fn of_span(p: &Value, facts: &Facts) -> String {
    let tool = p["$ai_span_name"].as_str().unwrap_or("?");
    let name = clean(tool, 40);
    let input = clean(&words::argument(p["$ai_input_state"].as_str().unwrap_or("")), TEXT);
    let waited = if facts.waited > 0 {
        format!(" + {} waiting {}", duration(facts.waited), words::awaited(tool))
    } else {
        String::new()
    };
    let refused = if facts.rejected > 0 { format!("  {ERROR}⊘ refused{ERROR:#}") } else { String::new() };
    let by_user = if p["claude_code_user_modified"] == true { " (changed by the user)" } else { "" };
    format!(
        "{TOOL}{name}{TOOL:#}  {FAINT}{}{waited}{FAINT:#}{refused}{}{}{}{by_user}{}{}",
        latency(p),
        stopped(facts),
        error(p),
        changed(facts),
        redacted(facts),
        text(&input)
    )
}

fn stopped(facts: &Facts) -> String {
    if facts.interrupted > 0 { format!("  {ERROR}■ stopped{ERROR:#}") } else { String::new() }
}

/// The note about replaced secrets.
fn redacted(facts: &Facts) -> String {
    if facts.redacted > 0 { format!("  {AGENT}{} redacted{AGENT:#}", number(facts.redacted)) } else { String::new() }
}

fn changed(facts: &Facts) -> String {
    if facts.added > 0 || facts.removed > 0 {
        format!("  {}", lines(facts.added, facts.removed))
    } else {
        String::new()
    }
}

/// `+3 −1`
fn lines(added: u64, removed: u64) -> String {
    format!("+{} −{}", number(added), number(removed))
}

/// In place of tokens that nobody counted.
const UNKNOWN: &str = "tokens unknown";

fn tokens(input: u64, cached: u64, output: u64) -> String {
    format!("{} in + {} cached, {} out", number(input), number(cached), number(output))
}

fn text(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("  {text}") }
}

/// The first words of a generation's answer.
fn answer(p: &Value) -> String {
    let messages = p["$ai_output_choices"].as_array().into_iter().flatten();
    let mut thinking = "";
    for message in messages {
        match &message["content"] {
            Value::String(text) => return text.clone(),
            Value::Array(parts) => {
                for part in parts {
                    if let Some(text) = part["text"].as_str() {
                        return text.to_owned();
                    }
                    thinking = part["thinking"].as_str().unwrap_or(thinking);
                }
            }
            _ => {}
        }
    }
    if thinking.is_empty() { String::new() } else { format!("({thinking})") }
}

fn latency(p: &Value) -> String {
    p["$ai_latency"].as_f64().map_or_else(|| "–".to_owned(), |_| duration(milliseconds(p, "$ai_latency")))
}

fn error(p: &Value) -> String {
    if p["$ai_is_error"] != true {
        return String::new();
    }
    let what = p["$ai_error"].as_str().or_else(|| p["$ai_error_type"].as_str()).unwrap_or("");
    format!("  {ERROR}✗ {}{ERROR:#}", clean(what, TEXT))
}
