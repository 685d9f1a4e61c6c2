//! The component as a command, `wasi:cli/run`: runs with `wasmtime run` or another runtime, without our host.
//!
//! It sees the directories and variables that the runtime gives it. Limiting what it can reach is up to the runtime.

use super::Component;
use super::environment;
use super::http::{Timeouts, WasiTransport};
use bindings::exports::wasi::cli::run::Guest;
use posthog_llma_pipeline::delivery::deliver::{Access, Delivery, Retries};
use posthog_llma_pipeline::delivery::reading::{Reading, Source};
use posthog_llma_pipeline::session::files::{self, SUBAGENTS, WORKFLOWS};
use posthog_llma_pipeline::session::{AgentFile, FileRole, Session};
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
usage: convert TRANSCRIPT   print the session's events, one JSON object a line
       send TRANSCRIPT      send them to POSTHOG_HOST with POSTHOG_API_KEY

TRANSCRIPT is a path within a directory that the host gives (wasmtime run --dir DIR …). Settings are the POSTHOG_…
variables that the host passes (--env NAME).";

impl Guest for Component {
    fn run() -> Result<(), ()> {
        let arguments = wasi::cli::environment::get_arguments();
        let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        let outcome = match arguments.as_slice() {
            ["convert", path] => convert(Path::new(path)),
            ["send", path] => send(Path::new(path)),
            ["-h" | "--help" | "help"] => print(USAGE),
            _ => Err(USAGE.to_owned()),
        };
        outcome.map_err(|message| eprintln!("{message}"))
    }
}

fn print(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{text}").map_err(|error| error.to_string())
}

fn convert(path: &Path) -> Result<(), String> {
    let options = environment::options()?.conversion;
    let (id, roles, files) = open(path)?;
    let mut session = Session::open(&id, &roles, options).map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    let unreadable = |(_, error): (u32, io::Error)| format!("{} or a sub-agent's transcript: {error}", path.display());
    let mut reading = Reading::first(&mut session, files, roles.len()).map_err(unreadable)?;
    loop {
        let more = reading.second(&mut session).map_err(unreadable)?;
        out.write_all(&session.take_events(usize::MAX)).map_err(|error| error.to_string())?;
        if !more {
            return Ok(());
        }
    }
}

fn send(path: &Path) -> Result<(), String> {
    let options = environment::options()?;
    let Some(api_key) = &options.api_key else { return Err("POSTHOG_API_KEY is not set".to_owned()) };
    let (id, roles, files) = open(path)?;
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

/// The session's ID and its files, the main one first.
fn open(main: &Path) -> Result<(String, Vec<FileRole>, Files), String> {
    let cannot = |error: io::Error| format!("{} cannot be read: {error}", main.display());
    let id = main.file_stem().and_then(|stem| stem.to_str()).ok_or("the transcript's name gives no session id")?;
    let folder = main.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut roles = vec![FileRole::Main];
    let mut files = vec![File::open(main).map_err(cannot)?];
    let mut agents: Vec<(AgentFile, PathBuf)> = Vec::new();
    let subagents = folder.join(id).join(SUBAGENTS);
    let runs = entries(&subagents.join(WORKFLOWS));
    for place in [folder, subagents.as_path()].into_iter().chain(runs.iter().map(PathBuf::as_path)) {
        agents.extend(entries(place).into_iter().filter_map(|path| agent_of(id, folder, path)));
    }
    agents.sort_by(|(a, p), (b, q)| (&a.agent_id, p).cmp(&(&b.agent_id, q)));
    for (agent, path) in agents {
        files.push(File::open(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?);
        roles.push(FileRole::Agent(agent));
    }
    Ok((id.to_owned(), roles, Files(files)))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
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
