//! The real program, run as a user runs it: built before the first test, in a clean environment, within a time limit.
//!
//! Whatever it prints, in whatever test, is searched for the project key.

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

use crate::components::{cargo, profile};
use posthog_llma_local_posthog::LocalPostHog;
use serde_json::Value;
use tempfile::TempDir;

/// The project key of every test. The program may show its last four characters and nothing else of it.
pub const KEY: &str = "phc_Zq7wMustNeverBeShown4kTj9Vx2LmB8";

/// The id of the session that [`Home::session`] writes.
pub const SESSION_ID: &str = "5e551012-0000-4000-8000-000000000001";

/// A run that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_mins(3);

/// Characters of the key that show too much of it when they stand together.
const KEY_PIECE: usize = 6;

static BINARY: LazyLock<PathBuf> = LazyLock::new(build);

/// Compiled code that all tests share. Compiling takes seconds, once.
static CACHE: LazyLock<PathBuf> = LazyLock::new(|| {
    let cache = BINARY.with_file_name("program-tests-cache");
    let home = Home::new();
    home.program(["convert"]).arg(home.session("{}\n")).env("XDG_CACHE_HOME", &cache).run().exits_with(0);
    cache
});

/// The key that marks that code, where each home has it.
const CODE_KEY: &str = ".config/posthog-llma/code.key";

/// Waits until something holds, for at most half a minute.
#[track_caller]
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within half a minute");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The program's file.
pub fn binary() -> &'static Path {
    &BINARY
}

/// A cache directory that holds the compiled code.
pub fn cache() -> &'static Path {
    &CACHE
}

/// Cargo knows whether the program is older than its sources; a test of this package does not make it build the program:
/// `CARGO_BIN_EXE_…` is for the program's own package. What it is made of is built already, so this only links it.
fn build() -> PathBuf {
    let output = cargo()
        .args(["build", "--package", "posthog-llma", "--bin", "posthog-llma", "--profile", &profile()])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the program cannot be built");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    executable.unwrap()
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
    /// An empty one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory };
        fs::create_dir_all(home.path().join("work")).unwrap();
        fs::create_dir_all(home.path().join(".claude/projects")).unwrap();
        home.write(CODE_KEY, "the compiled code of all tests 2");
        home
    }

    /// `HOME`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file, with its folders.
    pub fn write(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    /// Writes the transcript of the session [`SESSION_ID`] where Claude Code writes it.
    pub fn session(&self, transcript: impl AsRef<[u8]>) -> PathBuf {
        self.write(format!(".claude/projects/-work/{SESSION_ID}.jsonl"), transcript)
    }

    /// The program, in this home's project.
    pub fn program<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Program {
        let mut command = Command::new(&*BINARY);
        command.args(arguments).current_dir(self.path().join("work")).env_clear().env("HOME", self.path());
        // For `git`, which must not tell of the machine that the tests run on.
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("GIT_CONFIG_NOSYSTEM", "1");
        Program { command, has_cache: false, input: None }
    }

    /// `hook` with this event of the session whose transcript this is, as Claude Code calls it, with what sends to this server.
    pub fn hook(&self, posthog: &LocalPostHog, event: &str, transcript: &Path) -> Program {
        let id = transcript.file_stem().unwrap().to_str().unwrap();
        let input = serde_json::json!({
            "hook_event_name": event, "session_id": id, "transcript_path": transcript, "cwd": self.path(), "reason": "other"
        });
        self.ready("hook", posthog).input(input.to_string())
    }

    /// A command that delivers to this server, with [`KEY`], and sending is on.
    pub fn ready(&self, command: &str, posthog: &LocalPostHog) -> Program {
        self.program([command])
            .env("POSTHOG_LLMA_CC_ENABLED", "true")
            .env("POSTHOG_API_KEY", KEY)
            .env("POSTHOG_HOST", posthog.origin())
    }

    /// Waits until no program of this home runs any more: none that a hook has left behind.
    #[track_caller]
    pub fn until_quiet(&self) {
        // A look at all processes takes time: one that starts another and ends can hide both from it, but not from two looks.
        until("nothing runs", || {
            !self.is_running() && {
                thread::sleep(Duration::from_millis(20));
                !self.is_running()
            }
        });
    }

    /// Does a program of this home run?
    fn is_running(&self) -> bool {
        let home = [b"HOME=", self.path().as_os_str().as_encoded_bytes()].concat();
        fs::read_dir("/proc").unwrap().flatten().any(|process| {
            // Of a process that has ended, and of another user's, there is nothing to read.
            let environment = fs::read(process.path().join("environ")).unwrap_or_default();
            let is_ours = environment.split(|byte| *byte == 0).any(|variable| variable == home);
            let line = || fs::read(process.path().join("cmdline"));
            is_ours && line().is_ok_and(|line| line.starts_with(BINARY.as_os_str().as_encoded_bytes()))
        })
    }

    /// What `status --json` says.
    pub fn status(&self, posthog: &LocalPostHog) -> Value {
        self.ready("status", posthog).arg("--json").run().json()
    }

    /// `convert`.
    pub fn convert(&self, session: impl AsRef<OsStr>) -> Program {
        self.program(["convert"]).arg(session)
    }

    /// `send` to this server, with [`KEY`].
    pub fn send(&self, posthog: &LocalPostHog, session: impl AsRef<OsStr>) -> Program {
        self.program(["send"]).arg(session).env("POSTHOG_API_KEY", KEY).env("POSTHOG_HOST", posthog.origin())
    }
}

