//! Recognizes the client's own texts by their shape.

use std::borrow::Cow;

/// What a text is, judging by its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// It is empty.
    Nothing,
    /// A person's words, perhaps after context from the editor.
    Words,
    /// A slash command, or a `!` line.
    Command,
    /// The output of a local command.
    Printed,
    /// `[Request interrupted by user]`, or the same for a tool call.
    Stopped {
        /// Was a tool stopped, rather than a response?
        tool: bool,
    },
    /// Made up entirely of one or more `<tag …>…</tag>`.
    Wrapper,
}

/// Classifies a text. `whole`: the text is complete, so a wrapper must also end.
pub fn of(text: &str, whole: bool) -> Shape {
    let all = text.trim();
    let text = without_context(all);
    if text.is_empty() {
        return if all.is_empty() { Shape::Nothing } else { Shape::Wrapper };
    }
    if let Some(shape) = stopped(text) {
        return shape;
    }
    // What 1.0 prints when it does not have a command.
    if text.strip_prefix("Unknown slash command: ").is_some_and(|name| !name.contains(char::is_whitespace)) {
        return Shape::Printed;
    }
    // `Another Claude session sent a message:` followed by the message.
    if let Some((first, rest)) = text.split_once('\n')
        && first.ends_with(':')
        && Tag::at(rest).is_some_and(|tag| !tag.closes && is_clients(tag.name))
        && is_wrapped(rest, whole)
    {
        return Shape::Wrapper;
    }
    let Some(Tag { name, .. }) = Tag::at(text).filter(|tag| !tag.closes) else { return Shape::Words };
    if name == "bash-input" || name == "command-name" || name == "command-message" || name == "command-args" {
        return Shape::Command;
    }
    if name.ends_with("-stdout") || name.ends_with("-stderr") {
        return Shape::Printed;
    }
    // The client adds a sentence after some of these.
    if is_clients(name) || is_wrapped(text, whole) { Shape::Wrapper } else { Shape::Words }
}

/// Is a tag of this name always the client's, whatever surrounds it?
fn is_clients(name: &str) -> bool {
    ["-notification", "-message", "-caveat", "-reminder"].iter().any(|end| name.ends_with(end))
}

/// `[Request interrupted by user]`: in brackets, with nothing else.
fn stopped(text: &str) -> Option<Shape> {
    let inner = text.strip_prefix('[')?.strip_suffix(']').filter(|inner| !inner.contains(['[', ']', '\n']))?;
    let inner = inner.to_ascii_lowercase();
    let is_stop = inner.contains("interrupted") || inner.contains("cancelled") || inner.contains("canceled");
    (is_stop && inner.contains("by user") || inner.contains("by the user"))
        .then(|| Shape::Stopped { tool: inner.contains("tool") })
}

/// Is the text nothing but elements? If it is not whole, its beginning must be one.
fn is_wrapped(text: &str, whole: bool) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return true;
        }
        // A tag with a component's name, `<Button>`, is from a person.
        let Some(tag) = Tag::at(rest).filter(|tag| !tag.closes && !tag.name.contains(|c: char| c.is_ascii_uppercase()))
        else {
            return false;
        };
        match after_element(rest, &tag) {
            Some(after) => rest = after,
            None => return !whole,
        }
    }
}

/// The text after the element that begins with this tag.
fn after_element<'a>(text: &'a str, tag: &Tag<'_>) -> Option<&'a str> {
    if tag.is_empty {
        return Some(&text[tag.length..]);
    }
    let (opening, closing) = (format!("<{}", tag.name), format!("</{}>", tag.name));
    let mut rest = &text[tag.length..];
    let mut depth = 1;
    while depth > 0 {
        let end = rest.find(&closing)?;
        let inside = &rest[..end];
        depth += inside
            .match_indices(&opening)
            .filter(|(at, _)| Tag::at(&inside[*at..]).is_some_and(|inner| inner.name == tag.name && !inner.is_empty))
            .count();
        depth -= 1;
        rest = &rest[end + closing.len()..];
    }
    Some(rest)
}

/// Does an editor or the client put this tag in front of a person's words, in the same text?
fn is_context(name: &str) -> bool {
    name.starts_with("ide_") || name.starts_with("ide-") || name == "system-reminder"
}

