//! Finds a session's files.
//!
//! Claude Code writes one folder for each project, `projects/<slug>` in its configuration directory, and in it
//! `<session-id>.jsonl` for each session. The slug is ambiguous and its rule has changed, so it is never turned back
//! into a path.

use crate::system::regular;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use posthog_llma_pipeline::session::files::{self, LONGEST_METADATA, SUBAGENTS, WORKFLOWS};

pub use head::{Head, whole_lines, written_until};
pub use search::{FindError, FoundSession, all, find};
pub use siblings::{SiblingIndex, Siblings, is_same_session, ordered};
pub use tail::is_open;

mod flat;
mod head;
mod search;
mod siblings;
mod tail;
#[cfg(test)]
mod tests;

/// A session's transcripts.
#[derive(Debug)]
pub struct SessionFiles {
    /// The main transcript's name without `.jsonl`.
    pub id: String,
    /// The main transcript; the first one if there are several.
    pub main: PathBuf,
    /// The other main transcripts: a session that changed its directory has one in each project's folder. Sorted by
    /// first timestamp, then by path.
    pub more: Vec<PathBuf>,
    /// The subagents' transcripts, sorted by ID, then by path.
    pub agents: Vec<AgentFile>,
    /// Files and folders that may belong to the session but could not be read, sorted by path.
    pub unreadable: Vec<Unreadable>,
}

/// A subagent's transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFile {
    /// The `<id>` of `agent-<id>.jsonl`.
    pub agent_id: String,
    /// The transcript.
    pub path: PathBuf,
    /// The text of `agent-<id>.meta.json` next to it; `None` if it has more than 64 KiB or is not UTF-8.
    pub metadata: Option<String>,
    /// The name of the `wf_…` folder that contains it, if it is a workflow's agent.
    pub workflow_run: Option<String>,
}

/// A file or folder that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", path.display())]
pub struct Unreadable {
    /// The file or folder.
    pub path: PathBuf,
    /// The reason.
    pub error: io::Error,
}

/// A path that is not a session's transcript.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// It cannot be read.
    #[error("cannot read the transcript {}: {error}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("{} is a {kind}, not a transcript", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It belongs to a session and is converted with it.
    #[error("{} is the transcript of a sub-agent; name its session instead", path.display())]
    Agent {
        /// The path.
        path: PathBuf,
    },
    /// Its name is not UTF-8, or there is nothing before `.jsonl`.
    #[error("{} is not named after a session ID", path.display())]
    Name {
        /// The path.
        path: PathBuf,
    },
}

impl SessionFiles {
    /// All files of the session with this main transcript, see [`of_transcript_in`](Self::of_transcript_in).
    pub fn of_transcript(main: &Path) -> Result<Self, TranscriptError> {
        Self::of_transcript_in(main, Siblings::In(&[]))
    }

    /// All files of the session with this main transcript. Transcripts of the same name in the sibling projects'
    /// folders, and in those of the homes, belong to the session. A missing one is not an error as long as there is
    /// another.
    ///
    /// Subagents are in `<id>/subagents` and its `workflows/wf_*` (2.1.2 and later) or next to the main transcript
    /// (2.0.28 to 2.1.1). Anything that is not a regular file, or leads out of the project's folder, is skipped.
    pub fn of_transcript_in(main: &Path, siblings: Siblings<'_>) -> Result<Self, TranscriptError> {
        let others = siblings::of(main, siblings);
        let (id, mains) = match (session_id(main), others.is_empty()) {
            (Ok(id), true) => (id, vec![main.to_owned()]),
            (Ok(id), false) => (id, siblings::ordered(std::iter::once(main.to_owned()).chain(others).collect())),
            (Err(TranscriptError::Unreadable { error, .. }), false) if regular::is_absent(&error) => {
                (session_id(&others[0])?, siblings::ordered(others))
            }
            (Err(error), _) => return Err(error),
        };
        let mut found = Found { root: PathBuf::new(), agents: Vec::new(), unreadable: Vec::new() };
        for main in &mains {
            found.beside(main, &id)?;
        }
        found.agents.sort_by(|a, b| (&a.agent_id, &a.path).cmp(&(&b.agent_id, &b.path)));
        found.unreadable.sort_by(|a, b| a.path.cmp(&b.path));
        let mut mains = mains.into_iter();
        let main = mains.next().unwrap_or_else(|| main.to_owned());
        Ok(Self { id, main, more: mains.collect(), agents: found.agents, unreadable: found.unreadable })
    }

    /// The main transcripts, in order.
    pub fn mains(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.main).chain(&self.more).map(PathBuf::as_path)
    }
}

