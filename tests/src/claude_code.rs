//! The real Claude Code against a fake of the Anthropic API, in a home directory of its own. Where it cannot be had, tests
//! say so and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::lock;
use crate::program::{Home, binary, cache};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use posthog_llma::local_posthog::loopback::Loopback;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Claude Code's package.
const PACKAGE: &str = "@anthropic-ai/claude-code";

/// Installations, one after the other.
static INSTALLING: Mutex<()> = Mutex::new(());

/// A version of the client, installed.
#[derive(Debug)]
pub struct ClaudeCode {
    /// What starts it: a native program, or Node.js with a script.
    command: Vec<PathBuf>,
}

impl ClaudeCode {
    /// Installs a version below `folder`, where it stays for the next run. Where npm or the package cannot be had, prints that
    /// the test is skipped.
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
        // Up to 2.1.112.
        let script = packages.join("claude-code/cli.js");
        script.is_file().then(|| Self { command: vec![PathBuf::from("node"), script] })
    }
}

/// Of the native programs, only this machine's runs.
fn runs(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").env_clear().env("HOME", std::env::temp_dir()).output();
    output.is_ok_and(|output| output.status.success())
}

/// A user's machine with Claude Code on it, and the program on the path.
#[derive(Debug)]
pub struct Machine {
    /// Its home directory.
    pub home: Home,
    path: OsString,
    api: FakeApi,
}

impl Machine {
    /// One on which nothing was done yet.
    pub fn new(client: &ClaudeCode) -> Self {
        let home = Home::new();
        let work = home.path().join("work").canonicalize().unwrap();
        let known = json!({"hasCompletedOnboarding": true, "lastOnboardingVersion": "9.9.9", "theme": "dark", "autoUpdates": false,
            "customApiKeyResponses": {"approved": ["sk-ant-not-a-real-key"], "rejected": []},
            "projects": {work.to_str().unwrap(): {"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}}});
        home.write(".claude.json", known.to_string());
        let command: Vec<_> = client.command.iter().map(|part| format!("'{}'", part.display())).collect();
        let shim = home.write("bin/claude", format!("#!/bin/sh\nexec {} \"$@\"\n", command.join(" ")));
        #[cfg(unix)]
        fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let own = [shim.parent().unwrap().to_owned(), binary().parent().unwrap().to_owned()];
        let system = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&system))).unwrap();
        Self { home, path, api: FakeApi::start().unwrap() }
    }

    /// Runs shell commands to their end, `claude` and `posthog-llma` among them; returns their standard output.
    #[track_caller]
    pub fn shell(&self, script: &str, directory: &Path) -> String {
        let output = Command::new("timeout")
            .args(["--kill-after=5", "90", "sh", "-euc", script])
            .current_dir(directory)
            .env_clear()
            .envs([("LANG", "C.UTF-8"), ("TERM", "xterm-256color"), ("SHELL", "/bin/sh"), ("IS_SANDBOX", "1")])
            .env("PATH", &self.path)
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", cache())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("ANTHROPIC_BASE_URL", format!("http://{}", self.api.loopback.address()))
            .env("ANTHROPIC_API_KEY", "sk-ant-not-a-real-key")
            // The client asks nobody but the API.
            .envs(["DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_AUTOUPDATER"].map(|name| (name, "1")))
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{}\n{out}\n{err}", output.status);
        out.into_owned()
    }

    /// The folder in which the user works.
    pub fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// All requests to the model, as one text.
    pub fn asked(&self) -> String {
        lock(&self.api.bodies).iter().map(ToString::to_string).collect()
    }
}

/// What the model answers to everything.
pub const ANSWER: &str = "Hello from the fake model.";

/// As much of the Anthropic API as the client needs: `POST /v1/messages`, whole or as a stream.
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
                    // What is wrong with a connection concerns the client alone, who sees it end.
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
    let is_post = request.method() == Method::POST;
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (kind, text) = match path.as_str() {
        "/v1/messages" if is_post => {
            let number = {
                let mut bodies = lock(&bodies);
                bodies.push(body.clone());
                bodies.len()
            };
            let id = format!("msg_{:p}_{number}", Arc::as_ptr(&bodies)).replace("0x", "");
            if body["stream"] == true {
                ("text/event-stream", stream(&id, &body["model"]))
            } else {
                ("application/json", whole(&id, &body["model"]).to_string())
            }
        }
        "/v1/messages/count_tokens" => ("application/json", json!({"input_tokens": 10}).to_string()),
        _ => ("application/json", "{}".to_owned()),
    };
    Ok(Response::builder().header("content-type", kind).body(Full::new(Bytes::from(text))).unwrap())
}

fn whole(id: &str, model: &Value) -> Value {
    json!({"id": id, "type": "message", "role": "assistant", "model": model, "content": [{"type": "text", "text": ANSWER}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 7,
            "cache_read_input_tokens": 11, "cache_creation_input_tokens": 13}})
}

fn stream(id: &str, model: &Value) -> String {
    let mut start = whole(id, model);
    (start["content"], start["stop_reason"]) = (json!([]), Value::Null);
    let events = [
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ANSWER}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ];
    events.iter().fold(String::new(), |text, event| {
        text + &format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
    })
}
