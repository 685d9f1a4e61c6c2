//! What the person has decided: which destinations a project may ask for, what is never sent, and for how long nothing is.
//! It is a file of its own beside the record, because a damaged record is replaced, and a decision must not be.

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

/// Version of the file's form.
const VERSION: u32 = 1;

/// Real ones have a few KiB.
const MAX_BYTES: u64 = 8 << 20;

/// What projects ask for, the latest ones: a folder full of clones must not fill the file.
const MOST_ASKED: usize = 200;

/// Sessions that were seen while nothing was to be sent, the latest ones.
const MOST_PAUSED: usize = 10_000;

/// A project and a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The project's folder.
    pub project: String,
    /// Scheme, host and port.
    pub origin: String,
    /// Tells keys apart without holding one.
    pub key_hash: String,
    /// The key, as it may be shown.
    pub key: String,
}

impl Pair {
    /// A project and a destination.
    pub fn new(project: &Path, origin: &Origin, key: &ApiKey) -> Self {
        Self { project: text_of(project), origin: origin.to_string(), key_hash: key_hash(key), key: key.to_string() }
    }

    /// Is it the same destination, in the other's project or in one inside of it?
    fn covers(&self, other: &Self) -> bool {
        self.origin == other.origin
            && self.key_hash == other.key_hash
            && Path::new(&other.project).starts_with(&self.project)
    }
}

/// What a project asked for, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// For what.
    #[serde(flatten)]
    pub pair: Pair,
    /// The file, or another source.
    pub source: String,
    /// It asks for another destination; otherwise that sending be on.
    pub redirects: bool,
    /// When it was seen first.
    pub at: Millis,
}

/// All decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    version: u32,
    /// What projects may have.
    pub approved: Vec<Pair>,
    /// What they may not have: their sessions go where the person's own settings say.
    pub refused: Vec<Pair>,
    /// What they asked for and nobody has decided.
    pub asked: Vec<Asked>,
    /// Folders and transcripts of which nothing is ever sent.
    pub never: Vec<String>,
    /// Until when nothing is sent.
    pub paused_until: Option<Millis>,
    /// Transcripts of sessions that ran meanwhile: they are sent only when they are named.
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

/// What was decided of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The project may have it.
    Approved,
    /// It may not, and the person's own settings count.
    Refused,
    /// Nobody has decided.
    Open,
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Decisions {
    /// Reads them. A file that cannot be read is an error: somebody may have said no in it.
    pub fn load(directory: &Path) -> Result<Self, OutboxError> {
        let path = directory.join(DECISIONS_FILE);
        let failed = |error| OutboxError::Directory { path: path.clone(), error };
        if !regular::exists(&path).map_err(failed)? {
            return Ok(Self::default());
        }
        let bytes = regular::read(&path, MAX_BYTES).map_err(failed)?;
        // A list would be taken for the fields in their order.
        serde_json::from_slice::<serde_json::Map<_, _>>(&bytes)
            .and_then(|object| serde_json::from_value(object.into()))
            .map_err(|error| failed(io::Error::other(error)))
    }

    /// Changes them: what others write meanwhile is kept.
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

    /// What was decided.
    pub fn verdict(&self, pair: &Pair) -> Verdict {
        match () {
            () if self.refused.iter().any(|refused| refused.covers(pair)) => Verdict::Refused,
            () if self.approved.iter().any(|approved| approved.covers(pair)) => Verdict::Approved,
            () => Verdict::Open,
        }
    }

    /// A project may have it.
    pub fn approve(&mut self, pair: &Pair) {
        self.settle(pair);
        self.approved.push(pair.clone());
    }

    /// A project may not have it.
    pub fn refuse(&mut self, pair: &Pair) {
        self.settle(pair);
        self.refused.push(pair.clone());
    }

    /// Forgets what was decided of a project. How much that was.
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

    /// A project asks.
    pub fn ask(&mut self, new: Asked) {
        if self.asked.iter().any(|asked| asked.pair == new.pair && asked.source == new.source) {
            return;
        }
        self.asked.retain(|asked| asked.pair != new.pair);
        self.asked.push(new);
        let excess = self.asked.len().saturating_sub(MOST_ASKED);
        self.asked.drain(..excess);
    }

    /// Until when nothing is sent, if that is now.
    pub fn paused(&self) -> Option<Millis> {
        self.paused_until.filter(|until| *until > now())
    }

    /// A session was seen while nothing was sent.
    pub fn saw_paused(&mut self, transcript: &Path) {
        let transcript = text_of(transcript);
        if !self.ran_while_paused.contains(&transcript) {
            self.ran_while_paused.push(transcript);
            let excess = self.ran_while_paused.len().saturating_sub(MOST_PAUSED);
            self.ran_while_paused.drain(..excess);
        }
    }

    /// Did it run while nothing was sent?
    pub fn ran_while_paused(&self, transcript: &Path) -> bool {
        !self.ran_while_paused.is_empty() && self.ran_while_paused.contains(&text_of(transcript))
    }

    /// The entry of the list of what is never sent that one of these paths is in.
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

/// As [`regular::exists`], for all files that the database opens with its own.
pub(super) fn check_database_files(path: &Path) -> Result<(), OutboxError> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let path = path.with_file_name(format!("{FILE_NAME}{ending}"));
        regular::exists(&path).map_err(|error| OutboxError::Directory { path, error })?;
    }
    Ok(())
}

/// The folders that are meant by a path that the person gave.
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
