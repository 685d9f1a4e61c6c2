//! Synthetic transcripts, for what the fixtures don't have: a given number of events, a given age.

use posthog_llma_pipeline::time;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A transcript under construction. Its lines have the parts of 2.1.330's lines that the program uses.
#[derive(Debug)]
#[must_use = "it is only a text so far"]
pub struct Transcript {
    lines: Vec<Value>,
    /// Milliseconds since 1970.
    clock: i64,
    turns: usize,
    /// Makes its lines and messages distinct from those of other transcripts: real ones never share an ID by chance.
    serial: u32,
}

/// The number of transcripts made so far.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Milliseconds since 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

impl Transcript {
    /// A session that began an hour ago.
    pub fn new() -> Self {
        Self::of_days_ago(0)
    }

    /// A session that began an hour and this many days ago.
    pub fn of_days_ago(days: i64) -> Self {
        Self::beginning_at(now() - 3_600_000 - days * 86_400_000)
    }

    /// A session that begins at this time, in milliseconds since 1970.
    pub fn beginning_at(clock: i64) -> Self {
        Self { lines: Vec::new(), clock, turns: 0, serial: MADE.fetch_add(1, Ordering::Relaxed) }
    }

    /// Adds a line. Sets its `uuid` and its `timestamp`, a millisecond after the last one's.
    pub fn line(mut self, mut line: Value) -> Self {
        self.clock += 1;
        line["uuid"] = json!(format!("{:08x}-0000-4000-8000-{:012}", self.serial, self.lines.len()));
        line["timestamp"] = json!(time::format(self.clock));
        self.lines.push(line);
        self
    }

    /// Adds a prompt and its answer: one generation.
    pub fn turn(mut self, prompt: &str, answer: &str) -> Self {
        self.turns += 1;
        let id = format!("{:04}-{}", self.serial, self.turns);
        self.line(json!({"type": "user", "promptId": format!("prompt-{id}"), "cwd": "/home/dev/shop", "version": "2.1.330",
            "message": {"role": "user", "content": prompt}}))
            .line(json!({"type": "assistant", "cwd": "/home/dev/shop", "version": "2.1.330", "message": {
                "id": format!("msg_{id}"), "role": "assistant", "model": "claude-opus-5-5", "stop_reason": "end_turn",
                "content": [{"type": "text", "text": answer}],
                "usage": {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 11, "cache_creation_input_tokens": 13}}}))
    }

    /// Adds this many turns: `prompt 1` with `answer 1`, `prompt 2` with `answer 2`, …
    pub fn turns(self, count: usize) -> Self {
        (1..=count).fold(self, |transcript, n| transcript.turn(&format!("prompt {n}"), &format!("answer {n}")))
    }

    /// The contents of the file.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect()
    }
}
