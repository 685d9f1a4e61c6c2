//! Every error, in a table: what happened, where, and what to do (`docs/style.md`).
//!
//! Each row is one way to fail. A second test reads the messages from the sources; a message that no row shows must
//! have a reason.

use super::*;
use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The environment that a row runs in.
struct Case {
    home: Home,
    posthog: LocalPostHog,
    /// A server that misbehaves.
    odd: OnceCell<LocalPostHog>,
    session: PathBuf,
}

impl Case {
    fn new() -> Self {
        let home = Home::new();
        let session = home.session(Transcript::new().turns(1).text());
        Self { home, posthog: posthog(), odd: OnceCell::new(), session }
    }

    fn convert(&self) -> Program {
        self.home.convert(&self.session)
    }

    /// `convert` with one setting in the environment.
    fn with(&self, name: &str, value: &str) -> Program {
        self.convert().env(name, value)
    }

    /// `convert` with these user settings.
    fn settings(&self, text: &str) -> Program {
        self.home.write(".claude/settings.json", text);
        self.convert()
    }

    fn run(&self, arguments: &[&str]) -> Program {
        self.home.program(arguments)
    }

    /// Makes the project a git repository that tracks this file.
    fn check_in(&self, file: &str) {
        self.home.write(PathBuf::from("work").join(file), "{}");
        let git = |arguments: &[&str]| {
            let mut git = std::process::Command::new("git");
            git.arg("-C").arg(self.home.path().join("work")).args(arguments);
            assert!(git.output().unwrap().status.success());
        };
        git(&["init", "--quiet"]);
        git(&["add", "--force", file]);
    }

    /// Writes one shell script, and returns its folder.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.write(PathBuf::from("scripts").join(name), format!("#!/bin/sh\n{text}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
        path.parent().unwrap().to_owned()
    }

    fn send(&self) -> Program {
        self.home.send(&self.posthog, &self.session).args(["--retries", "0"])
    }

    /// `send` to a server that gives this answer to every request.
    fn answered(&self, answer: Answer) -> Program {
        let config = || Config { script: vec![answer; 10], ..Config::default() };
        let odd = self.odd.get_or_init(|| LocalPostHog::start(config()).unwrap());
        self.send().env("POSTHOG_HOST", odd.origin())
    }
}

struct Row {
    name: &'static str,
    exit: i32,
    /// What happened, where, and what to do, if there is more to do than the obvious.
    parts: &'static [&'static str],
    run: fn(&Case) -> Program,
}

