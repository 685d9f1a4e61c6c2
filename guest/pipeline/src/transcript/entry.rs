//! One line of a transcript, as far as it is used.
//!
//! Nothing here is required and no type is relied on: see [`crate::transcript::lenient`]. Texts stay raw JSON until it is known that
//! they are sent.

use crate::transcript::lenient::{self, Str};
use crate::transcript::lines::Line;
use crate::transcript::raw::Raw;
use crate::transcript::reader;
use serde::Deserialize;
use std::borrow::Cow;

/// One JSON object of a transcript.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry<'a> {
    /// `assistant`, `user`, `system`, …
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    /// What a `system` line says.
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
    /// On user lines from 2.1.81 on; several lines of one prompt share it.
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
    /// Of a failed call: `rate_limit`, `server_error`, …, or a status. (A `system` line has an object here.)
    #[serde(borrow)]
    pub error: Option<Raw<'a>>,
    /// The `id` of the `api-request` line of this response (2.1.300+).
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub request_ref: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub requested_model: Str<'a>,
    /// Of the request to Anthropic; other providers leave it out.
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
    /// Of a `cost-state` line: the client's own totals, by model.
    #[serde(borrow)]
    pub model_usage: Option<Raw<'a>>,
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub message: Option<Message<'a>>,
    /// What the client knows of a tool's result beyond what the model saw. Large; never sent.
    #[serde(borrow)]
    pub tool_use_result: Option<Raw<'a>>,
    /// Of a `progress` line.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub data: Option<ProgressLine<'a>>,
    /// The call that a `progress` line belongs to.
    #[serde(borrow, rename = "parentToolUseID", deserialize_with = "lenient::str")]
    pub parent_tool_use_id: Str<'a>,
    /// Who or what a user line is from, where the client says so (2.1.200+).
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub origin: Option<Origin<'a>>,
    /// How a prompt came in: `typed`, `sdk`, `system`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub prompt_source: Str<'a>,
    /// What began the turn: `human`, `sdk`, `task_notification`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub turn_origin: Str<'a>,
    /// Where a line is from that no person wrote: `harness`, `local`, `recorded` (2.1.332).
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub row_source: Str<'a>,
    /// The name of the teammate who wrote this line.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub agent_name: Str<'a>,
    /// Of an `attachment` line.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub attachment: Option<Attachment<'a>>,
    /// Of a `queue-operation` line: `enqueue`, `dequeue`, `remove`, `popAll`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub operation: Str<'a>,
    /// Why a `queue-operation` took something out.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub reason: Str<'a>,
    /// What a `queue-operation` is about.
    #[serde(borrow)]
    pub content: Option<Raw<'a>>,
    /// Of a `turn_duration` line: how long the client was at work, waiting left out.
    #[serde(deserialize_with = "lenient::milliseconds")]
    pub duration_ms: Option<u64>,
    /// Of an `api_error` line: how long the client waits before the next attempt.
    #[serde(deserialize_with = "lenient::milliseconds")]
    pub retry_in_ms: Option<u64>,
    /// The title that a person gave the session.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub custom_title: Str<'a>,
    /// The title that a model gave it.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub ai_title: Str<'a>,
    /// Of a `summary` line: the title of the conversation that ends in the line `leafUuid`, of this session or another one.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub summary: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub leaf_uuid: Str<'a>,
    /// Of a `worktree-state` line.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub worktree_session: Option<WorktreeSession<'a>>,
    /// Of a `pr-link` line.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub pr_url: Str<'a>,
    #[serde(deserialize_with = "lenient::count")]
    pub pr_number: Option<u64>,
    /// Who decided on a tool's use, and how.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub permission_decision: Option<PermissionDecision<'a>>,
    /// The line's long strings were cut.
    #[serde(skip)]
    pub elided: bool,
}

/// Who or what a user line is from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Origin<'a> {
    /// `human`, `task-notification`, …
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
}

/// What the model is told beside the user lines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Attachment<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    /// Of a `queued_command`: what was queued while the model worked. A string or a list of blocks.
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

/// Where a session was before it went into a worktree.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorktreeSession<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub original_cwd: Str<'a>,
}

/// Who decided on a tool's use, and how (2.1.300+).
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

/// `message` of an assistant or user line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub id: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub model: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub stop_reason: Str<'a>,
    #[serde(deserialize_with = "lenient::object")]
    pub usage: Option<Usage>,
    /// A string or a list of blocks.
    #[serde(borrow)]
    pub content: Option<Raw<'a>>,
}