/// The text without the context that the editor and the client put before it.
pub fn without_context(text: &str) -> &str {
    let mut rest = text.trim_start();
    while let Some(tag) = Tag::at(rest).filter(|tag| !tag.closes && is_context(tag.name)) {
        let Some(after) = after_element(rest, &tag) else { break };
        rest = after.trim_start();
    }
    // A text without context stays as it is.
    if rest.len() == text.trim_start().len() { text } else { rest }
}

/// What the lead tells a teammate: the text in the wrapper, unless it is one of the client's objects.
pub fn instruction(text: &str) -> Option<&str> {
    let text = text.trim();
    let tag = Tag::at(text).filter(|tag| !tag.closes && tag.name == "teammate-message")?;
    let inner = text[tag.length..].trim();
    let inner = inner.strip_suffix("</teammate-message>").unwrap_or(inner).trim();
    Some(inner).filter(|inner| !inner.is_empty() && !inner.starts_with('{'))
}

/// Removes tags that come in pairs, `<name …>` and `</name>`. Keeps a `<` that opens nothing, as in `a < b` or
/// `Vec<u8>`.
pub fn without_tags(text: &str) -> Cow<'_, str> {
    if !text.contains("</") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut opened: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let from = &rest[at..];
        rest = match Tag::at(from) {
            Some(tag) if tag.closes && opened.contains(&tag.name) => &from[tag.length..],
            Some(tag) if !tag.closes && from.contains(&format!("</{}>", tag.name)) => {
                opened.push(tag.name);
                // A tag ends a word.
                out.push(' ');
                &from[tag.length..]
            }
            _ => {
                out.push('<');
                &from[1..]
            }
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Removes everything that controls a terminal: escape sequences, control characters, and characters that change the
/// writing direction.
pub fn without_controls(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\u{1b}' => after_escape(&rest[1..]),
            '\u{9b}' => after_csi(&rest[c.len_utf8()..]),
            c => {
                // A line break separates words.
                if c.is_whitespace() {
                    out.push(' ');
                } else if !steers(c) {
                    out.push(c);
                }
                &rest[c.len_utf8()..]
            }
        };
    }
    Cow::Owned(out)
}

/// The rest of the text after an escape sequence whose ESC was already read.
fn after_escape(text: &str) -> &str {
    match text.chars().next() {
        Some('[') => after_csi(&text[1..]),
        // A title or a link: up to BEL or ESC \.
        Some(']' | 'P' | '_' | '^' | 'X') => match text.find(['\u{7}', '\u{1b}', '\u{9c}']) {
            Some(end) if text[end..].starts_with("\u{1b}\\") => &text[end + 2..],
            Some(end) if text[end..].starts_with('\u{1b}') => &text[end..],
            Some(end) => &text[end + text[end..].chars().next().map_or(0, char::len_utf8)..],
            None => text,
        },
        Some(c) if c.is_ascii_graphic() => &text[1..],
        _ => text,
    }
}

/// The rest of the text after a control sequence: parameters, then a letter.
fn after_csi(text: &str) -> &str {
    let rest = text.trim_start_matches(|c: char| (' '..='?').contains(&c));
    match rest.chars().next() {
        Some('@'..='~') => &rest[1..],
        _ => rest,
    }
}

/// A tag at the start of a text.
#[derive(Debug)]
struct Tag<'a> {
    name: &'a str,
    /// `</name>`
    closes: bool,
    /// `<name/>`
    is_empty: bool,
    /// Length in bytes.
    length: usize,
}

