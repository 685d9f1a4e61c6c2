//! Any report of a component about a batch or about a conversion: no panic, and what it says was decided is known afterwards.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use posthog_llma::delivery::report::SendReport;
use posthog_llma::delivery::send::Delivered;
use posthog_llma::outbox::{DestinationId, Outbox, PATIENCE, SessionId, Sighting};
use posthog_llma_pipeline::options::Options;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{
    BatchReport, EventReport, Refusal, Verdict,
};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{
    ConversionReport, EventId, EventKind, NamedCount, TokenCounts,
};
use std::cell::RefCell;
use std::path::Path;
use tempfile::TempDir;

/// Reports that go into one record, before a new one is made: it would get ever larger.
const MOST: u32 = 500;

#[derive(Debug, Arbitrary)]
struct Batch {
    events: Vec<(u64, u64, u8, u8, u16, String)>,
    tokens: [u64; 4],
    counts: (u32, u32),
    bytes: (u64, u64, u64),
    path: String,
    quota_limited: Vec<String>,
    last: bool,
}

#[derive(Debug, Arbitrary)]
struct Input {
    batches: Vec<Batch>,
    numbers: [u64; 11],
    tokens: [u64; 4],
    texts: (Option<String>, Option<String>),
    ignored: Vec<String>,
    named: [Vec<(bool, String, u64)>; 2],
}

fn tokens([input, output, cache_read, cache_creation]: [u64; 4]) -> TokenCounts {
    TokenCounts { input, output, cache_read, cache_creation }
}

fn event((high, low, kind, verdict, status, words): (u64, u64, u8, u8, u16, String)) -> EventReport {
    let kind = [EventKind::Generation, EventKind::Span, EventKind::Trace][usize::from(kind) % 3];
    let verdict = match verdict % 4 {
        0 => Verdict::Accepted,
        1 => Verdict::AcceptedWithWarning(words),
        2 => Verdict::Rejected(Refusal { status, message: words }),
        _ => Verdict::LeftOut,
    };
    EventReport { id: EventId { high, low }, kind, verdict }
}

impl From<Batch> for BatchReport {
    fn from(batch: Batch) -> Self {
        Self {
            events: batch.events.into_iter().map(event).collect(),
            tokens: tokens(batch.tokens),
            shortened_events: batch.counts.0,
            requests: batch.counts.1,
            raw_bytes: batch.bytes.0,
            sent_bytes: batch.bytes.1,
            path: batch.path,
            quota_limited: batch.quota_limited,
            bytes_read: batch.bytes.2,
            last: batch.last,
        }
    }
}

fn counts(named: Vec<(bool, String, u64)>) -> Vec<NamedCount> {
    let named = named.into_iter();
    // Those of a rule have a meaning to the host.
    let name = |redacted, name| if redacted { format!("redacted:{name}") } else { name };
    named.map(|(redacted, text, count)| NamedCount { name: name(redacted, text), count }).collect()
}

/// A record, and how many reports went into it.
struct Place {
    outbox: Outbox,
    destination: DestinationId,
    session: SessionId,
    used: u32,
    _folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().expect("the temporary directory can be written");
        let (mut outbox, _) = Outbox::open(folder.path(), PATIENCE).expect("a record can be made");
        let settings = |name: &str| (name == "POSTHOG_API_KEY").then(|| "phc_0123456789abcdefghijklmnop".to_owned());
        let key = Options::parse(settings).ok().and_then(|options| options.api_key).expect("it is a key");
        let destination = outbox.destination(&origin(), &key).expect("it can be written");
        let sighting = Sighting {
            transcript: Path::new("/home/dev/.claude/projects/x/fuzz.jsonl"),
            session_id: "fuzz",
            options: "",
            project: None,
            hook: None,
            at: 1_790_000_000_000,
        };
        let session = outbox.see(destination, &sighting).expect("it can be written");
        Self { outbox, destination, session, used: 0, _folder: folder }
    }
}

fn origin() -> Origin {
    Origin::parse("https://us.i.posthog.com", false).expect("it is an origin")
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place::new());
}

fuzz_target!(|input: Input| {
    let batches: Vec<BatchReport> = input.batches.into_iter().map(BatchReport::from).collect();
    let [
        bytes,
        lines,
        bad_lines,
        unknown_lines,
        generations,
        spans,
        traces,
        excluded_events,
        held_events,
        shortened_events,
        now,
    ] = input.numbers;
    let [unknown_types, other_counts] = input.named.map(counts);
    let report = ConversionReport {
        bytes,
        lines,
        bad_lines,
        unknown_lines,
        unknown_types,
        generations,
        spans,
        traces,
        tokens: tokens(input.tokens),
        excluded_events,
        held_events,
        held_since: input.texts.0,
        shortened_events,
        earliest: input.texts.1,
        ignored_properties: input.ignored,
        other_counts,
    };
    PLACE.with_borrow_mut(|place| {
        if place.used == MOST {
            *place = Place::new();
        }
        place.used += 1;
        let (destination, session) = (place.destination, place.session);
        for batch in &batches {
            place.outbox.record(destination, session, batch, "state").expect("it can be written down");
            let ids: Vec<_> = batch.events.iter().map(|event| event.id).collect();
            let known = place.outbox.known(destination, None, &ids).expect("it can be read");
            assert_eq!(known.len(), ids.len(), "what was decided is known");
        }
        place.outbox.count_redactions(&report).expect("it can be written down");
        let summary = place.outbox.summary(Some(destination)).expect("it can be read");
        let _ = format!("{summary:?}");
    });
    let delivered = Delivered { batches, report: Some(report), ..Delivered::default() };
    let said = SendReport::of("fuzz", &origin(), &delivered, Vec::new(), now as i64);
    let _ = (said.text(), said.json());
});
