//! A session, from bytes to events: what the component's `conversion` interface exports.
//!
//! ```
//! use posthog_llma_pipeline::session::{ConversionOptions, FileRole, Session};
//!
//! let transcript = br#"{"type":"assistant","uuid":"u","timestamp":"2026-01-01T00:00:00Z","message":{"id":"msg_1","model":"claude-x"}}"#;
//! let mut session = Session::open("my-session", &[FileRole::Main], ConversionOptions::default()).unwrap();
//! session.scan(0, transcript).unwrap();
//! session.convert(0, transcript).unwrap();
//! session.finish().unwrap();
//! let event = session.next_event().unwrap();
//! assert_eq!(event.kind.name(), "$ai_generation");
//! ```

mod calls;
mod convert;
pub mod files;
mod index;
mod prompt_line;
mod threads;
mod timeline;
mod timelines;
mod turns;
pub mod types;

use self::convert::Converter;
use self::index::Index;
pub use self::prompt_line::prompt_in;
pub use self::types::{
    AgentFile, ConversionOptions, Counts, FileRole, InvalidOption, SequenceError, ToolSpans, TraceGrouping,
};
use self::types::{Before, Hold, Policy};
use crate::events::event::{Envelope, Event, Parent};
use crate::identity::{self, EventId};
use crate::options;
use crate::redact::{self, InvalidPatterns, Redactor};
use crate::transcript::entry;
use crate::transcript::lines::{Line, Lines};
use crate::transcript::text::{LARGEST_LIMIT, TextRules};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A session that is being converted.
#[derive(Debug)]
pub struct Session {
    files: Vec<FileRole>,
    rules: TextRules,
    policy: Policy,
    ignored_properties: Vec<String>,
    /// Secrets that were replaced in what the session was opened with.
    redactions: redact::Counts,
    lines: Lines,
    /// The file that the lines in `lines` belong to.
    file: u32,
    /// Has the first reading begun?
    has_scanned: bool,
    bytes: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// First reading.
    Scanning { index: Box<Index>, envelope: Box<Envelope>, before: Before },
    /// Second reading, or after it.
    Converting { converter: Box<Converter>, order: Vec<EventId>, finished: bool },
}

impl Session {
    /// Opens the session `id`, whose transcripts are `files`: the main ones first.
    pub fn open(id: &str, files: &[FileRole], options: ConversionOptions) -> Result<Self, InvalidOption> {
        let redactor = Redactor::of(options.redact_secrets, options.redact_patterns.as_deref());
        let invalid = |error: InvalidPatterns| InvalidOption { name: "redact-patterns", reason: error.to_string() };
        let redactor = Rc::new(redactor.map_err(invalid)?);
        let clean = |text: String| redactor.redact(&text).unwrap_or(text);
        let custom_json = options.custom_properties.map(|json| redactor.redact_json(&json).unwrap_or(json));
        let (custom, ignored_properties) = custom_properties(custom_json.as_deref())?;
        let session_id = identity::session_id(id);
        let distinct_id = options.distinct_id.filter(|id| !id.is_empty()).map(clean);
        if let Some(reason) = distinct_id.as_deref().and_then(identity::distinct_id_problem) {
            return Err(InvalidOption { name: "distinct-id", reason });
        }
        let parent = parent(options.parent_trace_id, options.parent_span_id)?;
        let project = options.project_name.filter(|name| !name.is_empty()).map(clean);
        let envelope = Envelope {
            personless: distinct_id.is_none(),
            distinct_id: distinct_id.unwrap_or_else(|| format!("claude-code:{session_id}")),
            session_id,
            project,
            parent,
            git_repo: options.git_repo.map(clean),
            purpose: options.purpose.map(clean),
            custom,
            redactor: Rc::clone(&redactor),
            privacy: options.privacy_mode,
        };
        let redactions = redactor.take_counts();
        let rules = TextRules {
            limit: LARGEST_LIMIT.min(options.max_attribute_length as usize),
            redactor,
            privacy: options.privacy_mode,
        };
        Ok(Self {
            files: files.to_vec(),
            lines: Lines::new(rules.longest_string()),
            rules,
            policy: Policy {
                grouping: options.trace_grouping,
                tool_spans: options.tool_spans,
                hold: Hold { after: options.hold_after, calls: options.hold_calls },
                since: options.since,
            },
            ignored_properties,
            redactions,
            file: 0,
            has_scanned: false,
            bytes: 0,
            stage: Stage::Scanning {
                index: Box::new(Index::new(files, options.since)),
                envelope: Box::new(envelope),
                before: Before::default(),
            },
        })
    }

