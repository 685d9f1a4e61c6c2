//! The real program, run as a user runs it: built before the first test, in a clean environment, with a time limit.
//!
//! The output of every run, in every test, is searched for the project token.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::return_self_not_must_use, reason = "assertions can be chained, and need not be")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::components::built;
use posthog_llma_local_posthog::LocalPostHog;
use serde_json::Value;
use tempfile::TempDir;

/// The project token of every test. The program may show only its last four characters.
pub const KEY: &str = "phc_Zq7wMustNeverBeShown4kTj9Vx2LmB8";

/// The ID of the session that [`Home::session`] writes.
pub const SESSION_ID: &str = "5e551012-0000-4000-8000-000000000001";

/// A run that takes longer is considered hung.
const TIME_LIMIT: Duration = Duration::from_mins(3);

/// The number of consecutive characters of the key that reveal too much.
const KEY_PIECE: usize = 6;

/// Cargo knows whether the program is older than its sources, but a test of this package doesn't make cargo build it,
/// because `CARGO_BIN_EXE_…` exists only for the program's own package.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| built("posthog-llma"));

/// Waits up to half a minute until something holds.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within half a minute");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The path of the program.
pub fn binary() -> &'static Path {
    &BINARY
}

/// A user's machine: a home directory with Claude Code's folder in it, and a project to work in.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// An empty home.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory };
        fs::create_dir_all(home.path().join("work")).unwrap();
        fs::create_dir_all(home.path().join(".claude/projects")).unwrap();
        home
    }

    /// `HOME`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file and creates its folders.
    pub fn write(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    /// Writes the transcript of the session [`SESSION_ID`] to Claude Code's path for it.
    pub fn session(&self, transcript: impl AsRef<[u8]>) -> PathBuf {
        self.write(format!(".claude/projects/-work/{SESSION_ID}.jsonl"), transcript)
    }

    /// The program, run in this home's project.
    pub fn program<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Program {
        let mut command = Command::new(&*BINARY);
        command.args(arguments).current_dir(self.path().join("work")).env_clear().env("HOME", self.path());
        // For `git`, which must not use the system's configuration.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("GIT_CONFIG_NOSYSTEM", "1");
        Program { command, input: None }
    }

    /// `hook`, called as Claude Code calls it, with this event of this transcript's session, and set up to send to this
    /// server.
    pub fn hook(&self, posthog: &LocalPostHog, event: &str, transcript: &Path) -> Program {
        let id = transcript.file_stem().unwrap().to_str().unwrap();
        let input = serde_json::json!({
            "hook_event_name": event, "session_id": id, "transcript_path": transcript, "cwd": self.path(), "reason": "other"
        });
        self.ready("hook", posthog).input(input.to_string())
    }

    /// A command set up to deliver to this server: with [`KEY`], and sending is on.
    pub fn ready(&self, command: &str, posthog: &LocalPostHog) -> Program {
        self.program([command])
            .env("POSTHOG_LLMA_CC_ENABLED", "true")
            .env("POSTHOG_API_KEY", KEY)
            .env("POSTHOG_HOST", posthog.origin())
    }

    /// Waits until no program of this home is running, including those that a hook has left behind.
    #[track_caller]
    pub fn until_quiet(&self) {
        // Scanning all processes takes time: one that starts another and ends can hide both from one scan, but not from
        // two.
        until("nothing runs", || {
            !self.is_running() && {
                thread::sleep(Duration::from_millis(20));
                !self.is_running()
            }
        });
    }

    /// Is a program of this home running?
    fn is_running(&self) -> bool {
        self.processes().iter().any(|(_, line)| line.starts_with(BINARY.as_os_str().as_encoded_bytes()))
    }

    /// The number and the command line of every process of this home.
    pub fn processes(&self) -> Vec<(u32, Vec<u8>)> {
        let home = [b"HOME=", self.path().as_os_str().as_encoded_bytes()].concat();
        let ours = |process: fs::DirEntry| {
            let number = process.file_name().to_str()?.parse().ok()?;
            // The environment of an ended process, or of another user's, cannot be read.
            let environment = fs::read(process.path().join("environ")).ok()?;
            let is_ours = environment.split(|byte| *byte == 0).any(|variable| variable == home);
            is_ours.then(|| fs::read(process.path().join("cmdline")).ok()).flatten().map(|line| (number, line))
        };
        fs::read_dir("/proc").unwrap().flatten().filter_map(ours).collect()
    }

    /// The output of `status --json`.
    pub fn status(&self, posthog: &LocalPostHog) -> Value {
        self.ready("status", posthog).arg("--json").run().json()
    }

    /// `convert` with this session.
    pub fn convert(&self, session: impl AsRef<OsStr>) -> Program {
        self.program(["convert"]).arg(session)
    }

    /// `send` of this session to this server, with [`KEY`].
    pub fn send(&self, posthog: &LocalPostHog, session: impl AsRef<OsStr>) -> Program {
        self.program(["send"]).arg(session).env("POSTHOG_API_KEY", KEY).env("POSTHOG_HOST", posthog.origin())
    }
}

