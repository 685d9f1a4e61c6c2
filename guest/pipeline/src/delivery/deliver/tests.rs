use super::*;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read as _;
use uuid::Uuid;

/// A session held in memory.
struct Memory(Vec<u8>);

impl Source for Memory {
    type Error = ();
    fn size(&mut self, _: u32) -> Result<u64, ()> {
        Ok(self.0.len() as u64)
    }
    fn read(&mut self, _: u32, offset: u64, most: usize) -> Result<Vec<u8>, ()> {
        Ok(self.0.iter().skip(offset as usize).take(most).copied().collect())
    }
}

/// Answers by a rule, and records what was sent.
struct Server<F> {
    rule: F,
    requests: Vec<(String, Vec<u8>)>,
    /// Request id, attempt and time of each request.
    heads: Vec<(Uuid, u32, i64)>,
    waits: Vec<Duration>,
    clock: i64,
}

impl<F> Server<F> {
    fn new(rule: F) -> Self {
        Self { rule, requests: Vec::new(), heads: Vec::new(), waits: Vec::new(), clock: 1_790_000_000_000 }
    }
}

impl<F: FnMut(usize, &str, &Value) -> Result<Answer, TransportError>> Transport for Server<F> {
    fn post(&mut self, request: &Request<'_>) -> Result<Answer, TransportError> {
        let (path, body) = (request.lane.path(), decode(request.body));
        self.requests.push((path.to_owned(), request.body.to_vec()));
        self.heads.push((request.id, request.attempt, request.at));
        let mut answer = (self.rule)(self.requests.len(), path, &body)?;
        if answer.body == ALL_GOOD {
            answer.body = match request.lane {
                Lane::Events => results(&body, |_| json!({"result": "ok"})).body,
                Lane::AiBatch | Lane::Batch => br#"{"status":"Ok"}"#.to_vec(),
            };
        }
        Ok(answer)
    }
    fn wait(&mut self, time: Duration) {
        self.waits.push(time);
    }
    fn random(&mut self) -> u64 {
        // Half of the random range, with different low bits each time.
        self.clock += 1;
        1 << 63 | self.clock as u64
    }
    fn now(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }
}

/// The newest lane's answer, with a result for each event in a body.
fn results(body: &Value, result: impl Fn(&str) -> Value) -> Answer {
    let results: serde_json::Map<_, _> = ids(body).into_iter().map(|id| (id.clone(), result(&id))).collect();
    Answer { status: 200, body: json!({"results": results}).to_string().into_bytes(), retry_after: None }
}

/// Stands for the body of a successful answer, on any lane.
const ALL_GOOD: &[u8] = b"all good";

