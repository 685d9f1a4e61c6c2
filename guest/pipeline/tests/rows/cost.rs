//! Time grows with the size of a session and with nothing else. (`threads.rs` has a test of what is searched most.)

use super::lines::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// What a session four times as large may take, as a multiple. Linear is 4, squared is 16.
const MOST: f64 = 8.0;

/// Compares the time of the session of size `n` with that of a quarter of it; gives the larger one.
fn grows_with_its_size(n: i64, session: impl Fn(i64) -> Case) -> Case {
    let time = |case: Case| {
        let mut runs = 1;
        loop {
            let copies = vec![case.clone(); runs];
            let start = processor_time();
            for copy in copies {
                drop(copy.count());
            }
            let time = processor_time().saturating_sub(start);
            // The system tells it in steps of some milliseconds.
            if time >= Duration::from_millis(40) {
                return time.as_secs_f64() / runs as f64;
            }
            runs *= 4;
        }
    };
    let large = session(n);
    let (quarter, whole) = (time(session(n / 4)), time(large.clone()));
    assert!(whole < quarter * MOST, "{quarter} s become {whole} s");
    large
}

/// Time of this thread on a processor, where the system tells it: what else runs does not count.
#[expect(clippy::disallowed_methods, reason = "a test measures time")]
fn processor_time() -> Duration {
    thread_local!(static START: Instant = Instant::now());
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = times.and_then(|times| times.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}

#[test]
fn many_prompts() {
    let case = grows_with_its_size(8000, |n| {
        let turn = |i| [user(i * 10, format!("prompt {i}")), reply(i * 10 + 5, &format!("m{i}"), json!([text("a")]))];
        session((0..n).flat_map(turn)).by_prompt()
    });
    assert_eq!(case.count().traces, 8000);
}

/// Sub-agents that stand in the main file, each with its call.
fn inline(n: i64, prompt: fn(i64) -> String) -> Case {
    session((0..n).flat_map(|i| {
        let uuid = format!("s{i}");
        [
            reply(i * 10, &format!("m{i}"), json!([task(&format!("t{i}"), &prompt(i))])),
            user(i * 10 + 1, prompt(i)).with(json!({"uuid": uuid})).inline(None),
            reply(i * 10 + 2, &format!("n{i}"), json!([text("a")])).inline(Some(&uuid)),
        ]
    }))
}

#[test]
fn many_inline_sub_agents() {
    let converted = grows_with_its_size(4000, |n| inline(n, |i| format!("look {i}"))).run();
    assert_eq!(converted.traces()[0]["claude_code_subagents"], 4000);
    let last =
        converted.generations().into_iter().find(|p| p["$ai_span_id"] == generation_id("n3999")).unwrap().clone();
    assert_eq!(last["$ai_parent_id"], span_id("t3999"));
}

#[test]
fn many_inline_sub_agents_with_the_same_prompt() {
    grows_with_its_size(4000, |n| inline(n, |_| "look".to_owned()));
}

#[test]
fn many_sub_agents_that_nothing_links() {
    grows_with_its_size(4000, |n| {
        let calls = (0..n).map(|i| reply(i, &format!("m{i}"), json!([task(&format!("t{i}"), "x")])));
        session(calls.chain((0..n).map(|i| user(i, format!("look {i}")).inline(None))))
    });
}

#[test]
fn many_sub_agents_with_files_of_one_prompt() {
    let of = |line: Line| line.with(json!({"promptId": "p"}));
    let case = grows_with_its_size(1000, |n| {
        let calls: Vec<_> = (0..n).map(|i| task(&format!("t{i}"), "x")).collect();
        let case = session([of(user(0, "go")), reply(1, "m", json!(calls))]);
        (0..n).fold(case, |case, i| {
            let lines = [of(user(2, format!("y{i}"))), reply(3, &format!("n{i}"), json!([]))];
            case.agent(&format!("a{i:04}"), None, lines)
        })
    });
    assert_eq!(case.count().generations, 1001);
}

#[test]
fn many_lines_of_one_response() {
    let case =
        grows_with_its_size(4000, |n| session((0..n).map(|i| reply(i, "m", json!([text(&format!("line {i}"))])))));
    assert_eq!(case.count().generations, 1);
}

#[test]
fn many_calls_whose_results_come_at_the_end_or_before_them() {
    let lines = |n: i64| {
        let calls = (0..n).map(|i| reply(i, &format!("m{i}"), json!([call(&format!("t{i}"))])));
        let results = (0..n).map(move |i| result(i, &format!("t{}", n - 1 - i), "x"));
        (calls, results)
    };
    let late = grows_with_its_size(4000, |n| session(lines(n).0.chain(lines(n).1)));
    let early = grows_with_its_size(4000, |n| session(lines(n).1.chain(lines(n).0)));
    assert_eq!((late.count().spans, early.count().spans), (4000, 4000));
}

#[test]
fn many_user_lines_that_nothing_answers_are_not_all_held() {
    let words = "x".repeat(2000);
    let lines = (0..20_000).map(|i| user(i, words.clone())).chain([reply(30_000, "m", json!([]))]);
    let converted = session(lines).run();
    assert!(converted.bytes.len() < 10 << 20);
    assert!(converted.generations()[0]["$ai_input"].as_array().unwrap().len() < 5000);
}

#[test]
fn long_lines_of_rubbish() {
    for rubbish in [r#"{"type":"text"#, "<", "{", "[", "\"", "\\ud83d"] {
        grows_with_its_size(400_000, |n| raw(rubbish.repeat(n as usize)));
    }
    grows_with_its_size(400_000, |n| {
        let prompt = format!(r#"{{"type":"user","message":{{"content":"{}"}}}}"#, "<a>".repeat(n as usize));
        raw(prompt)
    });
}
