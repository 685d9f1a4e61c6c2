//! A session that is delivered in parts, as it grows: each event once, and the sums over all `$ai_trace`s are those of the
//! whole.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversion;
mod generator;

use conversion::{Converted, Run, Sums, convert};
use generator::{Features, Size, generate, sizes};
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, FileRole, TraceGrouping};
use proptest::prelude::{ProptestConfig, proptest};
use std::collections::BTreeSet;

/// All of a session, in thousandths.
const END: u64 = 1000;

type Files = Vec<(FileRole, Vec<u8>)>;

/// The files as they were when so many thousandths of the main transcript were written, in whole lines; of the sub-agents', what is
/// not later than that. (Some clients write the stop reason on each line of a response, so that nothing tells that more of it
/// comes: its output tokens are those of what was there.)
fn at(files: &Files, thousandths: u64) -> Files {
    if thousandths == END {
        return files.clone();
    }
    let Some((_, main)) = files.first() else { return Files::new() };
    let end = main.len() * thousandths as usize / END as usize;
    let main = &main[..main[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)];
    let now = main.split(|byte| *byte == b'\n').filter_map(written_at).max();
    let cut = |bytes: &Vec<u8>| {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.take_while(|line| written_at(line) <= now).flatten().copied().collect()
    };
    let agents = files[1..].iter().map(|(role, bytes)| (role.clone(), cut(bytes)));
    std::iter::once((FileRole::Main, main.to_vec())).chain(agents).collect()
}

/// When a line was written, if it says so: a damaged one may.
fn written_at(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"\"timestamp\":\"";
    let at = line.windows(NAME.len()).position(|window| window == NAME)?;
    line.get(at + NAME.len()..at + NAME.len() + "2026-01-01T00:00:00.000Z".len())
}

/// The sums over all traces, and the seconds of work and of waiting.
fn sums(parts: &[Converted]) -> (Sums, [f64; 2]) {
    let seconds = |name: &str| {
        let traces = parts.iter().flat_map(Converted::traces);
        traces.filter_map(|trace| trace[name].as_f64()).sum()
    };
    (conversion::sums(parts), ["$ai_latency", "claude_code_wait_seconds"].map(seconds))
}

/// Delivers the session each time that so much of it is there, and then all. The second value is what the last delivery read
/// that sent something: what comes then is told with the next event.
fn deliver(id: &str, files: &Files, cuts: &BTreeSet<u64>, options: &ConversionOptions) -> (Vec<Converted>, Files) {
    let (mut parts, mut sent, mut read_before) = (Vec::<Converted>::new(), Vec::<EventId>::new(), Vec::new());
    let mut told = Files::new();
    for cut in cuts.iter().copied().chain([END]) {
        let now = at(files, cut);
        // As long as the session runs, what is open is held back.
        let (hold_after, hold_calls) = if cut < END { (Some(i64::MIN), true) } else { (None, false) };
        let run = Run {
            options: ConversionOptions { hold_after, hold_calls, ..options.clone() },
            exclude: sent.clone(),
            read_before: read_before.clone(),
            ..Run::default()
        };
        let part = convert(id, &now, run);
        assert!(part.sent().iter().all(|id| !sent.contains(id)), "an event came twice");
        sent.extend(part.sent());
        if !part.traces().is_empty() {
            read_before = now.iter().map(|(_, bytes)| bytes.len() as u64).collect();
            told = now;
        }
        parts.push(part);
    }
    (parts, told)
}

fn check(seed: u64, size: Size, cuts: &BTreeSet<u64>) {
    // What a later line says of an earlier one may come too late: then an event is as it was sent. And by a clock that goes
    // backwards a sub-agent's transcript would be there before its call.
    let late = [
        Features::INTERLEAVED,
        Features::COPIES,
        Features::ONLY_PROGRESS,
        Features::AGENTS_WITHOUT_CALL,
        Features::BACKWARDS,
    ];
    let features = late.into_iter().fold(size.features, Features::without);
    let session = generate(seed, Size { features, ..size });
    let agents = session.agents.iter().map(|agent| {
        let (agent_id, metadata) = (agent.agent_id.clone(), agent.metadata.clone());
        let role = AgentFile { agent_id, metadata, workflow_run: agent.workflow_run.clone() };
        (FileRole::Agent(role), agent.bytes.clone())
    });
    let files: Files = std::iter::once((FileRole::Main, session.main.clone())).chain(agents).collect();
    for grouping in [TraceGrouping::Session, TraceGrouping::Message] {
        let options = ConversionOptions { trace_grouping: grouping, ..ConversionOptions::default() };
        let (parts, told) = deliver(&session.id, &files, cuts, &options);
        if told.is_empty() {
            continue;
        }
        let (parts, seconds) = sums(&parts);
        let (whole, whole_seconds) = sums(&[convert(&session.id, &told, Run { options, ..Run::default() })]);
        let differing: Vec<_> = parts.iter().zip(&whole).filter(|(parts, whole)| parts != whole).collect();
        assert!(differing.is_empty(), "seed {seed}, {size:?}, {cuts:?}, {grouping:?}: {differing:?}");
        // A prompt's trace that has no event any more cannot tell what came since.
        for (sum, whole) in seconds.iter().zip(whole_seconds).filter(|_| grouping == TraceGrouping::Session) {
            assert!(sum + 0.001 >= whole, "seed {seed}, {size:?}, {cuts:?}, {grouping:?}: {sum} s, not {whole} s");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_add_up_to_the_whole(
        seed in 0..u64::MAX,
        size in sizes(),
        cuts in proptest::collection::btree_set(0..END, 1..6),
    ) {
        check(seed, size, &cuts);
    }
}
