//! Servers that misbehave: a clear error, the right exit code, and nothing sent where it should not be.

use super::*;
use posthog_llma_tests::program::Program;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A server that gives these answers first.
fn scripted(script: Vec<Answer>) -> LocalPostHog {
    LocalPostHog::start(Config { script, ..Config::default() }).unwrap()
}

/// A server that gives the same answer to more requests than `send` ever makes.
fn always(answer: Answer) -> LocalPostHog {
    scripted(vec![answer; 10])
}

fn status(code: u16, body: &str) -> Answer {
    Answer::Status { code, headers: Vec::new(), body: body.to_owned() }
}

/// Writes three turns: four events.
fn session(home: &Home) -> PathBuf {
    home.session(Transcript::new().turns(3).text())
}

/// Asserts that `send` without retries fails this way.
#[track_caller]
fn fails(posthog: &LocalPostHog, arguments: &[&str], kind: &str, says: &[&str]) {
    let home = Home::new();
    let session = session(&home);
    let send = || arguments.iter().fold(home.send(posthog, &session).arg("--retries=0"), Program::arg);
    // Both at once, because some servers take their time.
    let scripts = send().arg("--json").start();
    let outcome = send().run().exits_with(1).says(&["posthog-llma: error: "]).says(says);
    outcome.prints(&["not delivered to", "events    0"]);
    let report = scripts.wait().exits_with(1).json();
    assert_eq!(report["error"]["kind"], kind, "{report}");
    assert_eq!(report["complete"], false);
    for part in says {
        assert!(report["error"]["message"].as_str().unwrap().contains(part), "{part:?} is not in {report}");
    }
    // A 200 that is not PostHog's is looked at twice: it could be an older server's.
    let each = if kind == "not-posthog" { 2 } else { 1 };
    assert_eq!(posthog.requests().len(), 2 * each, "the same each");
}

#[test]
fn a_redirect_is_not_followed() {
    let target = posthog();
    let posthog = always(Answer::Redirect(format!("{}/i/v1/ai/events", target.origin())));
    fails(&posthog, &[], "refused", &["302", "redirects are not followed"]);
    assert!(target.requests().is_empty());
}

#[test]
fn a_200_that_posthog_did_not_write_is_no_success() {
    fails(&always(Answer::Rubbish), &[], "not-posthog", &["not as PostHog does", "Welcome to the hotel's network"]);
}

#[test]
fn an_answer_that_is_not_http_is_an_error() {
    fails(&always(Answer::NotHttp), &[], "unreachable", &["the server cannot be reached"]);
}

#[test]
fn a_connection_that_closes_before_the_answer_is_an_error() {
    fails(&always(Answer::CloseBeforeAnswer), &[], "unreachable", &["the server cannot be reached"]);
}

#[test]
fn a_connection_that_closes_half_way_is_no_success() {
    fails(&always(Answer::CloseHalfWay), &[], "unreachable", &["the server cannot be reached"]);
}

#[test]
fn a_server_that_trickles_is_given_up_in_time() {
    let (start, every) = (Instant::now(), Duration::from_secs(1));
    let trickle = Answer::Trickle { every };
    fails(&always(trickle), &["--timeout=2"], "timed-out", &["the server takes too long"]);
    let time = start.elapsed();
    // The whole answer has more than a hundred bytes.
    assert!(time > every * 2 && time < every * 50, "{time:?}");
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let start = Instant::now();
    fails(&always(Answer::Silence), &["--timeout=1"], "timed-out", &["the server takes too long"]);
    // That it ends at all is the point: the server never answers.
    let time = start.elapsed();
    assert!(time > Duration::from_secs(1), "{time:?}");
}

#[test]
fn a_refused_connection_is_an_error() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let send = home.send(&posthog(), session(&home)).env("POSTHOG_HOST", closed).arg("--retries=0");
    send.run().exits_with(1).says(&["the server cannot be reached", "the connection was refused"]);
}

