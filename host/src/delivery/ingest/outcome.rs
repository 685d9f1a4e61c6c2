//! What came of a past session.

use crate::delivery::send;
use posthog_llma_pipeline::time;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::BatchReport;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionReport, EventKind, NamedCount};
use std::collections::BTreeMap;

/// The outcome of a session.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum IngestOutcome {
    /// Everything new was delivered, or would be in a dry run.
    Sent(Sent),
    /// All of it was already delivered.
    DeliveredBefore,
    /// The session has no events: it never called a model.
    NothingToSend,
    /// The session was not delivered, or only in part.
    Failed {
        /// The reason.
        error: String,
        /// Events delivered before the failure.
        events: u64,
    },
    /// The user or the project has excluded it from sending.
    Withheld {
        /// The reason.
        reason: String,
    },
    /// The session was not started or not finished, because something stopped the whole run.
    NotReached,
}

impl IngestOutcome {
    /// The outcome for a session with this much sent (or to be sent, in a dry run) and this many events left out.
    pub(super) fn of(sent: Sent, excluded: u64) -> Self {
        match (sent.events + sent.rejected + sent.held, excluded) {
            (0, 0) => Self::NothingToSend,
            (0, _) => Self::DeliveredBefore,
            _ => Self::Sent(sent),
        }
    }

    /// Combines this outcome with that of the rest of the session.
    pub(super) fn and(self, rest: Self) -> Self {
        match (self, rest) {
            (Self::Sent(first), Self::Sent(rest)) => Self::Sent(first.and(&rest)),
            (Self::Sent(first), Self::Failed { error, events }) => {
                Self::Failed { error, events: first.events + events }
            }
            (first @ Self::Sent(_), Self::DeliveredBefore | Self::NothingToSend) => first,
            (_, rest) => rest,
        }
    }
}

/// What was sent from a session.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Sent {
    /// Events.
    pub events: u64,
    /// How many of them are tool calls.
    pub spans: u64,
    /// Events that are still incomplete and were left out.
    pub held: u64,
    /// Failed tool calls, and tool calls that were counted but not sent.
    pub tool_calls: [u64; 2],
    /// Events that the server permanently refused.
    pub rejected: u64,
    /// Tokens: input, output, cache read, cache creation.
    pub tokens: [u64; 4],
    /// Bytes of the events.
    pub bytes: u64,
    /// The time of the earliest event, in milliseconds since 1970.
    pub earliest: Option<i64>,
    /// Damaged lines and lines of unknown types.
    pub odd_lines: [u64; 2],
    /// The number of secrets each rule replaced.
    pub redactions: BTreeMap<String, u64>,
}

impl Sent {
    pub(super) fn of_conversion(report: &ConversionReport, bytes: u64) -> Self {
        Self {
            events: report.events(),
            spans: report.spans,
            tool_calls: [report.other_count("failed-spans"), report.other_count("spans-left-out")],
            rejected: 0,
            held: report.held_events,
            tokens: report.tokens.to_array(),
            bytes,
            earliest: report.earliest.as_deref().and_then(time::parse),
            odd_lines: [report.bad_lines, report.unknown_lines],
            redactions: report
                .other_counts
                .iter()
                .filter_map(|NamedCount { name, count }| Some((name.strip_prefix("redacted:")?.to_owned(), *count)))
                .collect(),
        }
    }

    /// Adds the totals of the rest of the session.
    fn and(self, rest: &Self) -> Self {
        let mut redactions = self.redactions;
        for (rule, count) in &rest.redactions {
            let sum = redactions.entry(rule.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        Self {
            redactions,
            events: self.events.saturating_add(rest.events),
            spans: self.spans.saturating_add(rest.spans),
            tool_calls: std::array::from_fn(|i| self.tool_calls[i].saturating_add(rest.tool_calls[i])),
            rejected: self.rejected + rest.rejected,
            held: rest.held,
            tokens: std::array::from_fn(|i| self.tokens[i].saturating_add(rest.tokens[i])),
            bytes: self.bytes.saturating_add(rest.bytes),
            earliest: self.earliest.min(rest.earliest).or(self.earliest).or(rest.earliest),
            odd_lines: rest.odd_lines,
        }
    }

    pub(super) fn of_delivery(delivered: &send::Delivered) -> Self {
        let sum = |count: fn(&BatchReport) -> u64| delivered.batches.iter().map(count).fold(0, u64::saturating_add);
        let of_report = delivered.report.as_ref().map(|report| Self::of_conversion(report, 0)).unwrap_or_default();
        Self {
            events: sum(|batch| batch.accepted().count() as u64),
            spans: sum(|batch| batch.count(EventKind::Span)),
            rejected: sum(|batch| batch.rejected().count() as u64),
            tokens: [
                sum(|batch| batch.tokens.input),
                sum(|batch| batch.tokens.output),
                sum(|batch| batch.tokens.cache_read),
                sum(|batch| batch.tokens.cache_creation),
            ],
            bytes: sum(|batch| batch.raw_bytes),
            ..of_report
        }
    }
}
