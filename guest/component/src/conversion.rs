//! The `conversion` interface.

use super::Component;
use super::types::{self, SequenceError};
use super::world::tell_panics;
use crate::bindings::exports::posthog::llm_analytics::conversion::{Guest, GuestSession, SubAgent};
use posthog_llma_pipeline::copy_conversion_options;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{self, Session, files};
use posthog_llma_pipeline::time;
use std::cell::RefCell;

impl Guest for Component {
    type Session = Converting;

    fn main_transcript(path: String) -> Option<String> {
        files::main_transcript(&path.split('/').collect::<Vec<_>>()).map(str::to_owned)
    }

    fn began(beginning: Vec<u8>) -> Option<i64> {
        files::began(beginning.as_slice())
    }

    fn sub_agents(id: String, paths: Vec<String>) -> Vec<SubAgent> {
        let paths: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
        let found = files::agents(&id, &paths).into_iter().map(|found| SubAgent {
            file: found.file as u32,
            agent_id: found.agent.agent_id.to_owned(),
            workflow_run: found.agent.workflow_run.map(str::to_owned),
            metadata: found.metadata.map(|file| file as u32),
            flat: found.agent.is_flat,
        });
        found.collect()
    }

    fn belongs_to(id: String, beginning: Vec<u8>) -> bool {
        files::belongs_to(&id, beginning.as_slice()).unwrap_or(false)
    }
}

/// A session being converted.
pub(crate) struct Converting(RefCell<Session>);

impl GuestSession for Converting {
    fn open(
        id: String,
        files: Vec<types::FileRole>,
        options: types::ConversionOptions,
    ) -> Result<crate::bindings::exports::posthog::llm_analytics::conversion::Session, types::InvalidOption> {
        tell_panics();
        let files: Vec<_> = files.into_iter().map(role).collect();
        let session = Session::open(&id, &files, options.into())?;
        Ok(crate::bindings::exports::posthog::llm_analytics::conversion::Session::new(Self(RefCell::new(session))))
    }

    fn read_before(&self, file: u32, bytes: u64) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().read_before(file, bytes)?)
    }

    fn scan(&self, file: u32, bytes: Vec<u8>) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().scan(file, &bytes)?)
    }

    fn identities(&self, offset: u32, count: u32) -> Vec<types::EventId> {
        page(self.0.borrow_mut().identities(), offset, count)
    }

    fn exclude(&self, events: Vec<types::EventId>) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().exclude(events.into_iter().map(EventId::from))?)
    }

    fn withhold(&self, events: Vec<types::EventId>) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().withhold(events.into_iter().map(EventId::from))?)
    }

    fn convert(&self, file: u32, bytes: Vec<u8>) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().convert(file, &bytes)?)
    }

    fn finish(&self) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().finish()?)
    }

    fn take_events(&self, max_bytes: u32) -> Vec<u8> {
        self.0.borrow_mut().take_events(max_bytes as usize)
    }

    fn report(&self) -> types::ConversionReport {
        report(&self.0.borrow())
    }
}

/// One page of a list of IDs.
pub(crate) fn page(ids: &[EventId], offset: u32, count: u32) -> Vec<types::EventId> {
    ids.iter().skip(offset as usize).take(count as usize).map(|id| (*id).into()).collect()
}

pub(crate) fn role(role: types::FileRole) -> session::FileRole {
    match role {
        types::FileRole::Main => session::FileRole::Main,
        types::FileRole::Agent(agent) => session::FileRole::Agent(session::AgentFile {
            agent_id: agent.agent_id,
            metadata: agent.metadata,
            workflow_run: agent.workflow_run,
        }),
    }
}

pub(crate) fn report(session: &Session) -> types::ConversionReport {
    let counts = session.counts();
    types::ConversionReport {
        bytes: counts.bytes,
        lines: counts.lines,
        bad_lines: counts.bad_lines,
        unknown_lines: counts.unknown_lines,
        unknown_types: counts
            .unknown_types
            .iter()
            .map(|(name, count)| types::NamedCount { name: name.clone(), count: *count })
            .collect(),
        generations: counts.generations,
        spans: counts.spans,
        traces: counts.traces,
        tokens: tokens([
            counts.input_tokens,
            counts.output_tokens,
            counts.cache_read_tokens,
            counts.cache_creation_tokens,
        ]),
        excluded_events: counts.excluded_events,
        held_events: counts.held_events,
        held_since: counts.held_since.map(time::format),
        shortened_events: counts.shortened_events,
        earliest: counts.earliest.map(time::format),
        ignored_properties: session.ignored_properties().to_vec(),
        other_counts: other_counts(&counts),
    }
}

/// The counts that have no field of their own, sorted by name.
fn other_counts(counts: &session::Counts) -> Vec<types::NamedCount> {
    let spans = [("failed-spans", counts.failed_spans), ("spans-left-out", counts.spans_left_out)];
    let spans = spans.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count));
    let redactions = counts.redactions.iter().map(|(rule, count)| (format!("redacted:{rule}"), *count));
    let mut all: Vec<_> = spans.chain(redactions).map(|(name, count)| types::NamedCount { name, count }).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

pub(crate) fn tokens([input, output, cache_read, cache_creation]: [u64; 4]) -> types::TokenCounts {
    types::TokenCounts { input, output, cache_read, cache_creation }
}

impl From<types::ConversionOptions> for session::ConversionOptions {
    fn from(options: types::ConversionOptions) -> Self {
        copy_conversion_options!(options => session::ConversionOptions)
    }
}

impl From<types::TraceGrouping> for session::TraceGrouping {
    fn from(grouping: types::TraceGrouping) -> Self {
        match grouping {
            types::TraceGrouping::Session => Self::Session,
            types::TraceGrouping::Message => Self::Message,
        }
    }
}

impl From<types::ToolSpans> for session::ToolSpans {
    fn from(spans: types::ToolSpans) -> Self {
        match spans {
            types::ToolSpans::All => Self::All,
            types::ToolSpans::Errors => Self::Errors,
            types::ToolSpans::None => Self::None,
        }
    }
}

impl From<session::InvalidOption> for types::InvalidOption {
    fn from(invalid: session::InvalidOption) -> Self {
        Self { name: invalid.name.to_owned(), reason: invalid.reason }
    }
}

impl From<session::SequenceError> for SequenceError {
    fn from(error: session::SequenceError) -> Self {
        match error {
            session::SequenceError::NoSuchFile(files) => Self::NoSuchFile(files),
            session::SequenceError::OutOfOrder => Self::OutOfOrder,
            session::SequenceError::TooLate => Self::TooLate,
            session::SequenceError::Finished => Self::Finished,
        }
    }
}

impl From<EventId> for types::EventId {
    fn from(id: EventId) -> Self {
        let (high, low) = id.halves();
        Self { high, low }
    }
}

impl From<types::EventId> for EventId {
    fn from(id: types::EventId) -> Self {
        Self::from_halves(id.high, id.low)
    }
}
