//! A component that wraps the converter. It forwards every call, and masks your own words in the results. `wac plug`
//! combines the two into one component that any host of the converter can run; like the converter, it imports nothing.

#![cfg(target_family = "wasm")]
#![allow(missing_docs, clippy::pedantic, unsafe_code, reason = "generated code")]

mod pass_on;

wit_bindgen::generate!({ path: ["../../wit", "wit"], world: "example:redactor/redactor", generate_all });

use exports::posthog::llm_analytics::conversion::{Guest, GuestSession, Session as Exported, SubAgent};
use exports::posthog::llm_analytics::types::{
    ConversionOptions, ConversionReport, EventId, FileRole, InvalidOption, SequenceError,
};
use pass_on::all;
use posthog::llm_analytics::conversion::{self, Session as Inner};

/// Words that must not leave the machine: here, the name of a secret project.
const WORDS: [&str; 1] = ["storefront"];

/// The replacement. Neither contains a character that JSON escapes, so events stay valid JSON.
const MASK: &str = "[masked]";

struct Redactor;
export!(Redactor);

impl Guest for Redactor {
    type Session = Session;

    fn main_transcript(path: String) -> Option<String> {
        conversion::main_transcript(&path)
    }

    fn began(beginning: Vec<u8>) -> Option<i64> {
        conversion::began(&beginning)
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
        let inner = Inner::open(&id, &all(files), &options.into())?;
        Ok(Exported::new(Self(inner)))
    }

    fn read_before(&self, file: u32, bytes: u64) -> Result<(), SequenceError> {
        Ok(self.0.read_before(file, bytes)?)
    }

    fn scan(&self, file: u32, bytes: Vec<u8>) -> Result<(), SequenceError> {
        Ok(self.0.scan(file, &bytes)?)
    }

    fn identities(&self, offset: u32, count: u32) -> Vec<EventId> {
        all(self.0.identities(offset, count))
    }

    fn exclude(&self, events: Vec<EventId>) -> Result<(), SequenceError> {
        Ok(self.0.exclude(&all(events))?)
    }

    fn withhold(&self, events: Vec<EventId>) -> Result<(), SequenceError> {
        Ok(self.0.withhold(&all(events))?)
    }

    fn convert(&self, file: u32, bytes: Vec<u8>) -> Result<(), SequenceError> {
        Ok(self.0.convert(file, &bytes)?)
    }

    fn finish(&self) -> Result<(), SequenceError> {
        Ok(self.0.finish()?)
    }

    fn take_events(&self, max_bytes: u32) -> Vec<u8> {
        // Events come as whole lines, in UTF-8.
        let events = String::from_utf8(self.0.take_events(max_bytes)).unwrap_or_default();
        WORDS.iter().fold(events, |events, word| events.replace(word, MASK)).into_bytes()
    }

    fn report(&self) -> ConversionReport {
        self.0.report().into()
    }
}
