//! Any bytes as a server's answers: no panic, it ends, and each event is accepted or put aside once at most.

#![no_main]

use flate2::read::GzDecoder;
use libfuzzer_sys::fuzz_target;
use posthog_llma_pipeline::delivery::deliver::{Access, Delivery, Retries};
use posthog_llma_pipeline::delivery::lane::Request;
use posthog_llma_pipeline::delivery::reading::Source;
use posthog_llma_pipeline::delivery::transport::{Answer, Transport, TransportError};
use posthog_llma_pipeline::session::{ConversionOptions, FileRole};
use std::collections::HashSet;
use std::io::Read as _;
use std::time::Duration;

const SESSION: &[u8] = include_bytes!("../session.jsonl");

struct Memory;

impl Source for Memory {
    type Error = ();
    fn size(&mut self, _: u32) -> Result<u64, ()> {
        Ok(SESSION.len() as u64)
    }
    fn read(&mut self, _: u32, offset: u64, most: usize) -> Result<Vec<u8>, ()> {
        Ok(SESSION.iter().skip(offset as usize).take(most).copied().collect())
    }
}

/// Answers with pieces of the input: a status, `Retry-After`, a body up to the next line break. In the body `@` stands for the
/// next event's id.
struct Server<'a> {
    input: &'a [u8],
    now: i64,
}

/// The IDs of a body's events.
fn ids(body: &[u8]) -> Vec<String> {
    let mut json = Vec::new();
    GzDecoder::new(body).read_to_end(&mut json).expect("the body is compressed");
    let body: serde_json::Value = serde_json::from_slice(&json).expect("the body is JSON");
    let events = body["batch"].as_array().expect("it has a batch");
    events.iter().map(|event| event["uuid"].as_str().expect("events have ids").to_owned()).collect()
}

impl Transport for Server<'_> {
    fn post(&mut self, request: &Request<'_>) -> Result<Answer, TransportError> {
        let [status, after, rest @ ..] = self.input else { return Err(TransportError::Unreachable("the end".into())) };
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let mut ids = ids(request.body).into_iter().cycle();
        let mut body = String::new();
        for piece in String::from_utf8_lossy(&rest[..end]).split_inclusive('@') {
            body.push_str(piece.trim_end_matches('@'));
            if piece.ends_with('@') {
                body.push_str(&ids.next().unwrap_or_default());
            }
        }
        self.input = &rest[(end + 1).min(rest.len())..];
        let known = [200, 200, 200, 204, 301, 400, 401, 404, 405, 408, 413, 415, 429, 500, 503];
        let status = known[usize::from(*status) % known.len()];
        Ok(Answer { status, retry_after: (*after > 9).then_some(u32::from(*after)), body: body.into_bytes() })
    }
    fn wait(&mut self, _: Duration) {}
    fn random(&mut self) -> u64 {
        self.now as u64
    }
    fn now(&mut self) -> i64 {
        self.now += 1;
        self.now
    }
}

fuzz_target!(|input: &[u8]| {
    let server = Server { input, now: 1_790_000_000_000 };
    let access = Access::new("phc_0123456789abcdefghijklmnop".into());
    let mut delivery = Delivery::start(
        "fuzz",
        &[FileRole::Main],
        ConversionOptions::default(),
        Memory,
        server,
        access,
        Retries::default(),
    )
    .expect("the session can be read");
    let mut seen = HashSet::new();
    let mut failures = 0;
    // An answer for each byte of the input at most; after that nobody answers.
    while failures <= input.len() {
        match delivery.next_batch() {
            Ok(Some(report)) => {
                let ended = report.accepted.iter().map(|(id, _)| *id).chain(report.rejected.iter().map(|r| r.id));
                for id in ended {
                    assert!(seen.insert(id), "{id} ended twice");
                }
            }
            Ok(None) => break,
            Err(_) => failures += 1,
        }
    }
});
