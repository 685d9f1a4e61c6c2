//! From start to exit: `convert` of a session of about 1 MB, beside Python's start.
//!
//! `cargo run --release -p posthog-llma-tests --example startup` runs both in turn and prints the ratio of their fastest
//! and of their median runs. Only ratios mean something: machines are noisy. It fails if the fastest take more than a fifth;
//! in a debug build nothing is demanded.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each.
const RUNS: usize = 41;

/// What `convert` may take of Python's time.
const MOST: f64 = 0.2;

fn main() -> Result<(), Box<dyn Error>> {
    let program = posthog_llma_tests::program::binary();
    let home = tempfile::tempdir()?;
    let transcript = home.path().join("session.jsonl");
    std::fs::write(&transcript, session())?;
    let convert = || {
        let mut command = Command::new(program);
        command.env("HOME", home.path()).current_dir(home.path());
        command.arg("convert").arg(&transcript);
        time(command)
    };
    let interpreter = interpreter()?;
    let python = || {
        let mut command = Command::new(&interpreter);
        command.args(["-c", "import json, urllib.request"]);
        time(command)
    };
    convert()?;
    python()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(convert()?);
        theirs.push(python()?);
    }
    ours.sort();
    theirs.sort();
    let size = Path::new(&transcript).metadata()?.len();
    println!("convert of {size} bytes: {:?} at best, {:?} in the median", ours[0], ours[RUNS / 2]);
    println!("python3's imports:       {:?} at best, {:?} in the median", theirs[0], theirs[RUNS / 2]);
    let ratio = |i: usize| ours[i].as_secs_f64() / theirs[i].as_secs_f64();
    println!("ratio:                   {:.3} at best, {:.3} in the median", ratio(0), ratio(RUNS / 2));
    if cfg!(not(debug_assertions)) && ratio(0) > MOST {
        return Err(format!("convert takes more than {MOST} of the time that Python takes to start").into());
    }
    Ok(())
}

/// Python itself: `python3` may be a script of a version manager, which takes as long again.
fn interpreter() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let output =
        output.map_err(|error| format!("python3 cannot be run, and there is nothing to compare with: {error}"))?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn time(mut command: Command) -> Result<Duration, Box<dyn Error>> {
    // Cargo's, for programs that need Rust's own libraries: each program's start would look through it.
    command.env_remove("LD_LIBRARY_PATH");
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?} failed").into());
    }
    Ok(start.elapsed())
}

/// Lines as the client writes them: a prompt, and calls of tools with output of 3 KB, which stands in each line twice.
fn session() -> String {
    let output = "the quick brown fox jumps over the lazy dog\\n".repeat(68);
    let mut lines = String::from(
        "{\"parentUuid\":null,\"type\":\"user\",\"promptId\":\"p\",\"uuid\":\"u\",\"timestamp\":\"2026-01-01T00:00:00Z\",\
         \"message\":{\"role\":\"user\",\"content\":\"prompt\"}}\n",
    );
    for i in 0..140 {
        let _ = writeln!(
            lines,
            r#"{{"parentUuid":"u","type":"assistant","uuid":"a{i}","timestamp":"2026-01-01T00:00:01Z","message":{{"id":"msg_{i}","model":"claude-x","stop_reason":"tool_use","content":[{{"type":"tool_use","id":"toolu_{i}","name":"Bash","input":{{"command":"{i}"}}}}],"usage":{{"input_tokens":1,"output_tokens":2}}}}}}"#
        );
        let _ = writeln!(
            lines,
            r#"{{"parentUuid":"a{i}","type":"user","promptId":"p","uuid":"r{i}","timestamp":"2026-01-01T00:00:02Z","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_{i}","content":"{output}"}}]}},"toolUseResult":{{"stdout":"{output}","interrupted":false}}}}"#
        );
    }
    lines
}