/// A run that has not started.
#[derive(Debug)]
#[must_use = "nothing runs before `run` or `start`"]
pub struct Program {
    command: Command,
    input: Option<Vec<u8>>,
}

impl Program {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Its standard input. Without this, it has none.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Runs it under another program, which comes first on the command line, such as `timeout 60`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        self.command = command;
        self
    }

    /// Runs it under a client: a process with the program's environment so far, which passes on these variables in
    /// addition, as a project's settings make the client do. Those include the variables that mark the client.
    pub fn below_client<N: AsRef<str>, V: AsRef<str>>(self, project: &Path, given: &[(N, V)]) -> Self {
        // The shell doesn't replace itself, because another command follows.
        let mut wrapper = vec!["sh".to_owned(), "-c".to_owned(), "\"$@\"; exit $?".to_owned(), "client".to_owned()];
        wrapper.extend(["env".to_owned(), "CLAUDECODE=1".to_owned()]);
        wrapper.push(format!("CLAUDE_PROJECT_DIR={}", project.display()));
        wrapper.extend(given.iter().map(|(name, value)| format!("{}={}", name.as_ref(), value.as_ref())));
        self.under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Removes all variables, even those that every run has.
    pub fn without_environment(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Removes this variable.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Uses another working directory.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs it until it ends.
    #[track_caller]
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Runs it until it ends, with its output in a file.
    #[track_caller]
    pub fn run_into(mut self, file: File) -> Ended {
        self.command.stdout(file);
        let running = self.spawn();
        running.end(None)
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        self.command.stdout(Stdio::piped());
        self.spawn()
    }

    fn spawn(mut self) -> Running {
        let start = Instant::now();
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self.command.stdin(stdin).stderr(Stdio::piped()).spawn().unwrap();
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // The program may not read all of it.
            thread::spawn(move || stdin.write_all(&input));
        }
        let mut running = Running { child, start, stderr: None };
        running.stderr = running.child.stderr.take().map(read);
        running
    }
}

/// A run. Dropping it kills the program.
#[derive(Debug)]
pub struct Running {
    child: Child,
    start: Instant,
    stderr: Option<JoinHandle<String>>,
}

fn read(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

impl Running {
    fn stdout(&mut self) -> Option<JoinHandle<String>> {
        self.child.stdout.take().map(read)
    }

    /// Waits until it ends.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let stdout = self.stdout();
        self.end(stdout)
    }

    /// Reads the first line of its output, then closes the pipe, as `head -1` does.
    #[track_caller]
    pub fn end_after_first_line(mut self) -> Ended {
        let mut stdout = BufReader::with_capacity(1024, self.child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        self.end(Some(thread::spawn(|| line)))
    }

    /// Kills it immediately, with a signal that it cannot catch.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends the signal of Ctrl-C, and waits until it ends.
    #[cfg(unix)]
    #[track_caller]
    pub fn interrupt(mut self) -> Ended {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.start = Instant::now();
        self.wait()
    }

    #[track_caller]
    fn end(mut self, stdout: Option<JoinHandle<String>>) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(self.start.elapsed() < TIME_LIMIT, "the program hangs");
            thread::sleep(Duration::from_millis(2));
        };
        let time = self.start.elapsed();
        let text = |reading: Option<JoinHandle<String>>| reading.map_or_else(String::new, |text| text.join().unwrap());
        let outcome = Ended { code: status.code(), stdout: text(stdout), stderr: text(self.stderr.take()), time };
        outcome.shows_no_key();
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took, from its start or from the signal.
    pub time: Duration,
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that its standard error contains all of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {}", self.stderr);
        }
        self
    }

    /// Asserts that its standard output contains all of these.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part), "{part:?} is not in {}", self.stdout);
        }
        self
    }

    /// Asserts that its standard error is empty.
    #[track_caller]
    pub fn says_nothing(self) -> Self {
        assert_eq!(self.stderr, "");
        self
    }

    /// Its standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Its standard output as one JSON value per line.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn shows_no_key(&self) {
        let secret = KEY.strip_prefix("phc_").unwrap();
        for start in 0..=secret.len() - KEY_PIECE {
            let piece = &secret[start..start + KEY_PIECE];
            for text in [&self.stdout, &self.stderr] {
                assert!(!text.contains(piece), "{piece} of the key is in {text}");
            }
        }
    }
}
