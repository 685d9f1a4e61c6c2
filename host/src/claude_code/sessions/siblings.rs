//! Handles a session that has transcripts in several projects' folders.
//!
//! After `/cd`, or in a worktree, Claude Code continues in another project's folder under the same ID; what remains in
//! the first one can be a stub of a few lines. So all files of one name below `projects` are one session, whichever of
//! them is requested.

use super::head;
use posthog_llma_pipeline::session::files::{self, PROJECTS};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The `projects` folder that contains a main transcript, if it is where Claude Code writes it.
fn projects_of(main: &Path) -> Option<&Path> {
    main.parent()?.parent().filter(|projects| projects.file_name().is_some_and(|name| name == PROJECTS))
}

/// Where to look for a session's other main transcripts, besides the folders next to its own.
#[derive(Debug, Clone, Copy)]
pub enum Siblings<'a> {
    /// In these homes, at the time of the call: for one session.
    In(&'a [PathBuf]),
    /// In an index built before: for all sessions of a run.
    Indexed(&'a SiblingIndex),
}

/// The files in all projects' folders, by name, listed once: looking for each session's files in each folder would be
/// quadratic.
#[derive(Debug)]
pub struct SiblingIndex {
    places: Vec<PathBuf>,
    by_name: HashMap<OsString, Vec<PathBuf>>,
}

impl SiblingIndex {
    /// Indexes the current files of these homes. A transcript that is added afterward makes its session one that has
    /// grown since.
    pub fn of(homes: &[PathBuf]) -> Self {
        let places: Vec<_> = homes.iter().map(|home| home.join(PROJECTS)).collect();
        let mut by_name: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
        for folder in places.iter().flat_map(folders) {
            for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
                by_name.entry(file.file_name()).or_default().push(file.path());
            }
        }
        Self { places, by_name }
    }
}

/// The folders inside a `projects` folder.
fn folders(projects: &PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(projects).into_iter().flatten().flatten().map(|folder| folder.path())
}

