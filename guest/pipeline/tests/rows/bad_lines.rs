//! What has been seen in real files besides good lines. The good lines around it count in full.

use super::lines::*;
use posthog_llma_pipeline::session::{ConversionOptions, FileRole, SequenceError, Session};
use serde_json::json;

/// A turn with this between its prompt and its response.
fn around(bad: &[u8]) -> crate::conversion::Converted {
    let mut content = bytes([user(0, "go")]);
    content.extend_from_slice(bad);
    content.push(b'\n');
    content.extend(bytes([reply(1000, "m", json!([call("t")])), result(1500, "t", "x")]));
    raw(content).run()
}

fn check(bad: &[u8], bad_lines: u64) {
    let converted = around(bad);
    let shown = String::from_utf8_lossy(&bad[..bad.len().min(100)]);
    assert_eq!((converted.generations().len(), converted.spans().len()), (1, 1), "{shown}");
    assert_eq!(converted.generations()[0]["$ai_latency"], 1.0, "{shown}");
    assert_eq!(converted.counts.bad_lines, bad_lines, "{shown}");
    assert_eq!(converted.traces()[0]["claude_code_bad_lines"], bad_lines, "{shown}");
    assert_eq!(converted.counts.lines, 4, "{shown}");
}

#[test]
fn what_is_no_json_object_is_a_bad_line() {
    for bad in [
        "this is no JSON",
        "42",
        "null",
        "true",
        "\"words\"",
        "[1]",
        r#"[{"type":"user"}]"#,
        "{",
        "}{",
        "\0\0\0\0",
        "{]",
    ] {
        check(bad.as_bytes(), 1);
    }
}

#[test]
fn a_list_with_a_response_in_it_is_no_response() {
    check(format!("[{}]", reply(500, "in-a-list", json!([])).0).as_bytes(), 1);
}

#[test]
fn bytes_that_are_no_utf8_outside_of_an_object_are_a_bad_line() {
    check(b"{\xff\xfe\xc3(", 1);
    check(b"\xff\xff\xff", 1);
}

#[test]
fn bytes_that_are_no_utf8_within_a_line_cost_only_a_character() {
    let line = reply(500, "n", json!([text("a?b")])).0.to_string().replace('?', "\u{1}");
    let line: Vec<u8> = line.replace("\\u0001", "\u{1}").bytes().map(|b| if b == 1 { 0xff } else { b }).collect();
    let converted = around(&line);
    assert_eq!(converted.generations()[0]["$ai_output_choices"][0]["content"], "a\u{fffd}b");
    assert_eq!((converted.generations().len(), converted.counts.bad_lines), (2, 0));
}