/// A run that has not begun.
#[derive(Debug)]
#[must_use = "nothing runs before `run` or `start`"]
pub struct Program {
    command: Command,
    has_cache: bool,
    input: Option<Vec<u8>>,
}

impl Program {
    /// Another argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.has_cache |= name == "XDG_CACHE_HOME";
        self.command.env(name, value);
        self
    }

    /// What it reads from its standard input, which then ends. Without this there is none.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Run by another program, which comes first on its command line: `timeout 60`, say.
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

    /// Run by a client: a process that has this program's environment so far, and gives it these variables more, as a
    /// project's settings make the client do. The client's marks are among what it gives.
    pub fn below_client<N: AsRef<str>, V: AsRef<str>>(self, project: &Path, given: &[(N, V)]) -> Self {
        // The shell stays, because something comes after.
        let mut wrapper = vec!["sh".to_owned(), "-c".to_owned(), "\"$@\"; exit $?".to_owned(), "client".to_owned()];
        wrapper.extend(["env".to_owned(), "CLAUDECODE=1".to_owned()]);
        wrapper.push(format!("CLAUDE_PROJECT_DIR={}", project.display()));
        wrapper.extend(given.iter().map(|(name, value)| format!("{}={}", name.as_ref(), value.as_ref())));
        self.under(&wrapper.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// No variable at all, not even those that every run has.
    pub fn without_environment(mut self) -> Self {
        self.command.env_clear();
        self.has_cache = true;
        self
    }

    /// Not this variable.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Another working directory.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Runs it to its end with its output in a file.
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
        if !self.has_cache {
            self.command.env("XDG_CACHE_HOME", &*CACHE);
        }
        let start = Instant::now();
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self.command.stdin(stdin).stderr(Stdio::piped()).spawn().unwrap();
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            // It need not read all of it.
            thread::spawn(move || stdin.write_all(&input));
        }
        let mut running = Running { child, start, stderr: None };
        running.stderr = running.child.stderr.take().map(read);
        running
    }
}

/// A run. It is ended when this is dropped.
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

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let stdout = self.stdout();
        self.end(stdout)
    }

    /// Takes the first line of its output and closes the pipe, as `head -1` does.
    #[track_caller]
    pub fn end_after_first_line(mut self) -> Ended {
        let mut stdout = BufReader::with_capacity(1024, self.child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        self.end(Some(thread::spawn(|| line)))
    }

    /// Ends it at once, with no signal that it could see.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends the signal of Ctrl-C and waits for the end.
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
    /// What it printed.
    pub stdout: String,
    /// What it said beside that.
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

    /// Asserts that all of this is in what it said.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {}", self.stderr);
        }
        self
    }

    /// Asserts that all of this is in what it printed.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stdout.contains(part), "{part:?} is not in {}", self.stdout);
        }
        self
    }

    /// Asserts that it said nothing.
    #[track_caller]
    pub fn says_nothing(self) -> Self {
        assert_eq!(self.stderr, "");
        self
    }

    /// What it printed, as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// What it printed, a JSON value a line.
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
