//! Finds a session's main transcript from what the user types.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{TranscriptError, session_id, utf8_name};
use crate::system::regular;
use posthog_llma_pipeline::session::files;

#[cfg(test)]
mod tests;

/// How many candidates an error lists.
const SHOWN_CANDIDATES: usize = 10;

/// A main transcript in one of the projects' folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSession {
    /// The session's ID.
    pub id: String,
    /// Its main transcript; the most recently modified one if there are several.
    pub path: PathBuf,
    /// All its main transcripts.
    pub paths: Vec<PathBuf>,
    /// The time of the last modification.
    pub modified: SystemTime,
}

/// A session that was not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The given path is not a transcript.
    #[error(transparent)]
    Transcript(#[from] TranscriptError),
    /// Nothing was given.
    #[error("no session given: give its ID, the start of its ID, or the path of its transcript")]
    Empty,
    /// The projects' folder cannot be read.
    #[error(
        "no session {query:?}: {} (set CLAUDE_CONFIG_DIR if Claude Code's directory is not ~/.claude)",
        NotRead(projects, error)
    )]
    NoProjects {
        /// What the user typed.
        query: String,
        /// The folders that were searched.
        projects: Vec<PathBuf>,
        /// The reason.
        error: io::Error,
    },
    /// No session has this ID or an ID that starts with it.
    #[error(
        "no session {query:?} among the {sessions} in {}{}; `posthog-llma ingest --list --all` lists them (set CLAUDE_CONFIG_DIR \
         if Claude Code's directory is not ~/.claude)",
        Places(projects), UnreadableFolders(*unreadable)
    )]
    NotFound {
        /// What the user typed.
        query: String,
        /// The folders that were searched.
        projects: Vec<PathBuf>,
        /// How many sessions there are.
        sessions: usize,
        /// How many of the projects' folders could not be read.
        unreadable: usize,
    },
    /// Several sessions have an ID that starts with this.
    #[error("{} sessions have an ID that starts with {query:?}; give more of it:{}", candidates.len(), List(candidates))]
    Ambiguous {
        /// What the user typed.
        query: String,
        /// The sessions, most recently modified first.
        candidates: Vec<FoundSession>,
    },
}

struct Places<'a>(&'a [PathBuf]);

impl fmt::Display for Places<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.0.iter().map(|place| place.display().to_string()).collect();
        formatter.write_str(&places.join(" and "))
    }
}

/// Folders that cannot be read, and why.
struct NotRead<'a>(&'a [PathBuf], &'a io::Error);

impl fmt::Display for NotRead<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(projects, error) = self;
        if error.kind() == io::ErrorKind::NotFound {
            write!(formatter, "Claude Code keeps sessions in {}, which does not exist", Places(projects))
        } else {
            write!(formatter, "cannot read {}: {error}", Places(projects))
        }
    }
}

struct UnreadableFolders(usize);

impl fmt::Display for UnreadableFolders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => formatter.write_str(" (1 folder cannot be read)"),
            count => write!(formatter, " ({count} folders cannot be read)"),
        }
    }
}

struct List<'a>(&'a [FoundSession]);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for candidate in self.0.iter().take(SHOWN_CANDIDATES) {
            let folder = candidate.path.parent().unwrap_or(&candidate.path);
            write!(formatter, "\n  {} in {}", candidate.id, folder.display())?;
        }
        match self.0.len().saturating_sub(SHOWN_CANDIDATES) {
            0 => Ok(()),
            more => write!(formatter, "\n  and {more} more"),
        }
    }
}

