//! Which user lines are prompts, and how a prompt names its trace.
//!
//! Of 61,129 user lines in real transcripts only 3,990 were prompts: the others are tool results, output of local
//! commands, notifications, summaries, reminders. The client marks most of what a person did not write (`isMeta`,
//! `origin`, `promptSource`); the rest is recognized by its shape, not by a list of wrappers, because each release adds
//! new ones: a text made up entirely of one or more `<tag …>…</tag>` is the client's, unless the client says that a
//! person typed it.

use crate::transcript::entry::{Block, Content, Entry};
use crate::transcript::raw::Raw;
use crate::transcript::shape::{self, Shape};
use crate::transcript::text;
use std::borrow::Cow;

/// Maximum characters of a `$ai_trace_name`.
const NAME_LIMIT: usize = 100;

/// Characters read to name a trace.
pub const BEGINNING: usize = 2000;

/// Bytes of a text, as the file has it, that are read to classify it. A longer text is classified by its beginning.
const LONGEST_SHAPE: usize = 64 << 10;

/// Commands that say nothing about what a session is about, even if a model answers them.
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

/// What a user line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Something that a person, or a script in their place, asked.
    Prompt,
    /// A slash command or a `!` line. It is a prompt only if a model answers it.
    Command,
    /// The output of a local command: the command before it needed no model.
    Printed,
    /// The user stopped the response before this line.
    Stopped,
    /// The user stopped, or refused, the tool whose result precedes this line.
    StoppedTool,
    /// Something that the client tells the model: a background job ended, a teammate wrote.
    Told,
    /// A consequence of something else: a tool's result, a caveat, a summary, the text of a skill.
    Other,
}

/// Classifies a user line. `Entry`'s flags come first: what the client marks as its own is never a prompt.
pub fn said(entry: &Entry<'_>, content: &Content<'_>) -> Said {
    if entry.is_meta || entry.is_compact_summary || entry.is_visible_in_transcript_only || content.has_result() {
        return Said::Other;
    }
    let mut said = match by_shape(content) {
        Some(said) => said,
        None if has_picture(content) => Said::Prompt,
        None => return Said::Other,
    };
    let by_person = entry.by_person();
    if said == Said::Told && (by_person == Some(true) || is_instruction(entry, content)) {
        // A script may well wrap its prompt in tags.
        said = Said::Prompt;
    }
    if said == Said::Prompt && by_person == Some(false) { Said::Told } else { said }
}

/// Is what was queued while the model worked a prompt of a person? The client also queues objects for itself.
pub fn is_queued_prompt(content: &Content<'_>) -> bool {
    let is_object = |raw: Raw<'_>| {
        with_text(raw, |text, _| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok())
    };
    if content.texts().any(is_object) {
        return false;
    }
    by_shape(content).map_or_else(|| has_picture(content), |said| said == Said::Prompt)
}

/// What the texts say. `None` if there is none.
fn by_shape(content: &Content<'_>) -> Option<Said> {
    let mut said = None;
    for raw in content.texts() {
        let shape = match with_text(raw, shape::of) {
            Shape::Nothing => continue,
            // A person's words make the line theirs, whatever else is in it.
            Shape::Words => return Some(Said::Prompt),
            Shape::Command => Said::Command,
            Shape::Printed => Said::Printed,
            Shape::Stopped { tool: false } => Said::Stopped,
            Shape::Stopped { tool: true } => Said::StoppedTool,
            Shape::Wrapper => Said::Told,
        };
        said.get_or_insert(shape);
    }
    said
}

/// In a teammate's session, the lead's message is the prompt. If the client sends something in the same wrapper, it is
/// an object.
fn is_instruction(entry: &Entry<'_>, content: &Content<'_>) -> bool {
    entry.agent_name.is_some()
        && content.texts().any(|raw| with_text(raw, |text, _| shape::instruction(text).is_some()))
}

/// A picture alone can be a prompt.
fn has_picture(content: &Content<'_>) -> bool {
    let Content::Blocks(blocks) = content else { return false };
    blocks.iter().any(|b| matches!(b.kind.as_deref(), Some("image" | "document")))
}

