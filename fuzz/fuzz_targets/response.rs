//! Any bytes as what a server sends over its connections, head and all: the host and the component come to an end, with reports
//! of events that are the session's own, each once, or with an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma::delivery::record::Record;
use posthog_llma::delivery::report::SendReport;
use posthog_llma::delivery::send::{Delivered, Destination, PATIENCE, deliver};
use posthog_llma::outbox::OutboxError;
use posthog_llma::program::LocalSession;
use posthog_llma_pipeline::options::{ConversionOptions, Options};
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{BatchReport, Patience};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::EventId;
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{Limits, Sandbox, block_on};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What separates the answers in the input: no byte of UTF-8.
const NEXT: u8 = 0xff;

/// Connections to one port wait for a minute after their end; there are only so many.
const PORTS: usize = 16;

static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

static SERVERS: LazyLock<Vec<Destination>> = LazyLock::new(|| (0..PORTS).map(|_| server()).collect());

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::new(Limits::default(), ProxySettings::default()).expect("the component is good"));

static SESSION: LazyLock<(TempDir, LocalSession)> = LazyLock::new(|| {
    let folder = TempDir::new().expect("the temporary directory can be written");
    let path = folder.path().join("44e37528-1ed2-41c1-b10f-e00cfcc58584.jsonl");
    std::fs::write(&path, include_bytes!("../session.jsonl")).expect("the temporary directory can be written");
    let session = LocalSession::of_transcript(&path).expect("it is a transcript");
    (folder, session)
});

/// Answers each connection with the next answer, once it was asked, and closes it.
fn server() -> Destination {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let origin = format!("http://{}", listener.local_addr().expect("it has an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asks may go away.
            let _ = answer(stream);
        }
    });
    let settings = |name: &str| (name == "POSTHOG_API_KEY").then(|| "phc_0123456789abcdefghijklmnop".to_owned());
    let api_key = Options::parse(settings).ok().and_then(|options| options.api_key).expect("it is a key");
    Destination { origin: Origin::parse(&origin, true).expect("it is an origin"), api_key }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        request.extend_from_slice(&piece[..length]);
        if length == 0 || is_whole(&request) {
            break;
        }
    }
    let answer = ANSWERS.lock().map_err(|_| std::io::ErrorKind::Other)?.pop().unwrap_or_default();
    stream.write_all(&answer)
}

/// Has all of a request come?
fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        Some(length) => request.len() >= head + 4 + length,
        None => request.ends_with(b"0\r\n\r\n"),
    }
}

/// Which events the session has, and which were decided.
#[derive(Default)]
struct Seen {
    own: HashSet<u128>,
    decided: HashSet<u128>,
}

fn number(id: EventId) -> u128 {
    u128::from(id.high) << 64 | u128::from(id.low)
}

impl Record for Seen {
    fn known(&mut self, events: &[EventId]) -> Result<Vec<EventId>, OutboxError> {
        self.own.extend(events.iter().copied().map(number));
        Ok(Vec::new())
    }
    fn uncovered(&mut self) -> Result<Vec<EventId>, OutboxError> {
        Ok(Vec::new())
    }
    fn batch(&mut self, batch: &BatchReport) -> Result<(), OutboxError> {
        for event in &batch.events {
            assert!(self.decided.insert(number(event.id)), "an event is decided twice");
        }
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let mut answers: Vec<_> = input.split(|byte| *byte == NEXT).map(<[u8]>::to_vec).collect();
    answers.reverse();
    *ANSWERS.lock().expect("nobody panics with it") = answers;
    let destination = &SERVERS[input.len() % PORTS];
    let patience = Patience { max_retries: 0, first_delay: 100, ..PATIENCE };
    let options = ConversionOptions::default().into();
    let mut seen = Seen::default();
    let start = Instant::now();
    let delivered: Delivered = block_on(deliver(&SANDBOX, &SESSION.1, &options, destination, patience, &mut seen))
        .expect("there is a runtime");
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    assert!(seen.own.is_subset(&seen.decided) || delivered.error.is_some(), "an event was forgotten");
    let report = SendReport::of("fuzz", &destination.origin, &delivered, Vec::new(), 1_790_000_000_000);
    assert!(delivered.error.is_none() || !report.is_complete());
    let _ = (report.text(), report.json());
});
