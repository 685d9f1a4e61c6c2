//! Any bytes as a session: no panic, the announced IDs, the same events in pieces of any size, nothing sent twice.
//!
//! `.ci/fuzz 60 session`

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma_pipeline::options::TraceGrouping;
use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, FileRole, Session};

/// What separates the files of a session in the input: no byte of UTF-8.
const NEXT_FILE: u8 = 0xff;

fn convert(files: &[&[u8]], piece: usize, options: &ConversionOptions, exclude: bool) -> (Vec<u8>, usize) {
    let agent = |i: usize| FileRole::Agent(AgentFile { agent_id: format!("a{i}"), ..AgentFile::default() });
    let roles: Vec<_> = (0..files.len()).map(|i| if i == 0 { FileRole::Main } else { agent(i) }).collect();
    let mut session = Session::open("fuzz", &roles, options.clone()).expect("the options are good");
    for (file, bytes) in (0..).zip(files) {
        for piece in bytes.chunks(piece) {
            session.scan(file, piece).expect("files come in order");
        }
    }
    let announced = session.identities().to_vec();
    if exclude {
        session.exclude(announced.iter().copied()).expect("nothing was converted yet");
    }
    let mut events = Vec::new();
    for (file, bytes) in (0..).zip(files) {
        for piece in bytes.chunks(piece) {
            session.convert(file, piece).expect("files come in order");
            events.extend(session.take_events(usize::MAX));
        }
    }
    session.finish().expect("it is finished once");
    events.extend(session.take_events(usize::MAX));
    let counts = session.counts();
    if !exclude {
        assert_eq!(counts.generations + counts.spans, announced.len() as u64, "what was announced comes");
    }
    (events, announced.len())
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let options = ConversionOptions {
        trace_grouping: if first & 1 == 0 { TraceGrouping::Session } else { TraceGrouping::Message },
        privacy_mode: first & 2 != 0,
        max_attribute_length: if first & 4 == 0 { 12_000 } else { u32::from(first >> 3) },
        ..ConversionOptions::default()
    };
    let files: Vec<_> = rest.split(|byte| *byte == NEXT_FILE).take(4).collect();
    let (whole, _) = convert(&files, usize::MAX, &options, false);
    let (pieces, _) = convert(&files, 1 + usize::from(first), &options, false);
    assert_eq!(whole, pieces, "pieces make no difference");
    let (nothing, _) = convert(&files, usize::MAX, &options, true);
    assert!(nothing.is_empty(), "what was delivered is not sent");
});