fn decode(body: &[u8]) -> Value {
    let mut json = Vec::new();
    GzDecoder::new(body).read_to_end(&mut json).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn ids(body: &Value) -> Vec<String> {
    body["batch"].as_array().unwrap().iter().map(|e| e["uuid"].as_str().unwrap().to_owned()).collect()
}

fn ok() -> Answer {
    Answer { status: 200, body: ALL_GOOD.to_vec(), retry_after: None }
}

fn status(status: u16) -> Answer {
    Answer { status, body: b"no".to_vec(), retry_after: None }
}

/// An id in Anthropic's form.
fn message_id(n: usize) -> String {
    format!("msg_{n:022}")
}

/// A transcript with this many responses, whose texts have this many characters.
fn transcript(responses: usize, characters: usize) -> Memory {
    let text = "x".repeat(characters);
    let line = |i: usize| {
        format!(
            r#"{{"type":"assistant","timestamp":"2026-01-01T00:00:00Z","message":{{"id":"{}","model":"claude-x","stop_reason":"end_turn","content":[{{"type":"text","text":"{i} {text}"}}]}}}}"#,
            message_id(i)
        )
    };
    Memory((0..responses).map(line).collect::<Vec<_>>().join("\n").into_bytes())
}

type Reports = Vec<Result<BatchReport, DeliveryError<()>>>;

fn access() -> Access {
    Access { api_key: "phc_key".into(), lane: Lane::Events }
}

/// Delivers until the end or the second error in a row.
fn deliver<F>(source: Memory, rule: F) -> (Reports, Server<F>)
where
    F: FnMut(usize, &str, &Value) -> Result<Answer, TransportError>,
{
    let options = ConversionOptions { max_attribute_length: 500_000, ..ConversionOptions::default() };
    let server = Server::new(rule);
    let retries = Retries { most: 3, first_delay: Duration::from_millis(200) };
    let files = [FileRole::Main];
    let mut delivery = Delivery::start("s", &files, options, source, server, access(), retries).unwrap();
    let mut reports = Vec::new();
    while let Some(report) = delivery.next_batch().transpose() {
        let failed_twice = report.is_err() && matches!(reports.last(), Some(Err(_)));
        reports.push(report);
        if failed_twice {
            break;
        }
    }
    (reports, delivery.transport)
}

fn accepted(reports: &Reports) -> Vec<EventId> {
    reports.iter().flatten().flat_map(|r| r.accepted.iter().map(|(id, _)| *id)).collect()
}

#[test]
fn batches_hold_at_most_a_hundred_events() {
    let (reports, server) = deliver(transcript(250, 10), |_, _, _| Ok(ok()));
    // 250 responses and the trace.
    assert_eq!(accepted(&reports).len(), 251);
    let sizes: Vec<_> = server.requests.iter().map(|(_, body)| ids(&decode(body)).len()).collect();
    assert_eq!(sizes, [100, 100, 51]);
}

#[test]
fn batches_hold_about_five_mebibytes() {
    let (reports, server) = deliver(transcript(40, 400_000), |_, _, _| Ok(ok()));
    assert_eq!(accepted(&reports).len(), 41);
    assert_eq!(server.requests.len(), 4);
    let raw: Vec<_> = reports.iter().flatten().map(|r| r.raw_bytes).collect();
    assert!(raw.iter().all(|raw| *raw < crate::delivery::batch::TARGET_BYTES as u64 + 1000), "{raw:?}");
    assert!(raw[..3].iter().all(|raw| *raw > 4 << 20), "{raw:?}");
}

#[test]
fn the_newest_lane_has_no_key_in_the_body_and_forbids_the_correction_of_timestamps() {
    let (_, server) = deliver(transcript(1, 10), |_, _, _| Ok(ok()));
    assert_eq!(server.requests[0].0, "/i/v1/ai/events");
    let body = decode(&server.requests[0].1);
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["batch", "created_at"]);
    assert!(crate::time::parse(body["created_at"].as_str().unwrap()).is_some());
    for event in body["batch"].as_array().unwrap() {
        assert_eq!(event["options"], json!({"disable_skew_correction": true, "process_person_profile": false}));
    }
}

#[test]
fn a_person_keeps_the_profile() {
    let options = ConversionOptions { distinct_id: Some("me@example.com".into()), ..ConversionOptions::default() };
    let server = Server::new(|_: usize, _: &str, _: &Value| Ok(ok()));
    let retries = Retries { most: 0, first_delay: Duration::ZERO };
    let source = transcript(1, 10);
    let mut delivery = Delivery::start("s", &[FileRole::Main], options, source, server, access(), retries).unwrap();
    delivery.next_batch().unwrap().unwrap();
    let body = decode(&delivery.transport.requests[0].1);
    assert_eq!(body["batch"][0]["options"], json!({"disable_skew_correction": true}));
}

#[test]
fn the_older_lanes_have_the_key_in_the_body_and_no_sent_at() {
    for lane in ["/i/v0/ai/batch/", "/batch/"] {
        let (_, server) = deliver(transcript(1, 10), |_, path, _| Ok(if path == lane { ok() } else { status(404) }));
        let (path, body) = server.requests.last().unwrap();
        assert_eq!(path, lane);
        let body = decode(body);
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["api_key", "batch"]);
        assert_eq!(body["api_key"], "phc_key");
        assert!(body["batch"][0].get("options").is_none());
    }
}

#[test]
fn a_failure_that_may_pass_is_tried_four_times_with_the_same_bytes() {
    for failure in [408, 429, 500, 502, 503, 504] {
        let (reports, server) = deliver(transcript(2, 10), |_, _, _| Ok(status(failure)));
        assert!(matches!(&reports[0], Err(DeliveryError::Unavailable(s, None, _)) if *s == failure), "{failure}");
        // The second call tries the same batch again.
        assert_eq!(server.requests.len(), 8);
        assert!(server.requests.iter().all(|r| *r == server.requests[0]));
        let milliseconds: Vec<_> = server.waits.iter().map(Duration::as_millis).collect();
        assert_eq!(milliseconds[..3], [250, 500, 1000]);
    }
}

#[test]
fn a_connection_that_fails_is_tried_again() {
    let (reports, server) = deliver(transcript(1, 10), |n, _, _| match n {
        1 => Err(TransportError::Unreachable("refused".into())),
        2 => Err(TransportError::TimedOut("first byte".into())),
        _ => Ok(ok()),
    });
    assert_eq!(accepted(&reports).len(), 2);
    assert_eq!(reports[0].as_ref().unwrap().requests, 3);
    assert_eq!(server.waits.len(), 2);
}