/// Other main transcripts of the same session.
pub(super) fn of(main: &Path, siblings: Siblings<'_>) -> Vec<PathBuf> {
    let (Some(own), Some(name)) = (projects_of(main), main.file_name()) else { return Vec::new() };
    let own = own.to_owned();
    let beside = |place: &PathBuf| folders(place).map(|folder| folder.join(name)).collect::<Vec<_>>();
    let mut paths = match siblings {
        Siblings::Indexed(index) => {
            let indexed = index.by_name.get(name).cloned().unwrap_or_default();
            let unknown = Some(&own).filter(|own| !index.places.contains(own));
            unknown.map(beside).into_iter().flatten().chain(indexed).collect()
        }
        Siblings::In(homes) => {
            // Usually there is one home, and it is the transcript's own.
            let elsewhere: Vec<_> =
                homes.iter().map(|home| home.join(PROJECTS)).filter(|place| *place != own).collect();
            std::iter::once(&own).chain(&elsewhere).flat_map(beside).collect::<Vec<_>>()
        }
    };
    paths.retain(|path| path != main);
    if paths.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut seen = Vec::new();
    seen.extend(main.canonicalize());
    for path in paths {
        // A folder that links to another one has no files of its own.
        let Ok(resolved) = path.canonicalize() else { continue };
        if resolved.is_file() && !seen.contains(&resolved) {
            seen.push(resolved);
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Sorts the main transcripts of one session by first timestamp, then by path. One without a timestamp comes last.
pub fn ordered(mut mains: Vec<PathBuf>) -> Vec<PathBuf> {
    files::order_mains(&mut mains, |main| (head::first_timestamp(main), main.clone()));
    mains
}

/// Are these main transcripts of one session, judging by their names and locations?
pub fn is_same_session(a: &Path, b: &Path) -> bool {
    a == b || (a.file_name() == b.file_name() && projects_of(a).is_some() && projects_of(b).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::SessionFiles;
    use super::*;

    fn write(home: &Path, path: &str, text: &str) -> PathBuf {
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn line(time: &str) -> String {
        format!("{{\"type\":\"mode\"}}\n{{\"type\":\"user\",\"timestamp\":\"2026-01-01T{time}Z\"}}\n")
    }

    #[test]
    fn the_files_of_one_name_are_one_session_whichever_is_named() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let late = write(home.path(), "projects/-a/s.jsonl", &line("10:00:00"));
        let early = write(home.path(), "projects/-b/s.jsonl", &line("09:00:00"));
        let same_time = write(home.path(), "projects/-c/s.jsonl", &line("10:00:00"));
        let stub = write(home.path(), "projects/-0/s.jsonl", "{\"type\":\"mode\"}\n");
        let elsewhere = write(other.path(), "projects/-a/s.jsonl", &line("08:00:00"));
        write(home.path(), "projects/-a/t.jsonl", &line("01:00:00"));
        write(home.path(), "projects/-b/s/subagents/agent-1.jsonl", "");
        write(home.path(), "projects/-0/s/subagents/agent-2.jsonl", "");
        for named in [&late, &early, &same_time, &stub] {
            let files = SessionFiles::of_transcript(named).unwrap();
            assert_eq!(files.mains().collect::<Vec<_>>(), [&early, &late, &same_time, &stub]);
            assert_eq!(files.agents.iter().map(|a| a.agent_id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
            let all = [&elsewhere, &early, &late, &same_time, &stub];
            let homes = [other.path().to_owned()];
            let files = SessionFiles::of_transcript_in(named, Siblings::In(&homes)).unwrap();
            assert_eq!(files.mains().collect::<Vec<_>>(), all);
            let homes = [home.path().to_owned(), other.path().to_owned()];
            for homes in [&homes[..], &homes[1..]] {
                let index = SiblingIndex::of(homes);
                let files = SessionFiles::of_transcript_in(named, Siblings::Indexed(&index)).unwrap();
                assert_eq!(files.mains().collect::<Vec<_>>(), all, "also beside a home that is not in the index");
            }
        }
        fs::remove_file(&stub).unwrap();
        assert_eq!(SessionFiles::of_transcript(&stub).unwrap().main, early, "one that is gone has others");
        assert!(SessionFiles::of_transcript(&home.path().join("projects/-a/u.jsonl")).is_err());
    }

    #[test]
    fn a_file_outside_of_the_projects_folders_is_a_session_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let one = write(home.path(), "export/-a/s.jsonl", &line("10:00:00"));
        let two = write(home.path(), "export/-b/s.jsonl", &line("10:00:00"));
        assert_eq!(SessionFiles::of_transcript(&one).unwrap().mains().count(), 1);
        assert!(!is_same_session(&one, &two) && is_same_session(&one, &one));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_a_link_to_another_adds_nothing() {
        let home = tempfile::tempdir().unwrap();
        let main = write(home.path(), "projects/-a/s.jsonl", &line("10:00:00"));
        std::os::unix::fs::symlink(home.path().join("projects/-a"), home.path().join("projects/-b")).unwrap();
        assert_eq!(SessionFiles::of_transcript(&main).unwrap().mains().count(), 1);
        let index = SiblingIndex::of(&[home.path().to_owned()]);
        let files = SessionFiles::of_transcript_in(&main, Siblings::Indexed(&index)).unwrap();
        assert_eq!(files.mains().count(), 1);
    }

    #[test]
    fn an_index_is_of_the_time_when_it_was_made() {
        let home = tempfile::tempdir().unwrap();
        let main = write(home.path(), "projects/-a/s.jsonl", &line("10:00:00"));
        let index = SiblingIndex::of(&[home.path().to_owned()]);
        write(home.path(), "projects/-b/s.jsonl", &line("11:00:00"));
        let indexed = SessionFiles::of_transcript_in(&main, Siblings::Indexed(&index)).unwrap();
        assert_eq!(indexed.mains().count(), 1, "no folder is read again");
        assert_eq!(SessionFiles::of_transcript(&main).unwrap().mains().count(), 2);
    }
}
