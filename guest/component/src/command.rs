//! The component as a command, `wasi:cli/run`: runs with `wasmtime run` or another runtime, without our host.
//!
//! It sees the directories and variables that the runtime gives it. Limiting what it can reach is up to the runtime.

use super::Component;
use super::environment;
use super::http::{Timeouts, WasiTransport};
use bindings::exports::wasi::cli::run::Guest;
use posthog_llma_pipeline::delivery::deliver::{Access, Delivery, Retries};
use posthog_llma_pipeline::delivery::reading::{Reading, Source};
use posthog_llma_pipeline::session::files::{self, PROJECTS, SUBAGENTS, WORKFLOWS};
use posthog_llma_pipeline::session::{AgentFile, FileRole, Session};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "command",
        with: {
            "wasi:cli/environment@0.2.12": wasi::cli::environment,
            "wasi:cli/exit@0.2.12": wasi::cli::exit,
            "wasi:cli/stdin@0.2.12": wasi::cli::stdin,
            "wasi:cli/stdout@0.2.12": wasi::cli::stdout,
            "wasi:cli/stderr@0.2.12": wasi::cli::stderr,
            "wasi:clocks/monotonic-clock@0.2.12": wasi::clocks::monotonic_clock,
            "wasi:clocks/wall-clock@0.2.12": wasi::clocks::wall_clock,
            "wasi:filesystem/preopens@0.2.12": wasi::filesystem::preopens,
            "wasi:filesystem/types@0.2.12": wasi::filesystem::types,
            "wasi:http/outgoing-handler@0.2.12": wasi::http::outgoing_handler,
            "wasi:http/types@0.2.12": wasi::http::types,
            "wasi:io/error@0.2.12": wasi::io::error,
            "wasi:io/poll@0.2.12": wasi::io::poll,
            "wasi:io/streams@0.2.12": wasi::io::streams,
            "wasi:random/random@0.2.12": wasi::random::random,
        },
        export_macro_name: "export_command",
        pub_export_macro: true,
    });
}

#[expect(unsafe_code, reason = "generated code")]
mod export {
    use super::{Component, bindings};
    bindings::export_command!(Component with_types_in bindings);
}

const USAGE: &str = "\
usage: convert TRANSCRIPT…   print the session's events, one JSON object a line
       send TRANSCRIPT…      send them to POSTHOG_HOST with POSTHOG_API_KEY

TRANSCRIPT is a path within a directory that the host gives (wasmtime run --dir DIR …). What the session has in the other
folders of Claude Code's folder projects belongs to it; what it has elsewhere, for instance in another home, can be named
too. Settings are the POSTHOG_… variables that the host passes (--env NAME).";

impl Guest for Component {
    fn run() -> Result<(), ()> {
        let arguments = wasi::cli::environment::get_arguments();
        let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        let outcome = match arguments.as_slice() {
            ["convert", named @ ..] if !named.is_empty() => convert(named),
            ["send", named @ ..] if !named.is_empty() => send(named),
            ["-h" | "--help" | "help"] => print(USAGE),
            _ => Err(USAGE.to_owned()),
        };
        outcome.map_err(|message| eprintln!("{message}"))
    }
}

fn print(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{text}").map_err(|error| error.to_string())
}

fn convert(named: &[&str]) -> Result<(), String> {
    let options = environment::options()?.conversion;
    let (id, roles, files) = open(named)?;
    let mut session = Session::open(&id, &roles, options).map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    let unreadable =
        |(_, error): (u32, io::Error)| format!("{} or another transcript of its session: {error}", named[0]);
    let mut reading = Reading::first(&mut session, files, roles.len()).map_err(unreadable)?;
    loop {
        let more = reading.second(&mut session).map_err(unreadable)?;
        out.write_all(&session.take_events(usize::MAX)).map_err(|error| error.to_string())?;
        if !more {
            return Ok(());
        }
    }
}

