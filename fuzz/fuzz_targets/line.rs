//! Any bytes as one line among good ones: no panic, and no other line is lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma_pipeline::session::{ConversionOptions, FileRole, Session};

/// A call of a session: a prompt and its answer.
fn call(n: u8) -> String {
    format!(
        r#"{{"type":"user","uuid":"u{n}","timestamp":"2026-11-01T09:0{n}:00.000Z","message":{{"role":"user","content":"hello"}}}}
{{"type":"assistant","uuid":"a{n}","timestamp":"2026-11-01T09:0{n}:01.000Z","requestId":"own-{n}","message":{{"id":"msg_own{n}","model":"claude-opus-4-1","content":[{{"type":"text","text":"hi"}}],"stop_reason":"end_turn","usage":{{"input_tokens":1,"output_tokens":1}}}}}}
"#
    )
}

fuzz_target!(|line: &[u8]| {
    if line.contains(&b'\n') || line.windows(3).any(|piece| piece == b"own") {
        return;
    }
    let bytes = [call(1).as_bytes(), line, b"\n", call(2).as_bytes()].concat();
    let mut session =
        Session::open("fuzz", &[FileRole::Main], ConversionOptions::default()).expect("the options are good");
    session.scan(0, &bytes).expect("files come in order");
    session.convert(0, &bytes).expect("files come in order");
    session.finish().expect("it is finished once");
    let events = String::from_utf8(session.take_events(usize::MAX)).expect("events are text");
    let answers = events.matches("\"$ai_output_choices\":[{\"role\":\"assistant\",\"content\":\"hi\"}]").count();
    assert!(answers >= 2, "a call beside the line is lost:\n{events}");
});