/// Calls `then` with a text, as far as its shape needs it, and whether that is all of it.
fn with_text<T>(raw: Raw<'_>, then: impl FnOnce(&str, bool) -> T) -> T {
    let Some(inner) = raw.inner() else { return then(raw.get(), true) };
    let whole = inner.len() <= LONGEST_SHAPE;
    let wanted = if whole { usize::MAX / 4 } else { BEGINNING };
    let (text, total) = text::decode(raw, wanted).unwrap_or_default();
    let whole = whole && (!raw.is_elided() || text.chars().count() == total);
    then(&text, whole)
}

/// Of a prompt's blocks, those that a person wrote: the editor and the client put theirs into blocks of their own.
pub fn own_blocks<'b, 'a>(blocks: &'b [Block<'a>]) -> Vec<&'b Block<'a>> {
    let is_own = |block: &&Block<'_>| match block.text {
        Some(raw) => with_text(raw, |text, whole| shape::of(text, whole) == Shape::Words),
        None => true,
    };
    let own: Vec<_> = blocks.iter().filter(is_own).collect();
    if own.iter().any(|block| block.text.is_some()) || !blocks.iter().any(|block| block.text.is_some()) {
        return own;
    }
    blocks.iter().collect()
}

/// A prompt in the person's own words: without what the editor put before them, with a slash command as it was typed,
/// and with a lead's message out of its wrapper.
pub fn typed(text: &str) -> Cow<'_, str> {
    let text = shape::without_context(text);
    if let Some(line) = element(text, "bash-input").filter(|_| text.starts_with("<bash-input>")) {
        return Cow::Owned(format!("!{}", line.trim()));
    }
    if let Some(instruction) = shape::instruction(text) {
        return Cow::Borrowed(instruction);
    }
    let Some(name) = element(text, "command-name").map(str::trim).filter(|name| name.starts_with('/')) else {
        return Cow::Borrowed(text);
    };
    match element(text, "command-args").map(str::trim).filter(|arguments| !arguments.is_empty()) {
        Some(arguments) => Cow::Owned(format!("{name} {arguments}")),
        None => Cow::Owned(name.to_owned()),
    }
}

/// What a person wrote in this content begins with this raw text; and how many of its characters name a trace. What stands
/// before the words may be longer than a beginning.
pub fn first_words<'a>(content: &Content<'a>) -> Option<(Raw<'a>, usize)> {
    let raw = match content {
        Content::Text(raw) => *raw,
        Content::Blocks(blocks) => own_blocks(blocks).into_iter().find_map(|block| block.text)?,
    };
    let has_context = raw.get().trim_start_matches(['"', ' ']).starts_with('<');
    Some((raw, if has_context { LONGEST_SHAPE } else { BEGINNING }))
}

/// The same text, as it is.
pub fn beginning<'a>(content: &Content<'a>) -> Cow<'a, str> {
    let Some((raw, wanted)) = first_words(content) else { return Cow::Borrowed("") };
    text::decode(raw, wanted).unwrap_or_default().0
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// The name that a prompt gives to its trace: on one line, without tags and control characters, at most 100 characters
/// and no more than `limit`. `None` if nothing is left.
pub fn name(prompt: &str, limit: usize) -> Option<String> {
    let name = typed(prompt);
    let name = shape::without_controls(&name);
    let name = shape::without_tags(&name).split_whitespace().collect::<Vec<_>>().join(" ");
    let limit = limit.min(NAME_LIMIT);
    if name.is_empty() || limit == 0 {
        return None;
    }
    if name.chars().count() <= limit {
        return Some(name);
    }
    Some(format!("{}…", text::prefix(&name, limit - 1).trim_end()))
}

