//! Caches the results of the last lists of sessions, so that the same list does not have to convert them all again.
//!
//! The cache stores counts under a hash of the list's sessions, the sizes and times of their files, and the settings.
//! It has no text, no names and no paths. A list is valid only as a whole: sessions share events, and each event is
//! counted once, so one session's counts depend on the others. Without the cache everything still works, only slower.

use crate::delivery::ingest::{IngestOutcome, PastSession, Sent};
use crate::outbox::stored_options;
use crate::program::Program;
use crate::system::atomic::AtomicFile;
use crate::system::{cores, directories, regular};
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_sandbox::COMPONENT_SHA256;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::Write as _;
use std::path::PathBuf;

/// Name of the file in the cache directory.
const FILE_NAME: &str = "lists.json";

/// How many lists are kept: one of all sessions, and those of a few projects.
const MOST: usize = 4;

/// Maximum size of the file in bytes.
const LARGEST: u64 = 64 << 20;

/// The outcome for a session.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Counted {
    /// Events, and tokens: input, output, cache read, cache creation.
    Holds(u64, [u64; 4]),
    /// Another session contains all of it.
    InAnother,
    Nothing,
}

impl Counted {
    fn of(outcome: &IngestOutcome) -> Option<Self> {
        match outcome {
            IngestOutcome::Sent(sent) => Some(Self::Holds(sent.events, sent.tokens)),
            IngestOutcome::DeliveredBefore => Some(Self::InAnother),
            IngestOutcome::NothingToSend => Some(Self::Nothing),
            // The next attempt may succeed.
            IngestOutcome::Failed { .. } | IngestOutcome::Withheld { .. } | IngestOutcome::NotReached => None,
        }
    }

    fn outcome(self) -> IngestOutcome {
        match self {
            Self::Holds(events, tokens) => IngestOutcome::Sent(Sent { events, tokens, ..Sent::default() }),
            Self::InAnother => IngestOutcome::DeliveredBefore,
            Self::Nothing => IngestOutcome::NothingToSend,
        }
    }
}

/// The remembered lists, newest first.
#[derive(Debug, Default)]
pub struct Remembered {
    path: Option<PathBuf>,
    lists: VecDeque<(String, Vec<Counted>)>,
}

impl Remembered {
    /// Reads the lists.
    pub fn read() -> Self {
        let path = directories::cache(|name| std::env::var_os(name)).map(|directory| directory.join(FILE_NAME));
        let text = path.as_ref().and_then(|path| regular::read(path, LARGEST).ok()).unwrap_or_default();
        Self { path, lists: serde_json::from_slice(&text).unwrap_or_default() }
    }

    /// The key for these sessions in their current state; `None` if one of them cannot be read.
    pub fn key(program: &Program, sessions: &[PastSession]) -> Option<String> {
        // Nearly all of a list's time, when it is remembered, is asking the system for the state of files.
        let states = cores::map(sessions, |session| {
            let state = program.session_state(&session.transcript).ok()?;
            Some(format!("{state}{}\0", session.transcript.to_string_lossy()))
        });
        let states: String = states.into_iter().collect::<Option<_>>()?;
        let options = stored_options::to_text(&program.options.conversion);
        Some(EventId::other("list", &format!("{COMPONENT_SHA256} {options}{states}")).to_string())
    }

    /// The outcomes of the sessions with this key.
    pub fn outcomes(&self, key: &str, count: usize) -> Option<Vec<IngestOutcome>> {
        let (_, counted) = self.lists.iter().find(|(known, counted)| known == key && counted.len() == count)?;
        Some(counted.iter().map(|counted| counted.outcome()).collect())
    }

    /// Stores the outcomes, if all are known. If they cannot be written, the next list determines them again.
    pub fn note(mut self, key: String, outcomes: &[IngestOutcome]) {
        let Some(path) = self.path else { return };
        let Some(counted) = outcomes.iter().map(Counted::of).collect() else { return };
        self.lists.push_front((key, counted));
        self.lists.truncate(MOST);
        let write = || -> std::io::Result<()> {
            path.parent().map_or(Ok(()), directories::make_private)?;
            let mut file = AtomicFile::create(&path)?;
            file.write_all(&serde_json::to_vec(&self.lists)?)?;
            file.commit()
        };
        // Without it, the next list takes longer.
        let _ = write();
    }
}
