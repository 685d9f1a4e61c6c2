//! A session in the body of a request.

use flate2::read::MultiGzDecoder;
use posthog_llma_pipeline::delivery::reading::Source;
use posthog_llma_pipeline::session::{AgentFile, FileRole};
use serde::Deserialize;
use std::convert::Infallible;
use std::io::{self, Read};
use std::path::{Component, Path};

/// Bytes of a session's files, decompressed: more is refused, since all of them are held.
pub(crate) const LARGEST: usize = 64 << 20;

/// Why a body is not a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the session has more than {LARGEST} bytes")]
    TooLarge,
    #[error("the body is not what its headers say: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the archive must hold the transcript of one session, SESSION.jsonl; it holds {0}")]
    Transcripts(usize),
    #[error("a transcript needs its session's id, in the header posthog-session-id")]
    NoId,
}

/// A session's files, held in memory.
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) roles: Vec<FileRole>,
    pub(crate) files: Files,
}

pub(crate) struct Files(Vec<Vec<u8>>);

impl Source for Files {
    type Error = Infallible;

    fn size(&mut self, file: u32) -> Result<u64, Infallible> {
        Ok(self.0[file as usize].len() as u64)
    }

    fn read(&mut self, file: u32, offset: u64, most: usize) -> Result<Vec<u8>, Infallible> {
        let rest = self.0[file as usize].get(offset as usize..).unwrap_or_default();
        Ok(rest[..most.min(rest.len())].to_vec())
    }
}

/// Reads a body: a tar archive, or else the main transcript of the session with this id.
pub(crate) fn read(body: &[u8], gzip: bool, archive: bool, id: Option<String>) -> Result<Upload, UploadError> {
    if gzip {
        return read_all(MultiGzDecoder::new(body), archive, id);
    }
    read_all(body, archive, id)
}

fn read_all(body: impl Read, archive: bool, id: Option<String>) -> Result<Upload, UploadError> {
    // One byte more than may be, to see that there is more.
    let mut body = body.take(LARGEST as u64 + 1);
    if archive {
        let entries = entries(&mut body);
        // An archive that seems to be cut short is one that is too large.
        return if body.limit() == 0 { Err(UploadError::TooLarge) } else { session(entries?) };
    }
    let id = id.ok_or(UploadError::NoId)?;
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    if bytes.len() > LARGEST {
        return Err(UploadError::TooLarge);
    }
    Ok(Upload { id, roles: vec![FileRole::Main], files: Files(vec![bytes]) })
}

/// A file of an archive: the names of its folders and its own, and its contents.
type Entry = (Vec<String>, Vec<u8>);

fn entries(body: impl Read) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(body).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = names(&entry.path()?);
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            entries.push((path, bytes));
        }
    }
    Ok(entries)
}

/// The names in a path, `.` and `/` left out.
fn names(path: &Path) -> Vec<String> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

/// The session in the files of an archive: its folders are those of Claude Code.
fn session(mut entries: Vec<Entry>) -> Result<Upload, UploadError> {
    let is_main = |(path, _): &Entry| main_id(path).is_some();
    let mains: Vec<_> = entries.extract_if(.., |entry| is_main(entry)).collect();
    let [(path, main)] = <[Entry; 1]>::try_from(mains).map_err(|mains| UploadError::Transcripts(mains.len()))?;
    let (id, folder) = (main_id(&path).unwrap_or_default().to_owned(), &path[..path.len() - 1]);

    let mut agents: Vec<(AgentFile, Vec<String>, Vec<u8>)> = Vec::new();
    let notes: Vec<Entry> =
        entries.extract_if(.., |(path, _)| path.last().is_some_and(|name| name.ends_with(".meta.json"))).collect();
    for (path, bytes) in entries {
        let Some(agent_id) = path.last().and_then(|name| agent_id(name)) else { continue };
        let (folders, _) = path.split_at(path.len() - 1);
        let Some(below) = folders.strip_prefix(folder) else { continue };
        let below: Vec<_> = below.iter().map(String::as_str).collect();
        let workflow_run = match below.as_slice() {
            [session, "subagents"] if *session == id => None,
            [session, "subagents", "workflows", run] if *session == id && run.starts_with("wf_") => {
                Some((*run).to_owned())
            }
            // 2.0.28 to 2.1.1 put them beside the session's own.
            [] if session_of(&bytes).as_deref() == Some(&id) => None,
            _ => continue,
        };
        let name = format!("agent-{agent_id}.meta.json");
        let metadata = notes.iter().find(|(note, _)| note.split_last() == Some((&name, folders)));
        let metadata = metadata.and_then(|(_, bytes)| String::from_utf8(bytes.clone()).ok());
        agents.push((AgentFile { agent_id: agent_id.to_owned(), metadata, workflow_run }, path, bytes));
    }
    agents.sort_by(|(a, p, _), (b, q, _)| (&a.agent_id, p).cmp(&(&b.agent_id, q)));

    let (mut roles, mut files) = (vec![FileRole::Main], vec![main]);
    for (agent, _, bytes) in agents {
        roles.push(FileRole::Agent(agent));
        files.push(bytes);
    }
    Ok(Upload { id, roles, files: Files(files) })
}

/// The session's id in the path of a main transcript.
fn main_id(path: &[String]) -> Option<&str> {
    let id = path.last()?.strip_suffix(".jsonl").filter(|id| !id.is_empty() && !id.starts_with("agent-"))?;
    // What lies there belongs to a main transcript.
    (!path.iter().any(|name| name == "subagents")).then_some(id)
}

fn agent_id(name: &str) -> Option<&str> {
    name.strip_prefix("agent-")?.strip_suffix(".jsonl")
}

/// The session that a sub-agent's transcript says it belongs to.
fn session_of(transcript: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        session_id: String,
    }
    let mut lines = transcript.split(|byte| *byte == b'\n');
    lines.find_map(|line| Some(serde_json::from_slice::<Line>(line).ok()?.session_id))
}
