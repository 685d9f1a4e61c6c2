//! The command and the server in the stock `wasmtime`, with the flags that `docs/embedding.md` gives.

use super::*;
use posthog_llma::claude_code::sessions::SessionFiles;
use posthog_llma_tests::examples::wasmtime;
use posthog_llma_tests::server::Server;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

/// `wasmtime run` with the session's directory, and with time and memory limits.
fn run(wasmtime: &Path, directory: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(wasmtime);
    command.args(["run", "-S", "http", "-W", "timeout=60s,max-memory-size=268435456", "--dir"]);
    command.arg(format!("{}::/session", directory.display()));
    for (name, value) in variables {
        command.args(["--env", &format!("{name}={value}")]);
    }
    command.arg(component("command"));
    command
}

#[test]
fn the_stock_command_line_converts_and_sends() {
    let Some(wasmtime) = wasmtime() else { return };
    let transcript = transcript();
    let files = SessionFiles::of_transcript(&transcript).unwrap();
    let inside = format!("/session/{}.jsonl", files.id);
    let directory = transcript.parent().unwrap();

    let events = printed(run(wasmtime, directory, &[]).args(["convert", &inside]));
    let posthog = LocalPostHog::start(Config::default()).unwrap();
    let origin = posthog.origin();
    let variables = [("POSTHOG_HOST", origin.as_str()), ("POSTHOG_API_KEY", KEY)];
    let said = printed(run(wasmtime, directory, &variables).args(["send", &inside]));

    assert_eq!(String::from_utf8(said).unwrap(), format!("{}: 10 events accepted by {origin}, 0 rejected\n", files.id));
    let sent: Vec<_> = posthog.events().iter().map(|event| event["uuid"].clone()).collect();
    let converted: Vec<_> = events.split_inclusive(|byte| *byte == b'\n').map(uuid).collect();
    assert_eq!(sent, converted);
}

fn uuid(event: &[u8]) -> serde_json::Value {
    serde_json::from_slice::<serde_json::Value>(event).unwrap()["uuid"].clone()
}

/// A server process, killed when the test ends.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_stock_command_line_serves() {
    let Some(wasmtime) = wasmtime() else { return };
    let posthog = LocalPostHog::start(Config::default()).unwrap();
    let mut serve = Command::new(wasmtime);
    serve.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0", "--env", &format!("POSTHOG_API_KEY={KEY}")]);
    serve.args(["--env", &format!("POSTHOG_HOST={}", posthog.origin())]).arg(component("server"));
    let mut serving = Serving(serve.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    BufReader::new(serving.0.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().trim_end_matches('/').rsplit('/').next().unwrap();
    let server = Server::at(address.parse().unwrap_or_else(|_| panic!("no address in {said:?}")));

    let transcript = fixtures::transcripts("2.1.330/parallel").unwrap().remove(0);
    let id = transcript.file_stem().unwrap().to_str().unwrap();
    let body = std::fs::read(&transcript).unwrap();
    let headers = [("posthog-session-id", id)];
    let (status, events) = server.request("POST /convert", &headers, &body).unwrap();
    assert_eq!(status, 200);
    let (status, report) = server.request("POST /deliver", &headers, &body).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&report));
    let sent: Vec<_> = posthog.events().iter().map(|event| event["uuid"].clone()).collect();
    let converted: Vec<_> = events.split_inclusive(|byte| *byte == b'\n').map(uuid).collect();
    assert_eq!(sent, converted);
}
