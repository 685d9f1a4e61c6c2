//! What the sandbox refuses, shown with a component that tries it (`tests/misbehaving`). It runs exactly like the real
//! one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{
    Destination, Patience, SessionFile as FileArgument, StartError,
};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, FileRole};
use posthog_llma_sandbox::engine;
use posthog_llma_sandbox::files::SessionFile;
use posthog_llma_sandbox::policy::{AllowedDestination, HttpPolicy, Origin};
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{Limits, Run, Sandbox, SandboxError, block_on};
use std::net::TcpListener;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use wasmtime::component::Component;

mod network;

/// Compiled once. All tests share its engine: they run concurrently, and must not stop each other.
static COMPONENT: LazyLock<Component> =
    LazyLock::new(|| engine::compile(include_bytes!(env!("MISBEHAVING_COMPONENT"))).unwrap());

/// An attempt of the component, and what it gets for it.
struct Attempt<'a> {
    argument: &'a str,
    policy: HttpPolicy,
    file: Option<&'a Path>,
    limits: Limits,
}

impl Default for Attempt<'_> {
    fn default() -> Self {
        Self {
            argument: "",
            policy: HttpPolicy::Deny,
            file: None,
            limits: Limits { memory: 64 * 1024 * 1024, time: Duration::from_mins(1) },
        }
    }
}

impl Attempt<'_> {
    /// Runs the attempt with this name; the result is what the component reports.
    fn run(self, name: &str) -> Run<String> {
        let sandbox = Sandbox::of(&COMPONENT, self.limits, ProxySettings::default()).unwrap();
        block_on(sandbox.run(self.policy, async |exporter, store| {
            let files = match self.file {
                None => Vec::new(),
                Some(path) => vec![FileArgument {
                    role: FileRole::Main,
                    read_before: 0,
                    end: None,
                    contents: store.data_mut().grant(SessionFile::find(path).unwrap())?,
                }],
            };
            let destination = Destination { origin: self.argument.to_owned(), api_key: String::new() };
            let answer = exporter
                .posthog_llm_analytics_delivery()
                .transfer()
                .call_start(store, name, &files, &options(), &destination, patience())
                .await?;
            match answer {
                Err(StartError::InvalidOption(told)) => Ok(told.reason),
                other => panic!("the component answered {other:?}"),
            }
        }))
        .unwrap()
    }

    /// What the component reports about an attempt that it survives.
    fn tells(self, name: &str) -> String {
        self.run(name).result.unwrap()
    }
}

fn options() -> ConversionOptions {
    posthog_llma_pipeline::options::ConversionOptions::default().into()
}

fn patience() -> Patience {
    Patience {
        connect_timeout: 1000,
        first_byte_timeout: 1000,
        request_timeout: 1000,
        max_retries: 0,
        first_delay: 100,
    }
}

fn tells(name: &str, argument: &str) -> String {
    Attempt { argument, ..Attempt::default() }.tells(name)
}

// What is allowed: without these (and the first of `network`), a sandbox that refuses everything would pass all the
// other tests.

#[test]
fn a_handed_file_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.jsonl");
    std::fs::write(&path, "the session").unwrap();
    let told = Attempt { file: Some(&path), ..Attempt::default() }.tells("read");
    assert_eq!(told, "succeeded: \"the session\"");
}

#[test]
fn memory_below_the_cap_is_given() {
    assert_eq!(tells("allocate", "32"), "32 MiB");
}

// Files.

/// A session's file with a neighbor, a secret outside its folder, and a link to the secret.
struct Files {
    directory: tempfile::TempDir,
}

const CONTENTS: &str = "the session";

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self { directory };
        std::fs::create_dir(files.path("project")).unwrap();
        std::fs::write(files.session(), CONTENTS).unwrap();
        std::fs::write(files.path("project/sibling.jsonl"), "another session").unwrap();
        std::fs::write(files.path("secret"), "secret").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(files.path("secret"), files.path("project/link")).unwrap();
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn session(&self) -> std::path::PathBuf {
        self.path("project/session.jsonl")
    }

    fn tells(&self, name: &str, argument: &str) -> String {
        Attempt { argument, file: Some(&self.session()), ..Attempt::default() }.tells(name)
    }
}