/// Tokens, as far as they are sent. A count that is missing or no whole number is `None`.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Usage {
    #[serde(deserialize_with = "lenient::count")]
    pub input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    pub cache_creation: Option<CacheCreation>,
    #[serde(deserialize_with = "lenient::object")]
    pub server_tool_use: Option<ServerToolUse>,
    #[serde(deserialize_with = "lenient::object")]
    pub output_tokens_details: Option<OutputTokensDetails>,
    #[serde(deserialize_with = "owned_str")]
    pub service_tier: Option<String>,
    #[serde(deserialize_with = "owned_str")]
    pub speed: Option<String>,
    /// The calls of the model that one response took; what is not an object is `None`.
    #[serde(deserialize_with = "lenient::objects")]
    pub iterations: Vec<Option<Iteration>>,
}

/// One of the calls that a response took, with tokens of its own.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Iteration {
    /// `message`, `fallback_message`, `advisor_message`, `compaction`, …
    #[serde(rename = "type", deserialize_with = "owned_str")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "owned_str")]
    pub model: Option<String>,
    #[serde(deserialize_with = "lenient::count")]
    pub input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    pub cache_creation: Option<CacheCreation>,
}

/// What a `cost-state` line counts of one model (2.1.300+).
#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelUsage {
    #[serde(deserialize_with = "lenient::count")]
    pub input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_creation_input_tokens: Option<u64>,
}

fn owned_str<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(lenient::str(deserializer)?.map(Cow::into_owned))
}

/// How long the cache entries live that a call wrote.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct CacheCreation {
    #[serde(deserialize_with = "lenient::count")]
    pub ephemeral_5m_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub ephemeral_1h_input_tokens: Option<u64>,
}

/// Calls of tools that run at the model's provider.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServerToolUse {
    #[serde(deserialize_with = "lenient::count")]
    pub web_search_requests: Option<u64>,
}

/// What the output tokens were spent on.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct OutputTokensDetails {
    #[serde(deserialize_with = "lenient::count")]
    pub thinking_tokens: Option<u64>,
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

/// One content block.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Block<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    /// Of a `tool_use` or `server_tool_use`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub id: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub name: Str<'a>,
    #[serde(borrow)]
    pub input: Option<Raw<'a>>,
    #[serde(borrow)]
    pub text: Option<Raw<'a>>,
    #[serde(borrow)]
    pub thinking: Option<Raw<'a>>,
    /// Of a `tool_result`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub content: Option<Raw<'a>>,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_error: bool,
    /// Of a result of a search at the provider.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub title: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub url: Str<'a>,
    /// Of an `image` or `document`.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub source: Option<Source<'a>>,
}

/// Where an image or document is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Source<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub media_type: Str<'a>,
    /// Base64: only its length is used.
    #[serde(borrow)]
    pub data: Option<Raw<'a>>,
}

impl PermissionDecision<'_> {
    /// Did a person decide?
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

    /// The response that this line is a part of; `None` if it is none: the client has been seen to write messages that are
    /// `null`, a text, or the characters of one.
    pub fn response(&self) -> Option<&Message<'a>> {
        let message = self.message.as_ref()?;
        let has_id = message.id.as_deref().is_some_and(|id| !id.is_empty());
        (has_id || message.model.is_some() || message.usage.is_some()).then_some(message)
    }
}

/// A block, or `None` for an element that is not an object.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct MaybeBlock<'a>(#[serde(borrow, deserialize_with = "lenient::object")] Option<Block<'a>>);

/// What a message or a tool's result consists of.
#[derive(Debug)]
pub enum Content<'a> {
    /// One text, a raw JSON string.
    Text(Raw<'a>),
    /// Blocks.
    Blocks(Vec<Block<'a>>),
}

impl<'a> Content<'a> {
    /// Reads raw content. What is neither a string nor a list is a text, as it is written; `null` is nothing.
    pub fn of(raw: Option<Raw<'a>>) -> Self {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Content::Blocks(Vec::new()) };
        if raw.get().starts_with('[')
            && let Some(blocks) = lenient::reparse::<Vec<MaybeBlock<'_>>>(raw.get())
        {
            return Content::Blocks(blocks.into_iter().filter_map(|b| b.0).collect());
        }
        Content::Text(raw)
    }

    /// The texts, raw, in order.
    pub fn texts(&self) -> impl Iterator<Item = Raw<'a>> {
        let (text, blocks) = match self {
            Content::Text(raw) => (Some(*raw), [].as_slice()),
            Content::Blocks(blocks) => (None, blocks.as_slice()),
        };
        text.into_iter().chain(blocks.iter().filter_map(|block| block.text))
    }

    /// As blocks: a text is one.
    pub fn into_blocks(self) -> Vec<Block<'a>> {
        match self {
            Content::Text(raw) => vec![Block { text: Some(raw), ..Block::default() }],
            Content::Blocks(blocks) => blocks,
        }
    }

    /// The first text, raw.
    pub fn first_text(&self) -> Option<&'a str> {
        match self {
            Content::Text(raw) => Some(raw.get()),
            Content::Blocks(blocks) => blocks.iter().find_map(|b| b.text).map(Raw::get),
        }
    }

    /// The id of the call whose result it holds first.
    pub fn first_result(&self) -> Option<&str> {
        let Content::Blocks(blocks) = self else { return None };
        blocks.iter().find_map(|block| block.tool_use_id.as_deref())
    }

    /// Does it hold the result of a tool?
    pub fn has_result(&self) -> bool {
        match self {
            Content::Text(_) => false,
            Content::Blocks(blocks) => blocks.iter().any(|b| b.kind.as_deref() == Some("tool_result")),
        }
    }
}

