//! The real Claude Code against a fake Anthropic API, in its own home directory. If it can't be installed, tests print
//! that they are skipped, and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::lock;
use crate::program::{Home, binary};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use posthog_llma_local_posthog::loopback::Loopback;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Claude Code's npm package.
const PACKAGE: &str = "@anthropic-ai/claude-code";

/// Serializes installations.
static INSTALLING: Mutex<()> = Mutex::new(());

/// An installed version of the client.
#[derive(Debug)]
pub struct ClaudeCode {
    /// The command that starts it: a native program, or Node.js with a script.
    command: Vec<PathBuf>,
}

impl ClaudeCode {
    /// Installs a version below `folder`, where it stays for the next run. If npm or the package is not available,
    /// prints that the test is skipped.
    pub fn install(version: &str, folder: &Path, test: &str) -> Option<Self> {
        let _one = lock(&INSTALLING);
        let folder = folder.join(format!("claude-code-{version}"));
        if let Some(installed) = Self::find(&folder) {
            return Some(installed);
        }
        let npm = Command::new("npm")
            .args(["install", "--ignore-scripts", "--force", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
            .arg(&folder)
            .arg(format!("{PACKAGE}@{version}"))
            .stdin(Stdio::null())
            .output();
        let installed = match npm {
            Ok(output) if output.status.success() => Self::find(&folder),
            _ => None,
        };
        if installed.is_none() {
            let _ = writeln!(io::stderr(), "skipped: {test} needs Claude Code {version}, which npm could not install");
        }
        installed
    }

    fn find(folder: &Path) -> Option<Self> {
        let packages = folder.join("node_modules/@anthropic-ai");
        let native = fs::read_dir(&packages).ok()?.filter_map(Result::ok).map(|entry| entry.path().join("claude"));
        if let Some(program) = native.filter(|path| path.is_file()).find(|path| runs(path)) {
            return Some(Self { command: vec![program] });
        }
        // Versions up to 2.1.112.
        let script = packages.join("claude-code/cli.js");
        script.is_file().then(|| Self { command: vec![PathBuf::from("node"), script] })
    }
}

/// Of the native programs, only this machine's runs.
fn runs(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").env_clear().env("HOME", std::env::temp_dir()).output();
    output.is_ok_and(|output| output.status.success())
}

/// A user's machine with Claude Code, and with the program on `PATH`.
#[derive(Debug)]
pub struct Machine {
    /// Its home directory.
    pub home: Home,
    path: OsString,
    api: FakeApi,
    _turn: Turn,
}

/// How many clients run at a time, each of which may use a core alone: with more of them, those in a terminal fall behind
/// what a test types.
const CLIENTS: usize = 3;

static TURNS: (Mutex<usize>, Condvar) = (Mutex::new(CLIENTS), Condvar::new());

/// The turn of a machine to run clients.
#[derive(Debug)]
struct Turn;

impl Turn {
    fn wait() -> Self {
        let free = TURNS.1.wait_while(lock(&TURNS.0), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&TURNS.0) += 1;
        TURNS.1.notify_one();
    }
}

impl Machine {
    /// A fresh machine.
    pub fn new(client: &ClaudeCode) -> Self {
        let turn = Turn::wait();
        let home = Home::new();
        let work = home.path().join("work").canonicalize().unwrap();
        let known = json!({"hasCompletedOnboarding": true, "lastOnboardingVersion": "9.9.9", "theme": "dark", "autoUpdates": false,
            // The client identifies a key by its last 20 characters.
            "customApiKeyResponses": {"approved": ["k-ant-not-a-real-key"], "rejected": []},
            "projects": {work.to_str().unwrap(): {"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}}});
        home.write(".claude.json", known.to_string());
        let command: Vec<_> = client.command.iter().map(|part| format!("'{}'", part.display())).collect();
        let shim = home.write("bin/claude", format!("#!/bin/sh\nexec {} \"$@\"\n", command.join(" ")));
        #[cfg(unix)]
        fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let own = [shim.parent().unwrap().to_owned(), binary().parent().unwrap().to_owned()];
        let system = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&system))).unwrap();
        Self { home, path, api: FakeApi::start().unwrap(), _turn: turn }
    }

    /// Puts the program into a plugin's folder, where a package has it.
    pub fn pack_program(&self, plugin: &Path) {
        let program = plugin.join("program/posthog-llma");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, format!("#!/bin/sh\nexec '{}' \"$@\"\n", binary().display())).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Runs shell commands, including `claude` and `posthog-llma`, until they end; returns their standard output.
    #[track_caller]
    pub fn shell(&self, script: &str, directory: &Path) -> String {
        let mut timeout = self.command("timeout");
        timeout.args(["--kill-after=5", "90", "sh", "-euc", script]).current_dir(directory);
        let output = timeout.stdin(Stdio::null()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{}\n{out}\n{err}", output.status);
        out.into_owned()
    }

    /// Starts `claude` in a terminal. Returns none without util-linux's `script`, which creates the terminal.
    pub fn terminal(&self, test: &str) -> Option<Screen> {
        let mut terminal = self.command("script");
        // In the newest client's default mode, the real API decides what may run unasked.
        let client = "stty cols 120 rows 40; exec claude --permission-mode acceptEdits";
        terminal.args(["-qefc", client, "/dev/null"]).current_dir(self.work());
        let spawned = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let _ = writeln!(io::stderr(), "skipped: {test} needs a terminal: {error}");
                return None;
            }
        };
        let shown = Arc::new(Mutex::new(String::new()));
        let mut stdout = child.stdout.take().unwrap();
        thread::spawn({
            let shown = Arc::clone(&shown);
            move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                    lock(&shown).push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
            }
        });
        Some(Screen { keyboard: child.stdin.take().unwrap(), child, shown })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs([("LANG", "C.UTF-8"), ("TERM", "xterm-256color"), ("SHELL", "/bin/sh"), ("IS_SANDBOX", "1")])
            .env("PATH", &self.path)
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("ANTHROPIC_BASE_URL", format!("http://{}", self.api.loopback.address()))
            .env("ANTHROPIC_API_KEY", "sk-ant-not-a-real-key")
            // Makes the client contact only the API.
            .envs(["DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER"].map(|name| (name, "1")))
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        command
    }

    /// The folder that the user works in.
    pub fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// The hooks that came, in their order, as the worker's log has them.
    pub fn hooks(&self) -> Vec<String> {
        let log = fs::read_to_string(self.home.path().join(".local/state/posthog-llma/worker.log")).unwrap_or_default();
        let event = |line: &str| Some(line.split_once("a hook came event=\"")?.1.split('"').next()?.to_owned());
        log.lines().filter_map(event).collect()
    }

    /// Kills everything that runs on this machine, with a signal that nothing can catch.
    pub fn kill_everything(&self) {
        loop {
            let running = self.home.processes();
            if running.is_empty() {
                return;
            }
            let numbers = running.iter().map(|(number, _)| number.to_string());
            // One of them may have ended in the meantime.
            let _ = Command::new("kill").arg("-9").args(numbers).stderr(Stdio::null()).status();
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// All requests to the model, as one text.
    pub fn asked(&self) -> String {
        lock(&self.api.bodies).iter().map(ToString::to_string).collect()
    }
}

/// The client in a terminal. Dropping this ends both.
#[derive(Debug)]
pub struct Screen {
    child: Child,
    keyboard: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Screen {
    /// Waits until the terminal has shown one of these texts since the last key. There may be control sequences between
    /// letters.
    #[track_caller]
    pub fn shows(&self, texts: &[&str]) {
        assert!(self.shows_within(texts, Duration::from_secs(30)), "none of {texts:?} in {}", lock(&self.shown));
    }

    fn shows_within(&self, texts: &[&str], time: Duration) -> bool {
        let letters =
            |shown: &str| anstream::adapter::strip_str(shown).to_string().split_whitespace().collect::<String>();
        let start = Instant::now();
        loop {
            let shown = letters(&lock(&self.shown));
            if texts.iter().any(|text| shown.contains(&letters(text))) {
                return true;
            }
            if start.elapsed() > time {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types a prompt and sends it. A client that has just started loses the first keys on a busy machine: the prompt is
    /// typed again until all of it is shown.
    pub fn says(&mut self, prompt: &str) {
        for _ in 0..10 {
            self.press(prompt);
            if self.shows_within(&[prompt], Duration::from_secs(3)) {
                break;
            }
            self.press("\u{15}");
        }
        self.press("\r");
    }

    /// Presses keys one by one, as a person would: the client takes characters that arrive together for a paste.
    pub fn press(&mut self, keys: &str) {
        lock(&self.shown).clear();
        for key in keys.chars() {
            thread::sleep(Duration::from_millis(if key == '\r' { 300 } else { 20 }));
            let _ = self.keyboard.write_all(key.to_string().as_bytes());
        }
    }

    /// Quits with these keys, as a person does: presses them again if the client keeps running. Keys pressed while the
    /// client is still working only interrupt its work.
    pub fn leave(mut self, keys: &str) {
        for _ in 0..10 {
            self.press(keys);
            let pressed = Instant::now();
            while pressed.elapsed() < Duration::from_secs(3) {
                if self.child.try_wait().unwrap().is_some() {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("it does not end: {}", lock(&self.shown));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The model's answer, except to [`FAIL`], [`AGENT`] and [`BACKGROUND`].
pub const ANSWER: &str = "Hello from the fake model.";

/// In a prompt: the API call fails.
pub const FAIL: &str = "FAIL";

/// In a prompt: the model starts a sub-agent with the prompt [`AGENTS_PROMPT`], and answers once the sub-agent has.
pub const AGENT: &str = "AGENT";

/// The sub-agent's prompt.
pub const AGENTS_PROMPT: &str = "Say hello as a helper.";

/// In a prompt: the model starts a sub-agent in the background with the prompt [`SLOW_PROMPT`], and answers at once.
pub const BACKGROUND: &str = "BACKGROUND";

/// The prompt of the sub-agent in the background. The model thinks about it for [`SLOW`].
pub const SLOW_PROMPT: &str = "Say hello as a helper, in your own time.";

/// How long the model takes for [`SLOW_PROMPT`].
pub const SLOW: Duration = Duration::from_secs(8);

/// The part of the Anthropic API that the client needs: `POST /v1/messages`, streamed or not.
#[derive(Debug)]
struct FakeApi {
    loopback: Loopback,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl FakeApi {
    fn start() -> io::Result<Self> {
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let loopback = Loopback::start("fake-api", {
            let bodies = Arc::clone(&bodies);
            move |stream| {
                let bodies = Arc::clone(&bodies);
                async move {
                    let answer = service_fn(move |request| answer(request, Arc::clone(&bodies)));
                    // Ignore connection errors: they only concern the client, which sees the connection close.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                }
            }
        })?;
        Ok(Self { loopback, bodies })
    }
}

async fn answer(
    request: Request<Incoming>,
    bodies: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut status = 200;
    let (kind, text) = match path.as_str() {
        "/v1/messages" => {
            let number = {
                let mut bodies = lock(&bodies);
                bodies.push(body.clone());
                bodies.len()
            };
            let message = Message { id: format!("msg_{:x}_{number}", Arc::as_ptr(&bodies).addr()), body: &body };
            let asked = message.asked();
            if asked.contains(SLOW_PROMPT) {
                tokio::time::sleep(SLOW).await;
            }
            if asked.contains(FAIL) {
                status = 400;
                let error = json!({"type": "invalid_request_error", "message": "The fake API refuses."});
                ("application/json", json!({"type": "error", "error": error}).to_string())
            } else {
                let content = message.content(&asked);
                if body["stream"] == true {
                    ("text/event-stream", message.stream(&content))
                } else {
                    ("application/json", message.whole(&json!([content])).to_string())
                }
            }
        }
        "/v1/messages/count_tokens" => ("application/json", json!({"input_tokens": 10}).to_string()),
        _ => ("application/json", "{}".to_owned()),
    };
    let response = Response::builder().status(status).header("content-type", kind);
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}

/// A response of the model.
struct Message<'a> {
    id: String,
    /// The request.
    body: &'a Value,
}

impl Message<'_> {
    /// The text of the last user message, unless it is a tool result. Newer clients add a system message after it.
    fn asked(&self) -> String {
        let messages = self.body["messages"].as_array();
        let last = messages.and_then(|messages| messages.iter().rfind(|message| message["role"] == "user"));
        match last.map(|message| &message["content"]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) if parts.iter().all(|part| part["type"] == "text") => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect()
            }
            _ => String::new(),
        }
    }

    /// The response's only content block.
    fn content(&self, asked: &str) -> Value {
        // The tool was called `Task` first.
        let offered =
            |name: &&str| self.body["tools"].as_array().is_some_and(|tools| tools.iter().any(|t| t["name"] == *name));
        let background = asked.contains(BACKGROUND);
        match ["Agent", "Task"].into_iter().find(offered).filter(|_| background || asked.contains(AGENT)) {
            Some(tool) => json!({"type": "tool_use", "id": self.id.replace("msg", "toolu"), "name": tool, "input": {
                "description": "Say hello", "prompt": if background { SLOW_PROMPT } else { AGENTS_PROMPT },
                "subagent_type": "general-purpose", "run_in_background": background}}),
            None => json!({"type": "text", "text": ANSWER}),
        }
    }

    fn whole(&self, content: &Value) -> Value {
        json!({"id": self.id, "type": "message", "role": "assistant", "model": self.body["model"], "content": content,
            "stop_reason": if content[0]["type"] == "tool_use" { "tool_use" } else { "end_turn" }, "stop_sequence": null,
            "usage": {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 11, "cache_creation_input_tokens": 13}})
    }

    fn stream(&self, content: &Value) -> String {
        let (mut start, mut block) = (self.whole(&json!([content])), content.clone());
        let stop = start["stop_reason"].take();
        start["content"] = json!([]);
        let delta = if block["type"] == "text" {
            json!({"type": "text_delta", "text": std::mem::replace(&mut block["text"], json!(""))})
        } else {
            let input = std::mem::replace(&mut block["input"], json!({}));
            json!({"type": "input_json_delta", "partial_json": input.to_string()})
        };
        let events = [
            json!({"type": "message_start", "message": start}),
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
            json!({"type": "content_block_delta", "index": 0, "delta": delta}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": 7}}),
            json!({"type": "message_stop"}),
        ];
        events.iter().fold(String::new(), |text, event| {
            text + &format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
        })
    }
}
