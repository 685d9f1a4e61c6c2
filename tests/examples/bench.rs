//! What the program takes, as a process, beside others that take turns with it: only the ratios mean something.
//!
//! `cargo run --release -p posthog-llma-tests --example bench -- [PART…]`, where a part is one of `convert`, `sizes`, `lines`,
//! `small`, `ingest`, `list`. Without one it runs all. `MEGABYTES` sets the size of the main session (120).

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use posthog_llma_pipeline::session::{ConversionOptions, FileRole, Session};
use posthog_llma_tests::corpus::{self, Shape, Texts};
use posthog_llma_tests::program::{KEY, binary};
use posthog_llma_tests::sink::Sink;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the Python plugin must at least do: two readings, each line parsed.
const TWICE: &str = "import json, sys
for _ in range(2):
    with open(sys.argv[1], 'rb') as lines:
        for line in lines:
            json.loads(line)";

/// Runs of each of what is compared.
const RUNS: usize = 5;

/// What is measured with.
struct Bench {
    home: tempfile::TempDir,
    texts: Texts,
    python: String,
}

/// A part of it.
type Part = fn(&Bench);

fn main() {
    let parts: Vec<_> = std::env::args().skip(1).collect();
    let bench = Bench::new();
    let all: [(&str, Part); 6] = [
        ("convert", Bench::convert),
        ("sizes", Bench::sizes),
        ("lines", Bench::lines),
        ("small", Bench::small),
        ("ingest", Bench::ingest),
        ("list", Bench::list),
    ];
    for (name, part) in all {
        if parts.is_empty() || parts.iter().any(|part| part == name) {
            part(&bench);
        }
    }
}

