//! Pages in a real headless browser, for tests. Without one, tests print that they are skipped, and pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The browser's names on various systems.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs before everything else in the page, and records what must not happen.
const WATCH: &str = "\
var watched = [];
addEventListener('error', (e) => watched.push(`error: ${e.message}`), true);
addEventListener('securitypolicyviolation', (e) => watched.push(`policy: ${e.violatedDirective} ${e.blockedURI}`));
for (const name of ['alert', 'confirm', 'prompt']) window[name] = () => watched.push(`${name} was called`);
";

/// A browser.
#[derive(Debug)]
pub struct Browser {
    program: PathBuf,
}

impl Browser {
    /// Finds the machine's Chromium; without one, prints that this test is skipped.
    pub fn find(test: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let found = NAMES.iter().flat_map(|name| directories.iter().map(move |d| d.join(name))).find(|p| p.is_file());
        if found.is_none() {
            let _ = writeln!(io::stderr(), "skipped: {test} needs Chromium, which is not on PATH");
        }
        Some(Self { program: found? })
    }

    /// The path of its executable.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Loads a page, then runs `script` in it and returns what it returns. Until then, `watched` collects errors and
    /// violations of the page's policy; it must be empty.
    ///
    /// The page is unchanged except for two added scripts, whose hashes are added to its policy.
    #[track_caller]
    pub fn run(&self, page: &str, script: &str) -> Value {
        self.run_in("1200,800", page, script)
    }

    /// Like [`run`](Self::run), in a window of this size: `width,height`. A headless window is at least 500 pixels
    /// wide.
    #[track_caller]
    pub fn run_in(&self, size: &str, page: &str, script: &str) -> Value {
        let last = format!(
            "addEventListener('load', () => {{ let result; try {{ result = (() => {{ {script} }})(); }} \
             catch (e) {{ watched.push(`${{e.stack}}`); }} setTimeout(() => {{ \
             const bytes = new TextEncoder().encode(JSON.stringify({{ result, watched }})); \
             document.documentElement.dataset.result = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(''); \
             }}, 50); }});"
        );
        let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
        let policy = format!("script-src 'sha256-{}' 'sha256-{}' ", hash(WATCH), hash(&last));
        let page = page.replacen("script-src ", &policy, 1);
        let page = page.replacen("<title>", &format!("<script>{WATCH}</script><title>"), 1);
        let page = page.replacen("</body>", &format!("<script>{last}</script></body>"), 1);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.html");
        fs::write(&file, page).unwrap();
        let output = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"])
            .arg(format!("--window-size={size}"))
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .args(["--virtual-time-budget=20000", "--timeout=60000", "--dump-dom"])
            .arg(format!("file://{}", file.display()))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&output.stdout);
        let hex = dom.split_once("data-result=\"").and_then(|(_, rest)| rest.split('"').next());
        let hex = hex.unwrap_or_else(|| panic!("no result: {}", String::from_utf8_lossy(&output.stderr)));
        let bytes =
            hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
        let mut outcome: Value = serde_json::from_slice(&bytes.collect::<Vec<_>>()).unwrap();
        assert_eq!(outcome["watched"], Value::Array(Vec::new()));
        outcome["result"].take()
    }
}
