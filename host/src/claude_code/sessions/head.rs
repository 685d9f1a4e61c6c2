//! What the beginning of a transcript tells of its session, without converting it.

use crate::system::regular;
use memchr::memmem;
use posthog_llma_pipeline::session::prompt_in;
use posthog_llma_pipeline::time;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Bytes of a transcript that are read at most. The first prompt stands in the first lines; an image may be in it.
const MOST: u64 = 1024 * 1024;

/// What the beginning tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Where the session began to work. (The name of its folder is not to be turned back into one.)
    pub directory: Option<PathBuf>,
    /// The first timestamp, in milliseconds since 1970.
    pub started: Option<i64>,
    /// The beginning of the first thing that a person asked, as its trace would be called.
    pub prompt: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    cwd: Value,
    #[serde(default)]
    timestamp: Value,
}

impl Head {
    /// Reads the beginning, up to the first prompt. Of a file that cannot be read it tells nothing.
    pub fn read(transcript: &Path) -> Self {
        let mut head = Self::default();
        let Ok(file) = regular::open(transcript) else { return head };
        for line in BufReader::new(file.take(MOST)).split(b'\n').map_while(Result::ok) {
            head.prompt = head.prompt.or_else(|| prompt_in(&line));
            let Ok(line) = serde_json::from_slice::<Line>(&line) else { continue };
            head.directory = head.directory.or_else(|| line.cwd.as_str().map(PathBuf::from));
            head.started = head.started.or_else(|| time::parse(line.timestamp.as_str()?));
            if head.directory.is_some() && head.started.is_some() && head.prompt.is_some() {
                break;
            }
        }
        head
    }
}

/// Bytes of a transcript before the first line that says a later time than this.
pub fn written_until(transcript: &Path, until: i64) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(64 * 1024, regular::open(transcript)?);
    let (mut end, mut line) = (0, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let time = || time::parse(serde_json::from_slice::<Line>(&line).ok()?.timestamp.as_str()?);
        // A line without one need not be parsed.
        if memmem::find(&line, b"\"timestamp\"").is_some() && time().is_some_and(|time| time > until) {
            break;
        }
        end += line.len() as u64;
        line.clear();
    }
    Ok(end)
}

/// The first time in a transcript, in milliseconds since 1970.
pub(super) fn first_timestamp(transcript: &Path) -> Option<i64> {
    let file = regular::open(transcript).ok()?;
    let lines = BufReader::new(file.take(MOST)).split(b'\n').map_while(Result::ok);
    lines
        .filter_map(|line| serde_json::from_slice::<Line>(&line).ok())
        .find_map(|line| time::parse(line.timestamp.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_until_a_time_ends_before_the_first_later_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.jsonl");
        let lines = [
            r#"{"type":"mode"}"#,
            r#"{"timestamp":"2026-01-01T00:00:01Z"}"#,
            "not JSON, \"timestamp\"",
            r#"{"type":"summary"}"#,
            r#"{"timestamp":"2026-01-01T00:00:02Z"}"#,
            r#"{"timestamp":"2026-01-01T00:00:01Z"}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let until = |text: &str| written_until(&path, time::parse(text).unwrap()).unwrap();
        let before = |count: usize| lines[..count].iter().map(|line| line.len() as u64 + 1).sum::<u64>();
        assert_eq!(until("2026-01-01T00:00:00Z"), before(1));
        assert_eq!(until("2026-01-01T00:00:01Z"), before(4));
        assert_eq!(until("2026-01-01T00:00:02Z"), path.metadata().unwrap().len(), "to its end, without a newline");
        assert!(written_until(Path::new("/nowhere"), 0).is_err());
    }

    fn head(text: &str) -> Head {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Head::read(file.path())
    }

    #[test]
    fn directory_start_and_prompt_are_found_wherever_they_stand() {
        let text = r#"{"type":"summary"}
not json
{"type":"user","isMeta":true,"cwd":"/home/dev/shop","timestamp":"2026-01-02T03:04:05Z","message":{"content":"meta"}}
{"type":"user","cwd":"/elsewhere","message":{"content":"<command-name>/clear</command-name>"}}
{"type":"user","message":{"content":[{"type":"image"},{"type":"text","text":"fix\n\tthe  test"}]}}
{"type":"user","message":{"content":"another"}}"#;
        let expected = Head {
            directory: Some("/home/dev/shop".into()),
            started: time::parse("2026-01-02T03:04:05Z"),
            prompt: Some("fix the test".into()),
        };
        assert_eq!(head(text), expected);
    }

    #[test]
    fn odd_lines_tell_nothing() {
        for text in ["", "null\n[]\n5\n", "{\"type\":5,\"cwd\":6,\"timestamp\":7,\"message\":8}", "\u{0}\u{0}"] {
            assert_eq!(head(text), Head::default(), "{text:?}");
        }
        assert_eq!(Head::read(Path::new("/nowhere")), Head::default());
    }
}
