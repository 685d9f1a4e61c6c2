//! Selects the sessions that the arguments mean.

use crate::claude_code::client;
use crate::claude_code::sessions::{self, Head, SessionFiles};
use crate::commands::cli::Ingest as Arguments;
use crate::delivery::ingest::PastSession;
use crate::outbox::{self, Outbox, now};
use crate::program::{Program, ProgramError};
use crate::system::cores;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The variable in which newer clients give their commands the session's ID.
const OWN_SESSION: &str = "CLAUDE_CODE_SESSION_ID";

/// The arguments match no session.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoSession(String);

/// The selected sessions, sorted by start time.
pub fn sessions(program: &Program, arguments: &Arguments) -> anyhow::Result<Vec<PastSession>> {
    let mut candidates = if arguments.sessions.is_empty() {
        // Hooks send a running session, or the user names it; half of one is not a session.
        let running = running()?;
        let mut candidates = of_folders(program, arguments)?;
        candidates.retain(|candidate| arguments.list || !running.contains(&candidate.id));
        candidates
    } else {
        let sessions = arguments.sessions.iter().map(|query| Ok(candidate(&program.session(query)?.files)));
        sessions.collect::<Result<_, ProgramError>>()?
    };
    let in_time = |candidate: &PastSession| {
        arguments.since.is_none_or(|since| candidate.started >= since)
            && arguments.until.is_none_or(|until| candidate.started < until)
    };
    candidates.retain(in_time);
    // File systems' clocks are coarse: if two files were created at the same time, the larger one is the fork.
    candidates.sort_by_cached_key(|c| (c.started, c.created, c.bytes, c.transcript.clone()));
    candidates.dedup_by(|a, b| a.transcript == b.transcript);
    // If nothing says which ones, take the newest; a list shows all.
    let no_word = arguments.sessions.is_empty() && !arguments.all && arguments.project.is_none();
    if no_word && arguments.since.is_none() && arguments.until.is_none() && !arguments.list {
        let newest = candidates.pop();
        candidates = newest.into_iter().collect();
    }
    if candidates.is_empty() {
        let place = if arguments.all {
            String::new()
        } else {
            format!(" in {} or below it (--all includes all projects)", project(arguments)?.display())
        };
        let time = if arguments.since.is_some() || arguments.until.is_some() { " from that time" } else { "" };
        return Err(NoSession(format!("no sessions found{time}{place}")).into());
    }
    Ok(candidates)
}

/// The IDs of running sessions: the one whose client called this command, and those whose clients are known to be
/// running.
fn running() -> anyhow::Result<HashSet<String>> {
    let mut running: HashSet<String> = std::env::var(OWN_SESSION).into_iter().collect();
    if let Some(outbox) = Outbox::open_to_read(&outbox::directory()?)? {
        running
            .extend(outbox.clients()?.into_iter().filter(|(_, client)| client::is_running(*client)).map(|(id, _)| id));
    }
    Ok(running)
}

/// The sessions of all projects, of `--project`, or of the current project.
fn of_folders(program: &Program, arguments: &Arguments) -> anyhow::Result<Vec<PastSession>> {
    let homes = program.homes();
    if homes.is_empty() {
        return Err(ProgramError::NoConfigDirectory.into());
    }
    let found = sessions::all(&homes).map_err(|error| NoSession(nothing_in(&homes, Some(&error))))?;
    if found.is_empty() {
        return Err(NoSession(nothing_in(&homes, None)).into());
    }
    let candidates = cores::map(&found, |found| of_paths(found.paths.clone()));
    if arguments.all {
        return Ok(candidates);
    }
    let project = project(arguments)?;
    Ok(candidates.into_iter().filter(|candidate| is_below(candidate.head.directory.as_deref(), &project)).collect())
}

/// The project whose sessions are selected. Its folder may be gone and still have sessions.
fn project(arguments: &Arguments) -> io::Result<PathBuf> {
    let project = match &arguments.project {
        Some(project) => project.clone(),
        None => std::env::current_dir()?,
    };
    project.canonicalize().or_else(|_| std::path::absolute(&project))
}

/// The message if these homes have no session, or none that can be read.
fn nothing_in(homes: &[PathBuf], error: Option<&io::Error>) -> String {
    let places: Vec<_> = homes.iter().map(|home| home.join("projects").display().to_string()).collect();
    let places = places.join(" or ");
    let found = match error {
        Some(error) if error.kind() != io::ErrorKind::NotFound => {
            return format!("sessions cannot be read from {places}: {error}");
        }
        Some(_) => "which does not exist",
        None => "which has none",
    };
    format!(
        "there are no sessions yet: Claude Code keeps them in {places}, {found}. Run a session first, or set CLAUDE_CONFIG_DIR \
         if its sessions are elsewhere"
    )
}

fn is_below(directory: Option<&Path>, project: &Path) -> bool {
    let Some(directory) = directory else { return false };
    directory.starts_with(project) || directory.canonicalize().is_ok_and(|directory| directory.starts_with(project))
}

/// Creates a session from its main transcripts, in any order.
fn of_paths(paths: Vec<PathBuf>) -> PastSession {
    match <[PathBuf; 1]>::try_from(paths) {
        Ok([only]) => of_first(only, 0),
        Err(paths) => {
            let paths = sessions::ordered(paths);
            let more = paths.iter().skip(1).filter_map(|path| path.metadata().ok()).map(|m| m.len()).sum();
            of_first(paths.into_iter().next().unwrap_or_default(), more)
        }
    }
}

fn candidate(files: &SessionFiles) -> PastSession {
    of_paths(files.mains().map(Path::to_owned).collect())
}

/// Creates a session from its first main transcript; `more` is the size of the others in bytes.
fn of_first(transcript: PathBuf, more: u64) -> PastSession {
    let head = Head::read(&transcript);
    let metadata = transcript.metadata().ok();
    let modified = metadata.as_ref().and_then(|m| m.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|time| i64::try_from(time.as_millis()).ok());
    PastSession {
        id: transcript.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        bytes: metadata.as_ref().map_or(0, fs::Metadata::len) + more,
        created: metadata.and_then(|m| m.created().or_else(|_| m.modified()).ok()),
        started: head.started.or(modified).unwrap_or_else(now),
        head,
        transcript,
    }
}