fn send(named: &[&str]) -> Result<(), String> {
    let options = environment::options()?;
    let Some(api_key) = &options.api_key else { return Err("POSTHOG_API_KEY is not set".to_owned()) };
    let (id, roles, files) = open(named)?;
    let transport = WasiTransport::new(options.origin.clone(), Timeouts::default());
    let retries = Retries::default();
    let access = Access::new(api_key.expose().to_owned());
    let mut delivery = Delivery::start(&id, &roles, options.conversion.clone(), files, transport, access, retries)
        .map_err(|error| error.to_string())?;
    let (mut accepted, mut rejected) = (0, 0);
    let outcome = loop {
        match delivery.next_batch() {
            Ok(Some(batch)) => {
                accepted += batch.accepted.len();
                rejected += batch.rejected.len();
                for event in &batch.rejected {
                    eprintln!("rejected: {} {}: {} {}", event.kind.name(), event.id, event.status, event.message);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(format!("{}: {error}", options.origin)),
        }
    };
    print(&format!("{id}: {accepted} events accepted by {}, {rejected} rejected", options.origin))?;
    outcome?;
    if rejected > 0 { Err(format!("{rejected} events were rejected")) } else { Ok(()) }
}

/// Open files.
struct Files(Vec<File>);

impl Source for Files {
    type Error = io::Error;

    fn size(&mut self, file: u32) -> io::Result<u64> {
        Ok(self.0[file as usize].metadata()?.len())
    }

    fn read(&mut self, file: u32, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let file = &mut self.0[file as usize];
        file.seek(SeekFrom::Start(offset))?;
        let mut piece = vec![0; most];
        let length = file.read(&mut piece)?;
        piece.truncate(length);
        Ok(piece)
    }
}

/// The session's ID and its files, the main ones first.
fn open(named: &[&str]) -> Result<(String, Vec<FileRole>, Files), String> {
    let cannot = |path: &Path, error: io::Error| format!("{} cannot be read: {error}", path.display());
    let id = Path::new(named[0]).file_stem().and_then(|stem| stem.to_str());
    let id = id.ok_or("the transcript's name gives no session id")?;
    let mut mains = BTreeSet::new();
    for main in named.iter().map(Path::new) {
        if main.file_name() != Path::new(named[0]).file_name() {
            return Err(format!("{} and {} are not of one session", named[0], main.display()));
        }
        // It may be its session's only one, or lie where none is looked for.
        File::open(main).map_err(|error| cannot(main, error))?;
        mains.extend(beside(main).into_iter().chain([resolved(main)]));
    }
    let mut mains: Vec<_> = mains.into_iter().collect();
    files::order_mains(&mut mains, |main| (began(main), main.clone()));
    let (mut roles, mut files) = (Vec::new(), Vec::new());
    let mut agents = Vec::new();
    for main in &mains {
        roles.push(FileRole::Main);
        files.push(File::open(main).map_err(|error| cannot(main, error))?);
        agents.extend(agents_of(id, main));
    }
    agents.sort_by(|(a, p), (b, q)| (&a.agent_id, p).cmp(&(&b.agent_id, q)));
    for (agent, path) in agents {
        files.push(File::open(&path).map_err(|error| cannot(&path, error))?);
        roles.push(FileRole::Agent(agent));
    }
    Ok((id.to_owned(), roles, Files(files)))
}

/// The session's main transcripts in other projects' folders: after `/cd`, or in a worktree, it has one in each.
fn beside(main: &Path) -> Vec<PathBuf> {
    let projects = main.parent().and_then(Path::parent);
    let projects = projects.filter(|projects| projects.file_name().is_some_and(|name| name == PROJECTS));
    let (Some(projects), Some(name)) = (projects, main.file_name()) else { return Vec::new() };
    let mains = entries(projects).into_iter().map(|folder| folder.join(name)).filter(|main| main.is_file());
    mains.map(|main| resolved(&main)).collect()
}

/// A main transcript in the folder that its own is a link to, if it is one: else a linked folder's would be read twice.
/// (WASI has no `canonicalize`.)
fn resolved(main: &Path) -> PathBuf {
    let resolve = || {
        let folder = main.parent()?;
        Some(folder.parent()?.join(fs::read_link(folder).ok()?).join(main.file_name()?))
    };
    resolve().unwrap_or_else(|| main.to_owned())
}

/// When a transcript begins.
fn began(transcript: &Path) -> Option<i64> {
    files::began(BufReader::new(File::open(transcript).ok()?))
}

/// The session's sub-agents beside a main transcript.
fn agents_of(id: &str, main: &Path) -> Vec<(AgentFile, PathBuf)> {
    let folder = main.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let subagents = folder.join(id).join(SUBAGENTS);
    let runs = entries(subagents.join(WORKFLOWS));
    let places = [folder, subagents.as_path()].into_iter().chain(runs.iter().map(PathBuf::as_path));
    places.flat_map(entries).filter_map(|path| agent_of(id, folder, path)).collect()
}

fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// This file, if it is a sub-agent's transcript of the session with this ID and its main transcript is in this folder.
fn agent_of(id: &str, folder: &Path, path: PathBuf) -> Option<(AgentFile, PathBuf)> {
    let names: Option<Vec<&str>> = path.strip_prefix(folder).ok()?.iter().map(|name| name.to_str()).collect();
    let agent = files::agent(id, &names?)?;
    if agent.is_flat && !files::belongs_to(id, BufReader::new(File::open(&path).ok()?)).ok()? {
        return None;
    }
    let metadata = path.with_file_name(files::metadata_name(agent.agent_id));
    let file = AgentFile {
        agent_id: agent.agent_id.to_owned(),
        metadata: fs::read_to_string(metadata).ok(),
        workflow_run: agent.workflow_run.map(str::to_owned),
    };
    Some((file, path))
}
