//! What redaction costs, and how often it replaces what is no secret: without a sandbox, on generated sessions and all fixtures.
//!
//! `cargo run --release -p posthog-llma-tests --example redaction`. `MEGABYTES` sets how much is generated (100). It fails when
//! conversion with redaction takes more than 1.15 times as long as without, or when more than one in 2 MB is replaced.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use posthog_llma_pipeline::redact::{self, Counts};
use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, FileRole, Session};
use posthog_llma_tests::corpus::{self, Shape, Texts};
use posthog_llma_tests::fixtures;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Runs with and without, taking turns.
const RUNS: usize = 9;

/// Bytes of a generated session.
const SESSION: u64 = 10_000_000;

/// The most that redaction may cost, as a ratio, and the most replacements per MB where there is no secret.
const MOST_COST: f64 = 1.15;
const MOST_FALSE: f64 = 0.5;

type Files = Vec<(FileRole, Vec<u8>)>;

fn main() -> ExitCode {
    let megabytes = std::env::var("MEGABYTES").map_or(100, |text| text.parse::<u64>().unwrap());
    let home = tempfile::tempdir().unwrap();
    let texts = Texts::new();
    let (mut counts, mut bytes) = (Counts::new(), 0);
    let mut measured = None;
    for seed in 1..=megabytes.div_ceil(SESSION / 1_000_000) {
        let session = corpus::write(home.path(), &texts, Shape { seed, ..Shape::of(SESSION) }).unwrap();
        let files = files(&session);
        count(&files, &mut counts, &mut bytes);
        measured.get_or_insert(files);
        fs::remove_file(session).unwrap();
    }
    let generated = bytes;
    for transcript in fixtures::transcripts("").unwrap() {
        count(&files(&transcript), &mut counts, &mut bytes);
    }
    let replaced: u64 = counts.values().sum();
    let megabytes = bytes as f64 / 1e6;
    println!("{:.1} MB generated, {:.1} MB of fixtures", generated as f64 / 1e6, (bytes - generated) as f64 / 1e6);
    println!("replaced: {replaced}, {:.3} per MB: {counts:?}", replaced as f64 / megabytes);
    let ratio = cost(&measured.unwrap());
    println!("conversion with redaction takes {ratio:.3} times as long as without");
    if ratio <= MOST_COST && replaced as f64 <= MOST_FALSE * megabytes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A session's files, the sub-agents' in the order of their IDs.
fn files(main: &Path) -> Files {
    let mut files = vec![(FileRole::Main, fs::read(main).unwrap())];
    let agents = fs::read_dir(main.with_extension("").join("subagents")).into_iter().flatten();
    let mut agents: Vec<_> = agents.map(|entry| entry.unwrap().path()).collect();
    agents.sort();
    for path in agents.into_iter().filter(|path| path.extension() == Some(OsStr::new("jsonl"))) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let agent_id = name.strip_prefix("agent-").unwrap_or(name).to_owned();
        files.push((FileRole::Agent(AgentFile { agent_id, ..AgentFile::default() }), fs::read(&path).unwrap()));
    }
    files
}

/// Converts a session, and says what was replaced in it.
fn convert(files: &Files, redact_secrets: bool) -> Counts {
    let roles: Vec<_> = files.iter().map(|(role, _)| role.clone()).collect();
    let options = ConversionOptions { redact_secrets, ..ConversionOptions::default() };
    let mut session = Session::open("measured", &roles, options).unwrap();
    for (file, (_, bytes)) in (0..).zip(files) {
        bytes.chunks(64 * 1024).for_each(|piece| session.scan(file, piece).unwrap());
    }
    for (file, (_, bytes)) in (0..).zip(files) {
        for piece in bytes.chunks(64 * 1024) {
            session.convert(file, piece).unwrap();
            drop(session.take_events(usize::MAX));
        }
    }
    session.finish().unwrap();
    drop(session.take_events(usize::MAX));
    session.counts().redactions
}

fn count(files: &Files, counts: &mut Counts, bytes: &mut usize) {
    redact::add(counts, &convert(files, true));
    *bytes += files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
}

/// The median of the ratios of runs that take turns.
fn cost(files: &Files) -> f64 {
    let seconds = |redacts| {
        let start = Instant::now();
        convert(files, redacts);
        start.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<_> = (0..RUNS).map(|_| seconds(true) / seconds(false)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[RUNS / 2]
}
