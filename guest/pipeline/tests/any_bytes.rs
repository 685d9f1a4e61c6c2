//! Whatever the bytes are: no panic, the same events every time, and the good lines count.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversion;
mod fixtures;

use conversion::{Converted, Run, convert};
use fixtures::Fixture;
use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, FileRole, TraceGrouping};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::LazyLock;

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures::all);

type Files = Vec<(FileRole, Vec<u8>)>;

fn run(files: &Files, piece: usize, trace_grouping: TraceGrouping) -> Converted {
    let options = ConversionOptions { trace_grouping, ..ConversionOptions::default() };
    convert("session", files, Run { options, piece, ..Run::default() })
}

/// What holds for the events of any bytes.
fn check(files: &Files, piece: usize) {
    for grouping in [TraceGrouping::Session, TraceGrouping::Message] {
        let converted = run(files, piece, grouping);
        assert_eq!(converted.bytes, run(files, usize::MAX, grouping).bytes, "pieces change the events");
        let (announced, sent): (BTreeSet<_>, BTreeSet<_>) =
            (converted.identities.iter().collect(), converted.sent().into_iter().collect());
        assert_eq!(sent.len(), converted.sent().len(), "an id twice");
        assert_eq!(announced, sent.iter().collect(), "not the ids that were announced");
        for event in &converted.events {
            check_event(event);
        }
        for (of_trace, of_generations) in
            [("$ai_total_input_tokens", "$ai_input_tokens"), ("$ai_total_output_tokens", "$ai_output_tokens")]
        {
            let sum = |name, property| {
                converted.named(name).filter_map(|e| e["properties"][property].as_u64()).fold(0, u64::saturating_add)
            };
            assert_eq!(sum("$ai_trace", of_trace), sum("$ai_generation", of_generations));
        }
        let counted = |name| converted.sum("$ai_trace", name);
        assert_eq!(counted("claude_code_generations"), converted.counts.generations);
        assert_eq!(counted("claude_code_tool_calls"), converted.counts.spans);
        if !converted.events.is_empty() {
            assert_eq!(counted("claude_code_bad_lines"), converted.counts.bad_lines);
            assert_eq!(counted("claude_code_unknown_lines"), converted.counts.unknown_lines);
        }
        let rest = Run { exclude: converted.identities.clone(), ..Run::default() };
        assert_eq!(convert("session", files, rest).events, Vec::<Value>::new(), "something is left to send");
    }
}

