//! A person's machine with a stranger's repository, the person's own PostHog, and the stranger's.

use flate2::read::GzDecoder;
use posthog_llma_local_posthog::{Config, LocalPostHog, Received};
use posthog_llma_tests::program::{Ended, Home, KEY, Program};
use posthog_llma_tests::transcript::Transcript;
use serde_json::json;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In every prompt and answer.
pub const CONTENT: &str = "clandestine";

/// The stranger's project token.
pub const THEIRS: &str = "phc_StrangersKeyThatNobodyApproved0000";

/// The session that every command uses.
pub const SESSION: &str = "5e551012-0000-4000-8000-00000000aaaa";

/// How the person configured sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// With variables, as in a shell profile.
    Variables,
    /// With `~/.claude/settings.json`.
    File,
}

/// The machine and both servers.
pub struct Stage {
    pub home: Home,
    pub mine: LocalPostHog,
    pub theirs: LocalPostHog,
    own: Own,
    privacy: bool,
    given: Vec<(String, String)>,
}

impl Stage {
    /// A person who sends sessions, in privacy mode or not.
    pub fn new(own: Own, privacy: bool) -> Self {
        let start = || LocalPostHog::start(Config::default()).unwrap();
        let stage = Self { home: Home::new(), mine: start(), theirs: start(), own, privacy, given: Vec::new() };
        fs::create_dir_all(stage.repository().join("sub/deep")).unwrap();
        stage.session(SESSION, &stage.repository());
        if own == Own::File {
            let env: serde_json::Map<_, _> =
                stage.settings().into_iter().map(|(n, v)| (n.to_owned(), json!(v))).collect();
            stage.home.write(".claude/settings.json", json!({"env": env}).to_string());
        }
        stage
    }

    fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("POSTHOG_LLMA_CC_ENABLED", "true".to_owned()),
            ("POSTHOG_API_KEY", KEY.to_owned()),
            ("POSTHOG_HOST", self.mine.origin()),
            ("POSTHOG_LLMA_PRIVACY_MODE", self.privacy.to_string()),
        ]
    }

    /// The stranger's repository.
    pub fn repository(&self) -> PathBuf {
        self.home.path().join("work/clone")
    }

    /// Writes a session that worked in a folder.
    pub fn session(&self, id: &str, folder: &Path) -> PathBuf {
        let text = Transcript::new().turn(&format!("the {CONTENT} plan"), &format!("a {CONTENT} answer")).text();
        let text = text.replace("/home/dev/shop", folder.to_str().unwrap());
        self.home.write(format!(".claude/projects/-clone/{id}.jsonl"), text)
    }

    /// A file that appears if anything from the repository runs.
    pub fn canary(&self) -> PathBuf {
        self.home.path().join("canary")
    }

    /// Fills in the stranger's placeholders: `{repo}`, `{theirs}`, `{key}`, `{canary}`.
    fn filled(&self, text: &str) -> String {
        text.replace("{repo}", self.repository().to_str().unwrap())
            .replace("{theirs}", &self.theirs.origin())
            .replace("{key}", THEIRS)
            .replace("{canary}", self.canary().to_str().unwrap())
            .replace("{pad}", &"x".repeat(1 << 20))
            .replace("{deep}", &"[".repeat(5000))
    }

    /// Adds something to the repository: a file with this text; `-> target`, a link; `fifo`; `$ command`, the result of
    /// a shell command. `\xNN` are bytes.
    pub fn plant(&self, path: &str, contents: &str) {
        let path = self.repository().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let contents = self.filled(contents);
        if let Some(command) = contents.strip_prefix("$ ") {
            let output = Command::new("sh")
                .args(["-ec", command])
                .current_dir(self.repository())
                .env("HOME", self.home.path())
                .output();
            let output = output.unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        } else if let Some(target) = contents.strip_prefix("-> ") {
            std::os::unix::fs::symlink(target, path).unwrap();
        } else if contents == "fifo" {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        } else {
            fs::write(path, bytes(&contents)).unwrap();
        }
    }

    /// Adds a variable that the client passes to every process it starts, because the repository's settings say so.
    pub fn give(&mut self, name: &str, value: &str) {
        self.given.push((name.to_owned(), self.filled(value)));
    }

    /// The program in the repository, as the person's shell or client starts it.
    pub fn program(&self, arguments: &[&str]) -> Program {
        let mut program = self.home.program(arguments).current_dir(self.repository());
        if self.own == Own::Variables {
            for (name, value) in self.settings() {
                program = program.env(name, value);
            }
        }
        program
    }

    /// The same, under a client that has read the repository's settings.
    pub fn below_client(&self, arguments: &[&str]) -> Program {
        self.program(arguments).below_client(&self.repository(), &self.given_by_client())
    }

    /// The variables that the client merges from the files' `env` blocks over its own environment.
    fn given_by_client(&self) -> Vec<(String, String)> {
        let mut given = Vec::new();
        if self.own == Own::File {
            given.extend(self.settings().map(|(name, value)| (name.to_owned(), value)));
        }
        given.extend(self.given.iter().cloned());
        given
    }

    /// Runs a hook of the session, under a client.
    pub fn hook(&self, event: &str) -> Ended {
        let transcript = self.home.path().join(format!(".claude/projects/-clone/{SESSION}.jsonl"));
        let input = json!({
            "hook_event_name": event, "session_id": SESSION, "transcript_path": transcript, "cwd": self.repository(),
            "reason": "other"
        });
        let outcome = self.below_client(&["hook"]).input(input.to_string()).run().exits_with(0);
        self.home.until_quiet();
        outcome
    }

    /// Asserts that nothing was sent to the stranger, that nothing of theirs ran, and that in privacy mode no content
    /// reached the person's own PostHog.
    #[track_caller]
    pub fn nothing_is_wrong(&self, what: &str) {
        assert_eq!(self.theirs.requests().len(), 0, "{what}: something left to the stranger");
        assert!(!self.canary().exists(), "{what}: something of the stranger's ran");
        if self.privacy {
            assert!(!self.arrived().contains(CONTENT), "{what}: content left");
        }
        let texts = self.mine.requests().iter().map(text).collect::<String>();
        assert!(!texts.contains(THEIRS), "{what}: the stranger's key was used");
    }

    /// Everything that arrived at the person's own PostHog.
    pub fn arrived(&self) -> String {
        self.mine.requests().iter().map(text).collect()
    }
}

fn text(request: &Received) -> String {
    let mut text = String::new();
    if GzDecoder::new(&request.body[..]).read_to_string(&mut text).is_err() {
        text = String::from_utf8_lossy(&request.body).into_owned();
    }
    text
}

/// `\xNN` as a byte.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    bytes
}
