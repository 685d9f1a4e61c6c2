//! The output of `send`.

use crate::delivery::cost;
pub use crate::delivery::counted::{are_uncounted, count, number, tokens};
use crate::delivery::send::Delivered;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, EventKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many days PostHog keeps content.
pub(crate) const CONTENT_DAYS: i64 = 30;

/// How many rejected events are listed one by one.
const SHOWN_REJECTED: usize = 10;

/// Sums over a delivery.
#[derive(Debug, Default)]
pub struct SendReport {
    session: String,
    origin: String,
    delivered: Sums,
    rejected: Vec<Value>,
    quota_limited: Vec<String>,
    paths: Vec<String>,
    /// Warnings, which are not failures.
    pub warnings: Vec<String>,
    /// What failed.
    pub error: Option<String>,
    error_kind: Option<&'static str>,
    tokens: [u64; 4],
    lines: [u64; 3],
    /// The number of secrets each rule replaced.
    redactions: Vec<(String, u64)>,
    /// Failed tool calls, and tool calls that were counted but not sent.
    tool_calls: [u64; 2],
    /// Events that were already delivered.
    before: u64,
    /// Events that are still incomplete.
    held: u64,
    complete: bool,
    /// The session has no events.
    nothing: bool,
}

/// The message for a session without events.
pub const NOTHING: &str = "Nothing to send: no model was called in this session.";

/// Does the session have no events, neither new ones nor delivered ones?
pub fn has_nothing(report: &ConversionReport) -> bool {
    report.events() == 0 && report.excluded_events == 0 && report.held_events == 0
}

#[derive(Debug, Default)]
struct Sums {
    generations: u64,
    spans: u64,
    traces: u64,
    requests: u64,
    raw_bytes: u64,
    sent_bytes: u64,
}

impl SendReport {
    /// The report of a delivery; `now` in milliseconds since 1970.
    pub fn of(session: &str, origin: &Origin, delivered: &Delivered, mut warnings: Vec<String>, now: i64) -> Self {
        let mut report = Self { session: session.to_owned(), origin: origin.to_string(), ..Self::default() };
        let sums = &mut report.delivered;
        let mut shortened = 0;
        for batch in &delivered.batches {
            sums.generations += batch.count(EventKind::Generation);
            sums.spans += batch.count(EventKind::Span);
            sums.traces += batch.count(EventKind::Trace);
            sums.requests += u64::from(batch.requests);
            sums.raw_bytes = sums.raw_bytes.saturating_add(batch.raw_bytes);
            sums.sent_bytes = sums.sent_bytes.saturating_add(batch.sent_bytes);
            let tokens = batch.tokens.to_array();
            report.tokens = std::array::from_fn(|i| report.tokens[i].saturating_add(tokens[i]));
            shortened += u64::from(batch.shortened_events);
            for limited in &batch.quota_limited {
                if !report.quota_limited.contains(limited) {
                    report.quota_limited.push(limited.clone());
                }
            }
            if !report.paths.contains(&batch.path) {
                report.paths.push(batch.path.clone());
            }
            report.rejected.extend(batch.rejected().map(|(event, refusal)| {
                let id = EventId::from(event.id).to_string();
                json!({"uuid": id, "event": event.kind.name(), "status": refusal.status, "message": refusal.message})
            }));
        }
        if delivered.error.is_some() {
            // A failed batch has no report.
            sums.requests = delivered.requests.allowed();
        }
        if let Some(counts) = &delivered.report {
            report.lines = [counts.lines, counts.bad_lines, counts.unknown_lines];
            report.before = counts.excluded_events;
            report.held = counts.held_events;
            report.tool_calls = [counts.other_count("failed-spans"), counts.other_count("spans-left-out")];
            let redacted = counts
                .other_counts
                .iter()
                .filter_map(|other| Some((other.name.strip_prefix("redacted:")?, other.count)));
            report.redactions = redacted.map(|(rule, count)| (rule.to_owned(), count)).collect();
            warnings.extend(line_warnings(counts));
            if let Some(earliest) = counts.earliest.as_deref().and_then(posthog_llma_pipeline::time::parse) {
                let days = now.saturating_sub(earliest) / 86_400_000;
                if days > CONTENT_DAYS {
                    warnings.push(format!(
                        "the session is {days} days old: PostHog keeps prompts, answers and tool output for {CONTENT_DAYS} days, so \
                         it shows numbers only"
                    ));
                }
            }
        }
        if shortened > 0 {
            warnings
                .push(format!("{} shortened, because the server accepts none that large", count(shortened, "event")));
        }
        if !report.quota_limited.is_empty() {
            let limited = report.quota_limited.join(", ");
            warnings.push(format!(
                "quota_limited: PostHog took the events but does not keep them ({limited}); see its billing settings"
            ));
        }
        warnings.extend(delivered.warnings.iter().cloned());
        report.nothing = delivered.error.is_none() && delivered.report.as_ref().is_some_and(has_nothing);
        report.warnings = warnings;
        report.complete = delivered.error.is_none() && report.rejected.is_empty();
        report.error = delivered.error.as_ref().map(ToString::to_string);
        report.error_kind = delivered.error.as_ref().map(|error| error.kind().0);
        report
    }

    /// Adds how many of the session's events were permanently refused, now or in an earlier delivery: those are not
    /// sent again.
    #[must_use]
    pub fn with_refused(mut self, refused: u64) -> Self {
        let earlier = refused.saturating_sub(self.rejected.len() as u64);
        if earlier > 0 {
            self.warnings.push(format!(
                "{} rejected in an earlier delivery (`posthog-llma status` shows why); --again sends them again",
                count(earlier, "event")
            ));
            self.complete = false;
        }
        self
    }

