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
    /// Position in the order of calls, for those still open at the end.
    pub sequence: u64,
    /// The generation that made the call.
    pub generation: EventId,
    /// Index of its turn.
    pub turn: u32,
    /// Index of its thread.
    pub thread: u32,
    /// Where the call was written.
    pub context: Rc<Context>,
    /// The tool's name.
    pub name: String,
    /// The MCP server, if the line names it.
    pub server: Option<String>,
    /// The input as it is sent.
    pub input: Rc<Text>,
    /// When the call was written.
    pub called: i64,
    /// What it is about to do, as far as its outcome depends on it.
    pub intent: Intent,
}

/// A tool's result.
#[derive(Debug)]
pub struct ToolResult {
    /// When it was written, if that is known.
    pub at: Option<i64>,
    /// The output as it is sent.
    pub output: Rc<Text>,
    /// The call's outcome.
    pub verdict: Verdict,
    /// Milliseconds that the call waited: for a permission, an answer, a timer.
    pub waited: i64,
    /// The change that it made.
    pub change: Option<Change>,
    /// Commits that it made, by key.
    pub commits: Vec<u128>,
}

impl ToolResult {
    /// Did the call fail? A user's refusal is not a failure.
    pub fn is_error(&self) -> bool {
        self.verdict == Verdict::Failed
    }
}

impl Span {
    /// When the operation ended.
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
        p.some("claude_code_mcp_server", mcp_server(&self.name, self.server.as_deref()));
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
                if result.is_error() {
                    p.content(|p| {
                        p.clean("$ai_error", rules.of_within(&result.output.decoded(), ERROR_LIMIT).as_str());
                    });
                }
            }
        }
        p.content(|p| {
            p.clean("$ai_input_state", self.input.as_ref());
            if let Some(result) = result {
                p.clean("$ai_output_state", result.output.as_ref());
            }
        });
    }
}

/// The server of a tool named `mcp__<server>__<tool>`. A server's name may contain `__`, a tool's rarely does; if the
/// line names the server (2.1.197+), that decides.
fn mcp_server<'a>(name: &'a str, attributed: Option<&str>) -> Option<&'a str> {
    let rest = name.strip_prefix("mcp__")?;
    let says = attributed.filter(|server| !server.is_empty()).is_some_and(|server| {
        let mut own = server.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
        let mut begins = rest.chars();
        own.all(|c| begins.next() == Some(c)) && begins.as_str().starts_with("__")
    });
    let server = match attributed {
        Some(attributed) if says => rest.char_indices().nth(attributed.chars().count()).map(|(end, _)| &rest[..end])?,
        _ => rest.trim_end_matches('_').rsplit_once("__").or_else(|| rest.split_once("__"))?.0,
    };
    Some(server).filter(|server| !server.is_empty())
}

#[cfg(test)]
mod tests {
    use super::mcp_server;

    #[test]
    fn the_server_of_a_tool() {
        for (name, attributed, server) in [
            ("mcp__github__create_issue", None, Some("github")),
            ("mcp__my__server__do_thing", None, Some("my__server")),
            ("mcp__plugin_context7_context7__resolve-library-id", None, Some("plugin_context7_context7")),
            ("mcp__a__b__c__tool", None, Some("a__b__c")),
            ("mcp__github__create__issue", Some("github"), Some("github")),
            ("mcp__my_server__do__thing", Some("my server"), Some("my_server")),
            ("mcp__github__create_issue", Some("other"), Some("github")),
            ("mcp__github__", None, Some("github")),
            ("mcp__", None, None),
            ("mcp____tool", None, None),
            ("mcp__tool", None, None),
            ("Bash", Some("github"), None),
        ] {
            assert_eq!(mcp_server(name, attributed), server, "{name}");
        }
    }
}