/// Reads the objects of a line and calls `on_entry` for each; returns whether the line was good: one whole object.
///
/// What the client has been seen to write, and what becomes of it: a surrogate without its other half, or bytes that are
/// no UTF-8, cost a character and not the line; two objects without a line break between them are two entries of a bad
/// line; of a line that was cut short, or that begins with something else, and has a whole object glued to it, that
/// object is used.
pub fn read(line: Line<'_>, mut on_entry: impl FnMut(&Entry<'_>)) -> bool {
    if line.overlong {
        return false;
    }
    if let Some(mut entry) = plain(line.bytes) {
        entry.elided = line.elided;
        on_entry(&entry);
        return true;
    }
    let repaired = if has_surrogates(line.bytes) { repair(line.bytes) } else { None };
    let bytes = repaired.as_deref().map_or(line.bytes, str::as_bytes);
    let mut objects = 0;
    let mut rest = read_objects(bytes, line.elided, &mut objects, &mut on_entry);
    let valid = match rest {
        // Only now: looking for bytes that are not UTF-8 in each line costs more than reading the few that have any again.
        Some(broken) if repaired.is_none() => repair(broken),
        _ => None,
    };
    if let Some(valid) = &valid {
        rest = read_objects(valid.as_bytes(), line.elided, &mut objects, &mut on_entry);
    }
    if let Some(broken) = rest {
        if let Some(tail) = glued_object(broken) {
            read_objects(tail, line.elided, &mut objects, &mut on_entry);
        }
        return false;
    }
    objects == 1
}

/// A line that is one object in plain JSON, as nearly all are. It is checked once that all of it is UTF-8.
fn plain(line: &[u8]) -> Option<Entry<'_>> {
    let text = simdutf8::basic::from_utf8(line).ok().filter(|text| text.starts_with('{'))?;
    reader::from_str(text).ok()
}

/// Reads objects until one is broken, and returns that and what follows; adds to `count` the number of those before.
fn read_objects<'a>(
    bytes: &'a [u8],
    elided: bool,
    count: &mut usize,
    on_entry: &mut impl FnMut(&Entry<'_>),
) -> Option<&'a [u8]> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Entry<'_>>();
    let mut used = 0;
    while let Some(entry) = stream.next() {
        let rest = &bytes[used..];
        // serde would take an array for an object.
        let is_object = rest.trim_ascii_start().starts_with(b"{");
        let Some(mut entry) = entry.ok().filter(|_| is_object) else { return Some(rest) };
        entry.elided = elided;
        on_entry(&entry);
        *count += 1;
        used = stream.byte_offset();
    }
    None
}

/// Is there an escaped half of a character? Two of them are fine, one is what serde refuses, but only in a text that it
/// decodes: in one that stays raw it would come to light later.
fn has_surrogates(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, b"\\u").any(|at| matches!(bytes.get(at + 2), Some(b'd' | b'D')))
}

/// The same text in UTF-8 and without halves of surrogates, if that changes anything.
fn repair(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Borrowed(_)) && !has_surrogates(bytes) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let unit = |from: usize| {
            escape
                .get(from..from + 6)
                .filter(|e| e.starts_with("\\u"))
                .and_then(|e| u32::from_str_radix(&e[2..], 16).ok())
        };
        let kept = match (unit(0), unit(6)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 12,
            (Some(0xD800..0xE000), _) => {
                out.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&escape[..kept]);
        rest = &escape[kept..];
    }
    out.push_str(rest);
    (out != text).then_some(out).or_else(|| matches!(text, Cow::Owned(_)).then(|| text.into_owned()))
}

