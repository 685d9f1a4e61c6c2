//! Which user lines are prompts, and how a prompt is called.
//!
//! Of 61,129 user lines in real transcripts only 3,990 were prompts: the others are tool results, output of local
//! commands, notifications, summaries, reminders.

use crate::transcript::entry::{Content, Entry};
use crate::transcript::text;
use std::borrow::Cow;

/// Characters of a `$ai_trace_name`.
const NAME_LIMIT: usize = 100;

/// Characters that are read to know what a user line is, or to name a trace.
pub const BEGINNING: usize = 2000;

/// What a user line begins with that is no prompt.
const WRAPPERS: [&str; 7] = [
    "<local-command-stdout>",
    "<local-command-stderr>",
    "<local-command-caveat>",
    "<task-notification>",
    "<bash-stdout>",
    "<bash-stderr>",
    "[Request interrupted by user",
];

/// Commands that say nothing of what a session is about.
const HOUSEKEEPING: [&str; 22] = [
    "/clear",
    "/compact",
    "/config",
    "/context",
    "/cost",
    "/doctor",
    "/exit",
    "/export",
    "/fast",
    "/help",
    "/hooks",
    "/ide",
    "/login",
    "/logout",
    "/mcp",
    "/memory",
    "/model",
    "/permissions",
    "/quit",
    "/resume",
    "/status",
    "/usage",
];

/// Is this user line something a person (or a script in their place) asked?
pub fn is_prompt(entry: &Entry<'_>, content: &Content<'_>) -> bool {
    if entry.is_meta || entry.is_compact_summary || entry.is_visible_in_transcript_only {
        return false;
    }
    if content.has_result() {
        return false;
    }
    let beginning = beginning(content, entry.elided);
    let beginning = beginning.trim_start();
    if beginning.is_empty() {
        return has_picture(content);
    }
    !WRAPPERS.iter().any(|w| beginning.starts_with(w))
}

/// A picture alone can be a prompt.
fn has_picture(content: &Content<'_>) -> bool {
    let Content::Blocks(blocks) = content else { return false };
    blocks.iter().any(|b| matches!(b.kind.as_deref(), Some("image" | "document")))
}

/// The first characters of the first text.
pub fn beginning<'a>(content: &Content<'a>, elided: bool) -> Cow<'a, str> {
    let inner = content.first_text().and_then(|raw| raw.strip_prefix('"')).and_then(|raw| raw.strip_suffix('"'));
    inner.map_or(Cow::Borrowed(""), |inner| text::decode(inner, BEGINNING, elided).0)
}

/// A slash command as it was typed, `/name arguments`; any other text as it is.
pub fn typed(text: &str) -> Cow<'_, str> {
    let Some(name) = element(text, "command-name").map(str::trim).filter(|name| name.starts_with('/')) else {
        return Cow::Borrowed(text);
    };
    match element(text, "command-args").map(str::trim).filter(|arguments| !arguments.is_empty()) {
        Some(arguments) => Cow::Owned(format!("{name} {arguments}")),
        None => Cow::Owned(name.to_owned()),
    }
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// The name that a prompt gives to its trace: on one line, without tags, at most 100 characters and no more than `limit`.
/// Nothing if nothing is left.
pub fn name(prompt: &str, limit: usize) -> Option<String> {
    let name = typed(prompt);
    let name = without_tags(&name).split_whitespace().collect::<Vec<_>>().join(" ");
    let limit = limit.min(NAME_LIMIT);
    if name.is_empty() || limit == 0 {
        return None;
    }
    if name.chars().count() <= limit {
        return Some(name);
    }
    Some(format!("{}…", text::prefix(&name, limit - 1).trim_end()))
}

/// Is this name only a command such as `/clear`? (`/clearance` is not.)
pub fn is_housekeeping(name: &str) -> bool {
    name.split_whitespace().next().is_some_and(|word| HOUSEKEEPING.contains(&word))
}