/// The main transcript that `query` means: a path, a session ID or the start of one, in upper or lower case.
///
/// A query with a path separator is always a path, and so is the name of a `.jsonl` file in the working directory. An
/// ID is looked up in all projects' folders of the `homes`; a complete ID takes precedence over the start of another.
/// The same ID in several folders is one session: the result is its most recently modified file.
pub fn find(homes: &[PathBuf], query: &OsStr) -> Result<PathBuf, FindError> {
    if query.is_empty() {
        return Err(FindError::Empty);
    }
    let text = query.to_string_lossy();
    let path = Path::new(query);
    let is_path = text.contains(std::path::is_separator);
    if is_path || (text.ends_with(".jsonl") && path.is_file()) {
        session_id(path)?;
        return Ok(path.to_owned());
    }

    let id = text.strip_suffix(".jsonl").unwrap_or(&text);
    if id.is_empty() {
        return Err(FindError::Empty);
    }
    let id = id.to_ascii_lowercase();
    let projects: Vec<_> = homes.iter().map(|home| home.join("projects")).collect();
    let folders = match folders_in(&projects) {
        Ok(folders) => folders,
        Err(error) => {
            return Err(FindError::NoProjects { query: text.into_owned(), projects, error });
        }
    };
    let mut sessions = 0;
    let mut unreadable = 0;
    let mut matching = Vec::new();
    for folder in folders {
        match folder.and_then(|folder| transcripts_in(&folder.path())) {
            Ok(transcripts) => {
                sessions += transcripts.len();
                matching
                    .extend(transcripts.into_iter().filter(|(found, _)| found.to_ascii_lowercase().starts_with(&id)));
            }
            Err(error) if regular::is_absent(&error) => {}
            Err(_) => unreadable += 1,
        }
    }

    let mut candidates = latest_of_each_id(matching);
    if let Some(whole) = candidates.iter().find(|c| c.id.eq_ignore_ascii_case(&id)) {
        return Ok(whole.path.clone());
    }
    match (candidates.pop(), candidates.is_empty()) {
        (None, _) => Err(FindError::NotFound { query: text.into_owned(), projects, sessions, unreadable }),
        (Some(only), true) => Ok(only.path),
        (Some(last), false) => {
            candidates.push(last);
            Err(FindError::Ambiguous { query: text.into_owned(), candidates })
        }
    }
}

/// The entries of these folders. An error if none of the folders can be read.
fn folders_in(projects: &[PathBuf]) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>> + use<>> {
    let mut read = Vec::new();
    let mut failed = None;
    for place in projects {
        match fs::read_dir(place) {
            Ok(folders) => read.push(folders),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if read.is_empty() => Err(error),
        _ => Ok(read.into_iter().flatten()),
    }
}

/// All sessions in the projects' folders of the `homes`: one for each ID, most recently modified first. A folder that
/// cannot be read is skipped.
pub fn all(homes: &[PathBuf]) -> io::Result<Vec<FoundSession>> {
    let projects: Vec<_> = homes.iter().map(|home| home.join("projects")).collect();
    let folders = folders_in(&projects)?;
    let transcripts = folders.filter_map(|folder| transcripts_in(&folder.ok()?.path()).ok()).flatten();
    Ok(latest_of_each_id(transcripts.collect()))
}

/// The main transcripts in a project's folder, with their IDs.
fn transcripts_in(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut transcripts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(id) = utf8_name(&path).and_then(files::main_id) {
            transcripts.push((id.to_owned(), path.clone()));
        }
    }
    Ok(transcripts)
}

/// The most recently modified transcript of each ID, with the most recent first.
fn latest_of_each_id(transcripts: Vec<(String, PathBuf)>) -> Vec<FoundSession> {
    let mut latest: BTreeMap<String, FoundSession> = BTreeMap::new();
    for (id, path) in transcripts {
        let Ok(metadata) = path.metadata() else {
            continue;
        };
        if !metadata.is_file() {
            continue;
        }
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let mut candidate = FoundSession { modified, id, paths: vec![path.clone()], path };
        let rank = |c: &FoundSession| (c.modified, c.path.clone());
        let id = candidate.id.to_ascii_lowercase();
        match latest.get_mut(&id) {
            Some(other) if rank(other) >= rank(&candidate) => other.paths.push(candidate.path),
            other => {
                candidate.paths.extend(other.map(|other| std::mem::take(&mut other.paths)).into_iter().flatten());
                latest.insert(id, candidate);
            }
        }
    }
    let mut candidates: Vec<FoundSession> = latest.into_values().collect();
    // The sort is stable: equal times keep the order of the IDs.
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.modified));
    candidates
}
