//! What was delivered before: who knows it, and how the component is told.

use crate::outbox::OutboxError;
use posthog_llma_pipeline::delivery::lane::Lane;
use posthog_llma_sandbox::State;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::conversion::GuestSession;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{
    BatchReport, DeliveryError, GuestTransfer,
};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{EventId, SequenceError};
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// What was delivered before, and what is now.
pub trait Record {
    /// Which of these events were delivered before; called for all of a session's generations and spans.
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError>;
    /// Events of this session that were delivered without the trace that covers them.
    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError>;
    /// What became of a batch. Nothing more is sent when this fails: it could not be written down.
    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError>;
    /// The lane that this server is known to take, if that is not the newest.
    fn lane(&mut self) -> Result<Option<Lane>, OutboxError> {
        Ok(None)
    }
    /// The server takes no more for now: how long to wait before the delivery goes on; none ends it.
    fn wait(&mut self, _error: &DeliveryError) -> Option<Duration> {
        None
    }
}

/// No record: everything is sent.
pub struct Unrecorded;

impl Record for Unrecorded {
    fn known(&mut self, _: &[EventId]) -> Result<Vec<EventId>, OutboxError> {
        Ok(Vec::new())
    }
    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError> {
        Ok(Vec::new())
    }
    fn batch(&mut self, _: &BatchReport) -> Result<(), OutboxError> {
        Ok(())
    }
}

/// Ids that are asked for at once.
const PAGE: u32 = 10_000;

/// Why the component does not know it.
pub(super) enum LeaveOutError {
    /// What was delivered cannot be looked up.
    Record(OutboxError),
    /// The component broke its own rules: what is left out too late would be sent twice.
    Sequence(SequenceError),
    /// A call failed.
    Call(wasmtime::Error),
}

impl From<OutboxError> for LeaveOutError {
    fn from(error: OutboxError) -> Self {
        Self::Record(error)
    }
}

impl From<SequenceError> for LeaveOutError {
    fn from(error: SequenceError) -> Self {
        Self::Sequence(error)
    }
}

impl From<wasmtime::Error> for LeaveOutError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Call(error)
    }
}

/// What both resources say of their events, and are told.
pub(super) trait Events {
    async fn identities(
        &self,
        store: &mut Store<State>,
        of: ResourceAny,
        offset: u32,
    ) -> wasmtime::Result<Vec<EventId>>;
    async fn exclude(&self, store: &mut Store<State>, of: ResourceAny, events: &[EventId]) -> Told;
    async fn withhold(&self, store: &mut Store<State>, of: ResourceAny, events: &[EventId]) -> Told;
}

type Told = wasmtime::Result<Result<(), SequenceError>>;

/// The bindings give each resource a type of its own.
macro_rules! events_of {
    ($resource:ident) => {
        impl Events for $resource<'_> {
            async fn identities(
                &self,
                store: &mut Store<State>,
                of: ResourceAny,
                offset: u32,
            ) -> wasmtime::Result<Vec<EventId>> {
                self.call_identities(store, of, offset, PAGE).await
            }

            async fn exclude(&self, store: &mut Store<State>, of: ResourceAny, events: &[EventId]) -> Told {
                self.call_exclude(store, of, events).await
            }

            async fn withhold(&self, store: &mut Store<State>, of: ResourceAny, events: &[EventId]) -> Told {
                self.call_withhold(store, of, events).await
            }
        }
    };
}

events_of!(GuestSession);
events_of!(GuestTransfer);

/// Leaves out what the record has of this session.
pub(super) async fn leave_out(
    events: &impl Events,
    store: &mut Store<State>,
    session: ResourceAny,
    record: &mut impl Record,
) -> Result<(), LeaveOutError> {
    let mut offset = 0;
    loop {
        let page = events.identities(store, session, offset).await?;
        let known = record.known(&page)?;
        if !known.is_empty() {
            events.exclude(store, session, &known).await??;
        }
        let length = page.len() as u32;
        offset += length;
        if length < PAGE {
            break;
        }
    }
    let uncovered = record.uncovered()?;
    if !uncovered.is_empty() {
        events.withhold(store, session, &uncovered).await??;
    }
    Ok(())
}