fn check_event(event: &Value) {
    let p = &event["properties"];
    let timestamp = event["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
    assert!(event["uuid"].as_str().unwrap().len() == 36);
    assert!(event["distinct_id"].as_str().unwrap().chars().count() <= 200);
    assert!(p["$ai_latency"].as_f64().unwrap_or(0.0) >= 0.0);
    for id in ["$ai_trace_id", "$ai_session_id", "$ai_parent_id"] {
        assert!(!p[id].as_str().unwrap().is_empty(), "{id} of {event}");
    }
    assert!(matches!(p["$ai_error"], Value::Null | Value::String(_)));
    assert!(event.to_string().len() <= 8 * 1024 * 1024);
}

/// Something that happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    FlipBit(Index, u8),
    SetByte(Index, u8),
    CutEnd(Index),
    CutOut(Index, u16),
    Insert(Index, Vec<u8>),
    JoinLines(Index),
    RepeatLine(Index),
    SwapLines(Index, Index),
    MoveLineToOtherFile(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let json_like = prop::sample::select(b"{}[]\",:\\\n0-eut".to_vec());
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        (at(), json_like.clone()).prop_map(|(at, byte)| Damage::SetByte(at, byte)),
        at().prop_map(Damage::CutEnd),
        (at(), any::<u16>()).prop_map(|(at, length)| Damage::CutOut(at, length)),
        (at(), vec(json_like, 1..20)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        at().prop_map(Damage::JoinLines),
        at().prop_map(Damage::RepeatLine),
        (at(), at()).prop_map(|(a, b)| Damage::SwapLines(a, b)),
        (at(), at()).prop_map(|(a, b)| Damage::MoveLineToOtherFile(a, b)),
    ]
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn apply(files: &mut Files, file: Index, damage: &Damage) {
    let file = file.index(files.len());
    let bytes = &mut files[file].1;
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::FlipBit(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::SetByte(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::CutEnd(at) => bytes.truncate(at.index(bytes.len())),
        Damage::CutOut(at, length) => {
            let start = at.index(bytes.len());
            let end = bytes.len().min(start + usize::from(*length));
            bytes.drain(start..end);
        }
        Damage::Insert(at, new) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Damage::JoinLines(at) => {
            let ends: Vec<_> = (0..bytes.len()).filter(|i| bytes[*i] == b'\n').collect();
            if !ends.is_empty() {
                bytes.remove(ends[at.index(ends.len())]);
            }
        }
        Damage::RepeatLine(at) => {
            let mut all = lines(bytes);
            let line = all[at.index(all.len())].clone();
            all.push(line);
            *bytes = all.concat();
        }
        Damage::SwapLines(a, b) => {
            let mut all = lines(bytes);
            let (a, b) = (a.index(all.len()), b.index(all.len()));
            all.swap(a, b);
            *bytes = all.concat();
        }
        Damage::MoveLineToOtherFile(at, other) => {
            let mut all = lines(bytes);
            let line = all.remove(at.index(all.len()));
            *bytes = all.concat();
            let other = other.index(files.len());
            files[other].1.extend(line);
        }
    }
}

fn agent(id: &str, metadata: Option<String>) -> FileRole {
    FileRole::Agent(AgentFile { agent_id: id.into(), metadata, workflow_run: None })
}

/// A piece of JSON that looks like something in a transcript.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 24] = [
        br#"{"type":"assistant","#,
        br#"{"type":"user","#,
        br#"{"type":"system","subtype":"compact_boundary"}"#,
        br#""uuid":"a","#,
        br#""parentUuid":"a","#,
        br#""isSidechain":true,"#,
        br#""isMeta":true,"#,
        br#""promptId":"p","#,
        br#""timestamp":"2026-01-01T00:00:00Z","#,
        br#""timestamp":"9999-12-31T23:59:59Z","#,
        br#""message":{"id":"m","model":"x","content":["#,
        br#""message":{"model":"<synthetic>","content":["#,
        br#""message":{"content":"words"}}"#,
        br#"{"type":"tool_use","id":"t","name":"Task","input":{"prompt":"words"}},"#,
        br#"{"type":"tool_use","id":"u","name":"Bash","input":{}}"#,
        br#"{"type":"tool_result","tool_use_id":"t","content":"words"}"#,
        br#"{"type":"text","text":"\ud83d"}"#,
        br#"],"usage":{"output_tokens":18446744073709551615,"input_tokens":9e15}}}"#,
        br"]}}",
        br#""isApiErrorMessage":true,"#,
        br#"{"type":"api-request","id":"r"}"#,
        b"\n",
        b"\n",
        b"\xff\x00",
    ];
    vec(prop::sample::select(pieces.map(<[u8]>::to_vec).to_vec()), 0..60).prop_map(|pieces| pieces.concat())
}

/// A line whose IDs come from so few that they meet: copies, circles, results before their calls, IDs of other kinds.
fn line() -> impl Strategy<Value = Value> {
    let id = || proptest::option::weighted(0.8, prop::sample::select(vec!["a", "b", "c", "d"]));
    let flags = ["isSidechain", "isMeta", "isCompactSummary", "isApiErrorMessage", "isAbortedMidStream"];
    let flag = proptest::option::weighted(0.3, prop::sample::select(flags.to_vec()));
    let kind = prop::sample::select(vec!["assistant", "assistant", "user", "user", "system", "api-request", "new"]);
    let name = prop::sample::select(vec!["Bash", "Task", "mcp__a__b"]);
    let block = (prop::sample::select(vec!["text", "thinking", "tool_use", "server_tool_use", "tool_result", "x_tool_result"]), id(), name)
        .prop_map(|(kind, id, name)| {
            json!({"type": kind, "id": id, "tool_use_id": id, "name": name, "text": id, "content": id, "input": {"prompt": id}})
        });
    let model = proptest::option::of(prop::sample::select(vec!["x", "<synthetic>"]));
    let content = prop_oneof![vec(block, 0..3).prop_map(Value::Array), id().prop_map(|words| json!(words))];
    let message = (id(), model, content, proptest::option::of(any::<u64>())).prop_map(|(id, model, content, tokens)| {
        json!({"id": id, "model": model, "content": content, "usage": {"input_tokens": tokens, "output_tokens": tokens}})
    });
    let place = (id(), id(), id(), proptest::option::of(0..5_i64), id());
    (kind, place, flag, message).prop_map(|(kind, (uuid, parent, prompt, time, agent), flag, message)| {
        let mut line = json!({
            "type": kind, "uuid": uuid, "parentUuid": parent, "promptId": prompt, "id": uuid, "requestRef": parent,
            "timestamp": time.map(|t| posthog_llma_pipeline::time::format(t * 1000)), "message": message,
            "subtype": "compact_boundary", "interruptedMessageId": agent, "toolUseResult": {"agentId": agent, "runId": agent},
        });
        if let Some(flag) = flag {
            line[flag] = true.into();
        }
        line
    })
}

/// The same, or a `progress` line that repeats one.
fn line_or_progress() -> impl Strategy<Value = Value> {
    (line(), proptest::option::weighted(0.1, prop::sample::select(vec!["a", "lost"]))).prop_map(|(line, agent)| {
        match agent {
            None => line,
            Some(agent) => {
                let data = json!({"type": "agent_progress", "agentId": agent, "message": line});
                json!({"type": "progress", "uuid": agent, "parentToolUseID": "a", "data": data})
            }
        }
    })
}

fn file() -> impl Strategy<Value = Vec<Value>> {
    vec(line_or_progress(), 0..12)
}

fn bytes(lines: &[Value]) -> Vec<u8> {
    lines.iter().flat_map(|line| (line.to_string() + "\n").into_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(
        main in vec(any::<u8>(), 0..2000),
        other in vec(any::<u8>(), 0..500),
        metadata in proptest::option::of(".{0,50}"),
        piece in 1usize..100,
    ) {
        check(&vec![(FileRole::Main, main), (agent("a", metadata), other)], piece);
    }

    #[test]
    fn anything_like_a_transcript_is_survived(main in words(), first in words(), second in words(), piece in 1usize..300) {
        let metadata = Some(r#"{"toolUseId":"t"}"#.to_owned());
        check(&vec![(FileRole::Main, main), (agent("a", metadata), first), (agent("b", None), second)], piece);
    }

    #[test]
    fn lines_whose_ids_meet_are_survived(main in file(), first in file(), second in file(), metadata in "[abc]", piece in 1usize..5000) {
        let metadata = Some(json!({"toolUseId": metadata}).to_string());
        let files = vec![
            (FileRole::Main, bytes(&main)),
            (agent("a", metadata), bytes(&first)),
            (agent("b", None), bytes(&second)),
        ];
        check(&files, piece);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_session_is_survived(
        fixture in any::<Index>(),
        damages in vec((any::<Index>(), damage()), 1..12),
        piece in 1usize..5000,
    ) {
        let mut files = fixture.get(&FIXTURES).files.clone();
        for (file, damage) in &damages {
            apply(&mut files, *file, damage);
        }
        check(&files, piece);
    }

    #[test]
    fn rubbish_between_the_lines_changes_no_event(
        fixture in any::<Index>(),
        rubbish in vec((any::<Index>(), any::<Index>(), "[^{\n\r]{0,40}|\\{\"type\":\"user\",\"mess[^\n\r\"}]{0,20}"), 1..10),
    ) {
        let fixture = fixture.get(&FIXTURES);
        let mut files = fixture.files.clone();
        let mut added = 0;
        for (file, at, rubbish) in &rubbish {
            let bytes = &mut files[file.index(fixture.files.len())].1;
            let mut all = lines(bytes);
            let at = at.index(all.len() + 1);
            // A byte order mark is not part of its line.
            let rest = rubbish.strip_prefix('\u{feff}').unwrap_or(rubbish);
            added += u64::from(!rest.trim_ascii().is_empty());
            all.insert(at, format!("{rubbish}\n").into_bytes());
            *bytes = all.concat();
        }
        let (whole, damaged) = (run(&fixture.files, usize::MAX, TraceGrouping::Session), run(&files, 4096, TraceGrouping::Session));
        let events = |c: &Converted| c.events.iter().filter(|e| e["event"] != "$ai_trace").cloned().collect::<Vec<_>>();
        prop_assert_eq!(events(&whole), events(&damaged));
        prop_assert_eq!(damaged.counts.bad_lines, added);
    }

    #[test]
    fn the_lines_around_a_damaged_one_all_count(fixture in any::<Index>(), line in any::<Index>(), cut in any::<Index>()) {
        let fixture = fixture.get(&FIXTURES);
        let mut files = fixture.files.clone();
        let mut all = lines(&files[0].1);
        prop_assume!(!all.is_empty());
        let line = line.index(all.len());
        let length = 1 + cut.index(all[line].len() - 2);
        all[line].truncate(length);
        all[line].push(b'\n');
        files[0].1 = all.concat();
        let damaged = run(&files, 4096, TraceGrouping::Session);
        prop_assert_eq!(damaged.counts.bad_lines, 1);
        let whole = run(&fixture.files, usize::MAX, TraceGrouping::Session);
        // Only what stood on that line alone can be missing: one response, and the calls on it.
        let missing = whole.sent().iter().filter(|id| !damaged.sent().contains(id)).count();
        prop_assert!(missing <= 5, "{} events are missing", missing);
        prop_assert!(whole.counts.generations - damaged.counts.generations <= 1);
    }
}

#[test]
fn real_sessions_give_the_same_bytes_in_pieces_of_any_size() {
    for fixture in FIXTURES.iter() {
        let whole = run(&fixture.files, usize::MAX, TraceGrouping::Message);
        for piece in [1, 7, 64, 4096] {
            if piece > 1 || fixture.files[0].1.len() < 4000 {
                assert_eq!(run(&fixture.files, piece, TraceGrouping::Message), whole, "{}, {piece}", fixture.case);
            }
        }
    }
}
