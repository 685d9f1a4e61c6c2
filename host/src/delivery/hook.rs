//! The hook that Claude Code calls when a session begins or ends.
//!
//! The client gives a hook little time (1.5 s for a plugin's, measured with 2.1.112 to 2.1.330) and kills it without
//! warning. So a hook only records what is owed: it starts a process that outlives it ([`detach`]), records the
//! session, and exits. It prints nothing, whatever happens: the client would show any output or failure to the user,
//! who is just leaving.

use crate::claude_code::clean_start;
use crate::claude_code::client::{self, Process};
use crate::claude_code::first_environment::{self, Standing};
use crate::claude_code::project::Ask;
use crate::claude_code::settings::{Environment, Settings};
use crate::delivery::courier::Courier;
use crate::delivery::send::Destination;
use crate::delivery::status_file::StatusFile;
use crate::outbox::decisions::Decisions;
use crate::outbox::stored_options;
use crate::outbox::{self, HOOK, HOOK_FAILURE, Millis, Outbox, OutboxError, Sighting};
use crate::program::{self, Program, ProgramError};
use crate::system::detach;
use crate::system::directories;
use crate::system::log::{self, Detail};
use crate::system::terminal::print;
use posthog_llma_pipeline::options;
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};

/// Name of the command that is the hook.
pub const COMMAND: &str = "hook";

/// Name of the command that continues after the hook.
pub const WORKER: &str = "worker";

/// How long the hook takes at most once the worker is started. The worker records what the hook has not recorded by
/// then.
const TIME_LIMIT: Duration = Duration::from_millis(40);

/// How long the hook waits for steps that should be instant: reading its input and starting the worker.
const PATIENCE_LIMIT: Duration = Duration::from_secs(1);

/// How long the hook waits for its input to start. The client writes it at once, but may be late on a busy machine:
/// then the worker waits.
const INPUT_LIMIT: Duration = Duration::from_millis(20);

/// How long the worker waits for the input.
const LATE_INPUT_LIMIT: Duration = Duration::from_secs(20);

/// How long the hook waits for other writers of the record. The worker has more time.
const HOOK_PATIENCE: Duration = Duration::from_millis(20);

/// How long the worker stays for what is due soon.
const WORKER_STAYS: Duration = Duration::from_secs(15);

/// The wait before reading an ended session: the client may still be writing its last line.
const LAST_LINES: Duration = Duration::from_millis(300);

/// The error for invalid input.
const NO_INPUT: &str = "the hook's input is not a JSON object with a `transcript_path`";

/// The event at the start of a session.
pub const SESSION_START: &str = "SessionStart";

/// The source of a session that starts together with its client.
const STARTUP: &str = "startup";

/// The event at the end of a session.
pub const SESSION_END: &str = "SessionEnd";

/// The event at the end of a turn.
pub const STOP: &str = "Stop";

/// The relevant fields of the hook's input. Fields of an unexpected type count as missing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HookInput {
    /// `SessionEnd`, `SessionStart`, …
    pub event: String,
    /// For `SessionStart`: `startup`, `resume`, …
    pub source: String,
    /// The session's ID.
    pub session_id: String,
    /// The session's main transcript, which need not exist.
    pub transcript: PathBuf,
    /// When the hook was called, in milliseconds since 1970.
    pub at: Millis,
}

impl HookInput {
    /// Reads one JSON object without waiting for more input.
    pub fn read(from: impl io::Read) -> Option<Self> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            hook_event_name: serde_json::Value,
            #[serde(default)]
            source: serde_json::Value,
            #[serde(default)]
            session_id: serde_json::Value,
            #[serde(default)]
            transcript_path: serde_json::Value,
        }
        // Real input has a few hundred bytes, but may include a prompt.
        let from = io::BufReader::new(from.take(16 << 20));
        let object = serde_json::Deserializer::from_reader(from).into_iter::<Object>().next()?.ok()?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let transcript = PathBuf::from(text(&object.transcript_path));
        let name = transcript.file_stem().map(|name| name.to_string_lossy().into_owned());
        // The base of a relative path is unknown.
        if !transcript.is_absolute() {
            return None;
        }
        let session_id = Some(text(&object.session_id)).filter(|id| !id.is_empty()).or(name)?;
        let (event, source) = (text(&object.hook_event_name), text(&object.source));
        Some(Self { event, source, session_id, transcript, at: outbox::now() })
    }
}

