//! Values that are passed on. What a component imports and what it exports are two sets of types, even if they are the same ones in
//! the interface.

use crate::exports::posthog::llm_analytics::types as outer;
use crate::posthog::llm_analytics::types as inner;

/// Each of these values.
pub fn all<From, To: std::convert::From<From>>(values: Vec<From>) -> Vec<To> {
    values.into_iter().map(Into::into).collect()
}

/// A record with the same fields, of which those behind the semicolon are passed on themselves.
macro_rules! record {
    ($from:path => $to:path { $($same:ident),* $(; $($passed:ident),*)? }) => {
        impl From<$from> for $to {
            fn from(it: $from) -> Self {
                Self { $($same: it.$same,)* $($($passed: it.$passed.into(),)*)? }
            }
        }
    };
}

record!(inner::EventId => outer::EventId { high, low });
record!(outer::EventId => inner::EventId { high, low });
record!(inner::InvalidOption => outer::InvalidOption { name, reason });
record!(inner::NamedCount => outer::NamedCount { name, count });
record!(inner::TokenCounts => outer::TokenCounts { input, output, cache_read, cache_creation });
record!(outer::AgentFile => inner::AgentFile { agent_id, metadata, workflow_run });
record!(outer::ConversionOptions => inner::ConversionOptions {
    distinct_id, git_repo, project_name, parent_trace_id, parent_span_id, purpose, privacy_mode, redact_secrets,
    max_attribute_length, custom_properties, redact_patterns, hold_after, hold_calls, since;
    trace_grouping, tool_spans
});

impl From<inner::ConversionReport> for outer::ConversionReport {
    fn from(it: inner::ConversionReport) -> Self {
        Self {
            tokens: it.tokens.into(),
            unknown_types: all(it.unknown_types),
            other_counts: all(it.other_counts),
            bytes: it.bytes,
            lines: it.lines,
            bad_lines: it.bad_lines,
            unknown_lines: it.unknown_lines,
            generations: it.generations,
            spans: it.spans,
            traces: it.traces,
            excluded_events: it.excluded_events,
            held_events: it.held_events,
            held_since: it.held_since,
            shortened_events: it.shortened_events,
            earliest: it.earliest,
            ignored_properties: it.ignored_properties,
        }
    }
}

impl From<outer::FileRole> for inner::FileRole {
    fn from(role: outer::FileRole) -> Self {
        match role {
            outer::FileRole::Main => Self::Main,
            outer::FileRole::Agent(file) => Self::Agent(file.into()),
        }
    }
}

impl From<outer::TraceGrouping> for inner::TraceGrouping {
    fn from(grouping: outer::TraceGrouping) -> Self {
        match grouping {
            outer::TraceGrouping::Session => Self::Session,
            outer::TraceGrouping::Message => Self::Message,
        }
    }
}

impl From<outer::ToolSpans> for inner::ToolSpans {
    fn from(spans: outer::ToolSpans) -> Self {
        match spans {
            outer::ToolSpans::All => Self::All,
            outer::ToolSpans::Errors => Self::Errors,
            outer::ToolSpans::None => Self::None,
        }
    }
}

impl From<inner::SequenceError> for outer::SequenceError {
    fn from(error: inner::SequenceError) -> Self {
        match error {
            inner::SequenceError::NoSuchFile(file) => Self::NoSuchFile(file),
            inner::SequenceError::OutOfOrder => Self::OutOfOrder,
            inner::SequenceError::TooLate => Self::TooLate,
            inner::SequenceError::Finished => Self::Finished,
        }
    }
}
