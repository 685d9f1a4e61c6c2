//! Tells the component what was delivered before.

use crate::delivery::send::Record;
use crate::outbox::OutboxError;
use posthog_llma_sandbox::State;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::conversion::GuestSession;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::GuestTransfer;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{EventId, SequenceError};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

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
