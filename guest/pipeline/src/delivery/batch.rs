//! Turns events into request bodies.

use crate::delivery::lane::Lane;
use crate::events::event::Event;
use crate::time;
use flate2::{Compression, GzBuilder};
use std::io::Write as _;
use uuid::Uuid;

/// Target size of a batch in bytes, before compression. PostHog accepts 20 MiB; a smaller batch means less to resend.
pub const TARGET_BYTES: usize = 5 << 20;

/// Maximum number of events in a batch.
pub const TARGET_EVENTS: usize = 100;

/// Events that are sent together.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order of the conversion.
    pub events: Vec<Event>,
    bytes: usize,
    /// Were its events shortened because the server found them too large? That is only done once.
    pub shortened: bool,
    /// How often the server has returned it with a 200, to be retried.
    pub returned: u32,
}

/// A batch as it is sent on one lane. Every attempt sends the same bytes under the same id.
#[derive(Debug)]
pub struct Body {
    /// The lane it was written for.
    pub lane: Lane,
    /// `PostHog-Request-Id`.
    pub id: Uuid,
    /// Requests that have carried it.
    pub attempts: u32,
    /// The body, compressed with gzip.
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

    /// Splits the batch in half, to find the event that the server refuses.
    pub fn split(mut self) -> (Self, Self) {
        let second = self.events.split_off(self.events.len() / 2);
        (self.events.into_iter().collect(), second.into_iter().collect())
    }

    /// Writes the body for a lane; `now` is in milliseconds since 1970.
    ///
    /// Nothing in it lets the server correct timestamps by the clock difference of the request, because a retry would
    /// get different timestamps. On the newest lane that is an option of each event, on the older ones the absence of
    /// `sent_at`.
    pub fn body(&self, lane: Lane, api_key: &str, id: Uuid, now: i64) -> Body {
        let mut raw = Vec::with_capacity(self.bytes + 256 + 100 * self.events.len());
        if lane == Lane::Events {
            raw.extend_from_slice(b"{\"created_at\":\"");
            raw.extend_from_slice(time::format(now).as_bytes());
            raw.push(b'"');
        } else {
            raw.extend_from_slice(b"{\"api_key\":");
            // Serializing a string cannot fail.
            let _ = serde_json::to_writer(&mut raw, api_key);
        }
        raw.extend_from_slice(b",\"batch\":[");
        for (i, event) in self.events.iter().enumerate() {
            if i > 0 {
                raw.push(b',');
            }
            write(&mut raw, lane, event);
        }
        raw.extend_from_slice(b"]}");
        let compressed = Vec::with_capacity(raw.len() / 6);
        let mut gzip = GzBuilder::new().mtime(0).write(compressed, Compression::new(2));
        // Writing to memory cannot fail.
        let _ = gzip.write_all(&raw);
        Body { lane, id, attempts: 0, bytes: gzip.finish().unwrap_or_default(), raw: raw.len() }
    }
}

fn write(raw: &mut Vec<u8>, lane: Lane, event: &Event) {
    let Some(open) = event.json.strip_suffix(b"}").filter(|_| lane == Lane::Events) else {
        raw.extend_from_slice(&event.json);
        return;
    };
    raw.extend_from_slice(open);
    raw.extend_from_slice(b",\"options\":{\"disable_skew_correction\":true");
    if event.personless {
        raw.extend_from_slice(b",\"process_person_profile\":false");
    }
    raw.extend_from_slice(b"}}");
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
