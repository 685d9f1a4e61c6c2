//! Finds a person's prompt in a line, for programs that list sessions without converting them.

use crate::transcript::entry::{self, Content};
use crate::transcript::lines::Line;
use crate::transcript::prompt::{self, Said};

/// A person's prompt in this line of a main transcript, as it would name its trace: one line of at most 100 characters,
/// in the person's own words. `None` if the line is not a prompt.
pub fn prompt_in(line: &[u8]) -> Option<String> {
    let mut found = None;
    let line = Line { bytes: line, elided: false, overlong: false, start: 0 };
    entry::read(line, |entry| {
        if entry.kind.as_deref() != Some("user") || entry.is_sidechain {
            return;
        }
        let content = Content::of(entry.message.as_ref().and_then(|message| message.content));
        if prompt::said(entry, &content) == Said::Prompt {
            found = found.take().or_else(|| prompt::name(&prompt::beginning(&content), usize::MAX));
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_told_in_the_persons_words_and_nothing_else_is() {
        let user = |members: &str, content: &str| {
            prompt_in(format!(r#"{{"type":"user"{members},"message":{{"content":{content}}}}}"#).as_bytes())
        };
        assert_eq!(user("", r#""fix\n\tthe  test""#).as_deref(), Some("fix the test"));
        let in_editor =
            r#"[{"type":"text","text":"<ide_opened_file>a</ide_opened_file>"},{"type":"text","text":"Why?"}]"#;
        assert_eq!(user("", in_editor).as_deref(), Some("Why?"));
        assert_eq!(
            user("", r#"[{"type":"image"},{"type":"text","text":"\u001b[1mLook\u001b[0m"}]"#).as_deref(),
            Some("Look")
        );
        for members in [r#","isMeta":true"#, r#","isSidechain":true"#, r#","origin":{"kind":"task-notification"}"#] {
            assert_eq!(user(members, r#""Look""#), None, "{members}");
        }
        for content in [
            r#""<tick>1</tick>""#,
            r#""<command-name>/clear</command-name>""#,
            r#""[Request interrupted by user]""#,
            "5",
            "null",
        ] {
            assert_eq!(user("", content), None, "{content}");
        }
        for line in ["", "null", "[]", r#"{"type":"assistant","message":{"content":"Look"}}"#] {
            assert_eq!(prompt_in(line.as_bytes()), None, "{line}");
        }
    }
}
