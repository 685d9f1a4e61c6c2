//! One line of a transcript: the fields that this program uses.
//!
//! No field is required, and no type is relied on: see [`crate::transcript::lenient`]. Texts stay raw JSON until they
//! are known to be sent.

use crate::transcript::lenient::{self, Str};
use crate::transcript::raw::Raw;
use serde::Deserialize;

mod content;
mod message;
mod read;

pub use content::{Block, Content, Source};
pub use message::{Iteration, Message, ModelUsage, Usage};
pub use read::read;

/// One JSON object of a transcript.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry<'a> {
    /// `assistant`, `user`, `system`, …
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    /// The kind of a `system` line.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub subtype: Str<'a>,
    /// Id of an `api-request` line.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub id: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub uuid: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub parent_uuid: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub timestamp: Str<'a>,
    /// The session whose process wrote the line (2.1.330+). `sessionId` is the one that it is in, also on a copy.
    #[serde(borrow, rename = "session_id", deserialize_with = "lenient::str")]
    pub written_in: Str<'a>,
    /// On user lines since 2.1.81; several lines of one prompt share it.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub prompt_id: Str<'a>,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_sidechain: bool,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_meta: bool,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_compact_summary: bool,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_visible_in_transcript_only: bool,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_api_error_message: bool,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_aborted_mid_stream: bool,
    #[serde(deserialize_with = "lenient::count")]
    pub api_error_status: Option<u64>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub api_error_type: Str<'a>,
    /// On a failed call: `rate_limit`, `server_error`, …, or a status. (A `system` line has an object here.)
    #[serde(borrow)]
    pub error: Option<Raw<'a>>,
    /// The `id` of the `api-request` line of this response (2.1.300+).
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub request_ref: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub requested_model: Str<'a>,
    /// Id of the request to Anthropic; other providers omit it.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub request_id: Str<'a>,
    /// Which block of its response this line holds (2.1.330).
    #[serde(deserialize_with = "lenient::count")]
    pub api_block_index: Option<u64>,
    /// The `uuid` of the line with the call whose result this line holds (2.1.1+).
    #[serde(borrow, rename = "sourceToolAssistantUUID", deserialize_with = "lenient::str")]
    pub source_tool_assistant_uuid: Str<'a>,
    /// `message.id` of the response that the user stopped.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub interrupted_message_id: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub cwd: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub git_branch: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub version: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub entrypoint: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub effort: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub attribution_agent: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub attribution_skill: Str<'a>,
    #[serde(borrow, rename = "attributionMcpServer", deserialize_with = "lenient::str")]
    pub attribution_mcp_server: Str<'a>,
    /// On a `cost-state` line: the client's own totals, by model.
    #[serde(borrow)]
    pub model_usage: Option<Raw<'a>>,
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub message: Option<Message<'a>>,
    /// What the client knows about a tool's result beyond what the model saw. Large; never sent.
    #[serde(borrow)]
    pub tool_use_result: Option<Raw<'a>>,
    /// On a `progress` line.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub data: Option<ProgressLine<'a>>,
    /// The call that a `progress` line belongs to.
    #[serde(borrow, rename = "parentToolUseID", deserialize_with = "lenient::str")]
    pub parent_tool_use_id: Str<'a>,
    /// Who or what sent a user line, if the client says so (2.1.200+).
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub origin: Option<Origin<'a>>,
    /// How a prompt was entered: `typed`, `sdk`, `system`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub prompt_source: Str<'a>,
    /// What started the turn: `human`, `sdk`, `task_notification`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub turn_origin: Str<'a>,
    /// The source of a line that no person wrote: `harness`, `local`, `recorded` (2.1.332).
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub row_source: Str<'a>,
    /// The name of the teammate who wrote this line.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub agent_name: Str<'a>,
    /// On an `attachment` line.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub attachment: Option<Attachment<'a>>,
    /// On a `queue-operation` line: `enqueue`, `dequeue`, `remove`, `popAll`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub operation: Str<'a>,
    /// Why a `queue-operation` removed something.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub reason: Str<'a>,
    /// The content of a `queue-operation`.
    #[serde(borrow)]
    pub content: Option<Raw<'a>>,
    /// On a `turn_duration` line: how long the client worked, without the time it waited.
    #[serde(deserialize_with = "lenient::milliseconds")]
    pub duration_ms: Option<u64>,
    /// On an `api_error` line: how long the client waits before the next attempt.
    #[serde(deserialize_with = "lenient::milliseconds")]
    pub retry_in_ms: Option<u64>,
    /// The session's title, given by a person.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub custom_title: Str<'a>,
    /// The session's title, given by a model.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub ai_title: Str<'a>,
    /// On a `summary` line: the title of the conversation that ends in the line `leafUuid`, in this session or another
    /// one.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub summary: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub leaf_uuid: Str<'a>,
    /// On a `worktree-state` line.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub worktree_session: Option<WorktreeSession<'a>>,
    /// On a `pr-link` line.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub pr_url: Str<'a>,
    #[serde(deserialize_with = "lenient::count")]
    pub pr_number: Option<u64>,
    /// Who allowed or denied a tool's use, and how.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub permission_decision: Option<PermissionDecision<'a>>,
}

