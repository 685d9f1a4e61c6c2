//! The person's decisions: which destinations a project may ask for, what is never sent, and how long sending is
//! paused. They are in a file of their own next to the record, because a damaged record is replaced, and decisions must
//! not be lost.

use super::ids::key_hash;
use super::{FILE_NAME, Millis, OutboxError, now};
use crate::system::{atomic, directories, regular};
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file in the state directory.
pub const DECISIONS_FILE: &str = "decisions.json";

/// Version of the file's format.
const VERSION: u32 = 1;

/// Real files have a few KiB.
const MAX_BYTES: u64 = 8 << 20;

/// How many requests from projects are kept, the newest ones: a folder full of clones must not fill the file.
const MOST_ASKED: usize = 200;

/// How many of the most recent sessions seen during a pause are kept.
const MOST_PAUSED: usize = 10_000;

/// A project and a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The project's folder.
    pub project: String,
    /// Scheme, host and port.
    pub origin: String,
    /// A hash that distinguishes keys without revealing them.
    pub key_hash: String,
    /// The key in masked form.
    pub key: String,
}

impl Pair {
    /// Creates a pair of a project and a destination.
    pub fn new(project: &Path, origin: &Origin, key: &ApiKey) -> Self {
        Self { project: text_of(project), origin: origin.to_string(), key_hash: key_hash(key), key: key.to_string() }
    }

    /// Does this pair have the same destination as the other one, and is the other's project this one or inside it?
    fn covers(&self, other: &Self) -> bool {
        self.origin == other.origin
            && self.key_hash == other.key_hash
            && Path::new(&other.project).starts_with(&self.project)
    }
}

/// What a project asked for and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The project and the destination.
    #[serde(flatten)]
    pub pair: Pair,
    /// The file or other source of the request.
    pub source: String,
    /// The project asks for another destination; if false, it asks for sending to be on.
    pub redirects: bool,
    /// When the request was first seen.
    pub at: Millis,
}

/// All decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    version: u32,
    /// Requests the person has approved.
    pub approved: Vec<Pair>,
    /// Requests the person has refused: these projects' sessions go where the person's own settings say.
    pub refused: Vec<Pair>,
    /// Requests without a decision.
    pub asked: Vec<Asked>,
    /// Folders and transcripts that are never sent.
    pub never: Vec<String>,
    /// When the pause ends.
    pub paused_until: Option<Millis>,
    /// Transcripts of sessions that ran during a pause: they are sent only when named explicitly.
    pub ran_while_paused: Vec<String>,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            version: VERSION,
            approved: Vec::new(),
            refused: Vec::new(),
            asked: Vec::new(),
            never: Vec::new(),
            paused_until: None,
            ran_while_paused: Vec::new(),
        }
    }
}

/// The decision about a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The project may use the destination.
    Approved,
    /// The project may not use it, and the person's own settings apply.
    Refused,
    /// There is no decision.
    Open,
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Decisions {
    /// Reads the decisions. A file that cannot be read is an error, because it may contain a refusal.
    pub fn load(directory: &Path) -> Result<Self, OutboxError> {
        let path = directory.join(DECISIONS_FILE);
        let failed = |error| OutboxError::Directory { path: path.clone(), error };
        if !regular::exists(&path).map_err(failed)? {
            return Ok(Self::default());
        }
        let bytes = regular::read(&path, MAX_BYTES).map_err(failed)?;
        // Parsing directly would accept a list as the fields in order.
        serde_json::from_slice::<serde_json::Map<_, _>>(&bytes)
            .and_then(|object| serde_json::from_value(object.into()))
            .map_err(|error| failed(io::Error::other(error)))
    }

    /// Changes the decisions without losing what other processes write at the same time.
    pub fn change(directory: &Path, change: impl FnOnce(&mut Self)) -> Result<Self, OutboxError> {
        directories::make_private(directory)
            .map_err(|error| OutboxError::Directory { path: directory.to_owned(), error })?;
        let lock = directory.join("decisions.lock");
        let failed = |error| OutboxError::Directory { path: lock.clone(), error };
        let file = regular::open_lock(&lock).map_err(failed)?;
        file.lock().map_err(failed)?;
        let before = Self::load(directory)?;
        let mut decisions = before.clone();
        change(&mut decisions);
        if decisions != before {
            let text = serde_json::to_vec_pretty(&decisions).map_err(|error| failed(io::Error::other(error)))?;
            atomic::write(&directory.join(DECISIONS_FILE), &text).map_err(failed)?;
        }
        Ok(decisions)
    }

    /// The decision about this pair.
    pub fn verdict(&self, pair: &Pair) -> Verdict {
        match () {
            () if self.refused.iter().any(|refused| refused.covers(pair)) => Verdict::Refused,
            () if self.approved.iter().any(|approved| approved.covers(pair)) => Verdict::Approved,
            () => Verdict::Open,
        }
    }

    /// Lets a project use a destination.
    pub fn approve(&mut self, pair: &Pair) {
        self.settle(pair);
        self.approved.push(pair.clone());
    }

    /// Refuses a destination to a project.
    pub fn refuse(&mut self, pair: &Pair) {
        self.settle(pair);
        self.refused.push(pair.clone());
    }

    /// Forgets the decisions about a project. Returns how many there were.
    pub fn forget(&mut self, project: &Path) -> usize {
        let project = text_of(project);
        let before = self.approved.len() + self.refused.len();
        self.approved.retain(|pair| pair.project != project);
        self.refused.retain(|pair| pair.project != project);
        before - self.approved.len() - self.refused.len()
    }

    fn settle(&mut self, pair: &Pair) {
        self.approved.retain(|other| !pair.covers(other));
        self.refused.retain(|other| !pair.covers(other));
        self.asked.retain(|asked| !pair.covers(&asked.pair));
    }

    /// Records a project's request.
    pub fn ask(&mut self, new: Asked) {
        if self.asked.iter().any(|asked| asked.pair == new.pair && asked.source == new.source) {
            return;
        }
        self.asked.retain(|asked| asked.pair != new.pair);
        self.asked.push(new);
        let excess = self.asked.len().saturating_sub(MOST_ASKED);
        self.asked.drain(..excess);
    }

    /// When the current pause ends, if sending is paused now.
    pub fn paused(&self) -> Option<Millis> {
        self.paused_until.filter(|until| *until > now())
    }

    /// Records that a session was seen during a pause.
    pub fn saw_paused(&mut self, transcript: &Path) {
        let transcript = text_of(transcript);
        if !self.ran_while_paused.contains(&transcript) {
            self.ran_while_paused.push(transcript);
            let excess = self.ran_while_paused.len().saturating_sub(MOST_PAUSED);
            self.ran_while_paused.drain(..excess);
        }
    }

    /// Did this session run during a pause?
    pub fn ran_while_paused(&self, transcript: &Path) -> bool {
        !self.ran_while_paused.is_empty() && self.ran_while_paused.contains(&text_of(transcript))
    }

    /// The first entry of the never-send list that contains one of these paths.
    pub fn never<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Option<&str> {
        if self.never.is_empty() {
            return None;
        }
        paths.into_iter().find_map(|path| {
            let resolved = path.canonicalize().ok();
            let is_in = |entry: &&String| {
                path.starts_with(entry) || resolved.as_ref().is_some_and(|resolved| resolved.starts_with(entry))
            };
            self.never.iter().find(is_in).map(String::as_str)
        })
    }
}

