//! Reads facts about a session from the beginning of its transcript, without converting it.

use crate::system::regular;
use memchr::memmem;
use posthog_llma_pipeline::session::{files, prompt_in};
use posthog_llma_pipeline::time;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Maximum number of bytes to read from a transcript. The first prompt is in the first lines; it may contain an image.
const MOST: u64 = 1024 * 1024;

/// What the beginning says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The session's first working directory. (Its folder's name cannot be turned back into a path.)
    pub directory: Option<PathBuf>,
    /// The first timestamp, in milliseconds since 1970.
    pub started: Option<i64>,
    /// The beginning of the first prompt, in the form of its trace's name.
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
    /// Reads the beginning, up to the first prompt. The result is empty if the file cannot be read.
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

/// The number of bytes before the first line with a timestamp later than this.
pub fn written_until(transcript: &Path, until: i64) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(64 * 1024, regular::open(transcript)?);
    let (mut end, mut line) = (0, Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        let time = || time::parse(serde_json::from_slice::<Line>(&line).ok()?.timestamp.as_str()?);
        // Skip parsing lines without a timestamp.
        if memmem::find(&line, b"\"timestamp\"").is_some() && time().is_some_and(|time| time > until) {
            break;
        }
        end += line.len() as u64;
        line.clear();
    }
    Ok(end)
}

/// How many of a transcript's first `bytes` are whole lines.
pub fn whole_lines(transcript: &Path, bytes: u64) -> io::Result<u64> {
    const PIECE: u64 = 64 * 1024;
    let mut file = regular::open(transcript)?;
    let mut end = bytes;
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        let mut piece = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        (&mut file).take(end - start).read_to_end(&mut piece)?;
        if let Some(last) = memchr::memrchr(b'\n', &piece) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The first timestamp in a transcript, in milliseconds since 1970.
pub(super) fn first_timestamp(transcript: &Path) -> Option<i64> {
    files::began(BufReader::new(regular::open(transcript).ok()?))
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
