//! One test for each kind of response, over plain sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::rule_tests::span;
use super::rules::{AI_PATH, BATCH_PATH};
use super::{Answer, Config, LocalPostHog};

fn body() -> String {
    json!({"api_key": "phc_test", "batch": [span()]}).to_string()
}

fn connect(server: &LocalPostHog) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn request(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Everything that the server sends until the connection ends.
fn post(server: &LocalPostHog, path: &str, body: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request(path, body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn start(config: Config) -> LocalPostHog {
    LocalPostHog::start(config).unwrap()
}

fn scripted(answer: Answer) -> LocalPostHog {
    start(Config { script: vec![answer], ..Config::default() })
}

fn answer_body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[track_caller]
fn is_normal(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(answer_body(answer), r#"{"status":"Ok"}"#);
}

#[test]
fn a_good_batch_is_answered_and_kept() {
    let server = start(Config::default());
    is_normal(&post(&server, AI_PATH, &body()));
    assert_eq!(server.events(), [span()]);
    let length = body().len() as u64;
    assert_eq!(server.accepted_bytes().raw, length);
    assert_eq!(server.accepted_bytes().sent, length);
    let [received] = server.requests().try_into().unwrap();
    assert_eq!(received.method, "POST");
    assert_eq!(received.path, AI_PATH);
    assert_eq!(received.headers["host"], "localhost");
    assert_eq!(received.body, body());
    assert_eq!(received.status, Some(200));
}

#[test]
fn a_bad_batch_is_answered_with_its_reason_and_not_kept() {
    let server = start(Config::default());
    let answer = post(&server, AI_PATH, "{}");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(answer_body(&answer), "`api_key` is missing or not a string");
    assert_eq!(server.requests()[0].status, Some(401));
    assert!(server.events().is_empty());
    assert_eq!(server.accepted_bytes().sent, 0);
}

#[test]
fn several_requests_go_over_one_connection() {
    let server = start(Config::default());
    let mut stream = connect(&server);
    let twice = request(AI_PATH, &body()).replace("connection: close\r\n", "");
    stream.write_all(twice.as_bytes()).unwrap();
    stream.write_all(request(BATCH_PATH, &body()).as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].path, BATCH_PATH);
}

#[test]
fn it_listens_on_loopback_alone() {
    let server = start(Config::default());
    assert!(server.address().ip().is_loopback());
    assert_eq!(server.origin(), format!("http://{}", server.address()));
}

#[test]
fn it_works_inside_an_async_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let server = start(Config::default());
        is_normal(&post(&server, AI_PATH, &body()));
    });
}

