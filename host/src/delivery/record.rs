//! Tracks what was already delivered, and tells the component.

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

/// The record of what was delivered earlier and what is delivered now.
pub trait Record {
    /// Which of these events were already delivered. Called for all of a session's generations and spans.
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError>;
    /// Events of this session that were delivered without the trace that covers them.
    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError>;
    /// Records the outcome of a batch. If this fails, nothing more is sent, because it could not be recorded.
    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError>;
    /// The lane that this server is known to accept, if it is not the newest.
    fn lane(&mut self) -> Result<Option<Lane>, OutboxError> {
        Ok(None)
    }
    /// How long to wait before continuing when the server accepts no more for now; `None` ends the delivery.
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

/// How many IDs to request at once.
const PAGE: u32 = 10_000;

/// Why the component could not be told what to leave out.
pub(super) enum LeaveOutError {
    /// The record of deliveries cannot be read.
    Record(OutboxError),
    /// The component violated its own interface: an event that is left out too late would be sent twice.
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

/// The calls about events that both resources have in common.
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

/// The bindings have a separate type for each resource.
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

/// Leaves out this session's events that are already in the record.
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