/// A row.
const fn row(name: &'static str, exit: i32, parts: &'static [&'static str], run: fn(&Case) -> Program) -> Row {
    Row { name, exit, parts, run }
}

const ENVIRONMENT: &str = "(set in the environment)";
const SETTINGS: &str = ".claude/settings.json";
const ID: &str = SESSION_ID;

#[rustfmt::skip]
const SETTING_ROWS: &[Row] = &[
    row("no token", 2, &["POSTHOG_API_KEY is not set", "copy the project token"], |c| c.send().env_remove("POSTHOG_API_KEY")),
    row("a token with white space", 2, &["POSTHOG_API_KEY is not valid: it contains white space", ENVIRONMENT], |c| c.send().env("POSTHOG_API_KEY", "phc_a b")),
    row("a personal key", 2, &["POSTHOG_API_KEY is not valid: it is a personal API key", "project token (phc_…)", ENVIRONMENT], |c| c.send().env("POSTHOG_API_KEY", "phx_a")),
    row("a long token", 2, &["POSTHOG_API_KEY is not valid: it has more than 64 bytes", ENVIRONMENT], |c| c.send().env("POSTHOG_API_KEY", "x".repeat(65))),
    row("a host with another scheme", 2, &["POSTHOG_HOST is not valid: \"ftp://x\" has a scheme other than https", "use only scheme, host and port", ENVIRONMENT], |c| c.with("POSTHOG_HOST", "ftp://x")),
    row("a host of somebody", 2, &["POSTHOG_HOST is not valid", "neither in posthog.com nor this machine", "POSTHOG_LLMA_ALLOW_CUSTOM_HOST=true", ENVIRONMENT], |c| c.with("POSTHOG_HOST", "https://evil.net")),
    row("a misspelled name", 2, &["\"POSTHOG_LLMA_PRIVACY\" is not a setting", "did you mean POSTHOG_LLMA_PRIVACY_MODE?", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_PRIVACY", "true")),
    row("not a boolean", 2, &["POSTHOG_LLMA_PRIVACY_MODE is not valid: \"maybe\" is neither true", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_PRIVACY_MODE", "maybe")),
    row("not a number", 2, &["POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH is not valid", "is not a whole number from 0", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH", "x")),
    row("an unknown grouping", 2, &["POSTHOG_LLMA_TRACE_GROUPING is not valid", "is neither session nor message", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_TRACE_GROUPING", "x")),
    row("unknown spans", 2, &["POSTHOG_LLMA_TOOL_SPANS is not valid", "is not all, errors or none", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_TOOL_SPANS", "x")),
    row("properties that are not JSON", 2, &["POSTHOG_LLMA_CUSTOM_PROPERTIES is not valid", "is not a JSON object such as", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_CUSTOM_PROPERTIES", "x")),
    row("a parent that cannot be an ID", 2, &["POSTHOG_LLMA_PARENT_TRACE_ID is not valid", "is not an ID that PostHog accepts: 1 to 200", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_PARENT_TRACE_ID", "a b")),
    row("a span without its trace", 2, &["POSTHOG_LLMA_PARENT_SPAN_ID is not valid", "also set POSTHOG_LLMA_PARENT_TRACE_ID", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_PARENT_SPAN_ID", "a")),
    row("a bad traceparent", 2, &["POSTHOG_LLMA_PARENT_TRACE_ID is not valid: TRACEPARENT \"zz\" does not start with a version such as 00", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_PARENT_TRACE_ID", "traceparent").env("TRACEPARENT", "zz")),
    row("nobody's ID", 2, &["POSTHOG_LLMA_DISTINCT_ID is not valid: \"anonymous\" identifies nobody", "use an email address or a user ID", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_DISTINCT_ID", "anonymous")),
    row("a relative log", 2, &["POSTHOG_LLMA_LOG is not valid: \"x\"", "absolute path", ENVIRONMENT], |c| c.with("POSTHOG_LLMA_LOG", "x")),
    row("a setting that is not UTF-8", 2, &["POSTHOG_LLMA_PRIVACY_MODE in the environment is not UTF-8"], |c| c.convert().env("POSTHOG_LLMA_PRIVACY_MODE", not_utf8())),
    row("settings cut short", 2, &["the settings in ", SETTINGS, "are not valid JSON", "line 1 column", "correct the file"], |c| c.settings("{")),
    row("settings that are a list", 2, &["the settings in ", SETTINGS, "are not valid: the file is not a JSON object", "correct the file"], |c| c.settings("[]")),
    row("an env that is a list", 2, &["the settings in ", SETTINGS, "are not valid: `env` is not a JSON object", "correct the file"], |c| c.settings("{\"env\": []}")),
    row("huge settings", 2, &["the settings in ", SETTINGS, "exceed 1 MiB", "shorten the file"], |c| c.settings(&" ".repeat(1_100_000))),
    row("settings that are a folder", 2, &["cannot read the settings in ", SETTINGS, "is a directory"], |c| { fs::create_dir_all(c.home.path().join(SETTINGS)).unwrap(); c.convert() }),
    row("a bad value in settings", 2, &["POSTHOG_HOST is not valid", "(set in ", SETTINGS], |c| c.settings("{\"env\": {\"POSTHOG_HOST\": \"x\"}}")),
];

#[rustfmt::skip]
const PATTERN_ROWS: &[Row] = &[
    row("patterns in no form", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: \"x\" is neither a JSON list", "a path that starts with ~/"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", "x")),
    row("a missing file of patterns", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: cannot read /nope"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", "/nope")),
    row("a device of patterns", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: cannot read /dev/zero", "not a regular file"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", "/dev/zero")),
    row("a broken pattern", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: entry 1: the pattern is not valid"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", r#"[{"name":"a","pattern":"("}]"#)),
    row("a bad name", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: entry 1: the name \"A\" is not 1 to 40 characters of a-z, 0-9 and -"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", r#"[{"name":"A","pattern":"x"}]"#)),
    row("a pattern of nothing", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: entry 1: the pattern matches the empty string"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", r#"[{"name":"a","pattern":"x*"}]"#)),
    row("half an entry", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: entry 1: needs \"name\" and \"pattern\", or \"allow\""], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", r#"[{"name":"a"}]"#)),
    row("an unknown member", 2, &["POSTHOG_LLMA_REDACT_PATTERNS: is not a JSON list of", "unknown field `nme`"], |c| c.with("POSTHOG_LLMA_REDACT_PATTERNS", r#"[{"nme":"a"}]"#)),
];

#[rustfmt::skip]
const SESSION_ROWS: &[Row] = &[
    row("an unknown session", 1, &["no session \"nope\" among the 1 in ", ".claude/projects", "`posthog-llma ingest --list --all` lists them"], |c| c.run(&["convert", "nope"])),
    row("no projects", 1, &["no session \"nope\": Claude Code keeps sessions in ", ".claude/projects", "set CLAUDE_CONFIG_DIR"], |c| { fs::remove_dir_all(c.home.path().join(".claude")).unwrap(); c.run(&["convert", "nope"]) }),
    row("an ID that two have", 1, &["2 sessions have an ID that starts with \"5e55\"", "give more of it", ID], |c| { fs::copy(&c.session, c.session.with_file_name("5e55aaaa.jsonl")).unwrap(); c.run(&["convert", "5e55"]) }),
    row("an empty argument", 1, &["no session given", "give its ID, the start of its ID, or the path of its transcript"], |c| c.run(&["convert", ""])),
    row("a missing transcript", 1, &["cannot read the transcript /nope.jsonl"], |c| c.run(&["convert", "/nope.jsonl"])),
    row("a folder", 1, &["is a directory, not a transcript"], |c| c.run(&["convert"]).arg(c.home.path())),
    row("a sub-agent", 1, &["agent-1.jsonl is the transcript of a sub-agent", "name its session instead"], |c| c.run(&["convert"]).arg(c.home.write(".claude/projects/-work/agent-1.jsonl", ""))),
    row("a file without a name", 1, &["is not named after a session ID"], |c| c.run(&["convert"]).arg(c.home.write(".jsonl", "{}\n"))),
    row("too little time", 1, &["the component was stopped after 0.01 s", "--max-time"], |c| { c.home.session(Transcript::new().turns(20_000).text()); c.convert().args(["--max-time", "0.01"]) }),
    row("too little memory", 1, &["the component was stopped: it needs more than 8 MiB", "--max-memory"], |c| { c.home.session(Transcript::new().turn(&"x".repeat(20_000_000), "y").text()); c.convert().args(["--max-memory", "8", ]).env("POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH", "4294967295") }),
    row("nothing in a project", 1, &["no sessions found in /nope or below it", "--all includes all projects"], |c| c.run(&["ingest", "--project", "/nope"])),
    row("nothing at all", 1, &["no sessions found from that time"], |c| c.run(&["ingest", "--all", "--since", "2099-01-01"])),
    row("an unknown session to ingest", 1, &["no session \"nope\"", "`posthog-llma ingest --list --all`"], |c| c.run(&["ingest", "nope"])),
];

#[rustfmt::skip]
const OUTPUT_ROWS: &[Row] = &[
    row("a page in place of a folder", 1, &["cannot write ", "is a directory"], |c| c.run(&["view", ID, "--html"]).arg(c.home.path())),
    row("a bundle in place of a folder", 1, &["cannot write ", "is a directory"], |c| c.run(&["doctor", "--bundle"]).arg(c.home.path())),
    row("pages in place of a file", 1, &["cannot write the pages to ", ".jsonl"], |c| c.run(&["man", "--out"]).arg(&c.session)),
    row("a manual of nothing", 2, &["no such command: \"nope\"", "--help"], |c| c.run(&["man", "nope"])),
    row("setup without a terminal", 2, &["nothing to set", "in a terminal", "flags"], |c| c.run(&["setup"])),
    row("a project that is gone", 2, &["cannot enter /nope"], |c| c.run(&["trust", "/nope"])),
    row("a path that is not UTF-8", 2, &["is not UTF-8, so it cannot be recorded"], |c| c.run(&["never"]).arg(not_utf8())),
    row("no such variable", 2, &["--key-env NOPE: this variable is not set"], |c| c.run(&["send", ID, "--region", "eu", "--key-env", "NOPE"])),
    row("no token on standard input", 2, &["the token from standard input is not valid: it is blank"], |c| c.run(&["send", ID, "--region", "eu", "--key-stdin"])),
    row("a host in a flag", 2, &["--host: \"https://evil.net\" has a host that is neither", "--allow-custom-host"], |c| c.run(&["send", ID, "--host", "https://evil.net", "--key-stdin"]).input("phc_a")),
    row("a session never to be sent", 2, &["is on the list of what is never sent", "posthog-llma never --remove"], |c| { c.run(&["never"]).arg(&c.session).run().exits_with(0); c.send() }),
    row("a token in a repository", 2, &["settings.local.json is checked in to the repository", "git rm --cached", "--scope user"], |c| { c.check_in(".claude/settings.local.json"); c.run(&["setup", "--scope", "project-local", "--region", "eu", "--key-stdin"]).input("phc_a") }),
    row("a demo without a place", 1, &["cannot set up the demo"], |c| c.run(&["demo"]).env("TMPDIR", "/nope")),
    row("a plugin with the same hooks", 1, &["posthog@posthog-llma is installed already", "claude plugin uninstall posthog@posthog-llma"], |c| { c.home.write(SETTINGS, r#"{"enabledPlugins": {"posthog@posthog-llma": true}}"#); c.home.write(".claude/plugins/installed_plugins.json", r#"{"version": 2, "plugins": {"posthog@posthog-llma": [{"scope": "user", "installPath": "/"}]}}"#); c.run(&["plugin", "install"]) }),
    row("a plugin without a place", 1, &["cannot write the plugin to ", ".local/share"], |c| { c.home.write(".local/share", ""); c.run(&["plugin", "install"]) }),
    row("claude that fails", 1, &["`claude plugin", "failed: exit status: 3"], |c| c.run(&["plugin", "install"]).env("PATH", c.script("claude", "exit 3"))),
    row("no claude", 1, &["`claude` is not on the PATH", "run: claude plugin"], |c| c.run(&["plugin", "install"]).env("PATH", "/nope")),
    row("a state directory that is a file", 1, &["cannot use the state directory ", ".jsonl", "POSTHOG_LLMA_STATE_DIR"], |c| c.home.ready("flush", &c.posthog).env("POSTHOG_LLMA_STATE_DIR", &c.session)),
    row("a relative state directory", 1, &["cannot use the state directory rel", "not absolute", "POSTHOG_LLMA_STATE_DIR"], |c| c.home.ready("flush", &c.posthog).env("POSTHOG_LLMA_STATE_DIR", "rel")),
];

#[rustfmt::skip]
const SERVER_ROWS: &[Row] = &[
    row("a token that is not known", 1, &["the server rejected the request with 401", "is POSTHOG_API_KEY the token of a project there?"], |c| c.answered(status(401, "no"))),
    row("a redirect", 1, &["the server rejected the request with 302", "redirects are not followed", "POSTHOG_HOST"], |c| c.answered(Answer::Redirect("http://127.0.0.1:1/".to_owned()))),
    row("a server that is down", 1, &["the server is unavailable: it answered 503"], |c| c.answered(status(503, "later"))),
    row("another server", 1, &["the server answered 200, but not as PostHog does", "POSTHOG_HOST"], |c| c.answered(Answer::Rubbish)),
    row("nobody listens", 1, &["the server cannot be reached"], |c| c.send().env("POSTHOG_HOST", "http://127.0.0.1:1")),
    row("a proxy that is not a URL", 1, &["HTTPS_PROXY is not the URL of a proxy"], |c| c.send().env("POSTHOG_HOST", "https://us.i.posthog.com").env("HTTPS_PROXY", "x y")),
    row("a SOCKS proxy", 1, &["HTTPS_PROXY names a proxy of an unsupported kind: socks5"], |c| c.send().env("POSTHOG_HOST", "https://us.i.posthog.com").env("HTTPS_PROXY", "socks5://127.0.0.1:1")),
];

fn status(code: u16, body: &str) -> Answer {
    Answer::Status { code, headers: Vec::new(), body: body.to_owned() }
}

/// A setting's value that is not valid text.
fn not_utf8() -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff])
}

/// Each row with its error, or with what is wrong with how it ended. Each runs once, for both tests.
static ERRORS: LazyLock<Vec<(&Row, Result<String, String>)>> = LazyLock::new(|| {
    let rows = [SETTING_ROWS, PATTERN_ROWS, SESSION_ROWS, OUTPUT_ROWS, SERVER_ROWS].into_iter().flatten();
    rows.map(|row| (row, error_of(row))).collect()
});

/// The error that a run printed, or what was wrong with how it ended.
fn error_of(row: &Row) -> Result<String, String> {
    let case = Case::new();
    let outcome = (row.run)(&case).run();
    let stderr = &outcome.stderr;
    if outcome.code != Some(row.exit) {
        return Err(format!("exits with {:?}: {stderr}", outcome.code));
    }
    let errors: Vec<_> = stderr.split("posthog-llma: error: ").skip(1).collect();
    match errors[..] {
        [error] => Ok(error.trim_end().to_owned()),
        _ => Err(format!("says {} errors: {stderr}", errors.len())),
    }
}

/// What is wrong with a message's form, if anything.
fn fault_of_form(message: &str) -> Option<&'static str> {
    let first_line = message.lines().next().unwrap_or_default();
    let first_word = first_line.split([' ', ':']).next().unwrap_or_default();
    let is_word = first_word.chars().skip(1).all(|letter| letter.is_ascii_lowercase());
    [
        (first_line.ends_with('.'), "ends with a period"),
        (is_word && first_word.starts_with(|c: char| c.is_ascii_uppercase()), "starts with a capital letter"),
        (
            [" is no ", " are no ", "there is no", "by itself"].iter().any(|words| message.contains(words)),
            "reads translated",
        ),
        (message.contains("Os {") || message.contains("Some(") || message.contains("Error("), "shows Rust"),
    ]
    .into_iter()
    .find_map(|(fault, name)| fault.then_some(name))
}

/// Does the message repeat itself, as one does that includes its cause and is printed with its cause?
fn repeats_itself(message: &str) -> bool {
    /// Words in a row that nobody writes twice.
    const MANY: usize = 4;
    let words: Vec<&str> = message.split_whitespace().collect();
    words.windows(MANY).enumerate().any(|(i, these)| words[i + 1..].windows(MANY).any(|other| other == these))
}

#[test]
fn every_error_says_what_happened_where_and_what_to_do() {
    let mut faults = Vec::new();
    for (row, error) in &*ERRORS {
        let error = match error {
            Ok(error) => error,
            Err(fault) => {
                faults.push(format!("{}: {fault}", row.name));
                continue;
            }
        };
        for part in row.parts.iter().filter(|part| !error.contains(**part)) {
            faults.push(format!("{}: {part:?} is missing in {error}", row.name));
        }
        let repeats = repeats_itself(error).then_some("says the same twice");
        faults.extend(fault_of_form(error).or(repeats).map(|fault| format!("{}: {fault}: {error}", row.name)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Messages that no row shows, by their beginning, and where they are shown instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("the transcript cannot be read: {0}", "needs a disk that fails"),
    ("interrupted: ", "`program view`: Ctrl-C leaves the page as it was"),
    ("no directory for the delivery record", "needs an account without a home"),
    ("no home directory found", "needs an account without a home"),
    ("{} was written by a newer version", "`outbox files`"),
    ("{} is damaged", "is repaired, and told as a warning: `outbox files`"),
    ("cannot use {}: {error}", "needs a full disk"),
    ("cannot use the current directory", "needs a directory that is removed while the program starts"),
    ("the destination was approved only for", "a line of `flush` and `ingest`, not an error"),
    ("it ran while sending was paused", "a line of `flush` and `ingest`, not an error"),
    ("its project turned sending off", "a line of `flush` and `ingest`: `trust privacy`"),
    ("cannot read the token from standard input", "needs standard input that fails"),
    ("nothing was written: {error}", "needs a terminal that ends in the middle"),
    ("{} is not UTF-8; nothing was written", "settings are read before, and must be JSON"),
    ("is not valid JSON: {0}", "settings are read before, and must be JSON"),
    ("cannot be used: {0}", "settings are read before, and must have an object `env`"),
    ("{} was changed by another program", "needs a race with another program"),
    ("{} {error}; nothing was written", "settings are read before: unit tests of `edit`"),
    ("has a form that this program cannot change", "unit tests of `edit`"),
    ("{} is a copy that goes away", "needs a program that npx runs: unit tests of `local_plugin`"),
    ("cannot determine this program's path", "needs a system without `/proc`"),
    ("`claude` cannot be run", "needs a `claude` that may not be run"),
    ("cannot remove {}", "needs a file system that refuses it"),
    ("{name} is set in {}, which only an administrator can change", "needs managed settings, at a path of the system"),
    ("{other} also sends these sessions", "an error of the hook, which `status` shows: `outbox`"),
    ("cannot read the transcript: {0}", "needs a disk that fails"),
    ("sending stopped, because", "needs a full disk"),
    ("cannot write the events: {0}", "`program convert`: a full disk"),
    ("the option {} cannot be used", "options are checked before the component sees them"),
    ("the component refused a call", "a fault of this program"),
];

/// The messages in the sources: `#[error("…")]`, `anyhow!("…")`, `bail!("…")`, `.context("…")`.
fn messages() -> Vec<(PathBuf, String)> {
    const BEFORE: [&str; 6] =
        ["#[error(", "anyhow!(", "bail!(", ".context(", ".with_context(|| format!(", "complain(\"error\", "];
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../host/src");
    let (mut folders, mut found) = (vec![root], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for before in BEFORE {
                let texts = source.split(before).skip(1).filter_map(|after| literal(after.trim_start()));
                found.extend(texts.map(|text| (path.clone(), text)));
            }
        }
    }
    found
}

/// The string literal that a source text begins with.
fn literal(source: &str) -> Option<String> {
    let mut text = String::new();
    let mut letters = source.strip_prefix('"')?.chars();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                '\n' => letters = letters.as_str().trim_start().chars(),
                'n' => text.push('\n'),
                escaped => text.push(escaped),
            },
            letter => text.push(letter),
        }
    }
}

/// The fixed text around a message's values: `cannot read {}: {error}` has `cannot read ` and `: `.
fn fixed_parts(message: &str) -> Vec<String> {
    let doubled = message.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let parts = doubled.split(['{', '}']).step_by(2);
    parts.map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}")).filter(|part| !part.is_empty()).collect()
}

/// Does a text contain these parts in this order?
fn has_in_order(text: &str, parts: &[String]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| match rest.split_once(part.as_str()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn every_message_has_the_form_and_a_row_or_another_test() {
    let errors: Vec<_> = ERRORS.iter().filter_map(|(_, error)| error.as_ref().ok()).collect();
    let mut faults = Vec::new();
    let mut unused: Vec<&str> = ELSEWHERE.iter().map(|(begin, _)| *begin).collect();
    for (path, message) in messages() {
        let parts = fixed_parts(&message);
        // `{0}` and `: ` alone say nothing.
        if parts.iter().all(|part| part.len() < 5) {
            continue;
        }
        let place = format!("{}: {message:?}", path.file_name().unwrap().display());
        faults.extend(fault_of_form(&message).map(|fault| format!("{place} {fault}")));
        unused.retain(|begin| !message.starts_with(begin));
        let elsewhere = ELSEWHERE.iter().any(|(begin, _)| message.starts_with(begin));
        if !elsewhere && !errors.iter().any(|error| has_in_order(error, &parts)) {
            faults.push(format!("{place} is shown by no row"));
        }
    }
    faults.extend(unused.iter().map(|begin| format!("{begin:?} is nowhere in the sources")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