#[test]
fn a_handed_file_cannot_be_written() {
    let files = Files::new();
    let before = std::fs::metadata(files.session()).unwrap();
    for attempt in ["write", "write-stream", "append-stream", "truncate", "set-times"] {
        let told = files.tells(attempt, "");
        assert!(told.contains("not-permitted"), "{attempt}: {told}");
    }
    assert_eq!(std::fs::read_to_string(files.session()).unwrap(), CONTENTS);
    let after = std::fs::metadata(files.session()).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[test]
fn a_handed_file_tells_its_size_and_bytes_and_nothing_else() {
    let files = Files::new();
    assert_eq!(files.tells("read", ""), format!("succeeded: {CONTENTS:?}"));
    assert_eq!(files.tells("size", ""), format!("succeeded: {}", CONTENTS.len()));
    for attempt in ["flags", "read-stream"] {
        let told = files.tells(attempt, "");
        assert!(told.contains("not-permitted"), "{attempt}: {told}");
    }
}

#[test]
fn no_other_file_is_reached_through_a_handed_one() {
    let files = Files::new();
    let absolute = files.path("secret");
    for path in
        ["sibling.jsonl", ".", "..", "../secret", "../project/sibling.jsonl", "link", absolute.to_str().unwrap()]
    {
        for attempt in ["open-at", "create-at", "stat-at", "readlink-at"] {
            let told = files.tells(attempt, path);
            assert!(told.contains("not-permitted"), "{attempt} {path}: {told}");
        }
    }
    for attempt in ["unlink-at", "rename-at"] {
        let told = files.tells(attempt, "sibling.jsonl");
        assert!(told.contains("not-permitted"), "{attempt}: {told}");
    }
    assert!(files.tells("list", "").starts_with("failed"));
    assert!(files.path("project/sibling.jsonl").exists());
}

#[test]
fn there_is_no_directory() {
    assert_eq!(tells("preopens", ""), "0");
}

#[test]
fn no_path_can_be_opened_or_made() {
    let files = Files::new();
    let secret = files.path("secret");
    for path in [secret.to_str().unwrap(), "/etc/passwd", "secret", "../secret", "."] {
        let told = tells("open-path", path);
        assert!(told.starts_with("failed"), "{path}: {told}");
    }
    let new = files.path("new");
    let told = tells("create-path", new.to_str().unwrap());
    assert!(told.starts_with("failed"), "{told}");
    assert!(!new.exists());
}

// Environment.

#[test]
fn the_environment_is_empty() {
    // The test's own is not.
    assert!(std::env::vars_os().count() > 0);
    assert_eq!(tells("environment", ""), "[]");
}

#[test]
fn there_are_no_arguments() {
    assert_eq!(tells("arguments", ""), "[]");
}

#[test]
fn there_is_no_current_directory() {
    assert_eq!(tells("initial-directory", ""), "None");
}

#[test]
fn the_input_is_empty() {
    assert_eq!(tells("stdin", ""), "Ok(0), []");
}

// Resources.

#[test]
fn memory_over_the_cap_ends_the_run() {
    let error = Attempt { argument: "100", ..Attempt::default() }.run("allocate").result.unwrap_err();
    assert!(matches!(error, SandboxError::MemoryLimit(67_108_864)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the component was stopped: it needs more than 64 MiB of memory (--max-memory sets the limit)"
    );
}

#[test]
fn a_component_that_needs_more_than_the_cap_from_the_start_does_not_start() {
    let limits = Limits { memory: 64 * 1024, ..Limits::default() };
    let error = Attempt { limits, ..Attempt::default() }.run("nothing").result.unwrap_err();
    assert!(matches!(error, SandboxError::MemoryLimit(65_536)), "{error:?}");
}

/// Asserts that an attempt that never ends is stopped when its time is up.
fn assert_stopped(attempt: &str) {
    let time = Duration::from_millis(500);
    let error =
        Attempt { limits: Limits { time, ..Limits::default() }, ..Attempt::default() }.run(attempt).result.unwrap_err();
    assert!(matches!(error, SandboxError::TimeLimit(limit) if limit == time), "{error:?}");
}

#[test]
fn computing_over_the_time_cap_ends_the_run() {
    assert_stopped("spin");
}

#[test]
fn calling_the_host_over_the_time_cap_ends_the_run() {
    assert_stopped("spin-in-calls");
}

#[test]
fn sleeping_over_the_time_cap_ends_the_run() {
    assert_stopped("sleep");
}

#[test]
fn a_run_that_is_stopped_does_not_stop_another_one() {
    let long = std::thread::spawn(|| {
        Attempt { limits: Limits { time: Duration::from_millis(1500), ..Limits::default() }, ..Attempt::default() }
            .run("spin")
    });
    let start = Instant::now();
    assert_stopped("spin");
    assert!(long.join().unwrap().result.is_err());
    assert!(start.elapsed() >= Duration::from_millis(1400));
}

#[test]
fn a_server_that_is_slow_does_not_outlive_the_time_cap() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let time = Duration::from_millis(500);
    let run = Attempt {
        argument: &format!("POST http://127.0.0.1:{port}/batch/"),
        policy: HttpPolicy::Allow(AllowedDestination::batches(
            Origin::parse(&format!("http://127.0.0.1:{port}"), true).unwrap(),
        )),
        limits: Limits { time, ..Limits::default() },
        ..Attempt::default()
    }
    .run("request");
    assert!(matches!(run.result, Err(SandboxError::TimeLimit(_))), "{:?}", run.result);
    assert_eq!(run.requests.allowed(), 1);
}

#[test]
fn flooding_the_output_does_no_harm() {
    assert_eq!(tells("flood-stdout", ""), "1024 pieces");
    assert_eq!(tells("flood-stderr", ""), "1024 pieces");
}

#[test]
fn the_host_does_not_keep_any_number_of_objects() {
    let error = Attempt::default().run("many-handles").result.unwrap_err();
    assert!(matches!(error, SandboxError::Trap { .. }), "{error:?}");
}

#[test]
fn random_bytes_come_in_small_numbers_only() {
    assert_eq!(tells("random", "16"), "16");
    let error = Attempt { argument: "1000000", ..Attempt::default() }.run("random").result.unwrap_err();
    assert!(matches!(error, SandboxError::Trap { .. }), "{error:?}");
}

/// The trap's reason and the component's last words.
fn crash(attempt: &str) -> (String, String) {
    match Attempt::default().run(attempt).result {
        Err(SandboxError::Trap { reason, message }) => (reason, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_panic_is_an_error_with_its_message() {
    let (reason, message) = crash("panic");
    assert!(reason.contains("unreachable"), "{reason}");
    assert!(message.contains("it went wrong\\u{1b}[2J"), "{message}");
}

#[test]
fn a_trap_is_an_error() {
    let (reason, message) = crash("unreachable");
    assert!(reason.contains("unreachable"), "{reason}");
    assert_eq!(message, "");
}

#[test]
fn a_stack_overflow_is_an_error() {
    let (reason, _) = crash("recurse");
    assert!(reason.contains("call stack exhausted") || reason.contains("out of bounds"), "{reason}");
}

#[test]
fn a_wrong_pointer_is_an_error() {
    let (reason, _) = crash("bad-pointer");
    assert!(reason.contains("out of bounds"), "{reason}");
}

#[test]
fn an_exit_is_an_error_and_does_not_end_the_program() {
    let error = Attempt::default().run("exit").result.unwrap_err();
    // `wasi:cli/exit` knows success and failure only.
    assert!(matches!(error, SandboxError::Exited(1)), "{error:?}");
}

#[test]
fn a_file_that_is_no_component_is_an_error() {
    for bytes in [&b""[..], b"not wasm", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        let component = engine::compile(bytes);
        let result = component.and_then(|c| Sandbox::of(&c, Limits::default(), ProxySettings::default()));
        assert!(matches!(result, Err(SandboxError::Setup(_))));
    }
}