impl<'a> Tag<'a> {
    fn at(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix('<')?;
        let end = inner.find('>')?;
        let inner = &inner[..end];
        let (closes, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
        let (is_empty, inner) = inner.strip_suffix('/').map_or((false, inner), |inner| (true, inner));
        let name = inner.split(char::is_whitespace).next()?;
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b))
            && !inner.contains('<');
        valid.then_some(Self { name, closes, is_empty, length: end + 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_wholly_elements_is_a_wrapper_whatever_they_are_called() {
        for text in [
            "<task-notification>\n<task-id>b1</task-id>\n</task-notification>",
            "<tick>10:00</tick>",
            "  <new-thing kind=\"x\">a</new-thing>\n<new-thing kind=\"y\">b</new-thing>\n",
            "<channel_update source=\"chat\"/>",
            "<a><a>nested</a></a><b>x</b>",
            "<ide_selection>let x</ide_selection>",
            "<system-reminder>x</system-reminder>",
            "<agent-notification>x</agent-notification>\nFull transcript: /somewhere",
            "Another Claude session sent a message:\n<teammate-message teammate_id=\"b\">\n{}\n</teammate-message>",
        ] {
            assert_eq!(of(text, true), Shape::Wrapper, "{text}");
        }
    }

    #[test]
    fn words_are_words_whatever_stands_in_them() {
        for text in [
            "Fix it",
            "a < b",
            "<T> is a type parameter",
            "<div> is not centered",
            "<b>why</b> is this bold?",
            "Look: <log>x</log>",
            "Look:\n<log>x</log>",
            "Why is this sent:\n<teammate-message>x</teammate-message>\nand not shown?",
            "<Button>Buy</Button>",
            "<log>one</log> and <log>two",
            "[x] done",
            "[1, 2]",
            "[the request was interrupted]",
            "<ide_opened_file>a.ts</ide_opened_file>\nWhy does it fail?",
            "<system-reminder>x</system-reminder><ide_selection>y</ide_selection> Rename this",
            "</b> is a closing tag",
        ] {
            assert_eq!(of(text, true), Shape::Words, "{text}");
        }
    }

    #[test]
    fn a_wrapper_whose_end_is_not_there_is_one_only_if_the_text_was_cut() {
        assert_eq!(of("<tick>a long", false), Shape::Wrapper);
        assert_eq!(of("<tick>a long", true), Shape::Words);
    }

    #[test]
    fn commands_their_output_and_interruptions_have_their_shapes() {
        for (text, shape) in [
            ("", Shape::Nothing),
            ("<command-name>/model</command-name>\n<command-args></command-args>", Shape::Command),
            (
                "<command-message>init is analyzing…</command-message>\n<command-name>/init</command-name>",
                Shape::Command,
            ),
            ("<bash-input>git switch main</bash-input>", Shape::Command),
            ("<local-command-stdout></local-command-stdout>", Shape::Printed),
            ("<local-command-stderr>no</local-command-stderr>", Shape::Printed),
            ("<bash-stdout>x</bash-stdout><bash-stderr></bash-stderr>", Shape::Printed),
            ("Unknown slash command: rename", Shape::Printed),
            ("Unknown slash command: why does it say that?", Shape::Words),
            ("[Request interrupted by user]", Shape::Stopped { tool: false }),
            ("[Request interrupted by user for tool use]", Shape::Stopped { tool: true }),
            ("[Response cancelled by user]", Shape::Stopped { tool: false }),
        ] {
            assert_eq!(of(text, true), shape, "{text}");
        }
    }

    #[test]
    fn only_what_stands_in_front_is_context() {
        assert_eq!(without_context("<ide_selection>x</ide_selection>\n\nRename"), "Rename");
        assert_eq!(
            without_context("Rename <ide_selection>x</ide_selection>"),
            "Rename <ide_selection>x</ide_selection>"
        );
        assert_eq!(without_context("  as it is"), "  as it is");
        assert_eq!(without_context("<ide_selection>open"), "<ide_selection>open");
    }

    #[test]
    fn a_leads_message_is_an_instruction_and_the_clients_object_is_none() {
        let of =
            |body: &str| format!("<teammate-message teammate_id=\"lead\" summary=\"s\">\n{body}\n</teammate-message>");
        assert_eq!(instruction(&of("Write the tests.")), Some("Write the tests."));
        assert_eq!(instruction("<teammate-message teammate_id=\"lead\">\nCut he"), Some("Cut he"));
        assert_eq!(instruction(&of(r#"{"type":"idle_notification"}"#)), None);
        assert_eq!(instruction("Write the tests."), None);
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        for (text, clean) in [
            (
                "\u{1b}]0;owned\u{7}\u{1b}[31mError:\u{1b}[0m build failed\u{1b}[2J at line 3",
                "Error: build failed at line 3",
            ),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9b}31mred\u{9b}0m", "red"),
            ("a\u{202e}b\u{0}c\r\nd", "abc  d"),
            ("\u{1b}", ""),
            ("\u{1b}]never ends", "]never ends"),
            ("\u{1b}(Bx", "Bx"),
            ("é\u{1b}é", "éé"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_controls(text), clean, "{text:?}");
        }
    }
}
