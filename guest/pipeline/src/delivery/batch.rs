//! Events become request bodies.

use crate::events::event::Event;
use flate2::{Compression, GzBuilder};
use std::io::Write as _;

/// Bytes of a batch before compression. PostHog accepts 20 MiB; less means less to send again.
pub const TARGET_BYTES: usize = 5 << 20;

/// Events of a batch.
pub const TARGET_EVENTS: usize = 100;

/// Events that are sent together.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order of the conversion.
    pub events: Vec<Event>,
    bytes: usize,
    /// Its only event was shortened because the server found it too large.
    pub shortened: bool,
}

/// A request's body, compressed, and its length before that.
#[derive(Debug)]
pub struct Body {
    /// gzip. The same batch gives the same bytes.
    pub bytes: Vec<u8>,
    /// Bytes before compression.
    pub raw: usize,
}

impl Batch {
    /// Is there room for this event? There always is for the first.
    pub fn has_room_for(&self, event: &Event) -> bool {
        self.events.is_empty() || (self.events.len() < TARGET_EVENTS && self.bytes + event.json.len() < TARGET_BYTES)
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        self.bytes += event.json.len() + 1;
        self.events.push(event);
    }

    /// Two halves, to find the event that the server refuses.
    pub fn split(mut self) -> (Self, Self) {
        let second = self.events.split_off(self.events.len() / 2);
        (self.events.into_iter().collect(), second.into_iter().collect())
    }

    /// The body of its request. There is no `sent_at`: with it PostHog would shift each timestamp by the clock difference
    /// of this very request, so that a retry had other ones.
    pub fn body(&self, api_key: &str) -> Body {
        let mut raw = Vec::with_capacity(self.bytes + 256);
        raw.extend_from_slice(b"{\"api_key\":");
        // A string always becomes JSON.
        let _ = serde_json::to_writer(&mut raw, api_key);
        raw.extend_from_slice(b",\"batch\":[");
        for (i, event) in self.events.iter().enumerate() {
            if i > 0 {
                raw.push(b',');
            }
            raw.extend_from_slice(&event.json);
        }
        raw.extend_from_slice(b"]}");
        let compressed = Vec::with_capacity(raw.len() / 6);
        let mut gzip = GzBuilder::new().mtime(0).write(compressed, Compression::fast());
        // Writing to memory does not fail.
        let _ = gzip.write_all(&raw);
        Body { bytes: gzip.finish().unwrap_or_default(), raw: raw.len() }
    }
}

impl FromIterator<Event> for Batch {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut batch = Self::default();
        for event in events {
            batch.push(event);
        }
        batch
    }
}
