//! The outcome of a tool call.

use crate::transcript::entry::{Block, Content, Entry};
use crate::transcript::lenient;
use crate::transcript::raw::Raw;
use crate::transcript::text;

/// How the result of a tool that the user stopped ends, except for closing characters.
const INTERRUPTED: &str = "[Request interrupted by user for tool use";

/// How the result of a tool that the user refused begins, since 1.0.24.
const REJECTED: [&str; 4] = [
    "The user doesn't want to proceed with this tool use",
    "The user doesn't want to take this action",
    "The agent proposed a plan that was rejected by the user",
    "User rejected tool use",
];

/// The outcome of a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// The user refused it.
    Rejected,
    /// The user stopped it.
    Interrupted,
}

impl Verdict {
    /// The outcome of a result in this line. A user's refusal is written as an error, and so is a stop.
    pub fn of(entry: &Entry<'_>, result: &Block<'_>) -> Self {
        if result.is_error && is_rejected(entry, result) {
            return Self::Rejected;
        }
        // A tool can also read these words somewhere.
        let stopped = result.is_error && last_text(result).trim_end_matches(['"', ']']).ends_with(INTERRUPTED);
        if stopped || was_interrupted(entry) {
            return Self::Interrupted;
        }
        let raw = result.content.map_or("", Raw::get);
        let failed_search = raw.starts_with('{') && raw.contains("_tool_result_error");
        if result.is_error || failed_search { Self::Failed } else { Self::Succeeded }
    }
}

fn is_rejected(entry: &Entry<'_>, result: &Block<'_>) -> bool {
    if let Some(decision) = &entry.permission_decision
        && decision.decision.as_deref() == Some("reject")
    {
        // A refusal by a rule is not a person's.
        return decision.is_by_person();
    }
    let begins = |raw: &str| {
        let raw = raw.trim_start_matches('"');
        REJECTED.iter().any(|words| raw.starts_with(words))
    };
    begins(first_text(result)) || entry.tool_use_result.is_some_and(|raw| begins(text::prefix(raw.get(), 100)))
}

fn first_text<'a>(result: &Block<'a>) -> &'a str {
    Content::of(result.content).first_text().map_or("", Raw::get)
}

/// The last text of a tool result, raw.
fn last_text<'a>(result: &Block<'a>) -> &'a str {
    match Content::of(result.content) {
        Content::Text(raw) => raw.get(),
        Content::Blocks(blocks) => blocks.iter().rev().find_map(|b| b.text).map_or("", Raw::get),
    }
}

/// Did the user stop the tool whose result this line holds?
fn was_interrupted(entry: &Entry<'_>) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Interruption {
        #[serde(deserialize_with = "lenient::bool")]
        interrupted: bool,
    }
    // Most are large, and few need to be looked into.
    let says_so = |raw: &Raw<'_>| {
        const KEY: &str = "\"interrupted\":";
        let raw = raw.get();
        let is_true = |at: usize| raw[at + KEY.len()..].trim_ascii_start().starts_with("true");
        raw.starts_with('{') && memchr::memmem::find_iter(raw.as_bytes(), KEY).any(is_true)
    };
    entry.tool_use_result.filter(says_so).and_then(lenient::reparse::<Interruption>).is_some_and(|r| r.interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(marks: &str, result: &str) -> Verdict {
        let line = format!(r#"{{"type":"user"{marks},"message":{{"content":[{{"type":"tool_result",{result}}}]}}}}"#);
        let entry: Entry<'_> = serde_json::from_str(&line).unwrap();
        let Content::Blocks(blocks) = Content::of(entry.message.as_ref().unwrap().content) else { panic!("no blocks") };
        Verdict::of(&entry, &blocks[0])
    }

    #[test]
    fn a_users_no_is_no_error() {
        let no = r#""is_error":true,"content":"The user doesn't want to proceed with this tool use. The tool use was rejected""#;
        assert_eq!(verdict("", no), Verdict::Rejected);
        assert_eq!(
            verdict(r#","toolUseResult":"User rejected tool use""#, r#""is_error":true,"content":"no""#),
            Verdict::Rejected
        );
        let listed = r#""is_error":true,"content":[{"type":"text","text":"The user doesn't want to take this action right now."}]"#;
        assert_eq!(verdict("", listed), Verdict::Rejected);
        let by_user = r#","permissionDecision":{"decision":"reject","source":"user_reject"}"#;
        assert_eq!(verdict(by_user, r#""is_error":true,"content":"any words""#), Verdict::Rejected);
    }

    #[test]
    fn a_rules_no_is_an_error() {
        let by_rule =
            r#","toolDenialKind":"user-rejected","permissionDecision":{"decision":"reject","source":"config"}"#;
        assert_eq!(verdict(by_rule, r#""is_error":true,"content":"needs approval""#), Verdict::Failed);
    }

    #[test]
    fn a_tool_that_reads_these_words_was_not_refused() {
        let read = r#""content":"The user doesn't want to proceed with this tool use. The tool use was rejected""#;
        assert_eq!(verdict("", read), Verdict::Succeeded);
        assert_eq!(verdict("", r#""is_error":true,"content":"Exit code 1\nUser rejected tool use""#), Verdict::Failed);
    }

    #[test]
    fn a_stop_is_no_error() {
        let stop = r#""is_error":true,"content":"partial\n[Request interrupted by user for tool use]""#;
        assert_eq!(verdict("", stop), Verdict::Interrupted);
        assert_eq!(verdict(r#","toolUseResult":{"interrupted": true}"#, r#""content":"x""#), Verdict::Interrupted);
    }
}
