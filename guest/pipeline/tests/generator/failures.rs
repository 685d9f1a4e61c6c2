//! Lines in the model's place: calls that failed, and answers of the client's own.

use super::expected::{Failure, Generation, Tokens};
use super::lines::{Copies, Members, list, object, optional, text};
use super::responses::duration;
use super::session::{Thread, Writer};

impl Writer {
    /// A call that failed: `isApiErrorMessage`, after the retries that the client logs.
    pub(crate) fn fail(&mut self, thread: &mut Thread) {
        let started_at = thread.asked_at;
        for _ in 0..self.chance.below(3) {
            if self.era.has_api_requests() {
                let id = self.chance.uuid();
                self.api_request(thread, &id);
            }
            thread.clock += self.chance.between(200, 2_000);
            self.aside(
                thread,
                vec![
                    ("type", text("system")),
                    ("subtype", text("api_error")),
                    ("level", text("error")),
                    ("retryInMs", "600.5".to_owned()),
                ],
            );
        }
        thread.clock += self.chance.between(1, 2_000);
        let (status, kind, words) = if self.era.has_api_requests() {
            self.chance.pick(&[
                (Some(429), Some("rate_limit"), "API Error: Request rejected (429) \u{b7} slow down"),
                (Some(529), Some("server_error"), "API Error: 529 Overloaded."),
                (Some(400), Some("invalid_request"), "API Error: 400 something is wrong"),
            ])
        } else {
            self.chance.pick(&[
                (None, None, "API Error: Connection error."),
                (None, Some("unknown"), "API Error: Request timed out."),
                (None, Some("authentication_failed"), "Invalid API key"),
            ])
        };
        let failure = Failure { status, kind: kind.map(str::to_owned), text: words.to_owned(), at: thread.clock };
        let mut after: Members = Vec::new();
        after.extend(kind.map(|kind| ("error", text(kind))));
        after.push(("isApiErrorMessage", "true".to_owned()));
        after.extend(status.map(|status| ("apiErrorStatus", status.to_string())));
        let id = self.synthetic(thread, words, after);
        self.expected.note(if status.is_some() { "failed call with a status" } else { "failed call without a status" });
        let generation = Generation {
            model: thread.model.clone(),
            tokens: Tokens::default(),
            stop_reason: None,
            failure: Some(failure),
            interrupted: false,
            latency_ms: started_at.map(|start| duration(start, thread.clock)),
            place: thread.place.clone(),
            tools: Vec::new(),
            texts: Vec::new(),
            thinking: Vec::new(),
            branch: self.known_branch(),
        };
        self.expected.generations.insert(id, generation);
    }

    /// A line in the model's place; returns its `message.id`.
    pub(crate) fn synthetic(&mut self, thread: &mut Thread, words: &str, after: Members) -> String {
        let id = self.chance.uuid();
        let zero = || "0".to_owned();
        let usage = object(&[
            ("input_tokens", zero()),
            ("output_tokens", zero()),
            ("cache_creation_input_tokens", zero()),
            ("cache_read_input_tokens", zero()),
        ]);
        let message = object(&[
            ("id", text(&id)),
            ("container", optional(None)),
            ("model", text("<synthetic>")),
            ("role", text("assistant")),
            ("stop_reason", text("stop_sequence")),
            ("stop_sequence", text("")),
            ("type", text("message")),
            ("usage", usage),
            ("content", list(&[object(&[("type", text("text")), ("text", text(words))])])),
        ]);
        let uuid = self.chance.uuid();
        let mut extended = vec![("message", message)];
        extended.extend(after);
        let line = self.envelope(thread).line(vec![("type", text("assistant"))], Some(&uuid), thread.clock, extended);
        thread.push(line, Some(uuid), Copies::Anywhere);
        id
    }
}
