//! The component as a command, without our host: `wasi:cli/run` under a plain WASI host, such as `wasmtime run`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::{Request, Response};
use posthog_llma_tests::components::component;
use posthog_llma_tests::fixtures;
use posthog_llma_tests::program::{Home, KEY};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// Compiled once, because that takes seconds in a test profile.
static COMPILED: LazyLock<(Engine, Component)> = LazyLock::new(|| {
    let engine = Engine::default();
    let component = Component::from_file(&engine, component("command")).unwrap();
    (engine, component)
});

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: NoNetwork,
}

/// A host without a network.
struct NoNetwork;

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for NoNetwork {
    fn send_request(
        &mut self,
        _request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _body_result: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Runs the command in a directory; returns whether it succeeded, its output and its errors.
async fn run(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (bool, Vec<u8>, String) {
    let (stdout, stderr) = (MemoryOutputPipe::new(64 << 20), MemoryOutputPipe::new(1 << 20));
    let wasi = WasiCtx::builder()
        .args(&[&["component"], arguments].concat())
        .envs(variables)
        .preopened_dir(directory, "/session", FsPerms::ReadOnly)
        .unwrap()
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .build();
    let (engine, component) = &*COMPILED;
    let mut linker = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    let state = State { wasi, http: WasiHttpCtx::new(), table: ResourceTable::new(), hooks: NoNetwork };
    let mut store = Store::new(engine, state);
    let command = Command::instantiate_async(&mut store, component, &linker).await.unwrap();
    let succeeded = command.wasi_cli_run().call_run(&mut store).await.unwrap().is_ok();
    drop(store);
    (succeeded, stdout.contents().to_vec(), String::from_utf8(stderr.contents().to_vec()).unwrap())
}

#[tokio::test(flavor = "current_thread")]
async fn the_command_converts_as_our_program_does() {
    let home = Home::new();
    for case in ["2.1.330/subfg", "2.1.330/workflow", "2.0.76/sub2"] {
        let transcript = fixtures::transcripts(case).unwrap().remove(0);
        let name = transcript.file_name().unwrap().to_str().unwrap();
        let distinct_id = [("POSTHOG_LLMA_DISTINCT_ID", "dev@example.com")];
        let arguments = ["convert", &format!("/session/{name}")];
        let (succeeded, events, errors) = run(transcript.parent().unwrap(), &arguments, &distinct_id).await;
        assert!(succeeded, "{case}: {errors}");
        let program =
            home.program(["convert"]).arg(&transcript).env("POSTHOG_LLMA_DISTINCT_ID", "dev@example.com").run();
        assert_eq!(String::from_utf8(events).unwrap(), program.exits_with(0).stdout, "{case}");
    }
}

/// What our program makes of a session, with the distinct ID that [`ME`] gives.
fn expected(home: &Home, main: &Path, homes: &[&Path]) -> String {
    let homes: Vec<_> = homes.iter().map(|home| home.display().to_string()).collect();
    let program = home.program(["convert"]).arg(main).env(ME.0, ME.1).env("CLAUDE_CONFIG_DIR", homes.join(","));
    program.run().exits_with(0).stdout.clone()
}

const ME: (&str, &str) = ("POSTHOG_LLMA_DISTINCT_ID", "dev@example.com");

#[tokio::test(flavor = "current_thread")]
async fn what_a_session_has_in_other_projects_folders_belongs_to_it() {
    let home = Home::new();
    for case in ["2.1.330/parallel", "2.1.330/subfg"] {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["projects/-b-first", "projects/-a-second"].map(|name| folder.path().join(name));
        let main = fixtures::transcripts(case).unwrap().remove(0);
        let mains = fixtures::in_two_folders(&main, folders.each_ref().map(PathBuf::as_path)).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("-b-first", folder.path().join("projects/-c-link")).unwrap();
        let expected = expected(&home, &mains[0], &[]);
        assert_eq!(expected.lines().count(), self::expected(&home, &main, &[]).lines().count(), "{case}");
        // Whichever of them is named.
        for main in &mains {
            let named = main.strip_prefix(folder.path()).unwrap().to_str().unwrap();
            let arguments = ["convert", &format!("/session/{named}")];
            let (succeeded, events, errors) = run(folder.path(), &arguments, &[ME]).await;
            assert!(succeeded, "{case}: {errors}");
            assert_eq!(String::from_utf8(events).unwrap(), expected, "{case}: {named}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_session_has_in_another_home_can_be_named_too() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let homes = ["one", "two"].map(|name| folder.path().join(name));
    let folders = homes.each_ref().map(|home| home.join("projects/-shop"));
    let main = fixtures::transcripts("2.1.330/subfg").unwrap().remove(0);
    let mains = fixtures::in_two_folders(&main, folders.each_ref().map(PathBuf::as_path)).unwrap();
    let expected = expected(&home, &mains[0], &homes.each_ref().map(PathBuf::as_path));
    let named = |main: &PathBuf| format!("/session/{}", main.strip_prefix(folder.path()).unwrap().display());
    let [first, second] = mains.each_ref().map(named);
    for order in [[&first, &second], [&second, &first]] {
        let (succeeded, events, errors) = run(folder.path(), &["convert", order[0], order[1]], &[ME]).await;
        assert!(succeeded, "{errors}");
        assert_eq!(String::from_utf8(events).unwrap(), expected);
    }
    let other = folders[0].join("other.jsonl");
    std::fs::write(&other, "").unwrap();
    let (succeeded, _, errors) = run(folder.path(), &["convert", &first, &named(&other)], &[ME]).await;
    assert!(!succeeded && errors.contains("are not of one session"), "{errors}");
}

#[tokio::test(flavor = "current_thread")]
async fn the_command_says_when_its_host_lets_nothing_out() {
    let transcript = fixtures::transcripts("2.1.330/parallel").unwrap().remove(0);
    let name = transcript.file_name().unwrap().to_str().unwrap();
    let variables = [("POSTHOG_API_KEY", KEY)];
    let arguments = ["send", &format!("/session/{name}")];
    let (succeeded, output, errors) = run(transcript.parent().unwrap(), &arguments, &variables).await;
    assert!(!succeeded);
    assert!(String::from_utf8(output).unwrap().contains("0 events accepted by https://us.i.posthog.com"));
    assert!(errors.contains("the sandbox refused the request"), "{errors}");
}

#[tokio::test(flavor = "current_thread")]
async fn the_command_says_how_it_is_used_and_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (succeeded, _, errors) = run(directory.path(), &[], &[]).await;
    assert!(!succeeded && errors.contains("usage: convert TRANSCRIPT"), "{errors}");
    let (succeeded, _, errors) = run(directory.path(), &["convert", "/session/none.jsonl"], &[]).await;
    assert!(!succeeded && errors.contains("/session/none.jsonl cannot be read"), "{errors}");
    let (succeeded, _, errors) = run(directory.path(), &["send", "/session/none.jsonl"], &[]).await;
    assert!(!succeeded && errors.contains("POSTHOG_API_KEY is not set"), "{errors}");
}