/// Takes out tags that come in pairs, `<name …>` and `</name>`. A `<` that opens nothing, as in `a < b` or `Vec<u8>`, stays.
fn without_tags(text: &str) -> Cow<'_, str> {
    if !text.contains("</") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut opened: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let tag = &rest[at..];
        rest = match tag_at(tag) {
            Some((name, true, end)) if opened.contains(&name) => &tag[end..],
            Some((name, false, end)) if tag.contains(&format!("</{name}>")) => {
                opened.push(name);
                // A tag ends a word.
                out.push(' ');
                &tag[end..]
            }
            _ => {
                out.push('<');
                &tag[1..]
            }
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The tag at the start of `text`: its name, whether it closes, its length.
fn tag_at(text: &str) -> Option<(&str, bool, usize)> {
    let end = text.find('>')? + 1;
    let inner = &text[1..end - 1];
    let (closes, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
    let name = inner.split(char::is_whitespace).next()?;
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b))
        && !inner.contains('<');
    valid.then_some((name, closes, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line() {
        assert_eq!(name("  fix\n\n the   test ", 1000).as_deref(), Some("fix the test"));
        let long = name(&"word ".repeat(50), 1000).unwrap();
        assert!(long.chars().count() <= 100 && long.ends_with('…'));
        assert_eq!(name(" \n\t ", 1000), None);
    }

    #[test]
    fn tags_go_and_comparisons_stay() {
        assert_eq!(name("<b>why</b> is a < b && c > d?", 1000).as_deref(), Some("why is a < b && c > d?"));
        assert_eq!(name("use Vec<u8> or <T> here", 1000).as_deref(), Some("use Vec<u8> or <T> here"));
        assert_eq!(name(r#"<file path="x">body</file> go"#, 1000).as_deref(), Some("body go"));
        assert_eq!(name("<b></b>", 1000), None);
    }

    #[test]
    fn a_slash_command_is_called_as_it_was_typed() {
        let line = "<command-name>/review</command-name>\n  <command-message>review</command-message>\n <command-args>pr 5</command-args>";
        assert_eq!(name(line, 1000).as_deref(), Some("/review pr 5"));
    }

    #[test]
    fn housekeeping_is_recognised_by_whole_words() {
        assert!(is_housekeeping("/clear") && is_housekeeping("/compact keep it short"));
        assert!(!is_housekeeping("/clearance sale") && !is_housekeeping("clear"));
    }

    fn prompt(line: &str) -> bool {
        let entry: Entry<'_> = serde_json::from_str(line).unwrap();
        let content = Content::of(entry.message.as_ref().and_then(|m| m.content));
        is_prompt(&entry, &content)
    }

    #[test]
    fn what_a_person_asked_is_a_prompt() {
        for content in [
            r#""Fix it""#,
            r#"[{"type":"text","text":"Fix it"}]"#,
            r#"[{"type":"image","source":{"data":""}}]"#,
            r#""<command-name>/review</command-name>""#,
            r#""<bash-input>ls</bash-input>""#,
        ] {
            assert!(prompt(&format!(r#"{{"message":{{"content":{content}}}}}"#)), "{content}");
        }
    }

    #[test]
    fn what_the_client_wrote_is_no_prompt() {
        for content in [
            r#""<local-command-stdout>x</local-command-stdout>""#,
            r#""  <task-notification>x""#,
            r#""<bash-stdout>x</bash-stdout>""#,
            r#"[{"type":"text","text":"[Request interrupted by user for tool use]"}]"#,
            r#"[{"type":"tool_result","tool_use_id":"a","content":"x"}]"#,
            r#""""#,
        ] {
            assert!(!prompt(&format!(r#"{{"message":{{"content":{content}}}}}"#)), "{content}");
        }
        for flag in ["isMeta", "isCompactSummary", "isVisibleInTranscriptOnly"] {
            assert!(!prompt(&format!(r#"{{"{flag}":true,"message":{{"content":"Fix it"}}}}"#)), "{flag}");
        }
    }
}