impl Bench {
    fn new() -> Self {
        // Python itself: `python3` may be a script of a version manager.
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let python = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { home: tempfile::tempdir().unwrap(), texts: Texts::new(), python }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().env("HOME", self.home.path()).current_dir(self.home.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn converts(&self, transcript: &Path) -> Command {
        let mut command = self.program(&["convert"]);
        command.arg(transcript);
        command
    }

    fn python(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.args(arguments);
        command
    }

    /// A long session: against Python, without redaction, natively, and with nothing in its lines.
    fn convert(&self) {
        let megabytes = std::env::var("MEGABYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(120);
        let shape = Shape { agents: false, ..Shape::of(megabytes * 1_000_000) };
        let transcript = corpus::write(&self.folder("convert"), &self.texts, shape).unwrap();
        let empty = self.folder("convert").join("empty.jsonl");
        without_content(&transcript, &empty);
        let path = transcript.to_str().unwrap();
        let mut times = [const { Vec::new() }; 5];
        for _ in 0..RUNS {
            times[0].push(time(self.converts(&transcript)));
            times[1].push(time(self.python(&["-c", TWICE, path])));
            let mut without = self.converts(&transcript);
            times[2].push(time({
                without.env("POSTHOG_LLMA_REDACT_SECRETS", "false");
                without
            }));
            times[3].push(native(&transcript));
            times[4].push(time(self.converts(&empty)));
        }
        let [ours, python, without, native, empty] = times.map(best);
        println!("convert, {megabytes} MB: {:.0} MB/s", megabytes as f64 / ours);
        println!("  times faster than json.loads twice       {:.2}", python / ours);
        println!("  with redaction / without                 {:.2}", ours / without);
        println!("  in the sandbox / natively                {:.2}", ours / native);
        println!("  with content / the same lines, empty     {:.2}", ours / empty);
    }

    /// Linear, and in how much memory.
    fn sizes(&self) {
        let mut first = None;
        for megabytes in [1, 10, 100, 1000] {
            let folder = self.folder(&format!("sizes-{megabytes}"));
            let shape = Shape { agents: false, ..Shape::of(megabytes * 1_000_000) };
            let transcript = corpus::write(&folder, &self.texts, shape).unwrap();
            let runs = if megabytes > 100 { 1 } else { RUNS };
            let time = best((0..runs).map(|_| time(self.converts(&transcript))).collect());
            let each = time / megabytes as f64;
            let first = *first.get_or_insert(each);
            let peak = peak(self.converts(&transcript)) / 1024;
            println!("convert, {megabytes} MB: {:.2} of the time for a MB at 1 MB, {peak} MiB at most", each / first);
            fs::remove_dir_all(folder).unwrap();
        }
    }

    /// One line of 50 MB; 16,000 prompts.
    fn lines(&self) {
        let folder = self.folder("lines");
        let line = corpus::write_long_line(&folder.join("line"), &self.texts, 50_000_000).unwrap();
        let prompts = corpus::write_prompts(&folder.join("prompts"), &self.texts, 16_000).unwrap();
        for (name, transcript) in [("one line of 50 MB", line), ("16,000 prompts", prompts)] {
            let path = transcript.to_str().unwrap();
            let ours = best((0..RUNS).map(|_| time(self.converts(&transcript))).collect());
            let python = best((0..RUNS).map(|_| time(self.python(&["-c", TWICE, path]))).collect());
            let peak = peak(self.converts(&transcript)) / 1024;
            println!("{name}: {:.2} times faster than json.loads twice, {peak} MiB at most", python / ours);
        }
    }

    /// Starts.
    fn small(&self) {
        let shape = Shape { agents: false, ..Shape::of(30_000) };
        let transcript = corpus::write(&self.folder("small"), &self.texts, shape).unwrap();
        time(self.converts(&transcript));
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..41 {
            times[0].push(time(self.converts(&transcript)));
            times[1].push(time(self.python(&["-c", "pass"])));
            times[2].push(time(self.program(&["hook"])));
            times[3].push(time(Command::new("true")));
        }
        let [small, python, hook, nothing] = times.map(best);
        println!("a session of 30 KB / python3 -c pass: {:.3}", small / python);
        println!("hook / true: {:.2}", hook / nothing);
    }

    fn ingests(&self, folder: &Path, sink: &Sink, arguments: &[&str], state: &str) -> Command {
        let mut command = self.program(&["ingest", "--all"]);
        command.args(arguments).env("CLAUDE_CONFIG_DIR", folder).env("POSTHOG_LLMA_STATE_DIR", self.folder(state));
        command.env("POSTHOG_API_KEY", KEY).env("POSTHOG_HOST", sink.origin());
        command
    }

    /// Writes this many sessions of about this many bytes, in seven projects. Returns how many bytes they have on average.
    fn past_sessions(&self, folder: &Path, count: u64, bytes: u64) -> u64 {
        let mut all = 0;
        for seed in 0..count {
            let project = folder.join(format!("projects/-home-dev-p{}", seed % 7));
            let path = corpus::write(&project, &self.texts, Shape { seed: seed + 2, ..Shape::of(bytes) }).unwrap();
            all += path.metadata().unwrap().len();
        }
        all / count
    }

    /// Past sessions, to a server that only drains.
    fn ingest(&self) {
        let sink = Sink::start();
        for (name, count, bytes) in [("large", 300, 900_000), ("small", 5000, 30_000)] {
            let folder = self.folder(name);
            let bytes = self.past_sessions(&folder, count, bytes);
            time(self.ingests(&folder, &sink, &["--dry-run"], "none"));
            let dry = time(self.ingests(&folder, &sink, &["--dry-run"], "none"));
            let (connections, sent) = (sink.connections(), sink.bytes());
            let both = time(self.ingests(&folder, &sink, &[], &format!("{name}-both")));
            let (connections, sent) = (sink.connections() - connections, sink.bytes() - sent);
            let one = time(self.ingests(&folder, &sink, &["--jobs", "1"], &format!("{name}-one")));
            println!("ingest of {count} sessions of {bytes} bytes: {:.0} sessions/s", count as f64 / both);
            println!("  of the dry run's speed                   {:.2}", dry / both);
            println!("  times faster than with --jobs 1          {:.2}", one / both);
            println!("  connections                              {connections}, {sent} bytes");
        }
    }

    /// A list, again.
    fn list(&self) {
        let (sink, folder) = (Sink::start(), self.folder("list"));
        let bytes = self.past_sessions(&folder, 5000, 30_000);
        let first = time(self.ingests(&folder, &sink, &["--list"], "none"));
        let second = best((0..RUNS).map(|_| time(self.ingests(&folder, &sink, &["--list"], "none"))).collect());
        println!("list of 5,000 sessions of {bytes} bytes: {first:.2} s, then {second:.2} s");
    }
}

/// Seconds until a command has ended well.
fn time(mut command: Command) -> f64 {
    // Cargo's, for programs that need Rust's own libraries: each program's start would look through it.
    command.env_remove("LD_LIBRARY_PATH");
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?} failed");
    start.elapsed().as_secs_f64()
}

fn best(times: Vec<f64>) -> f64 {
    times.into_iter().fold(f64::INFINITY, f64::min)
}

/// The most memory that a command had, in KiB, where the system says so.
fn peak(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    most
}

/// Seconds that the conversion takes without a sandbox.
fn native(transcript: &Path) -> f64 {
    let start = Instant::now();
    let mut session = Session::open("bench", &[FileRole::Main], ConversionOptions::default()).unwrap();
    let mut piece = vec![0; 64 * 1024];
    for second in [false, true] {
        let mut file = File::open(transcript).unwrap();
        loop {
            let length = file.read(&mut piece).unwrap();
            if length == 0 {
                break;
            }
            if second {
                session.convert(0, &piece[..length]).unwrap();
                drop(session.take_events(usize::MAX));
            } else {
                session.scan(0, &piece[..length]).unwrap();
            }
        }
    }
    session.finish().unwrap();
    drop(session.take_events(usize::MAX));
    start.elapsed().as_secs_f64()
}

/// As many lines, of the same lengths, with nothing in them: what it takes to find lines and to see that they say nothing.
fn without_content(transcript: &Path, empty: &Path) {
    const BEGIN: &str = "{\"type\":\"mode\",\"x\":\"";
    let mut out = BufWriter::new(File::create(empty).unwrap());
    for line in BufReader::new(File::open(transcript).unwrap()).split(b'\n').map(Result::unwrap) {
        let rest = line.len().saturating_sub(BEGIN.len() + 2);
        writeln!(out, "{BEGIN}{}\"}}", "x".repeat(rest)).unwrap();
    }
    out.flush().unwrap();
}