/// The session ID in the name of a main transcript, which must be a regular file.
fn session_id(main: &Path) -> Result<String, TranscriptError> {
    let path = || main.to_owned();
    let metadata = main.metadata().map_err(|error| TranscriptError::Unreadable { path: path(), error })?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "directory" } else { "pipe, socket or device" };
        return Err(TranscriptError::NotAFile { path: path(), kind });
    }
    if utf8_name(main).and_then(files::agent_id).is_some() {
        return Err(TranscriptError::Agent { path: path() });
    }
    match utf8_name(main).map(|name| name.strip_suffix(".jsonl").unwrap_or(name)) {
        // The ID is also a folder's name, and must not lead to a different folder.
        None | Some("" | "." | "..") => Err(TranscriptError::Name { path: path() }),
        Some(id) => Ok(id.to_owned()),
    }
}

fn utf8_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

/// The files found so far.
struct Found {
    /// The project's folder being searched, with links resolved.
    root: PathBuf,
    agents: Vec<AgentFile>,
    unreadable: Vec<Unreadable>,
}

impl Found {
    /// Adds the subagents in the project's folder of a main transcript.
    fn beside(&mut self, main: &Path, id: &str) -> Result<(), TranscriptError> {
        let folder = match main.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.root =
            folder.canonicalize().map_err(|error| TranscriptError::Unreadable { path: main.to_owned(), error })?;
        let subagents = folder.join(id).join(SUBAGENTS);
        self.agents_in(&subagents, id, &[id, SUBAGENTS]);
        let workflows = subagents.join(WORKFLOWS);
        for path in self.entries(&workflows) {
            if let Some(run) = utf8_name(&path).filter(|name| files::is_run(name)) {
                self.agents_in(&path, id, &[id, SUBAGENTS, WORKFLOWS, run]);
            }
        }
        self.flat_agents_in(folder, id);
        Ok(())
    }

    /// Adds the subagents in a folder; `way` is its path from the main transcript's folder.
    fn agents_in(&mut self, folder: &Path, id: &str, way: &[&str]) {
        for path in self.entries(folder) {
            if let Some(name) = utf8_name(&path)
                && let Some(agent) = files::agent(id, &[way, &[name]].concat())
                && self.is_inside(&path)
            {
                self.add(&path, agent);
            }
        }
    }

    /// Adds the session's flat agents. A project's folder contains those of all its sessions.
    fn flat_agents_in(&mut self, folder: &Path, id: &str) {
        let agents = match flat::agents(folder) {
            Ok(agents) => agents,
            Err(error) => {
                if !regular::is_absent(&error) {
                    self.unreadable.push(Unreadable { path: folder.to_owned(), error });
                }
                return;
            }
        };
        for agent in agents.iter() {
            if !self.is_inside(agent.path()) {
                continue;
            }
            match agent.session() {
                Ok(Some(owner)) if files::is_id(&owner, id) => {
                    if let Some(found) = utf8_name(agent.path()).and_then(|name| files::agent(id, &[name])) {
                        self.add(agent.path(), found);
                    }
                }
                Ok(_) => {}
                Err(error) => self.unreadable.push(Unreadable { path: agent.path().to_owned(), error }),
            }
        }
    }

    fn add(&mut self, path: &Path, agent: files::Agent<'_>) {
        // Reported now, rather than failing a conversion that could do without this file.
        if let Err(error) = regular::open(path) {
            self.unreadable.push(Unreadable { path: path.to_owned(), error });
            return;
        }
        self.agents.push(AgentFile {
            agent_id: agent.agent_id.to_owned(),
            path: path.to_owned(),
            metadata: self.metadata(&path.with_file_name(files::metadata_name(agent.agent_id))),
            workflow_run: agent.workflow_run.map(str::to_owned),
        });
    }

    fn metadata(&self, path: &Path) -> Option<String> {
        if !self.is_inside(path) {
            return None;
        }
        String::from_utf8(regular::read(path, LONGEST_METADATA).ok()?).ok()
    }

    /// Whether this is a regular file in the project's folder, with links resolved. Anything else must not even be
    /// opened: opening a pipe would wait for a writer.
    fn is_inside(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|target| target.starts_with(&self.root) && target.is_file())
    }

    /// The entries of a folder, which need not exist, sorted by name.
    fn entries(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        match entries {
            Ok(paths) => sorted(paths),
            Err(error) => {
                if !regular::is_absent(&error) {
                    let path = folder.to_owned();
                    self.unreadable.push(Unreadable { path, error });
                }
                Vec::new()
            }
        }
    }
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths
}