/// Runs the hook. It ends in time, even if something blocks.
pub fn run() {
    let start = Instant::now();
    // Don't show the user anything, not even a panic.
    std::panic::set_hook(Box::new(|_| {}));
    if Environment::of_process().is_off() {
        return;
    }
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || act(&sender));
    // `Ok` means that the worker has been started. An error means that the thread has ended, possibly by a panic.
    if receiver.recv_timeout(PATIENCE_LIMIT).is_ok() {
        let _ = receiver.recv_timeout(TIME_LIMIT.saturating_sub(start.elapsed()));
    }
}

/// Has the client started to write the input, or closed it?
#[cfg(unix)]
fn has_input(within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdin = io::stdin();
    let mut streams = [PollFd::new(&stdin, PollFlags::IN)];
    let time = Timespec { tv_sec: 0, tv_nsec: within.subsec_nanos().into() };
    poll(&mut streams, Some(&time)).is_ok_and(|ready| ready > 0)
}

/// This platform has no such check; reading finds out.
#[cfg(not(unix))]
fn has_input(_: Duration) -> bool {
    true
}

/// Does the hook's work. Sends a message when the worker has been started, and drops the sender when everything is
/// done.
fn act(started: &mpsc::Sender<()>) {
    let Ok(directory) = outbox::directory() else { return };
    let client = client::calling();
    if !has_input(INPUT_LIMIT) {
        let _ = start_worker(None, client, Path::new("/"));
        return;
    }
    let Some(input) = HookInput::read(io::stdin()) else {
        let _ = fail(&directory, "", NO_INPUT);
        return;
    };
    if knows_environment_now(&directory, &input) {
        // This process has discarded the given environment; the worker restores it.
        let _ = start_worker(Some(&input), client, root_of(&input));
        return;
    }
    let (program, destination) = match ready(&directory, &input) {
        Ok(Ready::ToSend(program, destination)) => (*program, destination),
        Ok(Ready::Asked(program, ask)) => {
            let _ = keep_back(&directory, HOOK_PATIENCE, &program, &ask, &input, client);
            if input.event == SESSION_START {
                // The client shows this message to the user.
                let message = json!({"systemMessage": format!("posthog-llma: {}", ask.question() + ": run `posthog-llma trust` in a terminal")});
                let _ = print(&format!("{message}\n"));
            }
            return;
        }
        Ok(Ready::NotNow) => return,
        Err(error) => {
            let _ = fail(&directory, &input.session_id, &error);
            return;
        }
    };
    // This comes first, because the worker can do all the rest on its own.
    let handed_over = start_worker(Some(&input), client, root_of(&input));
    let _ = started.send(());
    let written = Outbox::open(&directory, HOOK_PATIENCE)
        .and_then(|(outbox, _)| write_down(outbox, &program, &destination, &input, client));
    if let (Err(error), Err(_)) = (handed_over, written) {
        let _ =
            fail(&directory, &input.session_id, &format!("the hook can neither start a process nor write: {error}"));
    }
}

/// If the system does not reveal what the client was started with: does the client start where no project influences
/// its environment? Then its values count as the person's from now on.
fn knows_environment_now(directory: &Path, input: &HookInput) -> bool {
    let start = first_environment::start();
    let starts = input.event == SESSION_START && input.source == STARTUP;
    if start.standing != Standing::Unknown || !starts {
        return false;
    }
    let environment = Environment::of_process();
    let Some(config) = environment.config_dir() else { return false };
    let folders = clean_start::folders(environment.project());
    clean_start::is_clean(folders.iter().map(PathBuf::as_path), &config)
        && clean_start::remember(directory, &start.given).is_ok()
}

/// A folder that nobody will remove.
fn root_of(input: &HookInput) -> &Path {
    input.transcript.ancestors().last().unwrap_or(Path::new("/"))
}

/// What the settings say about a session.
enum Ready {
    /// Send the session to this destination.
    ToSend(Box<Program>, Destination),
    /// The session's project asks for something the person has not decided yet.
    Asked(Box<Program>, Ask),
    /// Send nothing, and there is no error.
    NotNow,
}