#[test]
fn what_the_sandbox_denies_is_not_tried_again() {
    let (reports, server) = deliver(transcript(1, 10), |_, _, _| Err(TransportError::Denied("no".into())));
    assert!(matches!(reports[0], Err(DeliveryError::Unreachable(_))));
    assert_eq!(server.requests.len(), 2);
}

#[test]
fn retry_after_is_a_minimum_and_at_most_thirty_seconds() {
    for (asked, waited) in [(5, 5000), (3600, 30_000), (0, 250)] {
        let (_, server) = deliver(transcript(1, 10), |n, _, _| {
            Ok(if n == 1 { Answer { retry_after: Some(asked), ..status(429) } } else { ok() })
        });
        assert_eq!(server.waits[0].as_millis(), waited);
    }
}

#[test]
fn refusals_and_redirects_are_not_tried_again() {
    for refusal in [301, 302, 307, 401, 402, 403, 418] {
        let (reports, server) = deliver(transcript(1, 10), |_, _, _| Ok(status(refusal)));
        assert!(matches!(&reports[0], Err(DeliveryError::Refused(s, words)) if *s == refusal && words == "no"));
        assert_eq!(server.requests.len(), 2, "one request for each of the two calls");
    }
}

#[test]
fn a_server_without_the_newer_lanes_gets_the_oldest_and_smaller_events() {
    for missing in [404, 405] {
        let (reports, server) = deliver(transcript(3, 450_000 * 2), |_, path, body| {
            let largest = body["batch"].as_array().unwrap().iter().map(|e| e.to_string().len()).max().unwrap();
            Ok(if path != "/batch/" {
                status(missing)
            } else if largest > 900 * 1024 {
                status(400)
            } else {
                ok()
            })
        });
        assert_eq!(accepted(&reports).len(), 4);
        let tried: Vec<_> = server.requests.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(tried, ["/i/v1/ai/events", "/i/v0/ai/batch/", "/batch/"]);
        assert_eq!(reports[0].as_ref().unwrap().lane, Lane::Batch);
    }
}

#[test]
fn one_bad_event_is_found_and_the_others_arrive() {
    for refusal in [400, 413] {
        let bad = EventId::generation(&message_id(37));
        let (reports, _) = deliver(transcript(99, 10), |_, _, body| {
            Ok(if ids(body).contains(&bad.to_string()) { status(refusal) } else { ok() })
        });
        let rejected: Vec<_> = reports.iter().flatten().flat_map(|r| &r.rejected).collect();
        assert_eq!(rejected.len(), 1);
        assert_eq!((rejected[0].id, rejected[0].status, rejected[0].message.as_str()), (bad, refusal, "no"));
        let accepted = accepted(&reports);
        assert_eq!(accepted.len(), 99);
        assert!(!accepted.contains(&bad));
    }
}

#[test]
fn a_single_event_that_is_too_large_is_shortened_before_it_is_given_up() {
    let (reports, _) = deliver(transcript(1, 400_000), |_, _, body| {
        Ok(if body.to_string().len() > 300_000 { status(413) } else { ok() })
    });
    assert_eq!(accepted(&reports).len(), 2);
    assert_eq!(reports.iter().flatten().map(|r| r.shortened).sum::<u32>(), 1);
}

#[test]
fn an_answer_that_is_not_posthogs_is_an_error() {
    for rubbish in ["<html>welcome</html>", "", "[]", "\"ok\""] {
        let (reports, server) = deliver(transcript(1, 10), |_, _, _| Ok(Answer { body: rubbish.into(), ..ok() }));
        assert!(matches!(&reports[0], Err(DeliveryError::NotPostHog(_))), "{rubbish}");
        // The next call starts over: the proxy that answered may be gone.
        let tried: Vec<_> = server.requests.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(tried, ["/i/v1/ai/events", "/i/v0/ai/batch/"].repeat(2));
    }
}

#[test]
fn what_the_quota_does_not_cover_is_reported() {
    let limited = br#"{"status":"Ok","quota_limited":["events",5]}"#;
    let (reports, _) = deliver(transcript(1, 10), |_, path, _| {
        Ok(if path == "/i/v0/ai/batch/" { Answer { body: limited.to_vec(), ..ok() } } else { status(404) })
    });
    assert_eq!(reports[0].as_ref().unwrap().quota_limited, ["events"]);
}