/// Like [`regular::exists`], for every file that the database opens along with its own.
pub(super) fn check_database_files(path: &Path) -> Result<(), OutboxError> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let path = path.with_file_name(format!("{FILE_NAME}{ending}"));
        regular::exists(&path).map_err(|error| OutboxError::Directory { path, error })?;
    }
    Ok(())
}

/// Resolves a path that the person gave.
pub fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

    use super::*;
    use std::fs;

    fn pair(project: &str, origin: &str, key: &str) -> Pair {
        Pair::new(Path::new(project), &Origin::parse(origin, true).unwrap(), &ApiKey::parse(key).unwrap())
    }

    fn asked(pair: &Pair) -> Asked {
        Asked { pair: pair.clone(), source: "f".into(), redirects: true, at: 0 }
    }

    const US: &str = "https://us.i.posthog.com";

    #[test]
    fn an_approval_is_of_a_pair_and_of_a_project() {
        let directory = tempfile::tempdir().unwrap();
        let approved = pair("/p", US, "phc_a");
        Decisions::change(directory.path(), |decisions| decisions.approve(&approved)).unwrap();
        let decisions = Decisions::load(directory.path()).unwrap();
        assert_eq!(decisions.verdict(&approved), Verdict::Approved);
        assert_eq!(decisions.verdict(&pair("/p/sub", US, "phc_a")), Verdict::Approved);
        for other in [pair("/q", US, "phc_a"), pair("/p", "https://x.example", "phc_a"), pair("/p", US, "phc_b")] {
            assert_eq!(decisions.verdict(&other), Verdict::Open);
        }
        let text = fs::read_to_string(directory.path().join(DECISIONS_FILE)).unwrap();
        assert!(!text.contains("phc_a"), "{text}");
    }

    #[test]
    fn the_last_word_counts_and_can_be_taken_back() {
        let mut decisions = Decisions::default();
        let pair = pair("/p", US, "phc_a");
        decisions.ask(asked(&pair));
        decisions.ask(asked(&pair));
        assert_eq!(decisions.asked.len(), 1);
        decisions.refuse(&pair);
        assert_eq!((decisions.verdict(&pair), decisions.asked.len()), (Verdict::Refused, 0));
        decisions.approve(&pair);
        assert_eq!(decisions.verdict(&pair), Verdict::Approved);
        assert_eq!(decisions.forget(Path::new("/p")), 1);
        assert_eq!(decisions.verdict(&pair), Verdict::Open);
    }

    #[test]
    fn what_is_never_sent_is_a_folder_with_all_in_it() {
        let decisions = Decisions { never: vec!["/a/secret".into()], ..Decisions::default() };
        assert_eq!(decisions.never([Path::new("/a/secret/deep")]), Some("/a/secret"));
        assert_eq!(decisions.never([Path::new("/a/secrets"), Path::new("/a")]), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "{\"never\": 1}", "{\"something_new\": true}"] {
            fs::write(directory.path().join(DECISIONS_FILE), text).unwrap();
            assert!(Decisions::load(directory.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn projects_that_ask_do_not_fill_the_file() {
        let mut decisions = Decisions::default();
        for i in 0..=MOST_ASKED {
            decisions.ask(asked(&pair(&format!("/{i}"), US, "phc_a")));
        }
        assert_eq!(decisions.asked.len(), MOST_ASKED);
        assert_eq!(decisions.asked[0].pair.project, "/1");
    }
}
