//! Spans: one for each tool call.

use crate::events::event::{Context, Object};
use crate::events::outcome::{Change, Intent};
use crate::identity::EventId;
use crate::time;
use crate::transcript::context::LONGEST_NAME;
use crate::transcript::text::{ERROR_LIMIT, Text, TextRules, prefix};
use crate::transcript::verdict::Verdict;
use std::rc::Rc;

/// A call whose result has not been read yet.
#[derive(Debug)]
pub struct Span {
    /// Its event's id.
    pub id: EventId,
    /// Order of the call, for those still open at the end.
    pub sequence: u64,
    /// The generation that called.
    pub generation: EventId,
    /// Index of its turn.
    pub turn: u32,
    /// Index of its thread.
    pub thread: u32,
    /// Where the call was written.
    pub context: Rc<Context>,
    /// The tool's name.
    pub name: String,
    /// The input, as it is sent.
    pub input: Rc<Text>,
    /// When the call was written.
    pub called: i64,
    /// What it is about to do, as far as its outcome needs to know.
    pub intent: Intent,
}

/// A tool's result.
#[derive(Debug)]
pub struct ToolResult {
    /// When it was written, if that is known.
    pub at: Option<i64>,
    /// The output, as it is sent.
    pub output: Rc<Text>,
    /// What became of the call.
    pub verdict: Verdict,
    /// Milliseconds that the call waited: for a permission, an answer, a timer.
    pub waited: i64,
    /// What it changed.
    pub change: Option<Change>,
    /// Commits that it made, by key.
    pub commits: Vec<u128>,
}

impl ToolResult {
    /// Did the call fail? A user's "no" is no failure.
    pub fn is_error(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

impl Span {
    /// The end of the operation.
    pub fn timestamp(&self, result: Option<&ToolResult>) -> i64 {
        result.and_then(|r| r.at).unwrap_or(self.called)
    }

    /// Writes its own properties.
    pub fn write(&self, p: &mut Object, rules: &TextRules, result: Option<&ToolResult>, agent: Option<&str>) {
        p.field("$ai_span_id", &self.id.to_string());
        p.field("$ai_parent_id", &self.generation.to_string());
        p.some("$ai_agent_name", agent.map(|agent| prefix(agent, LONGEST_NAME)));
        p.field("$ai_span_name", &self.name);
        p.field("$ai_span_type", "tool");
        p.some("claude_code_mcp_server", mcp_server(&self.name));
        p.field("$ai_is_error", &result.is_some_and(ToolResult::is_error));
        match result {
            None => p.flag("claude_code_no_result", true),
            Some(result) => {
                let ran = |at: i64| time::seconds(self.called.saturating_add(result.waited), at);
                p.some("$ai_latency", result.at.map(ran));
                p.some("claude_code_wait_seconds", (result.waited > 0).then_some(result.waited as f64 / 1000.0));
                p.flag("claude_code_rejected", result.verdict == Verdict::Rejected);
                p.flag("claude_code_interrupted", result.verdict == Verdict::Interrupted);
                if let Some(change) = &result.change {
                    p.field("claude_code_lines_added", &change.added);
                    p.field("claude_code_lines_removed", &change.removed);
                    p.flag("claude_code_user_modified", change.user_modified);
                }
                if result.is_error() && !rules.privacy {
                    p.clean("$ai_error", &rules.of_within(&result.output.decoded(), ERROR_LIMIT));
                }
            }
        }
        if !rules.privacy {
            p.clean("$ai_input_state", self.input.as_ref());
            if let Some(result) = result {
                p.clean("$ai_output_state", result.output.as_ref());
            }
        }
    }
}

/// The server of a tool named `mcp__<server>__<tool>`.
fn mcp_server(name: &str) -> Option<&str> {
    let (server, _) = name.strip_prefix("mcp__")?.split_once("__")?;
    Some(server).filter(|server| !server.is_empty())
}