#[test]
fn dropping_it_ends_its_connections() {
    let server = scripted(Answer::Silence);
    let mut stream = connect(&server);
    stream.write_all(request(AI_PATH, &body()).as_bytes()).unwrap();
    drop(server);
    match stream.read(&mut [0]) {
        Ok(length) => assert_eq!(length, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_script_is_consumed_one_answer_a_request_and_then_the_rules_hold() {
    let server = start(Config {
        script: vec![
            Answer::Status {
                code: 503,
                headers: vec![("retry-after".to_owned(), "1".to_owned())],
                body: "busy".to_owned(),
            },
            Answer::Normal,
        ],
        ..Config::default()
    });
    let answer = post(&server, AI_PATH, &body());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert_eq!(answer_body(&answer), "busy");
    assert!(server.events().is_empty());
    is_normal(&post(&server, AI_PATH, &body()));
    is_normal(&post(&server, AI_PATH, &body()));
    let status: Vec<_> = server.requests().iter().map(|r| r.status).collect();
    assert_eq!(status, [Some(503), Some(200), Some(200)]);
}

#[test]
fn a_scripted_status_or_header_that_http_does_not_allow_is_no_panic() {
    for code in [0, 99, 100, 101, 1000, u16::MAX] {
        let server =
            scripted(Answer::Status { code, headers: vec![("a b".to_owned(), "c\n".to_owned())], body: String::new() });
        assert!(post(&server, AI_PATH, &body()).starts_with("HTTP/1.1 500"));
    }
}

#[test]
fn closing_before_the_answer_sends_no_byte_and_keeps_no_event() {
    let server = scripted(Answer::CloseBeforeAnswer);
    assert_eq!(post(&server, AI_PATH, &body()), "");
    assert!(server.events().is_empty());
    assert_eq!(server.requests()[0].status, None);
}

#[test]
fn closing_half_way_cuts_the_body() {
    let server = scripted(Answer::CloseHalfWay);
    let answer = post(&server, AI_PATH, &body());
    assert!(answer.contains("content-length: 15\r\n"), "{answer}");
    assert_eq!(answer_body(&answer), r#"{"statu"#);
    assert_eq!(server.events().len(), 1);
    assert_eq!(server.requests()[0].status, Some(200));
}

#[test]
fn a_trickle_sends_the_whole_answer_slowly() {
    let every = Duration::from_millis(2);
    let server = scripted(Answer::Trickle { every });
    let start = Instant::now();
    let answer = post(&server, AI_PATH, &body());
    is_normal(&answer);
    assert!(start.elapsed() >= every * u32::try_from(answer.len()).unwrap());
}

#[test]
fn silence_keeps_the_connection_open_and_answers_nothing() {
    let server = scripted(Answer::Silence);
    let mut stream = connect(&server);
    stream.write_all(request(AI_PATH, &body()).as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    is_normal(&post(&server, AI_PATH, &body()));
}

#[test]
fn rubbish_is_a_200_with_html() {
    let server = scripted(Answer::Rubbish);
    let answer = post(&server, AI_PATH, &body());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer_body(&answer).starts_with("<html>"));
    assert!(server.events().is_empty());
}

#[test]
fn a_redirect_names_its_target() {
    let server = scripted(Answer::Redirect("http://127.0.0.1:1/batch/".to_owned()));
    let answer = post(&server, AI_PATH, &body());
    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
    assert!(answer.contains("location: http://127.0.0.1:1/batch/\r\n"));
}

#[test]
fn an_answer_that_is_not_http_is_not() {
    let server = scripted(Answer::NotHttp);
    let answer = post(&server, AI_PATH, &body());
    assert!(!answer.is_empty() && !answer.contains("HTTP"), "{answer}");
}

#[test]
fn a_server_without_the_ai_path_takes_the_batch_path() {
    for code in [404, 405] {
        let server = start(Config { missing_ai_path: Some(code), ..Config::default() });
        let answer = post(&server, AI_PATH, &body());
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
        is_normal(&post(&server, BATCH_PATH, &body()));
    }
}

#[test]
fn one_event_can_be_made_to_refuse_its_batch() {
    let server = start(Config {
        reject_event: Some(Arc::new(|event: &Value| {
            (event["properties"]["$ai_span_name"] == "Bash").then(|| (413, "too large".to_owned()))
        })),
        ..Config::default()
    });
    let answer = post(&server, AI_PATH, &body());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(answer_body(&answer), "too large");
    assert!(server.events().is_empty());
    is_normal(&post(&server, AI_PATH, &body().replace("Bash", "Read")));
}

#[test]
fn a_quota_is_named_in_every_answer() {
    let server = start(Config { quota_limited: vec!["llm_events".to_owned()], ..Config::default() });
    let answer = post(&server, AI_PATH, &body());
    let answer: Value = serde_json::from_str(answer_body(&answer)).unwrap();
    assert_eq!(answer, json!({"status": "Ok", "quota_limited": ["llm_events"]}));
}

#[test]
fn a_body_that_never_ends_is_cut_off() {
    let server = start(Config::default());
    let mut stream = connect(&server);
    stream
        .write_all(format!("POST {AI_PATH} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes())
        .unwrap();
    let mut chunk = b"100000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x0010_0000, b' ');
    chunk.extend_from_slice(b"\r\n");
    let sent = (0..200).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 200);
    assert_eq!(server.requests()[0].status, Some(413));
    assert!(server.requests()[0].body.is_empty());
}

#[test]
fn rubbish_from_a_client_leaves_the_server_well() {
    let server = start(Config::default());
    for rubbish in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"POST /batch/ HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n",
        b"POST /batch/ HTTP/1.1\r\ncontent-length: 100\r\n\r\nshort",
        b"POST * HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST http://a/batch/ HTTP/1.1\r\nhost: a\r\ncontent-encoding: \xff\r\ncontent-length: 0\r\n\r\n",
    ] {
        let mut stream = connect(&server);
        stream.write_all(rubbish).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    is_normal(&post(&server, AI_PATH, &body()));
}

#[test]
fn a_method_that_is_not_allowed_is_answered_with_the_one_that_is() {
    let server = start(Config::default());
    let mut stream = connect(&server);
    stream.write_all(b"GET /batch/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: POST\r\n"), "{answer}");
}

#[test]
fn a_full_server_takes_no_more() {
    let server = start(Config::default());
    server.fill();
    let answer = post(&server, AI_PATH, &body());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(server.events().is_empty() && server.requests().is_empty());
}
