//! A component with the real one's interface that tries what it must not be able to do. The session ID passed to
//! `transfer.start` selects the attempt; the call always fails with `invalid-option`, whose reason is the attempt's
//! outcome.

mod attempts;
mod requests;

// Imports more than the real one.
wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package posthog:misbehaving;

        world misbehaving {
            include posthog:llm-analytics/exporter@0.1.0;
            import wasi:cli/environment@0.2.12;
            import wasi:filesystem/preopens@0.2.12;
        }
    ",
    world: "posthog:misbehaving/misbehaving",
    generate_all,
});

use exports::posthog::llm_analytics::conversion::{Guest as Conversion, GuestSession, Session, SubAgent};
use exports::posthog::llm_analytics::delivery::{
    BatchReport, DeliveryError, Destination, Guest as Delivery, GuestTransfer, Patience, SessionFile, StartError,
    Transfer,
};
use posthog::llm_analytics::types::{
    ConversionOptions, ConversionReport, EventId, FileRole, InvalidOption, SequenceError,
};

struct Component;

impl Delivery for Component {
    type Transfer = Never;
}

impl Conversion for Component {
    type Session = Never;

    fn main_transcript(_path: String) -> Option<String> {
        None
    }

    fn sub_agents(_id: String, _paths: Vec<String>) -> Vec<SubAgent> {
        Vec::new()
    }

    fn began(_beginning: Vec<u8>) -> Option<i64> {
        None
    }

    fn belongs_to(_id: String, _beginning: Vec<u8>) -> bool {
        false
    }
}

export!(Component);

/// No session is ever opened, so no method is ever called.
enum Never {}

impl GuestTransfer for Never {
    fn start(
        id: String,
        files: Vec<SessionFile>,
        _options: ConversionOptions,
        destination: Destination,
        _patience: Patience,
    ) -> Result<Transfer, StartError> {
        let files: Vec<_> = files.into_iter().map(|file| file.contents).collect();
        Err(StartError::InvalidOption(InvalidOption {
            reason: attempts::attempt(&id, &files, &destination.origin),
            name: id,
        }))
    }

    fn identities(&self, _offset: u32, _count: u32) -> Vec<EventId> {
        match *self {}
    }

    fn exclude(&self, _events: Vec<EventId>) -> Result<(), SequenceError> {
        match *self {}
    }

    fn withhold(&self, _events: Vec<EventId>) -> Result<(), SequenceError> {
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

    fn read_before(&self, _file: u32, _bytes: u64) -> Result<(), SequenceError> {
        match *self {}
    }

    fn scan(&self, _file: u32, _bytes: Vec<u8>) -> Result<(), SequenceError> {
        match *self {}
    }

    fn identities(&self, _offset: u32, _count: u32) -> Vec<EventId> {
        match *self {}
    }

    fn exclude(&self, _events: Vec<EventId>) -> Result<(), SequenceError> {
        match *self {}
    }

    fn withhold(&self, _events: Vec<EventId>) -> Result<(), SequenceError> {
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
