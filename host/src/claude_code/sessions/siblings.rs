//! One session in several projects' folders.
//!
//! After `/cd`, or in a worktree, Claude Code goes on in another project's folder under the same id; what is left in the first
//! one can be a stub of a few lines. So the files of one name below `projects` are one session, whichever of them is asked for.

use super::head;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of all projects' folders, in Claude Code's.
const PROJECTS: &str = "projects";

/// The folder of all projects that a main transcript lies in, if it lies where Claude Code writes it.
fn projects_of(main: &Path) -> Option<&Path> {
    main.parent()?.parent().filter(|projects| projects.file_name().is_some_and(|name| name == PROJECTS))
}

/// Other main transcripts of the same session: beside this one's folder, and in these homes.
pub(super) fn of(main: &Path, homes: &[PathBuf]) -> Vec<PathBuf> {
    let (Some(own), Some(name)) = (projects_of(main), main.file_name()) else { return Vec::new() };
    let mut found = Vec::new();
    let mut seen = Vec::new();
    seen.extend(main.canonicalize());
    // Mostly the one home is the transcript's own.
    let elsewhere = homes.iter().map(|home| home.join(PROJECTS)).filter(|projects| projects != own);
    for projects in std::iter::once(own.to_owned()).chain(elsewhere) {
        let folders = fs::read_dir(&projects).into_iter().flatten().flatten();
        for path in folders.map(|folder| folder.path().join(name)) {
            // A folder that is a link to another one holds nothing of its own.
            let Ok(resolved) = path.canonicalize() else { continue };
            if resolved.is_file() && !seen.contains(&resolved) {
                seen.push(resolved);
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Main transcripts of one session by their first timestamps, then by their paths. One without any comes last.
pub fn ordered(mut mains: Vec<PathBuf>) -> Vec<PathBuf> {
    mains.sort_by_cached_key(|main| (head::first_timestamp(main).unwrap_or(i64::MAX), main.clone()));
    mains
}

/// Are these main transcripts of one session, by their names and places?
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
            let files = SessionFiles::of_transcript_in(named, &[other.path().to_owned()]).unwrap();
            assert_eq!(files.mains().collect::<Vec<_>>(), [&elsewhere, &early, &late, &same_time, &stub]);
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
    }
}
