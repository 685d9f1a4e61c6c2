//! Reads from the end of a transcript whether its thread is still waiting for something.

use crate::system::regular;
use serde::Deserialize;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// How many bytes to read from the end.
const MAX_TAIL: u64 = 256 * 1024;

/// Is the thread still open: is its last line a message that waits for an answer, an incomplete response, or one that
/// has called a tool? A transcript that cannot be read is not open.
pub fn is_open(transcript: &Path) -> bool {
    let Some(tail) = read(transcript) else { return false };
    let mut lines = tail.rsplit(|byte| *byte == b'\n');
    lines.find_map(of_line).unwrap_or(false)
}

fn read(transcript: &Path) -> Option<Vec<u8>> {
    let mut file = regular::open(transcript).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(MAX_TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(MAX_TAIL).read_to_end(&mut tail).ok()?;
    Some(tail)
}

/// What one line says; `None` if it says nothing about its thread.
fn of_line(line: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        message: Message,
    }
    #[derive(Default, Deserialize)]
    struct Message {
        #[serde(default)]
        stop_reason: Option<String>,
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    match line.kind.as_str() {
        "user" => Some(true),
        "assistant" => Some(line.message.stop_reason.is_none_or(|reason| reason == "tool_use")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_decides() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |lines: &[&str]| {
            std::fs::write(file.path(), lines.join("\n")).unwrap();
            is_open(file.path())
        };
        let ended = r#"{"type":"assistant","message":{"stop_reason":"end_turn"}}"#;
        let open = r#"{"type":"assistant","message":{"stop_reason":null}}"#;
        let called = r#"{"type":"assistant","message":{"stop_reason":"tool_use"}}"#;
        let user = r#"{"type":"user","message":{"content":"x"}}"#;
        let other = r#"{"type":"system"}"#;
        assert!(of(&[ended, open]) && of(&[ended, called]) && of(&[ended, user, other, ""]));
        assert!(!of(&[user, ended, other, "", "{\"type\":\"assi"]));
        assert!(!of(&[]) && !of(&["rubbish"]));
        assert!(!is_open(Path::new("/nowhere")));
    }
}