    /// Was every event accepted?
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The report as JSON, for scripts.
    pub fn json(&self) -> Value {
        let sums = &self.delivered;
        json!({
            "session": self.session,
            "destination": self.origin,
            "complete": self.complete,
            "nothing_to_send": self.nothing,
            "generations": sums.generations,
            "spans": sums.spans,
            "spans_left_out": self.tool_calls[1],
            "traces": sums.traces,
            "input_tokens": self.tokens[0],
            "output_tokens": self.tokens[1],
            "cache_read_tokens": self.tokens[2],
            "cache_creation_tokens": self.tokens[3],
            "delivered_before": self.before,
            "held_events": self.held,
            "estimated_dollars": cost::dollars(sums.generations + sums.spans + sums.traces),
            "requests": sums.requests,
            "raw_bytes": sums.raw_bytes,
            "sent_bytes": sums.sent_bytes,
            "paths": self.paths,
            "lines": self.lines[0],
            "bad_lines": self.lines[1],
            "unknown_lines": self.lines[2],
            "redactions": self.redactions.iter().cloned().collect::<BTreeMap<_, _>>(),
            "quota_limited": self.quota_limited,
            "rejected": self.rejected,
            "warnings": self.warnings,
            "error": self.error.as_ref().map(|message| json!({"kind": self.error_kind, "message": message})),
        })
    }

    /// The report as text, for people.
    pub fn text(&self) -> String {
        let sums = &self.delivered;
        let mut out = String::new();
        let Self { session, origin, .. } = self;
        if self.nothing {
            return format!("{session}: {NOTHING}\n");
        }
        let events = sums.generations + sums.spans + sums.traces;
        let what = match (self.complete, events) {
            (true, 0) if self.before > 0 => "was already delivered to",
            (true, _) => "delivered to",
            (false, 0) => "not delivered to",
            (false, _) => "only partly delivered to",
        };
        let _ = writeln!(out, "Session {session} {what} {origin}");
        let _ = writeln!(
            out,
            "  events    {}: {}, {}, {}",
            number(events),
            count(sums.generations, "generation"),
            count(sums.spans, "span"),
            count(sums.traces, "trace")
        );
        if events > 0 {
            let _ = writeln!(out, "  tokens    {}", tokens(self.tokens, events));
        }
        let paths = if self.paths.is_empty() { String::new() } else { format!(" to {}", self.paths.join(", ")) };
        let _ = writeln!(
            out,
            "  requests  {}{paths}: {} before, {} after compression",
            number(sums.requests),
            bytes(sums.raw_bytes),
            bytes(sums.sent_bytes)
        );
        if events > 0 {
            let _ = writeln!(out, "  cost      {} in PostHog ({})", cost::shown(events), cost::basis());
        }
        let [failed, left_out] = self.tool_calls;
        if let Some(line) = cost::of_tool_calls(sums.spans, failed, left_out) {
            let _ = writeln!(out, "            {line}");
        }
        if !self.redactions.is_empty() {
            let rules: Vec<_> = self.redactions.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
            let _ = writeln!(out, "  redacted  {}", rules.join(", "));
        }
        if self.before > 0 {
            // A trace has no part in this: each delivery has its own.
            let what = if self.before == 1 { "generation or span" } else { "generations and spans" };
            let _ = writeln!(out, "  before    {} {what} already delivered, not sent again", number(self.before));
        }
        if self.held > 0 {
            let _ =
                writeln!(out, "  open      {} still in progress, sent by a later delivery", count(self.held, "event"));
        }
        for rejected in self.rejected.iter().take(SHOWN_REJECTED) {
            let field = |name: &str| rejected[name].as_str().unwrap_or_default().to_owned();
            let (event, uuid, message) = (field("event"), field("uuid"), field("message"));
            let _ = writeln!(out, "  rejected  {event} {uuid}: {} {message}", rejected["status"]);
        }
        if self.rejected.len() > SHOWN_REJECTED {
            let _ = writeln!(out, "  rejected  and {} more (--json has all)", self.rejected.len() - SHOWN_REJECTED);
        }
        out
    }
}

/// The warnings about a transcript's lines.
pub fn line_warnings(counts: &ConversionReport) -> Vec<String> {
    let mut warnings = Vec::new();
    if counts.bad_lines > 0 && counts.bad_lines == counts.lines {
        warnings.push("no line can be read as JSON: is this file a Claude Code transcript?".to_owned());
    } else if counts.bad_lines > 0 {
        warnings.push(format!(
            "{} of {} damaged; the readable parts were used",
            number(counts.bad_lines),
            count(counts.lines, "line")
        ));
    }
    if counts.unknown_lines > 0 {
        let types: Vec<_> = counts.unknown_types.iter().map(|of| format!("{:?} ({})", of.name, of.count)).collect();
        warnings.push(format!(
            "{} of types unknown to this version: {}",
            count(counts.unknown_lines, "line"),
            types.join(", ")
        ));
    }
    if counts.shortened_events > 0 {
        warnings.push(format!("{} over 8 MiB shortened", count(counts.shortened_events, "event")));
    }
    if !counts.ignored_properties.is_empty() {
        let names = counts.ignored_properties.join(", ");
        warnings.push(format!("custom properties must not begin with $ or claude_code_; left out: {names}"));
    }
    warnings
}

/// `1.2 MiB`
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}