#[test]
fn deep_nesting_is_no_trouble() {
    check("{".repeat(100_000).as_bytes(), 1);
    check(format!("{{\"type\":\"user\",\"x\":{}", "[".repeat(100_000)).as_bytes(), 1);
    let nested = format!("{{\"type\":\"system\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    check(nested.as_bytes(), 0);
}

#[test]
fn a_line_cut_short_is_a_bad_line_wherever_it_is_cut() {
    let line = reply(500, "cut", json!([text("a \"quoted\" text"), call("cut")])).0.to_string();
    for length in 1..line.len() {
        if line.is_char_boundary(length) {
            let converted = around(&line.as_bytes()[..length]);
            assert_eq!((converted.counts.bad_lines, converted.counts.unknown_lines), (1, 0), "{}", &line[..length]);
            assert_eq!(converted.events.len(), 3, "{}", &line[..length]);
        }
    }
}

#[test]
fn a_last_line_cut_short_is_a_bad_line() {
    let mut content = bytes([user(0, "go"), reply(1000, "m", json!([]))]);
    content.extend_from_slice(br#"{"type":"assistant","message":{"id":"m2","usage":{"input"#);
    let converted = raw(content).run();
    assert_eq!((converted.generations().len(), converted.counts.bad_lines), (1, 1));
}

#[test]
fn a_last_line_without_a_line_break_is_a_line() {
    let mut content = bytes([user(0, "go"), reply(1000, "m", json!([]))]);
    content.pop();
    let converted = raw(content).run();
    assert_eq!((converted.generations().len(), converted.counts.lines, converted.counts.bad_lines), (1, 2, 0));
}

#[test]
fn two_objects_on_one_line_both_count_and_the_line_is_bad() {
    let glued = format!("{}{}", reply(500, "n1", json!([])).0, reply(600, "n2", json!([])).0);
    let converted = around(glued.as_bytes());
    assert_eq!((converted.generations().len(), converted.counts.bad_lines), (3, 1));
}

#[test]
fn an_object_behind_a_line_cut_short_counts() {
    let cut = reply(500, "cut", json!([text("words: [1, {2")])).0.to_string();
    let whole = reply(600, "n", json!([])).0.to_string();
    assert!(whole.starts_with(r#"{"cwd""#));
    // As the client writes it.
    let whole = format!(r#"{{"parentUuid":null,{}"#, &whole[1..]);
    for length in [20, cut.find("words").unwrap() + 7, cut.find("{2").unwrap() + 1] {
        let converted = around(format!("{}{whole}", &cut[..length]).as_bytes());
        assert_eq!((converted.generations().len(), converted.counts.bad_lines), (2, 1), "{}", &cut[..length]);
    }
}

#[test]
fn zeros_of_a_crash_do_not_cost_the_line_behind_them() {
    let whole = format!(r#"{{"type":"assistant",{}"#, &reply(600, "n", json!([])).without("/type").0.to_string()[1..]);
    let converted = around(format!("\0\0\0\0\0\0{whole}").as_bytes());
    assert_eq!((converted.generations().len(), converted.counts.bad_lines), (2, 1));
}

#[test]
fn half_a_surrogate_pair_costs_only_a_character() {
    let blocks = json!([text("a?b"), call_of("Ba?sh", "s?", json!({"command": "?"}))]);
    let line = reply(500, "n", blocks).0.to_string().replace('?', "\\ud83d");
    let converted = around(line.as_bytes());
    assert_eq!((converted.generations().len(), converted.spans().len(), converted.counts.bad_lines), (2, 2, 0));
    let p = converted.generations()[0];
    assert_eq!(p["$ai_output_choices"][0]["content"], "a\u{fffd}b");
    assert_eq!(p["$ai_tools_called"], "Ba\u{fffd}sh");
}

#[test]
fn whole_surrogate_pairs_and_the_text_of_an_escape_stay_as_they_are() {
    let line = reply(500, "n", json!([text("1 2")])).0.to_string().replace("1 2", r"\ud83d\ude00 \\ud83d");
    let converted = around(line.as_bytes());
    assert_eq!(converted.generations()[0]["$ai_output_choices"][0]["content"], "😀 \\ud83d");
}

#[test]
fn messages_that_are_none_are_bad_lines() {
    for message in ["null", "\"words\"", r#"{"0":"H","1":"i"}"#, "5", "[]", "{}"] {
        check(
            format!(r#"{{"type":"assistant","uuid":"x","timestamp":"2026-01-01T00:00:00Z","message":{message}}}"#)
                .as_bytes(),
            1,
        );
    }
    for message in ["null", "\"words\"", "{}"] {
        check(
            format!(r#"{{"type":"user","uuid":"x","timestamp":"2026-01-01T00:00:00Z","message":{message}}}"#)
                .as_bytes(),
            1,
        );
    }
}

#[test]
fn fields_of_another_type_than_expected_count_as_missing() {
    let odd = json!({
        "type": "assistant", "uuid": 5, "parentUuid": {}, "timestamp": [], "cwd": 1, "gitBranch": false, "isSidechain": "no",
        "requestRef": 7, "version": null, "isApiErrorMessage": "yes", "toolUseResult": 5, "data": "x",
        "message": {"id": "n", "model": 5, "stop_reason": {}, "usage": "none", "content": 5},
    });
    let converted = around(odd.to_string().as_bytes());
    assert_eq!((converted.generations().len(), converted.counts.bad_lines), (2, 0));
}

#[test]
fn an_object_without_a_type_is_of_an_unknown_one() {
    let converted = around(b"{}");
    assert_eq!((converted.counts.bad_lines, converted.counts.unknown_lines), (0, 1));
    assert_eq!(converted.counts.unknown_types.keys().collect::<Vec<_>>(), ["(none)"]);
}

#[test]
fn blank_lines_and_windows_line_ends_are_fine() {
    let content = bytes([user(0, "go"), reply(1000, "m", json!([]))]);
    let windows = String::from_utf8(content).unwrap().replace('\n', "\r\n\r\n  \n");
    let converted = raw(windows).run();
    assert_eq!((converted.generations().len(), converted.counts.lines, converted.counts.bad_lines), (1, 2, 0));
}

#[test]
fn a_line_of_many_megabytes_counts() {
    let image = json!({"type": "image", "source": {"media_type": "image/png", "data": "A".repeat(9 << 20)}});
    let converted = around(result(500, "x", json!([image])).0.to_string().as_bytes());
    assert_eq!((converted.generations().len(), converted.counts.bad_lines), (1, 0));
}

#[test]
fn times_that_go_back_change_neither_order_nor_counts() {
    let lines = [
        user(90_000, "go"),
        reply(50_000, "m1", json!([call("t")])),
        result(10_000, "t", "x"),
        reply(5_000, "m2", json!([])),
    ];
    let converted = session(lines).run();
    assert!(converted.events.iter().all(|e| e["properties"]["$ai_latency"].as_f64() == Some(0.0)));
    assert_eq!(converted.generations()[1]["$ai_input"][0]["content"], "x");
}

fn open() -> Session {
    let agent = FileRole::Agent(posthog_llma_pipeline::session::AgentFile::default());
    Session::open(SESSION, &[FileRole::Main, agent], ConversionOptions::default()).unwrap()
}

#[test]
fn a_file_that_was_not_opened_is_refused() {
    assert_eq!(open().scan(2, b"{}"), Err(SequenceError::NoSuchFile(2)));
    assert_eq!(open().convert(7, b"{}"), Err(SequenceError::NoSuchFile(2)));
}

#[test]
fn files_are_read_in_their_order() {
    let mut session = open();
    session.scan(1, b"{}").unwrap();
    assert_eq!(session.scan(0, b"{}"), Err(SequenceError::OutOfOrder));
    session.convert(1, b"{}").unwrap();
    assert_eq!(session.convert(0, b"{}"), Err(SequenceError::OutOfOrder));
    assert_eq!(session.scan(1, b"{}"), Err(SequenceError::OutOfOrder));
}

#[test]
fn what_was_read_before_is_said_before_the_first_reading() {
    let mut session = open();
    assert_eq!(session.read_before(2, 5), Err(SequenceError::NoSuchFile(2)));
    session.read_before(1, 5).unwrap();
    session.read_before(0, u64::MAX).unwrap();
    session.scan(0, b"{}").unwrap();
    assert_eq!(session.read_before(1, 6), Err(SequenceError::TooLate));
    session.finish().unwrap();
    assert_eq!(session.read_before(1, 6), Err(SequenceError::Finished));
}

#[test]
fn after_the_end_there_is_no_more() {
    let mut session = open();
    session.finish().unwrap();
    assert_eq!(session.finish(), Err(SequenceError::Finished));
    assert_eq!(session.scan(0, b"{}"), Err(SequenceError::Finished));
    assert_eq!(session.convert(0, b"{}"), Err(SequenceError::Finished));
    assert_eq!(session.take_events(100), Vec::<u8>::new());
}

#[test]
fn a_file_that_grew_between_the_readings_does_no_harm() {
    let (first, more) = (
        bytes([user(0, "go"), reply(1, "m", json!([call("t")]))]),
        bytes([result(2, "t", "x"), reply(3, "n", json!([]))]),
    );
    let mut session = open();
    session.scan(0, &first).unwrap();
    session.convert(0, &[first, more].concat()).unwrap();
    session.finish().unwrap();
    let mut sent = 0;
    while session.next_event().is_some() {
        sent += 1;
    }
    // What the first reading did not see comes with the next delivery.
    assert_eq!(sent, 3);
}

#[test]
fn a_file_that_shrank_between_the_readings_does_no_harm() {
    let content = bytes([
        user(0, "go"),
        reply(1, "m", json!([call("t")])),
        reply(2, "m", json!([text("b")])),
        result(2, "t", "x"),
    ]);
    let mut session = open();
    session.scan(0, &content).unwrap();
    session.convert(0, &bytes([user(0, "go"), reply(1, "m", json!([call("t")]))])).unwrap();
    session.finish().unwrap();
    let mut kinds = Vec::new();
    while let Some(event) = session.next_event() {
        kinds.push(event.kind.name());
    }
    assert_eq!(kinds, ["$ai_generation", "$ai_span", "$ai_trace"]);
}