#[test]
fn a_name_without_an_address_is_an_error() {
    let home = Home::new();
    let send = home.send(&posthog(), session(&home)).arg("--retries=0");
    let send = send.env("POSTHOG_HOST", "https://posthog.invalid").env("POSTHOG_LLMA_ALLOW_CUSTOM_HOST", "true");
    send.run().exits_with(1).says(&["the server cannot be reached", "the host name has no address"]);
}

#[test]
fn a_connection_that_breaks_is_tried_again_with_identical_bytes() {
    let home = Home::new();
    let posthog = scripted(vec![Answer::CloseBeforeAnswer, Answer::CloseHalfWay]);
    let outcome = home.send(&posthog, session(&home)).run().exits_with(0).says_nothing();
    outcome.prints(&["requests  3 "]);
    identical(&posthog, 3);
}

/// Asserts that every attempt made the same request.
#[track_caller]
fn identical(posthog: &LocalPostHog, attempts: usize) {
    let requests = posthog.requests();
    assert_eq!(requests.len(), attempts);
    for request in &requests {
        assert_eq!((&request.path, &request.body), (&requests[0].path, &requests[0].body));
    }
}

#[test]
fn three_times_503_is_survived_with_the_default_of_three_retries() {
    let home = Home::new();
    let posthog = scripted(vec![status(503, "later"); 3]);
    home.send(&posthog, session(&home)).run().exits_with(0).prints(&["requests  4 "]);
    identical(&posthog, 4);
    let times: Vec<_> = posthog.requests().iter().map(|request| request.at).collect();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Half a second, doubled each time, and up to half of it more; how much more, `delivery/deliver/tests.rs` checks without
    // a clock.
    for (wait, least) in waits.iter().zip([500, 1000, 2000]) {
        assert!(*wait >= Duration::from_millis(least), "{waits:?}");
    }
}

#[test]
fn a_server_that_stays_unavailable_is_asked_once_more_than_the_retries_say() {
    let home = Home::new();
    let posthog = always(status(503, "come back tomorrow"));
    let outcome = home.send(&posthog, session(&home)).arg("--retries=1").run().exits_with(1);
    outcome.says(&["the server is unavailable: it answered 503", "come back tomorrow"]).prints(&["requests  2: "]);
    assert_eq!(posthog.requests().len(), 2);
}

#[test]
fn retry_after_is_waited_for() {
    let home = Home::new();
    let headers = vec![("retry-after".to_owned(), "1".to_owned())];
    let posthog = scripted(vec![Answer::Status { code: 429, headers, body: String::new() }]);
    home.send(&posthog, session(&home)).run().exits_with(0);
    let requests = posthog.requests();
    let wait = requests[1].at - requests[0].at;
    assert!(wait >= Duration::from_secs(1), "{wait:?}");
    identical(&posthog, 2);
}

#[test]
fn a_retry_after_that_is_not_waited_for_is_told() {
    let home = Home::new();
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    let posthog = always(Answer::Status { code: 429, headers, body: "too many".to_owned() });
    let outcome = home.send(&posthog, session(&home)).arg("--retries=0").run().exits_with(1);
    outcome.says(&["429", "asks to wait 7 s", "too many"]);
}

#[test]
fn a_server_without_the_ai_paths_gets_the_events_on_the_other_one() {
    for code in [404, 405] {
        let home = Home::new();
        let config = Config { missing_ai_path: Some(code), ..Config::default() };
        let posthog = LocalPostHog::start(config).unwrap();
        let session = home.session(Transcript::new().turns(150).text());
        let report = home.send(&posthog, &session).arg("--json").run().exits_with(0).json();
        assert_eq!(report["paths"], json!(["/batch/"]));
        let paths: Vec<_> = posthog.requests().iter().map(|request| request.path.clone()).collect();
        assert_eq!(paths, ["/i/v1/ai/events", "/i/v0/ai/batch/", "/batch/", "/batch/"], "{code}");
        assert_eq!(sent(&posthog), home.convert(&session).run().stdout);
    }
}

#[test]
fn a_server_with_none_of_the_paths_is_an_error() {
    let home = Home::new();
    let posthog = always(status(404, "what is this?"));
    let outcome = home.send(&posthog, session(&home)).run().exits_with(1);
    outcome.says(&["rejected the request with 404", "what is this?"]);
    assert_eq!(posthog.requests().len(), 3, "once on each path");
}

