//! Runs the conversion as a host does, and gives its events as JSON values.

#![allow(dead_code, reason = "every test binary that includes this module uses its own part of it")]

use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{ConversionOptions, Counts, FileRole, Session};
use serde_json::Value;

/// What came out of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The events as they would be sent, in order.
    pub events: Vec<Value>,
    /// Their bytes, one a line.
    pub bytes: Vec<u8>,
    pub counts: Counts,
    /// What `identities` said before the second reading.
    pub identities: Vec<EventId>,
    pub ignored_properties: Vec<String>,
}

/// How a host may go about it: none of this changes what comes out, but for what was delivered before.
#[derive(Debug, Clone)]
pub struct Run {
    pub options: ConversionOptions,
    /// Bytes of the pieces in which the files are pushed.
    pub piece: usize,
    /// Events that were delivered before.
    pub exclude: Vec<EventId>,
    /// Events that were delivered before, without their trace.
    pub withhold: Vec<EventId>,
    /// Bytes of each file that were read for it.
    pub read_before: Vec<u64>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            options: ConversionOptions::default(),
            piece: 65536,
            exclude: Vec::new(),
            withhold: Vec::new(),
            read_before: Vec::new(),
        }
    }
}

/// Converts the session `id` with these files, and looks at nothing but the counts: what a test of time measures.
pub fn count(id: &str, files: &[(FileRole, Vec<u8>)], run: Run) -> Counts {
    events(id, files, run).0.counts()
}

/// Converts the session `id` with these files.
pub fn convert(id: &str, files: &[(FileRole, Vec<u8>)], run: Run) -> Converted {
    let (session, identities, bytes) = events(id, files, run);
    let events = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    Converted {
        events: events.map(|line| serde_json::from_slice(line).unwrap()).collect(),
        counts: session.counts(),
        identities,
        ignored_properties: session.ignored_properties().to_vec(),
        bytes,
    }
}

/// The finished conversion, the IDs that were announced, and the events.
fn events(id: &str, files: &[(FileRole, Vec<u8>)], run: Run) -> (Session, Vec<EventId>, Vec<u8>) {
    let roles: Vec<_> = files.iter().map(|(role, _)| role.clone()).collect();
    let mut session = Session::open(id, &roles, run.options).unwrap();
    for (file, bytes) in (0..).zip(run.read_before) {
        session.read_before(file, bytes).unwrap();
    }
    for (file, (_, bytes)) in (0..).zip(files) {
        for piece in bytes.chunks(run.piece) {
            session.scan(file, piece).unwrap();
        }
    }
    let identities = session.identities().to_vec();
    session.exclude(run.exclude).unwrap();
    session.withhold(run.withhold).unwrap();
    let mut bytes = Vec::new();
    for (file, (_, content)) in (0..).zip(files) {
        for piece in content.chunks(run.piece) {
            session.convert(file, piece).unwrap();
            bytes.extend(session.take_events(1 << 20));
        }
    }
    session.finish().unwrap();
    loop {
        let more = session.take_events(1 << 20);
        if more.is_empty() {
            break;
        }
        bytes.extend(more);
    }
    (session, identities, bytes)
}

impl Converted {
    /// Events of this name, in order.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |e| e["event"] == name)
    }

    /// Properties of the generations, in order.
    pub fn generations(&self) -> Vec<&Value> {
        self.named("$ai_generation").map(|e| &e["properties"]).collect()
    }

    /// Properties of the spans, in order.
    pub fn spans(&self) -> Vec<&Value> {
        self.named("$ai_span").map(|e| &e["properties"]).collect()
    }

    /// Properties of the traces, in order.
    pub fn traces(&self) -> Vec<&Value> {
        self.named("$ai_trace").map(|e| &e["properties"]).collect()
    }

    /// Ids of the generations and spans that came out, in order.
    pub fn sent(&self) -> Vec<EventId> {
        let sent = self.events.iter().filter(|e| e["event"] != "$ai_trace");
        sent.map(|e| id(e["uuid"].as_str().unwrap())).collect()
    }

    /// Sum of a property over the events of this name.
    pub fn sum(&self, name: &str, property: &str) -> u64 {
        self.named(name).filter_map(|e| e["properties"][property].as_u64()).sum()
    }
}

/// Properties of `$ai_trace` that are sums.
const SUMS: [&str; 19] = [
    "$ai_total_input_tokens",
    "$ai_total_cache_read_input_tokens",
    "$ai_total_cache_creation_input_tokens",
    "claude_code_turns",
    "claude_code_generations",
    "claude_code_tool_calls",
    "claude_code_tool_errors",
    "claude_code_rejected",
    "claude_code_interrupted",
    "claude_code_compactions",
    "claude_code_unknown_lines",
    "claude_code_bad_lines",
    "claude_code_redactions",
    "claude_code_files_changed",
    "claude_code_lines_added",
    "claude_code_lines_removed",
    "claude_code_subagents",
    "claude_code_commits",
    "claude_code_retries",
];

/// The sums over all `$ai_trace`s, by property.
pub type Sums = Vec<(&'static str, u64)>;

/// What the traces of a session's deliveries add up to.
pub fn sums(parts: &[Converted]) -> Sums {
    SUMS.map(|name| (name, parts.iter().map(|part| part.sum("$ai_trace", name)).sum())).to_vec()
}

/// The id in the text of a `uuid`.
pub fn id(uuid: &str) -> EventId {
    EventId(u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap())
}