    /// Earlier deliveries have read this many bytes of this file, and have counted what the lines that begin there add to
    /// `$ai_trace`.
    pub fn read_before(&mut self, file: u32, bytes: u64) -> Result<(), SequenceError> {
        self.check(file)?;
        let (files, has_scanned) = (self.files.len(), self.has_scanned);
        let before = self.before()?;
        if has_scanned {
            return Err(SequenceError::TooLate);
        }
        before.read.resize(files, 0);
        before.read[file as usize] = bytes;
        Ok(())
    }

    /// First reading: the next bytes of this file.
    pub fn scan(&mut self, file: u32, bytes: &[u8]) -> Result<(), SequenceError> {
        self.check(file)?;
        self.has_scanned = true;
        let (last, last_place, place) = (self.file, self.place(self.file), self.place(file));
        let (index, before) = match &mut self.stage {
            Stage::Scanning { index, before, .. } => (index, &*before),
            Stage::Converting { finished: true, .. } => return Err(SequenceError::Finished),
            Stage::Converting { .. } => return Err(SequenceError::OutOfOrder),
        };
        if file < self.file {
            return Err(SequenceError::OutOfOrder);
        }
        if file > self.file {
            self.file = file;
            self.lines.end(|line| scan_line(index, last_place, before.has_read(last, line.start), line));
        }
        self.lines.push(bytes, |line| scan_line(index, place, before.has_read(file, line.start), line));
        Ok(())
    }

    /// Leaves these events out.
    pub fn exclude(&mut self, events: impl IntoIterator<Item = EventId>) -> Result<(), SequenceError> {
        self.before()?.covered.extend(events);
        Ok(())
    }

    /// Leaves these events out too, but lets `$ai_trace` cover them: they were delivered without it.
    pub fn withhold(&mut self, events: impl IntoIterator<Item = EventId>) -> Result<(), SequenceError> {
        self.before()?.uncovered.extend(events);
        Ok(())
    }

    /// What was delivered before. It is an error to change it once the second reading has begun: some of it may be out
    /// already.
    fn before(&mut self) -> Result<&mut Before, SequenceError> {
        match &mut self.stage {
            Stage::Scanning { before, .. } => Ok(before),
            Stage::Converting { finished: true, .. } => Err(SequenceError::Finished),
            Stage::Converting { .. } => Err(SequenceError::TooLate),
        }
    }

    /// After the first reading: IDs of the generations and spans that the second one will produce.
    pub fn identities(&mut self) -> &[EventId] {
        self.end_last_scanned_line();
        let hold = self.policy.hold;
        match &mut self.stage {
            Stage::Scanning { index, .. } => {
                index.hold_back(hold);
                &index.order
            }
            Stage::Converting { order, .. } => order,
        }
    }

