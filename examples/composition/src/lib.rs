//! A component in front of the converter. It passes every call on, and masks words of your own in what comes back. `wac plug`
//! makes one component of the two, which any host of the converter runs; like the converter it imports nothing.

#![cfg(target_family = "wasm")]
#![allow(missing_docs, clippy::pedantic, unsafe_code, reason = "generated code")]

wit_bindgen::generate!({ path: ["../../wit", "wit"], world: "example:redactor/redactor", generate_all });

use exports::posthog::llm_analytics::conversion::{Guest, GuestSession, Session as Exported, SubAgent};
use posthog::llm_analytics::conversion::{self, Session as Inner};
use posthog::llm_analytics::types::{
    ConversionOptions, ConversionReport, EventId, FileRole, InvalidOption, SequenceError,
};

/// What must not leave: here the name of a project that nobody is to know of.
const WORDS: [&str; 1] = ["storefront"];

/// What stands in its place. Neither has a character that JSON escapes, so events stay JSON.
const MASK: &str = "[masked]";

struct Redactor;
export!(Redactor);

impl Guest for Redactor {
    type Session = Session;

    fn main_transcript(path: String) -> Option<String> {
        conversion::main_transcript(&path)
    }

    fn sub_agents(id: String, paths: Vec<String>) -> Vec<SubAgent> {
        let found = conversion::sub_agents(&id, &paths).into_iter().map(|found| SubAgent {
            file: found.file,
            agent_id: found.agent_id,
            workflow_run: found.workflow_run,
            metadata: found.metadata,
            flat: found.flat,
        });
        found.collect()
    }

    fn belongs_to(id: String, beginning: Vec<u8>) -> bool {
        conversion::belongs_to(&id, &beginning)
    }
}

struct Session(Inner);

impl GuestSession for Session {
    fn open(id: String, files: Vec<FileRole>, options: ConversionOptions) -> Result<Exported, InvalidOption> {
        Inner::open(&id, &files, &options).map(|inner| Exported::new(Self(inner)))
    }

    fn scan(&self, file: u32, bytes: Vec<u8>) -> Result<(), SequenceError> {
        self.0.scan(file, &bytes)
    }

    fn identities(&self, offset: u32, count: u32) -> Vec<EventId> {
        self.0.identities(offset, count)
    }

    fn exclude(&self, events: Vec<EventId>) -> Result<(), SequenceError> {
        self.0.exclude(&events)
    }

    fn withhold(&self, events: Vec<EventId>) -> Result<(), SequenceError> {
        self.0.withhold(&events)
    }

    fn convert(&self, file: u32, bytes: Vec<u8>) -> Result<(), SequenceError> {
        self.0.convert(file, &bytes)
    }

    fn finish(&self) -> Result<(), SequenceError> {
        self.0.finish()
    }

    fn take_events(&self, max_bytes: u32) -> Vec<u8> {
        // Whole lines, in UTF-8.
        let events = String::from_utf8(self.0.take_events(max_bytes)).unwrap_or_default();
        WORDS.iter().fold(events, |events, word| events.replace(word, MASK)).into_bytes()
    }

    fn report(&self) -> ConversionReport {
        self.0.report()
    }
}