/// The whole object at the end of a line whose beginning is broken.
fn glued_object(bytes: &[u8]) -> Option<&[u8]> {
    const STARTS: [&[u8]; 2] = [b"{\"parentUuid\":", b"{\"type\":"];
    let candidates = STARTS.iter().flat_map(|start| memchr::memmem::rfind_iter(bytes, start).take(4));
    candidates
        .filter(|&at| at > 0 && !is_nested(bytes, at))
        .map(|at| &bytes[at..])
        .find(|tail| serde_json::from_slice::<serde::de::IgnoredAny>(tail).is_ok())
}

/// Is the object that begins at `at` a part of the one that the line begins with? Then it is not a line of its own: the line
/// was cut just behind it. A line that was cut within a string, as most are, goes on within that string.
fn is_nested(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at].trim_ascii_end();
    if !matches!(before.last(), Some(b':' | b',' | b'[')) {
        return false;
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in before {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    !in_string
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(line: &[u8]) -> (Vec<String>, bool) {
        let mut kinds = Vec::new();
        let whole = read(Line { bytes: line, elided: false, overlong: false }, |e| {
            kinds.push(e.kind.clone().unwrap_or_default().into_owned());
        });
        (kinds, whole)
    }

    fn one(line: &str) -> (Vec<String>, bool) {
        kinds(line.as_bytes())
    }

    #[test]
    fn fields_of_other_types_count_as_missing() {
        let line = r#"{"type":"user","uuid":5,"isMeta":"yes","timestamp":{"a":[1]},"message":"text","cwd":null,"apiErrorStatus":-1}"#;
        assert_eq!(one(line), (vec!["user".into()], true));
    }

    #[test]
    fn two_objects_glued_together_are_two_entries_of_a_bad_line() {
        assert_eq!(one(r#"{"type":"user"}{"type":"assistant"}"#), (vec!["user".into(), "assistant".into()], false));
    }

    #[test]
    fn an_object_glued_to_a_broken_one_is_used() {
        let line = r#"{"type":"user","message":{"role":"us{"parentUuid":null,"type":"assistant"}"#;
        assert_eq!(one(line), (vec!["assistant".into()], false));
    }

    #[test]
    fn an_object_behind_something_else_is_used() {
        let line = "\0\0\0\0{\"parentUuid\":null,\"type\":\"assistant\"}";
        assert_eq!(one(line), (vec!["assistant".into()], false));
    }

    #[test]
    fn a_line_cut_short_is_bad_and_gives_nothing() {
        for line in [
            r#"{"type":"user","message":{"role":"us"#,
            r#"{"type":"user","message":{"content":[{"type":"text","text":"a"}"#,
            r#"{"type":"progress","data":{"message":{"type":"assistant","message":{"id":"msg_1"}}"#,
        ] {
            assert_eq!(one(line), (vec![], false), "{line}");
        }
    }

    #[test]
    fn a_lone_surrogate_costs_no_block() {
        let line = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"a","name":"x\ud83d"},{"type":"text","text":"\ude00b"}]}}"#;
        let mut blocks = 0;
        let whole = read(Line { bytes: line.as_bytes(), elided: false, overlong: false }, |entry| {
            let Content::Blocks(found) = Content::of(entry.message.as_ref().unwrap().content) else { panic!("a text") };
            blocks = found.len();
        });
        assert!(whole);
        assert_eq!(blocks, 2);
    }

    #[test]
    fn a_lone_surrogate_costs_a_character_and_not_the_line() {
        assert_eq!(one(r#"{"type":"user","cwd":"a\ud83d","x":"\\ud83d"}"#), (vec!["user".into()], true));
    }

    #[test]
    fn bytes_that_are_no_utf8_cost_a_character_and_not_the_line() {
        assert_eq!(kinds(b"{\"type\":\"user\",\"cwd\":\"a\xff\"}"), (vec!["user".into()], true));
    }

    #[test]
    fn arrays_and_scalars_are_bad_lines() {
        for line in ["[\"user\"]", "5", "\"text\"", "null", "not json", "{", "{}[1]"] {
            assert!(!one(line).1, "{line}");
        }
    }

    #[test]
    fn a_content_element_that_is_no_block_does_not_cost_the_others() {
        let raw: Raw<'_> = serde_json::from_str(r#"["text",1,null,{"type":"text","text":"a"},[1]]"#).unwrap();
        let Content::Blocks(blocks) = Content::of(Some(raw)) else { panic!("no blocks") };
        assert_eq!(blocks.len(), 1);
    }

    #[test]
    fn counts_that_are_no_whole_number_are_missing() {
        let usage: Usage = serde_json::from_str(r#"{"input_tokens":3.0,"output_tokens":-1,"cache_read_input_tokens":"7","cache_creation_input_tokens":1.5}"#).unwrap();
        assert_eq!(usage, Usage { input_tokens: Some(3), ..Usage::default() });
    }
}
