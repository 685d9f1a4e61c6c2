//! Subagents' transcripts that are next to those of their sessions, as 2.0.28 to 2.1.1 wrote them.
//!
//! Only the file's content says which session it belongs to, so each session in a folder has to check all of them. When
//! many sessions are processed, a folder with thousands of files is listed only once and each file is opened only once.

use super::sorted;
use crate::system::regular;
use posthog_llma_pipeline::session::files;
use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// File systems' clocks are coarse: a folder that changed this recently may have changed again with the same time.
const COARSE: Duration = Duration::from_secs(2);

/// A subagent's transcript.
#[derive(Debug)]
pub(super) struct FlatAgent {
    path: PathBuf,
    session: OnceLock<String>,
}

impl FlatAgent {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The session that the transcript says it belongs to. This never changes.
    pub(super) fn session(&self) -> io::Result<Option<String>> {
        if let Some(session) = self.session.get() {
            return Ok(Some(session.clone()));
        }
        let session = files::session_of(BufReader::new(regular::open(&self.path)?))?;
        Ok(session.map(|session| self.session.get_or_init(|| session).clone()))
    }
}

/// A folder's modification time, and its entries at that time.
type Listing = (SystemTime, Arc<Vec<FlatAgent>>);

static LISTINGS: LazyLock<Mutex<HashMap<PathBuf, Listing>>> = LazyLock::new(Mutex::default);

/// The subagents' transcripts in a folder, sorted by name.
pub(super) fn agents(folder: &Path) -> io::Result<Arc<Vec<FlatAgent>>> {
    let listings = || LISTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = fs::metadata(folder)?.modified()?;
    if let Some((at, agents)) = listings().get(folder)
        && *at == changed
    {
        return Ok(Arc::clone(agents));
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Most entries are not agents; build paths only for those that are.
        if entry.file_name().to_str().and_then(files::agent_id).is_some() {
            paths.push(entry.path());
        }
    }
    let agents = sorted(paths).into_iter().map(|path| FlatAgent { path, session: OnceLock::new() });
    let agents = Arc::new(agents.collect::<Vec<_>>());
    if changed.elapsed().is_ok_and(|ago| ago > COARSE) {
        listings().insert(folder.to_owned(), (changed, Arc::clone(&agents)));
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

    use super::*;

    #[test]
    fn a_file_that_comes_later_is_found_whether_or_not_the_folder_was_listed_before() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let agents = agents(folder.path()).unwrap();
            agents.iter().map(|agent| agent.path().file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(names().is_empty());
        fs::write(folder.path().join("agent-b.jsonl"), r#"{"sessionId":"s"}"#).unwrap();
        fs::write(folder.path().join("session.jsonl"), "").unwrap();
        assert_eq!(names(), ["agent-b.jsonl"]);
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        fs::File::open(folder.path()).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(names(), ["agent-b.jsonl"]);
        assert_eq!(agents(folder.path()).unwrap()[0].session().unwrap().as_deref(), Some("s"));
        fs::write(folder.path().join("agent-a.jsonl"), "").unwrap();
        assert_eq!(names(), ["agent-a.jsonl", "agent-b.jsonl"]);
    }
}