#[test]
fn what_was_accepted_before_a_failure_is_reported_before_it() {
    let bad = EventId::generation(&message_id(90)).to_string();
    let (reports, _) = deliver(transcript(99, 10), |n, _, body| {
        Ok(match n {
            1 => status(400),
            _ if ids(body).contains(&bad) => status(403),
            _ => ok(),
        })
    });
    assert_eq!(accepted(&reports).len(), 50);
    assert!(matches!(reports[1], Err(DeliveryError::Refused(403, _))));
}

#[test]
fn only_the_tokens_of_accepted_events_are_reported() {
    let tokens = r#"{"type":"assistant","timestamp":"2026-01-01T00:00:00Z","message":{"id":"ID","model":"m","usage":{"input_tokens":1,"output_tokens":20,"cache_read_input_tokens":300}}}"#;
    let lines = [1, 2, 3].map(|id| tokens.replace("ID", &message_id(id))).join("\n");
    let bad = EventId::generation(&message_id(2)).to_string();
    let (reports, _) =
        deliver(Memory(lines.into_bytes()), |_, _, body| Ok(if ids(body).contains(&bad) { status(400) } else { ok() }));
    let sums = reports.iter().flatten().fold([0; 4], |sums, r| std::array::from_fn(|i| sums[i] + r.tokens[i]));
    assert_eq!(sums, [2, 40, 600, 0]);
}

#[test]
fn excluded_events_are_not_sent_and_the_trace_covers_the_others() {
    let server = Server::new(|_: usize, _: &str, _: &Value| Ok(ok()));
    let retries = Retries { most: 0, first_delay: Duration::ZERO };
    let files = [FileRole::Main];
    let options = ConversionOptions::default();
    let mut delivery = Delivery::start("s", &files, options, transcript(5, 10), server, access(), retries).unwrap();
    let known: Vec<_> = delivery.session().identities().to_vec();
    assert_eq!(known.len(), 5);
    delivery.session().exclude(known[..3].to_vec()).unwrap();
    let report = delivery.next_batch().unwrap().unwrap();
    assert_eq!(report.accepted.len(), 3);
    assert!(known[..3].iter().all(|id| !report.accepted.iter().any(|(a, _)| a == id)));
    let body = decode(&delivery.transport.requests[0].1);
    assert_eq!(body["batch"][2]["properties"]["claude_code_generations"], 2);
    assert!(delivery.next_batch().unwrap().is_none());
}

#[test]
fn a_file_that_shrank_between_the_readings_gives_what_is_left() {
    struct Shrinks(Memory, bool);
    impl Source for Shrinks {
        type Error = ();
        fn size(&mut self, file: u32) -> Result<u64, ()> {
            self.0.size(file)
        }
        fn read(&mut self, file: u32, offset: u64, most: usize) -> Result<Vec<u8>, ()> {
            if std::mem::replace(&mut self.1, true) {
                self.0.0.truncate(500);
            }
            self.0.read(file, offset, most)
        }
    }
    let server = Server::new(|_: usize, _: &str, _: &Value| Ok(ok()));
    let retries = Retries { most: 0, first_delay: Duration::ZERO };
    let source = Shrinks(transcript(9, 10), false);
    let mut delivery =
        Delivery::start("s", &[FileRole::Main], ConversionOptions::default(), source, server, access(), retries)
            .unwrap();
    let report = delivery.next_batch().unwrap().unwrap();
    assert!((2..9).contains(&report.accepted.len()));
    assert_eq!(delivery.session().counts().bad_lines, 1);
}

#[test]
fn the_last_batch_says_so_and_no_other_does() {
    // Including the trace: a batch that is not full, one that is, and two that are.
    for responses in [1, 99, 199, 250] {
        let (reports, _) = deliver(transcript(responses, 10), |_, _, _| Ok(ok()));
        let last: Vec<_> = reports.iter().map(|r| r.as_ref().unwrap().last).collect();
        assert_eq!(last.iter().filter(|last| **last).count(), 1, "{responses}");
        assert_eq!(last.last(), Some(&true), "{responses}");
    }
    // Halves of a batch with a bad event: the trace.
    let (reports, _) = deliver(transcript(2, 10), |_, _, body| {
        Ok(if body.to_string().contains("$ai_trace\"") { status(400) } else { ok() })
    });
    let last: Vec<_> = reports.iter().map(|r| r.as_ref().unwrap().last).collect();
    assert_eq!(last, [false, false, true]);
}

mod verdicts;
