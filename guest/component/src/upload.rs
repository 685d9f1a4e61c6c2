//! Reads a session from a request's body.

use flate2::read::MultiGzDecoder;
use posthog_llma_pipeline::delivery::reading::Source;
use posthog_llma_pipeline::session::{AgentFile, FileRole, files};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, Read};
use std::path::{Component, Path};

/// Limit on the decompressed bytes of a session's files, all of which are held in memory.
pub(crate) const LARGEST: usize = 64 << 20;

/// Why a body is not a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the session has more than {LARGEST} bytes")]
    TooLarge,
    #[error("the body is not what its headers say: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the archive must hold one session, SESSION.jsonl; it holds {0}")]
    Sessions(usize),
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

/// Reads a body: a tar archive, or the main transcript of the session with this ID.
pub(crate) fn read(body: &[u8], gzip: bool, archive: bool, id: Option<String>) -> Result<Upload, UploadError> {
    if gzip {
        return read_all(MultiGzDecoder::new(body), archive, id);
    }
    read_all(body, archive, id)
}

fn read_all(body: impl Read, archive: bool, id: Option<String>) -> Result<Upload, UploadError> {
    // One byte over the limit, to detect a body that is too large.
    let mut body = body.take(LARGEST as u64 + 1);
    if archive {
        let entries = entries(&mut body);
        // If the limit cut the archive short, the archive is too large.
        return if body.limit() == 0 { Err(UploadError::TooLarge) } else { in_archive(entries?) };
    }
    let id = id.ok_or(UploadError::NoId)?;
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes)?;
    if bytes.len() > LARGEST {
        return Err(UploadError::TooLarge);
    }
    Ok(Upload { id, roles: vec![FileRole::Main], files: Files(vec![bytes]) })
}

/// A file of an archive: the names in its path, and its contents.
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

/// The names in a path, without `.` and `/`.
fn names(path: &Path) -> Vec<String> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

/// Finds the session in the files of an archive, which has Claude Code's folder layout.
fn in_archive(mut entries: Vec<Entry>) -> Result<Upload, UploadError> {
    let is_main = |(path, _): &Entry| main_id(path).is_some();
    let mut mains: Vec<_> = entries.extract_if(.., |entry| is_main(entry)).collect();
    let ids: BTreeSet<_> = mains.iter().filter_map(|(path, _)| main_id(path)).collect();
    let id = match ids.first() {
        Some(id) if ids.len() == 1 => (*id).to_owned(),
        _ => return Err(UploadError::Sessions(ids.len())),
    };
    files::order_mains(&mut mains, |(path, bytes)| (files::began(bytes.as_slice()), path.clone()));

    let folders: BTreeSet<_> = mains.iter().map(|(path, _)| &path[..path.len() - 1]).collect();
    let mut agents: Vec<_> = folders.into_iter().flat_map(|folder| agents_in(&id, folder, &entries)).collect();
    agents.sort_by(|(a, i), (b, j)| (&a.agent_id, &entries[*i].0).cmp(&(&b.agent_id, &entries[*j].0)));

    let (mut roles, mut files): (Vec<_>, Vec<_>) = mains.into_iter().map(|(_, main)| (FileRole::Main, main)).unzip();
    for (agent, file) in agents {
        roles.push(FileRole::Agent(agent));
        files.push(std::mem::take(&mut entries[file].1));
    }
    Ok(Upload { id, roles, files: Files(files) })
}

/// The session's sub-agents that belong to the main transcript in this folder, each with the index of its file.
fn agents_in(id: &str, folder: &[String], entries: &[Entry]) -> Vec<(AgentFile, usize)> {
    // Files elsewhere in the archive don't belong to it.
    let below = entries.iter().enumerate().filter_map(|(file, (path, _))| Some((file, path.strip_prefix(folder)?)));
    let (indices, paths): (Vec<usize>, Vec<Vec<&str>>) =
        below.map(|(file, path)| (file, path.iter().map(String::as_str).collect())).unzip();
    let contents = |found: usize| entries[indices[found]].1.as_slice();
    let agents = files::agents(id, &paths).into_iter().filter_map(|found| {
        let is_its = || files::belongs_to(id, contents(found.file)).unwrap_or(false);
        if found.agent.is_flat && !is_its() {
            return None;
        }
        let agent = AgentFile {
            agent_id: found.agent.agent_id.to_owned(),
            metadata: found.metadata.and_then(|file| String::from_utf8(contents(file).to_vec()).ok()),
            workflow_run: found.agent.workflow_run.map(str::to_owned),
        };
        Some((agent, indices[found.file]))
    });
    agents.collect()
}

/// The session's ID from the path of a main transcript.
fn main_id(path: &[String]) -> Option<&str> {
    files::main_transcript(&path.iter().map(String::as_str).collect::<Vec<_>>())
}
