//! What a session is opened with, and the counts of its conversion.

use crate::identity::IdSet;
pub use crate::options::{ConversionOptions, ToolSpans, TraceGrouping};
use crate::redact;
use std::collections::BTreeMap;
use thiserror::Error;

/// A sub-agent's transcript.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentFile {
    /// The `<id>` of `agent-<id>.jsonl`.
    pub agent_id: String,
    /// The text of `agent-<id>.meta.json`.
    pub metadata: Option<String>,
    /// The workflow's folder, `wf_…`.
    pub workflow_run: Option<String>,
}

/// The role of a file in its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRole {
    /// The session's own transcript.
    Main,
    /// A sub-agent's.
    Agent(AgentFile),
}

/// An option that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {reason}")]
pub struct InvalidOption {
    /// Its name in the interface.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A call made at the wrong time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// The number of files.
    #[error("there are only {0} files")]
    NoSuchFile(u32),
    /// A later file, or the second reading, has begun.
    #[error("the reading of this file came too late")]
    OutOfOrder,
    /// The reading before which this call had to come has begun.
    #[error("what was delivered before must be known before the reading begins")]
    TooLate,
    /// `finish` was called before.
    #[error("the session is finished")]
    Finished,
}

/// Counts of a conversion so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the interface's own documentation is the one to keep")]
pub struct Counts {
    pub bytes: u64,
    pub lines: u64,
    pub bad_lines: u64,
    pub unknown_lines: u64,
    pub unknown_types: BTreeMap<String, u64>,
    pub generations: u64,
    pub spans: u64,
    /// Of those, the calls that failed.
    pub failed_spans: u64,
    /// Tool calls that are counted but not sent.
    pub spans_left_out: u64,
    pub traces: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_creation_tokens: u64,
    pub excluded_events: u64,
    pub held_events: u64,
    /// In milliseconds since 1970.
    pub held_since: Option<i64>,
    pub shortened_events: u64,
    pub redactions: redact::Counts,
    /// In milliseconds since 1970.
    pub earliest: Option<i64>,
}

/// How a session becomes events.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What one trace covers.
    pub grouping: TraceGrouping,
    /// Which tool calls become events.
    pub tool_spans: ToolSpans,
    /// What is held back.
    pub hold: Hold,
    /// Anything written before this time is left out, in milliseconds since 1970.
    pub since: Option<i64>,
}

/// Which events are held back because more of them may come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hold {
    /// Anything still open that was written after this time, in milliseconds since 1970.
    pub after: Option<i64>,
    /// Tool calls without a result, however old.
    pub calls: bool,
}

/// What was delivered before.
#[derive(Debug, Default)]
pub struct Before {
    /// How many bytes of each file were read.
    pub read: Vec<u64>,
    /// Together with the `$ai_trace` that covers them.
    pub covered: IdSet,
    /// Events sent without it, because the delivery ended too early.
    pub uncovered: IdSet,
}

impl Before {
    /// Was the line that begins at this offset read?
    pub fn has_read(&self, file: u32, start: u64) -> bool {
        self.read.get(file as usize).is_some_and(|end| start < *end)
    }

    /// Is it known how far the files were read?
    pub fn knows_lines(&self) -> bool {
        self.read.iter().any(|end| *end > 0)
    }
}
