//! Accessors for the interface's records.

use crate::bindings::exports::posthog::llm_analytics::delivery::{BatchReport, EventReport, Refusal, Verdict};
use crate::bindings::posthog::llm_analytics::types::{ConversionReport, EventId, EventKind, TokenCounts};
use posthog_llma_pipeline::identity;

impl BatchReport {
    /// The events that the server accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &EventReport> {
        self.events.iter().filter(|event| matches!(event.verdict, Verdict::Accepted | Verdict::AcceptedWithWarning(_)))
    }

    /// The events that the server rejected for good, and its reasons.
    pub fn rejected(&self) -> impl Iterator<Item = (&EventReport, &Refusal)> {
        self.events.iter().filter_map(|event| match &event.verdict {
            Verdict::Rejected(refusal) => Some((event, refusal)),
            Verdict::Accepted | Verdict::AcceptedWithWarning(_) | Verdict::LeftOut => None,
        })
    }

    /// The number of accepted events of this kind.
    pub fn count(&self, kind: EventKind) -> u64 {
        self.accepted().filter(|event| event.kind == kind).count() as u64
    }
}

impl ConversionReport {
    /// The number of events produced. Saturates, because the component's counts are not trusted to fit.
    pub fn events(&self) -> u64 {
        self.generations.saturating_add(self.spans).saturating_add(self.traces)
    }

    /// A count that has no field of its own.
    pub fn other_count(&self, name: &str) -> u64 {
        self.other_counts.iter().find(|other| other.name == name).map_or(0, |other| other.count)
    }
}

impl EventKind {
    /// The event's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generation => "$ai_generation",
            Self::Span => "$ai_span",
            Self::Trace => "$ai_trace",
        }
    }
}

impl TokenCounts {
    /// Input, output, cache read, cache creation.
    pub fn to_array(self) -> [u64; 4] {
        [self.input, self.output, self.cache_read, self.cache_creation]
    }
}

impl From<EventId> for identity::EventId {
    fn from(id: EventId) -> Self {
        Self::from_halves(id.high, id.low)
    }
}

impl From<identity::EventId> for EventId {
    fn from(id: identity::EventId) -> Self {
        let (high, low) = id.halves();
        Self { high, low }
    }
}