/// Evaluates the settings; the error says what is missing.
fn ready(directory: &Path, input: &HookInput) -> Result<Ready, String> {
    let program = Program::of_hook().map_err(|error: ProgramError| error.to_string())?;
    if program.decisions.paused().is_some() {
        let seen = Decisions::change(directory, |decisions| decisions.saw_paused(&input.transcript));
        return seen.map(|_| Ready::NotNow).map_err(|error| error.to_string());
    }
    if program.never_sends(&input.transcript) || program.project_is_off() {
        return Ok(Ready::NotNow);
    }
    if let Some(ask) = program.ask.clone() {
        return Ok(Ready::Asked(Box::new(program), ask));
    }
    if !program.options.enabled {
        return Err(format!("{} is not true", options::ENABLED));
    }
    let Some(api_key) = program.options.api_key.clone() else {
        return Err(format!("{} is true, but {} is not set", options::ENABLED, options::API_KEY));
    };
    let origin = program.options.origin.clone();
    Ok(Ready::ToSend(Box::new(program), Destination { origin, api_key }))
}

/// Records what the project asks for, and the session as owed to the requested destination: nothing is sent there
/// before the person approves it.
fn keep_back(
    directory: &Path,
    patience: Duration,
    program: &Program,
    ask: &Ask,
    input: &HookInput,
    client: Option<Process>,
) -> Result<(), OutboxError> {
    let asked = program::asked(ask);
    if !program.decisions.asked.iter().any(|known| known.pair == asked.pair && known.source == asked.source) {
        Decisions::change(directory, |decisions| decisions.ask(asked))?;
    }
    // Only for a redirect: a session owed to the person's own destination would be sent.
    if let (Ok((origin, api_key)), true) = (&ask.pair, ask.redirects) {
        let destination = Destination { origin: origin.clone(), api_key: api_key.clone() };
        let (outbox, _) = Outbox::open(directory, patience)?;
        write_down(outbox, program, &destination, input, client)?;
    }
    Ok(())
}

/// Starts the worker in a directory that nobody will remove. If the input is missing, the worker reads it itself.
fn start_worker(input: Option<&HookInput>, client: Option<Process>, directory: &Path) -> io::Result<()> {
    let mut arguments: Vec<OsString> = vec![WORKER.into()];
    if let Some(input) = input {
        // Name and value in one argument: a value may look like a flag.
        arguments.push(format!("--event={}", input.event).into());
        arguments.push(format!("--session={}", input.session_id).into());
        arguments.extend(["--transcript".into(), input.transcript.clone().into()]);
        arguments.push(format!("--at={}", input.at).into());
    }
    if let Some((process, started)) = client {
        arguments.push(format!("--client={process}:{started}").into());
    }
    let stdin = if input.is_some() { detach::Stdin::Null } else { detach::Stdin::Inherit };
    detach::start(&arguments, first_environment::handed_on(), directory, stdin)
}

/// Records what the hook saw and returns the record.
fn write_down(
    mut outbox: Outbox,
    program: &Program,
    destination: &Destination,
    input: &HookInput,
    client: Option<Process>,
) -> Result<Outbox, OutboxError> {
    let id = outbox.destination(&destination.origin, &destination.api_key)?;
    let options = stored_options::to_text(&program.options.conversion);
    let project = program.project_of(&input.transcript);
    let sighting = Sighting {
        transcript: &input.transcript,
        session_id: &input.session_id,
        options: &options,
        project: Some(&project),
        hook: Some(&input.event),
        at: input.at,
    };
    if input.event == STOP && program.options.live {
        outbox.turn_ended(id, &sighting, client)?;
    } else if input.event != SESSION_END {
        outbox.runs(id, &sighting, client)?;
    } else if input.transcript.exists() {
        outbox.owe(id, &sighting, outbox::now() + LAST_LINES.as_millis() as i64)?;
    } else {
        // A session without a prompt leaves no transcript, so there is nothing to deliver.
        let session = outbox.see(id, &sighting)?;
        outbox.ended_quietly(session)?;
        outbox.note(HOOK, &input.event)?;
    }
    let variables = options::variables().filter(|name| std::env::var_os(name).is_some()).map(str::to_owned).collect();
    outbox.note_hook_settings(id, &destination.origin, variables)?;
    if outbox.noted(HOOK_FAILURE)?.is_some() {
        outbox.unnote(HOOK_FAILURE)?;
    }
    Ok(outbox)
}