/// Who or what sent a user line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Origin<'a> {
    /// `human`, `task-notification`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
}

/// What the model is told besides the user lines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attachment<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    /// On a `queued_command`: what was queued while the model worked. A string or a list of blocks.
    #[serde(borrow)]
    pub prompt: Option<Raw<'a>>,
    /// `prompt`, `task-notification`, …
    #[serde(borrow, rename = "commandMode", deserialize_with = "lenient::str")]
    pub command_mode: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub origin: Option<Origin<'a>>,
    #[serde(rename = "isMeta", deserialize_with = "lenient::bool")]
    pub is_meta: bool,
}

/// Where a session ran before it moved into a worktree.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorktreeSession<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub original_cwd: Str<'a>,
}

/// Who allowed or denied a tool's use, and how (2.1.300+).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PermissionDecision<'a> {
    /// `accept` or `reject`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub decision: Str<'a>,
    /// `config`, `user_…`, `hook`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub source: Str<'a>,
}

/// `data` of a `progress` line (2.1.11 to 2.1.83).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProgressLine<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub agent_id: Str<'a>,
    /// A whole line of the sub-agent's transcript.
    #[serde(borrow)]
    pub message: Option<Raw<'a>>,
}

impl PermissionDecision<'_> {
    /// Did a person make the decision?
    pub fn is_by_person(&self) -> bool {
        self.source.as_deref().is_some_and(|source| source.starts_with("user"))
    }
}

impl<'a> Entry<'a> {
    /// Does the client say that a person (or a script in their place) wrote this user line, or that nobody did?
    pub fn by_person(&self) -> Option<bool> {
        if let Some(kind) = self.origin.as_ref().and_then(|origin| origin.kind.as_deref()) {
            return Some(kind == "human");
        }
        match (self.prompt_source.as_deref(), self.turn_origin.as_deref()) {
            (Some("typed" | "sdk"), _) => Some(true),
            (Some("system"), _) => Some(false),
            _ if self.row_source.is_some() => Some(false),
            (_, Some(origin)) if !matches!(origin, "human" | "sdk") => Some(false),
            _ => None,
        }
    }

    /// The response that this line is a part of, or `None` if it is not part of one: the client sometimes writes
    /// messages that are `null`, a text, or the characters of a text.
    pub fn response(&self) -> Option<&Message<'a>> {
        let message = self.message.as_ref()?;
        let has_id = message.id.as_deref().is_some_and(|id| !id.is_empty());
        (has_id || message.model.is_some() || message.usage.is_some()).then_some(message)
    }
}
