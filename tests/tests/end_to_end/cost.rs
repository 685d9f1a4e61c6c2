//! The cost of a large session: the real program's memory, measured from outside.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use posthog_llma_local_posthog::{Config, LocalPostHog};
use posthog_llma_tests::program::{Home, KEY, binary};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Bytes of the transcript.
const SIZE: usize = 200 * 1000 * 1000;

/// The maximum peak memory of a command, in KiB.
const MOST: u64 = 64 * 1024;

/// Writes a long session: turns of tool calls, with the output twice in each line, as the client writes it, and now and
/// then a line of several megabytes. `output` is the bytes of a tool's output.
fn write_transcript(path: &Path, output: usize) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let text = "all work and no play \\u00e9 \\n".repeat(output / 28 + 1);
    let image = "iVBORw0KGgo".repeat(300_000);
    let mut size = 0;
    let mut turn = 0;
    while size < SIZE {
        turn += 1;
        let mut lines = vec![format!(
            r#"{{"parentUuid":null,"type":"user","promptId":"p{turn}","uuid":"u{turn}","timestamp":"2026-01-01T00:00:00Z","message":{{"role":"user","content":"prompt {turn}"}}}}"#
        )];
        for call in 0..8 {
            // Of the shape of Anthropic's.
            let id = format!("01{turn:018}{call:04}");
            lines.push(format!(
                r#"{{"parentUuid":"u{turn}","type":"assistant","uuid":"a{id}","timestamp":"2026-01-01T00:00:01Z","message":{{"id":"msg_{id}","model":"claude-x","stop_reason":"tool_use","content":[{{"type":"tool_use","id":"toolu_{id}","name":"Bash","input":{{"command":"{id}"}}}}],"usage":{{"input_tokens":1,"output_tokens":2}}}}}}"#
            ));
            lines.push(format!(
                r#"{{"parentUuid":"a{id}","type":"user","promptId":"p{turn}","uuid":"r{id}","timestamp":"2026-01-01T00:00:02Z","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_{id}","content":"{text}"}}]}},"toolUseResult":{{"stdout":"{text}","interrupted":false}}}}"#
            ));
        }
        if turn % 100 == 1 {
            lines.push(format!(
                r#"{{"parentUuid":"u{turn}","type":"user","promptId":"p{turn}","uuid":"i{turn}","timestamp":"2026-01-01T00:00:03Z","message":{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{image}"}}}}]}}}}"#
            ));
        }
        for line in lines {
            size += line.len() + 1;
            writeln!(file, "{line}").unwrap();
        }
    }
}

/// The peak memory of a process, in KiB, while it runs.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// Waits for the process to end, and returns the last peak seen.
fn watch(mut child: Child) -> u64 {
    let mut most = 0;
    let code = loop {
        most = most.max(peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(code.success());
    assert!(most > 1024, "the peak was not seen");
    most
}

fn command(home: &Path, arguments: &[&str], transcript: &PathBuf) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("HOME", home).current_dir(home);
    command.args(arguments).arg(transcript).stdout(Stdio::null());
    command
}

#[test]
fn converting_200_megabytes_takes_at_most_64_mebibytes() {
    let home = Home::new();
    let transcript = home.path().join("large.jsonl");
    write_transcript(&transcript, 3000);
    let most = watch(command(home.path(), &["convert"], &transcript).spawn().unwrap());
    assert!(most <= MOST, "{most} KiB");
}

#[test]
fn sending_200_megabytes_takes_at_most_64_mebibytes() {
    let home = Home::new();
    let transcript = home.path().join("large.jsonl");
    // What is sent is kept by the server, in this process: longer texts, of which less is sent.
    write_transcript(&transcript, 100_000);
    let posthog = LocalPostHog::start(Config::default()).unwrap();
    let mut send = command(home.path(), &["send"], &transcript);
    send.env("POSTHOG_HOST", posthog.origin()).env("POSTHOG_API_KEY", KEY);
    let most = watch(send.spawn().unwrap());
    assert!(posthog.events().len() > 1500);
    assert!(most <= MOST, "{most} KiB");
}
