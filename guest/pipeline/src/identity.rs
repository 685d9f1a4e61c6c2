//! Ids that are the same in every run, on every host, and in every copy of a line.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use uuid::Uuid;

/// Namespace of all IDs, a number drawn once. It must never change: PostHog recognizes a resent event by its `uuid`.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_c1f0_58a5_5b6e_9d3c_27a1_f4c4_8be2);

/// The `uuid` of an event; for a generation or a span also its `$ai_span_id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub u128);

impl EventId {
    fn new(kind: &str, parts: &[&str]) -> Self {
        let mut name = String::from(kind);
        for part in parts {
            name.push(':');
            name.push_str(part);
        }
        Self(Uuid::new_v5(&NAMESPACE, name.as_bytes()).as_u128())
    }

    /// From its big-endian halves, as the interface has it.
    pub fn from_halves(high: u64, low: u64) -> Self {
        Self(Uuid::from_u64_pair(high, low).as_u128())
    }

    /// Its big-endian halves.
    pub fn halves(self) -> (u64, u64) {
        Uuid::from_u128(self.0).as_u64_pair()
    }

    /// Of the generation of the response with this `message.id`.
    pub fn generation(message_id: &str) -> Self {
        Self::new("generation", &[message_id])
    }

    /// The id of a generation without `message.id`, from its line's `uuid`.
    pub fn generation_of_line(uuid: &str) -> Self {
        Self::new("generation-line", &[uuid])
    }

    /// The id of one of several calls with the same `message.id`, from the time and the content of its first line.
    pub fn generation_among(message_id: &str, time: &str, content: &str) -> Self {
        Self::new("generation-among", &[message_id, time, content])
    }

    /// The id of a tool call whose own id is not unique, from the generation that made it.
    pub fn span_of(generation: Self, tool_use_id: &str) -> Self {
        Self::new("span-of", &[&generation.to_string(), tool_use_id])
    }

    /// The id of an attempt or an adviser's answer within a call, from its index in `usage.iterations`.
    #[must_use]
    pub fn iteration(self, position: usize) -> Self {
        Self::new("iteration", &[&self.to_string(), &position.to_string()])
    }

    /// The id of the n-th further event that would have this id.
    #[must_use]
    pub fn nth(self, n: u32) -> Self {
        Self::new("nth", &[&self.to_string(), &n.to_string()])
    }

    /// The id of the span of the tool call with this id.
    pub fn span(tool_use_id: &str) -> Self {
        Self::new("span", &[tool_use_id])
    }

    /// The id of the `$ai_trace` that covers this trace's events from `first` on.
    pub fn trace(trace_id: &str, first: EventId) -> Self {
        Self::new("trace", &[trace_id, &first.to_string()])
    }

    /// An id of something other than an event: of a trace.
    pub fn other(kind: &str, name: &str) -> Self {
        Self::new(kind, &[name])
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Event IDs are already hashes.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }
    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64 ^ (id >> 64) as u64;
    }
}

/// A map by event id.
pub type IdMap<V> = HashMap<EventId, V, BuildHasherDefault<IdHasher>>;
/// A set of event IDs.
pub type IdSet = HashSet<EventId, BuildHasherDefault<IdHasher>>;
/// A map whose order and seed are the same in every run. (The standard map asks the host for random numbers.)
pub type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
/// A set with a fixed seed.
pub type FixedSet<K> = HashSet<K, BuildHasherDefault<DefaultHasher>>;

/// A key for one of the client's IDs: a UUID as it is, anything else as its hash. It is only stable within one run, and
/// not part of any event.
pub fn key(id: &str) -> u128 {
    if let Ok(uuid) = Uuid::try_parse(id) {
        return uuid.as_u128();
    }
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(which);
        hasher.write(id.as_bytes());
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// Maximum characters of an id from another system.
pub const LONGEST_ID: usize = 200;

/// Is this suitable as a `$ai_trace_id` or a similar id? PostHog allows letters, digits and `-_~.@()!':|`.
pub fn is_sendable(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~.@()!':|".contains(&b))
}

/// Maximum characters of a session id, so that it fits in a `distinct_id` after `claude-code:`; PostHog keeps 200.
const LONGEST_SESSION_ID: usize = 150;

/// The id under which a session is sent: its own, or one derived from it if PostHog would not accept it.
pub fn session_id(id: &str) -> String {
    if is_sendable(id) && id.len() <= LONGEST_SESSION_ID {
        id.to_owned()
    } else {
        EventId::other("session", id).to_string()
    }
}

/// Maximum characters of a `distinct_id` that PostHog keeps.
const LONGEST_DISTINCT_ID: usize = 200;

/// Values that PostHog refuses as a `distinct_id`, in upper or lower case: programs write them if they have no id.
const NOBODY: [&str; 20] = [
    "0",
    "00000000-0000-0000-0000-000000000000",
    "[object object]",
    "anonymous",
    "anonymous-user",
    "backend",
    "distinct_id",
    "distinctid",
    "email",
    "false",
    "guest",
    "id",
    "nan",
    "none",
    "not_authenticated",
    "null",
    "system",
    "true",
    "undefined",
    "user",
];

/// Why PostHog would refuse this `distinct_id`, if it would: one event with such an id costs the whole batch.
pub fn distinct_id_problem(id: &str) -> Option<String> {
    let length = id.chars().count();
    if length > LONGEST_DISTINCT_ID {
        return Some(format!("has {length} characters; PostHog accepts {LONGEST_DISTINCT_ID}"));
    }
    if id.trim().is_empty() {
        return Some("is blank".to_owned());
    }
    if id.contains(char::is_control) {
        return Some("contains a control character".to_owned());
    }
    let nobody = NOBODY.contains(&id.trim().to_lowercase().as_str());
    nobody.then(|| {
        "identifies nobody, so PostHog rejects it as a distinct ID; use an email address or a user ID".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        assert_eq!(EventId::generation("msg_01").to_string(), "fefbf396-ae1a-5e4d-b9db-095b58d111be");
    }

    #[test]
    fn kinds_do_not_collide() {
        let ids = [
            EventId::generation("a"),
            EventId::generation_of_line("a"),
            EventId::span("a"),
            EventId::other("session", "a"),
        ];
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[i + 1..].contains(id));
        }
    }

    #[test]
    fn a_distinct_id_that_posthog_refuses_has_a_problem() {
        for nobody in NOBODY {
            for id in [nobody.to_owned(), nobody.to_uppercase(), format!(" {nobody}\u{a0}")] {
                assert!(distinct_id_problem(&id).unwrap().contains("nobody"), "{id:?}");
            }
        }
        for id in ["", " ", "\u{a0}", "a\nb", &"x".repeat(201)] {
            assert!(distinct_id_problem(id).is_some(), "{id:?}");
        }
        for id in ["me@example.com", "1", "user1", "an id", "ü", &"x".repeat(200)] {
            assert_eq!(distinct_id_problem(id), None, "{id:?}");
        }
    }

    #[test]
    fn a_session_id_that_posthog_refuses_is_derived() {
        assert_eq!(session_id("0b2a846a-694a"), "0b2a846a-694a");
        assert!(is_sendable(&session_id("a b/ü")));
        assert!(is_sendable(&session_id("")));
    }
}