    /// Second reading: the next bytes of this file.
    pub fn convert(&mut self, file: u32, bytes: &[u8]) -> Result<(), SequenceError> {
        self.check(file)?;
        self.end_scan();
        let place = self.place(file);
        let Stage::Converting { converter, finished: false, .. } = &mut self.stage else {
            return Err(SequenceError::Finished);
        };
        if file < self.file {
            return Err(SequenceError::OutOfOrder);
        }
        if file > self.file {
            let last = std::mem::replace(&mut self.file, file);
            self.lines.end(|line| convert_line(converter, last, line));
            converter.begin_file(place);
        }
        self.lines.push(bytes, |line| convert_line(converter, file, line));
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Ends the second reading.
    pub fn finish(&mut self) -> Result<(), SequenceError> {
        self.end_scan();
        let Stage::Converting { converter, finished: finished @ false, .. } = &mut self.stage else {
            return Err(SequenceError::Finished);
        };
        *finished = true;
        let last = self.file;
        self.lines.end(|line| convert_line(converter, last, line));
        converter.finish();
        Ok(())
    }

    /// The next event that is complete.
    pub fn next_event(&mut self) -> Option<Event> {
        match &mut self.stage {
            Stage::Scanning { .. } => None,
            Stage::Converting { converter, .. } => converter.events().pop_front(),
        }
    }

    /// Tool calls that are counted but not sent, since the last call.
    pub fn left_out(&mut self) -> Vec<EventId> {
        match &mut self.stage {
            Stage::Scanning { .. } => Vec::new(),
            Stage::Converting { converter, .. } => converter.left_out(),
        }
    }

    /// As many complete events as fit in `most` bytes, but at least one if there is any; one JSON object per line.
    pub fn take_events(&mut self, most: usize) -> Vec<u8> {
        let Stage::Converting { converter, .. } = &mut self.stage else { return Vec::new() };
        let events = converter.events();
        let (mut count, mut size) = (0, 0);
        for event in events.iter() {
            if count > 0 && size + event.json.len() >= most {
                break;
            }
            count += 1;
            size += event.json.len() + 1;
        }
        let mut out = Vec::with_capacity(size);
        for event in events.drain(..count) {
            out.extend_from_slice(&event.json);
            out.push(b'\n');
        }
        out
    }

    /// Counts so far.
    pub fn counts(&self) -> Counts {
        let counts = match &self.stage {
            Stage::Scanning { .. } => Counts::default(),
            Stage::Converting { converter, .. } => converter.counts().clone(),
        };
        let mut redactions = counts.redactions;
        redact::add(&mut redactions, &self.redactions);
        Counts { bytes: self.bytes, redactions, ..counts }
    }

    /// Names of custom properties that were left out.
    pub fn ignored_properties(&self) -> &[String] {
        &self.ignored_properties
    }

    fn check(&self, file: u32) -> Result<(), SequenceError> {
        if file as usize >= self.files.len() {
            return Err(SequenceError::NoSuchFile(self.files.len() as u32));
        }
        Ok(())
    }

    /// Ends the first reading, if it has not ended yet.
    fn end_scan(&mut self) {
        self.end_last_scanned_line();
        let Stage::Scanning { index, envelope, before } = &mut self.stage else { return };
        let (mut index, mut envelope, before) =
            (std::mem::take(index), std::mem::take(envelope), std::mem::take(before));
        index.timeline.settle();
        index.hold_back(self.policy.hold);
        envelope.project = envelope.project.or_else(|| index.project.take());
        let order = std::mem::take(&mut index.order);
        let converter = Converter::new(*index, &self.files, self.rules.clone(), self.policy, *envelope, before);
        self.stage = Stage::Converting { converter: Box::new(converter), order, finished: false };
        self.file = 0;
    }

    fn end_last_scanned_line(&mut self) {
        let (file, place) = (self.file, self.place(self.file));
        if let Stage::Scanning { index, before, .. } = &mut self.stage {
            self.lines.end(|line| scan_line(index, place, before.has_read(file, line.start), line));
        }
    }

    /// The file whose thread this file's lines belong to: the first one for every main transcript. A session that
    /// changed its directory has several main transcripts, and they are one thread.
    fn place(&self, file: u32) -> u32 {
        if self.files.get(file as usize) == Some(&FileRole::Main) { 0 } else { file }
    }
}

fn scan_line(index: &mut Index, place: u32, told: bool, line: Line<'_>) {
    if index.concerns(place, line.bytes) {
        entry::read(line, |entry| index.add(place, entry, told));
    }
}

fn convert_line(converter: &mut Converter, file: u32, line: Line<'_>) {
    converter.begin_line(file, line.start);
    let whole = entry::read(line, |entry| converter.add(entry));
    converter.end_line(whole);
}

/// The other program's trace that a session belongs to, if there is one.
fn parent(trace_id: Option<String>, span_id: Option<String>) -> Result<Option<Parent>, InvalidOption> {
    for (name, id) in [("parent-trace-id", &trace_id), ("parent-span-id", &span_id)] {
        if let Some(reason) = id.as_deref().and_then(options::id_problem) {
            return Err(InvalidOption { name, reason });
        }
    }
    match (trace_id, span_id) {
        (Some(trace_id), span_id) => Ok(Some(Parent { trace_id, span_id })),
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(InvalidOption { name: "parent-span-id", reason: "needs the trace that the span is in".to_owned() })
        }
    }
}

/// Custom properties, and the names of those left out because they would replace a built-in one.
#[expect(clippy::type_complexity, reason = "two lists, used once")]
fn custom_properties(json: Option<&str>) -> Result<(Vec<(String, serde_json::Value)>, Vec<String>), InvalidOption> {
    let Some(json) = json.filter(|json| !json.trim().is_empty()) else { return Ok(Default::default()) };
    let invalid = |reason: String| InvalidOption { name: "custom-properties", reason };
    let members: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|error| invalid(format!("is not a JSON object: {error}")))?;
    let reserved = |name: &str| name.starts_with('$') || name.starts_with("claude_code_");
    let (ignored, custom): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| reserved(name));
    Ok((custom, ignored.into_iter().map(|(name, _)| name).collect()))
}
