//! A component with the interface of the real one that tries what it must not be able to do. The session id that
//! `delivering.start` gets says what; what came of it is the reason of the `invalid-option` that it always answers.

mod attempts;
mod requests;

wit_bindgen::generate!({
    path: "../../wit",
    world: "exporter",
    generate_all,
});

use exports::posthog::llm_analytics::conversion::SequenceError;
use exports::posthog::llm_analytics::conversion::{Guest as Conversion, GuestSession, Session};
use exports::posthog::llm_analytics::delivery::{
    BatchReport, Delivering, DeliveryError, Destination, Guest as Delivery, GuestDelivering, Patience, SessionFile,
    StartError,
};
use exports::wasi::cli::run::Guest as Run;
use posthog::llm_analytics::types::{ConversionOptions, ConversionReport, EventId, FileRole, InvalidOption};

struct Component;

impl Delivery for Component {
    type Delivering = Never;
}

impl Conversion for Component {
    type Session = Never;
}

impl Run for Component {
    fn run() -> Result<(), ()> {
        Err(())
    }
}

export!(Component);

/// No session is ever opened, so no method is ever called.
enum Never {}

impl GuestDelivering for Never {
    fn start(
        id: String,
        files: Vec<SessionFile>,
        _options: ConversionOptions,
        destination: Destination,
        _patience: Patience,
    ) -> Result<Delivering, StartError> {
        let files: Vec<_> = files.into_iter().map(|file| file.contents).collect();
        Err(StartError::InvalidOption(InvalidOption {
            reason: attempts::attempt(&id, &files, &destination.origin),
            name: id,
        }))
    }

    fn identities(&self, _offset: u32, _count: u32) -> Vec<EventId> {
        match *self {}
    }

    fn exclude(&self, _events: Vec<EventId>) {
        match *self {}
    }

    fn withhold(&self, _events: Vec<EventId>) {
        match *self {}
    }

    fn next(&self) -> Result<Option<BatchReport>, DeliveryError> {
        match *self {}
    }

    fn report(&self) -> ConversionReport {
        match *self {}
    }
}

impl GuestSession for Never {
    fn open(id: String, _files: Vec<FileRole>, _options: ConversionOptions) -> Result<Session, InvalidOption> {
        Err(InvalidOption { reason: attempts::attempt(&id, &[], ""), name: id })
    }

    fn scan(&self, _file: u32, _bytes: Vec<u8>) -> Result<(), SequenceError> {
        match *self {}
    }

    fn identities(&self, _offset: u32, _count: u32) -> Vec<EventId> {
        match *self {}
    }

    fn exclude(&self, _events: Vec<EventId>) {
        match *self {}
    }

    fn withhold(&self, _events: Vec<EventId>) {
        match *self {}
    }

    fn convert(&self, _file: u32, _bytes: Vec<u8>) -> Result<(), SequenceError> {
        match *self {}
    }

    fn finish(&self) -> Result<(), SequenceError> {
        match *self {}
    }

    fn take_events(&self, _max_bytes: u32) -> Vec<u8> {
        match *self {}
    }

    fn report(&self) -> ConversionReport {
        match *self {}
    }
}