/// Records why the hook failed, if possible: `status` shows it.
fn fail(directory: &Path, session_id: &str, error: &str) -> Result<(), OutboxError> {
    let mut outbox = Outbox::open(directory, HOOK_PATIENCE).map(|(outbox, _)| outbox);
    if let Some(config) = Environment::of_process().config_dir() {
        let _ = StatusFile::of_failed_hook(&config, session_id, error).save(outbox.as_mut().ok());
    }
    outbox?.note(HOOK_FAILURE, error)
}

/// Runs the worker after the hook: records what the hook may have had no time for, and delivers what is due.
pub fn work(input: Option<HookInput>, client: Option<Process>) -> anyhow::Result<()> {
    detach::leave();
    let directory = outbox::directory()?;
    let _ = start_log(&directory);
    let Some(input) = input.or_else(late_input) else {
        warn!("the hook had no usable input");
        return Ok(fail(&directory, "", NO_INPUT)?);
    };
    info!(event = ?input.event, session = ?input.session_id, version = env!("CARGO_PKG_VERSION"), "a hook came");
    if knows_environment_now(&directory, &input) {
        info!("the environment is the person's from now on");
        return Ok(start_worker(Some(&input), client, root_of(&input))?);
    }
    let worked = work_in(&directory, &input, client);
    match &worked {
        Ok(()) => debug!("the worker leaves"),
        // Don't log the error itself: a settings error contains the value, and others may contain anyone's text.
        Err(error) if error.is::<OutboxError>() => {
            error!("cannot use the delivery record: `posthog-llma status` says why");
        }
        Err(_) => error!("nothing can be sent: `posthog-llma status` says why"),
    }
    if let Err(error) = &worked {
        // Nobody sees this process's output.
        fail(&directory, &input.session_id, &error.to_string())?;
    }
    worked
}

/// Starts the worker's log in the file that the person named, else in its own file.
fn start_log(directory: &Path) -> io::Result<()> {
    let settings = Settings::own(&Environment::of_process()).ok();
    let named = settings.as_ref().and_then(|settings| settings.get(options::LOG));
    if let Some(path) = named.and_then(|(path, _)| program::log_path(path)) {
        return log::start(&path, Detail::Full);
    }
    directories::make_private(directory)?;
    log::start(&directory.join(log::FILE_NAME), Detail::Usual)
}

/// Reads the input that the hook did not wait for.
fn late_input() -> Option<HookInput> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(HookInput::read(io::stdin())));
    receiver.recv_timeout(LATE_INPUT_LIMIT).ok().flatten()
}

fn work_in(directory: &Path, input: &HookInput, client: Option<Process>) -> anyhow::Result<()> {
    let (program, destination) = match ready(directory, input).map_err(anyhow::Error::msg)? {
        Ready::ToSend(program, destination) => (*program, destination),
        Ready::Asked(program, ask) => {
            info!("waiting: its project asks for something you have not decided yet");
            return Ok(keep_back(directory, outbox::PATIENCE, &program, &ask, input, client)?);
        }
        Ready::NotNow => {
            info!("not sent: paused, on the list of what is never sent, or off in its project");
            return Ok(());
        }
    };
    let (outbox, _) = Outbox::open_and_check(directory)?;
    let mut outbox = write_down(outbox, &program, &destination, input, client)?;
    let id = outbox.destination(&destination.origin, &destination.api_key)?;
    if let Some((other, _)) = program.hooks().others.into_iter().next() {
        warn!("nothing is sent: another program sends the same sessions");
        // The session stays owed; `flush` sends it regardless of other tools.
        anyhow::bail!("{other} also sends these sessions, so hooks send nothing until one of the two is turned off");
    }
    let mut courier = Courier::new(&program, destination, id);
    courier.catch_up(&mut outbox)?;
    courier.work_off(&mut outbox, WORKER_STAYS)?;
    courier.watch(&mut outbox)?;
    Ok(())
}
