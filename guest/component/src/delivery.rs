//! The `delivery` interface.

use super::Component;
use super::conversion;
use super::http::{Timeouts, WasiTransport};
use super::types::{ConversionOptions, ConversionReport, EventId, EventKind, SequenceError};
use super::world::tell_panics;
use crate::bindings::exports::posthog::llm_analytics::delivery::{
    self as wit, BatchReport, DeliveryError, Destination, EventReport, Guest, GuestTransfer, Patience, Refusal,
    SessionFile, StartError, Unavailability, UnreadableFile, Verdict,
};
use posthog_llma_pipeline::delivery::deliver::{self, Access, Delivery, Retries};
use posthog_llma_pipeline::delivery::reading::Source;
use posthog_llma_pipeline::events::event::Kind;
use posthog_llma_pipeline::origin::Origin;
use std::cell::RefCell;
use std::time::Duration;
use wasi::filesystem::types::{Descriptor, ErrorCode};

impl Guest for Component {
    type Transfer = Transfer;
}

/// Files by their handles. The component can read nothing else.
pub(crate) struct Handles(Vec<Handle>);

struct Handle {
    file: Descriptor,
    /// Bytes that earlier deliveries read.
    read_before: u64,
    /// The offset to read up to.
    end: u64,
}

impl Source for Handles {
    type Error = ErrorCode;

    fn size(&mut self, file: u32) -> Result<u64, ErrorCode> {
        let handle = &self.0[file as usize];
        Ok(handle.file.stat()?.size.min(handle.end))
    }

    fn read_before(&self, file: u32) -> u64 {
        self.0[file as usize].read_before
    }

    fn read(&mut self, file: u32, offset: u64, most: usize) -> Result<Vec<u8>, ErrorCode> {
        Ok(self.0[file as usize].file.read(most as u64, offset)?.0)
    }
}

impl From<Patience> for Retries {
    fn from(patience: Patience) -> Self {
        Self { most: patience.max_retries, first_delay: Duration::from_millis(patience.first_delay.into()) }
    }
}

impl From<Patience> for Timeouts {
    fn from(patience: Patience) -> Self {
        let milliseconds = |time: u32| Duration::from_millis(time.into());
        Self {
            connect: milliseconds(patience.connect_timeout),
            first_byte: milliseconds(patience.first_byte_timeout),
            request: milliseconds(patience.request_timeout),
        }
    }
}

/// A session being delivered.
pub(crate) struct Transfer(RefCell<Delivery<Handles, WasiTransport>>);

impl GuestTransfer for Transfer {
    fn start(
        id: String,
        files: Vec<SessionFile>,
        options: ConversionOptions,
        destination: Destination,
        patience: Patience,
    ) -> Result<wit::Transfer, StartError> {
        tell_panics();
        let handle = |file: SessionFile| {
            let (read_before, end) = (file.read_before, file.end.unwrap_or(u64::MAX));
            (conversion::role(file.role), Handle { file: file.contents, read_before, end })
        };
        let (roles, handles): (Vec<_>, Vec<_>) = files.into_iter().map(handle).unzip();
        // The caller decides which hosts are allowed, and the host enforces it.
        let origin = Origin::parse(&destination.origin, true)
            .map_err(|error| StartError::InvalidDestination(error.to_string()))?;
        let transport = WasiTransport::new(origin, patience.into());
        let retries = Retries::from(patience);
        let source = Handles(handles);
        let access = Access::new(destination.api_key);
        let delivery = Delivery::start(&id, &roles, options.into(), source, transport, access, retries)?;
        Ok(wit::Transfer::new(Self(RefCell::new(delivery))))
    }

    fn identities(&self, offset: u32, count: u32) -> Vec<EventId> {
        conversion::page(self.0.borrow_mut().session().identities(), offset, count)
    }

    fn exclude(&self, events: Vec<EventId>) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().session().exclude(events.into_iter().map(Into::into))?)
    }

    fn withhold(&self, events: Vec<EventId>) -> Result<(), SequenceError> {
        Ok(self.0.borrow_mut().session().withhold(events.into_iter().map(Into::into))?)
    }

    fn next(&self) -> Result<Option<BatchReport>, DeliveryError> {
        Ok(self.0.borrow_mut().next_batch()?.map(Into::into))
    }

    fn report(&self) -> ConversionReport {
        conversion::report(self.0.borrow_mut().session())
    }
}

impl From<deliver::StartError<ErrorCode>> for StartError {
    fn from(error: deliver::StartError<ErrorCode>) -> Self {
        match error {
            deliver::StartError::InvalidOption(invalid) => Self::InvalidOption(invalid.into()),
            deliver::StartError::UnreadableFile(file, error) => Self::UnreadableFile(UnreadableFile { file, error }),
        }
    }
}

impl From<deliver::DeliveryError<ErrorCode>> for DeliveryError {
    fn from(error: deliver::DeliveryError<ErrorCode>) -> Self {
        match error {
            deliver::DeliveryError::Unreachable(why) => Self::Unreachable(why),
            deliver::DeliveryError::TimedOut(why) => Self::TimedOut(why),
            deliver::DeliveryError::Unavailable(status, retry_after, message) => {
                Self::Unavailable(Unavailability { status, retry_after, message })
            }
            deliver::DeliveryError::RateLimited(words) => Self::RateLimited(words),
            deliver::DeliveryError::BillingLimit(words) => Self::BillingLimit(words),
            deliver::DeliveryError::Refused(status, message) => Self::Refused(Refusal { status, message }),
            deliver::DeliveryError::NotPostHog(words) => Self::NotPosthog(words),
            deliver::DeliveryError::UnreadableFile(file, error) => Self::UnreadableFile(UnreadableFile { file, error }),
        }
    }
}

impl From<deliver::BatchReport> for BatchReport {
    fn from(report: deliver::BatchReport) -> Self {
        let warning = |id| report.warned.iter().find(|(warned, _)| *warned == id).map(|(_, words)| words.clone());
        let accepted = report.accepted.iter().map(|(id, kind)| EventReport {
            id: (*id).into(),
            kind: (*kind).into(),
            verdict: warning(*id).map_or(Verdict::Accepted, Verdict::AcceptedWithWarning),
        });
        let rejected = report.rejected.into_iter().map(|rejected| EventReport {
            id: rejected.id.into(),
            kind: rejected.kind.into(),
            verdict: Verdict::Rejected(Refusal { status: rejected.status, message: rejected.message }),
        });
        let left_out = report.left_out.iter().map(|id| EventReport {
            id: (*id).into(),
            kind: EventKind::Span,
            verdict: Verdict::LeftOut,
        });
        Self {
            events: accepted.chain(rejected).chain(left_out).collect(),
            tokens: conversion::tokens(report.tokens),
            shortened_events: report.shortened,
            requests: report.requests,
            raw_bytes: report.raw_bytes,
            sent_bytes: report.sent_bytes,
            path: report.lane.path().to_owned(),
            quota_limited: report.quota_limited,
            bytes_read: report.bytes_read,
            last: report.last,
        }
    }
}

impl From<Kind> for EventKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Generation => Self::Generation,
            Kind::Span | Kind::Session => Self::Span,
            Kind::Trace => Self::Trace,
        }
    }
}