#[test]
fn one_event_that_the_server_refuses_does_not_cost_the_others() {
    for code in [400, 413] {
        let home = Home::new();
        let session = home.session(Transcript::new().turns(40).text());
        let mut good = home.convert(&session).run().events();
        let bad = good.remove(17)["uuid"].clone();
        let reject = {
            let bad = bad.clone();
            move |event: &Value| (event["uuid"] == bad).then(|| (code, "I do not like it".to_owned()))
        };
        let config = Config { reject_event: Some(Arc::new(reject)), ..Config::default() };
        let posthog = LocalPostHog::start(config).unwrap();

        let outcome = home.send(&posthog, &session).run().exits_with(1);
        let rejected = format!("rejected  $ai_generation {}: {code} I do not like it", bad.as_str().unwrap());
        outcome.prints(&["only partly delivered", "events    40: 39 generations, 0 spans, 1 trace", &rejected]);
        assert_eq!(posthog.events(), good, "each once, and in order");

        let report = home.send(&posthog, &session).args(["--json", "--again"]).run().exits_with(1).json();
        let message = json!({"uuid": bad, "event": "$ai_generation", "status": code, "message": "I do not like it"});
        assert_eq!(report["rejected"], json!([message]));
        assert_eq!((&report["complete"], &report["error"]), (&json!(false), &Value::Null));

        let requests = posthog.requests().len();
        home.send(&posthog, &session).run().exits_with(1).says(&["1 event rejected in an earlier delivery", "--again"]);
        assert_eq!(posthog.requests().len(), requests, "what was refused for good is not sent again");
    }
}

#[test]
fn a_refused_key_is_an_error_that_names_the_variable_and_is_not_tried_again() {
    let home = Home::new();
    let posthog = always(status(401, "who are you?"));
    let outcome = home.send(&posthog, session(&home)).run().exits_with(1);
    outcome.says(&["rejected the request with 401", "who are you?", "POSTHOG_API_KEY"]);
    assert_eq!(posthog.requests().len(), 1);
}

#[test]
fn other_refusals_are_not_tried_again() {
    for code in [402, 403, 410, 501] {
        let home = Home::new();
        let posthog = always(status(code, "no"));
        home.send(&posthog, session(&home)).run().exits_with(1).says(&[&format!("rejected the request with {code}")]);
        assert_eq!(posthog.requests().len(), 1, "{code}");
    }
}

#[test]
fn what_the_quota_does_not_cover_is_a_warning_and_no_failure() {
    let home = Home::new();
    let config =
        Config { quota_limited: vec!["llm_events".to_owned()], missing_events_path: Some(404), ..Config::default() };
    let posthog = LocalPostHog::start(config).unwrap();
    let outcome = home.send(&posthog, session(&home)).run().exits_with(0);
    outcome.says(&["posthog-llma: warning: quota_limited", "llm_events"]);
    let report = home.send(&posthog, session(&home)).args(["--json", "--again"]).run().exits_with(0).json();
    assert_eq!(report["quota_limited"], json!(["llm_events"]));
}

#[test]
fn a_servers_words_cannot_steer_the_terminal() {
    let home = Home::new();
    let posthog = always(status(402, "a\u{1b}[2Jb\r\nc\u{7}"));
    let outcome = home.send(&posthog, session(&home)).run().exits_with(1).says(&["a[2Jb c"]);
    assert!(!outcome.stderr.trim_end().contains(char::is_control), "{:?}", outcome.stderr);
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_send_at_once() {
    let home = Home::new();
    let posthog = always(Answer::Silence);
    let running = home.send(&posthog, session(&home)).start();
    let start = Instant::now();
    while posthog.requests().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing was sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    let outcome = running.interrupt();
    // The signal ended it, and nothing else: there is no answer, and the program's own limit has another exit code.
    assert_eq!(outcome.code, None);
    assert_eq!(outcome.stdout, "");
}