/// Does this prompt say nothing about its session: a command such as `/clear` (but not `/clearance`), or a `!` line?
pub fn is_housekeeping(name: &str) -> bool {
    name.split_whitespace().next().is_some_and(|word| HOUSEKEEPING.contains(&word))
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
    fn housekeeping_is_recognized_by_whole_words() {
        assert!(is_housekeeping("/clear") && is_housekeeping("/compact keep it short"));
        assert!(!is_housekeeping("/clearance sale") && !is_housekeeping("clear"));
    }

    fn said_by(line: &str) -> Said {
        let entry: Entry<'_> = serde_json::from_str(line).unwrap();
        let content = Content::of(entry.message.as_ref().and_then(|m| m.content));
        said(&entry, &content)
    }

    fn prompt(line: &str) -> bool {
        said_by(line) == Said::Prompt
    }

    #[test]
    fn what_a_person_asked_is_a_prompt() {
        for content in [
            r#""Fix it""#,
            r#"[{"type":"text","text":"Fix it"}]"#,
            r#"[{"type":"image","source":{"data":""}}]"#,
            r#"[{"type":"text","text":"<ide_opened_file>a.ts</ide_opened_file>"},{"type":"text","text":"Why?"}]"#,
            r#"[{"type":"text","text":"[Request interrupted by user]"},{"type":"text","text":"Do this instead"}]"#,
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

    #[test]
    fn what_the_client_marks_goes_before_the_shape() {
        let line = |marks: &str, content: &str| said_by(&format!(r#"{{{marks},"message":{{"content":"{content}"}}}}"#));
        for marks in [
            r#""origin":{"kind":"task-notification"}"#,
            r#""origin":{"kind":"something-new"},"promptSource":"typed""#,
            r#""promptSource":"system""#,
            r#""turnOrigin":"scheduled_task""#,
            r#""rowSource":"recorded""#,
        ] {
            assert_eq!(line(marks, "The job is done."), Said::Told, "{marks}");
        }
        for marks in [
            r#""origin":{"kind":"human"}"#,
            r#""promptSource":"sdk","turnOrigin":"sdk""#,
            r#""promptSource":"something-new""#,
            r#""turnOrigin":"human""#,
            r#""origin":5"#,
        ] {
            assert_eq!(line(marks, "Fix it"), Said::Prompt, "{marks}");
        }
        assert_eq!(line(r#""promptSource":"sdk""#, "<task>Fix it</task>"), Said::Prompt);
        assert_eq!(line(r#""turnOrigin":"human""#, "<bash-stdout>x</bash-stdout>"), Said::Printed);
    }

    #[test]
    fn commands_are_told_from_prompts() {
        for content in ["<command-name>/review</command-name>", "<bash-input>ls</bash-input>"] {
            assert_eq!(said_by(&format!(r#"{{"message":{{"content":"{content}"}}}}"#)), Said::Command);
        }
    }

    #[test]
    fn a_leads_message_is_the_prompt_of_a_teammates_session_alone() {
        let line = |name: &str, body: &str| {
            said_by(&format!(
                r#"{{{name}"message":{{"content":"<teammate-message teammate_id=\"lead\">\n{body}\n</teammate-message>"}}}}"#
            ))
        };
        assert_eq!(line(r#""agentName":"tester","#, "Write the tests."), Said::Prompt);
        assert_eq!(line(r#""agentName":"tester","#, r#"{\"type\":\"idle_notification\"}"#), Said::Told);
        assert_eq!(line("", "Write the tests."), Said::Told);
    }

    #[test]
    fn a_prompt_is_in_the_persons_own_words() {
        for (text, own) in [
            ("<ide_opened_file>a.ts</ide_opened_file>\nWhy?", "Why?"),
            ("<bash-input>git switch main</bash-input>", "!git switch main"),
            ("<teammate-message teammate_id=\"lead\">\nWrite.\n</teammate-message>", "Write."),
            ("<task>Fix</task>", "<task>Fix</task>"),
        ] {
            assert_eq!(typed(text), own);
        }
    }

    #[test]
    fn a_name_steers_no_terminal() {
        assert_eq!(name("\u{1b}[31mError:\u{1b}[0m build\u{7} failed", 100).as_deref(), Some("Error: build failed"));
    }
}
