//! What a session is opened with, and what is counted in it.

use crate::identity::IdSet;
use crate::options::Options;
pub use crate::options::TraceGrouping;
use crate::redact;
use std::collections::BTreeMap;
use thiserror::Error;

/// How a session is converted. Each field is explained in `wit/types.wit`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the interface's own documentation is the one to keep")]
pub struct ConversionOptions {
    pub distinct_id: Option<String>,
    pub git_repo: Option<String>,
    pub purpose: Option<String>,
    pub trace_grouping: TraceGrouping,
    pub privacy_mode: bool,
    pub redact_secrets: bool,
    pub max_attribute_length: u32,
    pub custom_properties: Option<String>,
    pub redact_patterns: Option<String>,
}

impl Default for ConversionOptions {
    fn default() -> Self {
        Self {
            distinct_id: None,
            git_repo: None,
            purpose: None,
            trace_grouping: TraceGrouping::Session,
            privacy_mode: false,
            redact_secrets: true,
            max_attribute_length: 12_000,
            custom_properties: None,
            redact_patterns: None,
        }
    }
}

impl From<&Options> for ConversionOptions {
    /// What the variables say; nothing of git.
    fn from(options: &Options) -> Self {
        Self {
            distinct_id: options.distinct_id.clone(),
            git_repo: None,
            purpose: options.purpose.clone(),
            trace_grouping: options.trace_grouping,
            privacy_mode: options.privacy_mode,
            redact_secrets: options.redact_secrets,
            redact_patterns: options.redact_patterns.clone(),
            max_attribute_length: options.max_attribute_length,
            custom_properties: options
                .custom_properties
                .as_ref()
                .map(|properties| serde_json::Value::Object(properties.clone()).to_string()),
        }
    }
}

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

/// What a file of a session is.
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

/// A call that came at the wrong time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// Holds the number of files.
    #[error("there are only {0} files")]
    NoSuchFile(u32),
    /// A later file, or the second reading, has begun.
    #[error("the reading of this file came too late")]
    OutOfOrder,
    /// The second reading has begun.
    #[error("events can be left out only before the second reading")]
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
    pub traces: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_creation_tokens: u64,
    pub excluded_events: u64,
    pub shortened_events: u64,
    pub redactions: redact::Counts,
    /// In milliseconds since 1970.
    pub earliest: Option<i64>,
}

/// Events that were delivered before.
#[derive(Debug, Default)]
pub struct Before {
    /// Together with the `$ai_trace` that covers them.
    pub covered: IdSet,
    /// Without it: the delivery ended too early.
    pub uncovered: IdSet,
}
