//! The three routes into PostHog, newest first: their paths, headers and limits.

use crate::events::event::LARGEST_EVENT;
use crate::time;
use uuid::Uuid;

/// `name/version` of this sender, which PostHog turns into `$lib` and `$lib_version`.
const SENDER: &str = concat!("posthog-llma/", env!("CARGO_PKG_VERSION"));

/// Maximum bytes of an event on servers without the AI lanes.
const LARGEST_BATCH_EVENT: usize = 900 * 1024;

/// A route of PostHog's capture API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lane {
    /// `/i/v1/ai/events`: a verdict for each event.
    #[default]
    Events,
    /// `/i/v0/ai/batch/`: one answer for the batch; a 200 can hide dropped events.
    AiBatch,
    /// `/batch/`: servers that have neither of the above.
    Batch,
}

impl Lane {
    /// All lanes, in order of preference.
    pub const ALL: [Self; 3] = [Self::Events, Self::AiBatch, Self::Batch];

    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Events => "/i/v1/ai/events",
            Self::AiBatch => "/i/v0/ai/batch/",
            Self::Batch => "/batch/",
        }
    }

    /// The lane with a path.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.path() == path)
    }

    /// The lane to try if this one is missing.
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Events => Some(Self::AiBatch),
            Self::AiBatch => Some(Self::Batch),
            Self::Batch => None,
        }
    }

    /// Maximum bytes of an event that it accepts.
    pub(super) const fn largest_event(self) -> usize {
        match self {
            Self::Events | Self::AiBatch => LARGEST_EVENT,
            Self::Batch => LARGEST_BATCH_EVENT,
        }
    }
}

/// One attempt to deliver one body.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The lane to send it on.
    pub lane: Lane,
    /// The project token.
    pub api_key: &'a str,
    /// The same for every attempt of one body.
    pub id: Uuid,
    /// 1, 2, …
    pub attempt: u32,
    /// When this attempt is sent, in milliseconds since 1970.
    pub at: i64,
    /// The compressed body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Names and values of its headers.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("content-encoding", "gzip".to_owned()),
            ("content-length", self.body.len().to_string()),
            ("user-agent", SENDER.to_owned()),
        ];
        // The older lanes have the key in their bodies, and ignore these headers.
        if self.lane == Lane::Events {
            headers.extend([
                ("authorization", format!("Bearer {}", self.api_key)),
                ("posthog-sdk-info", SENDER.to_owned()),
                ("posthog-attempt", self.attempt.to_string()),
                ("posthog-request-id", self.id.hyphenated().to_string()),
                ("posthog-request-timestamp", time::format(self.at)),
            ]);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lane: Lane) -> Vec<(&'static str, String)> {
        let id = Uuid::from_u128(7);
        Request { lane, api_key: "phc_key", id, attempt: 2, at: 1_790_000_000_042, body: b"four" }.headers()
    }

    fn value(headers: &[(&'static str, String)], name: &str) -> Option<String> {
        headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn the_events_lane_has_every_header_that_it_requires() {
        let headers = headers(Lane::Events);
        for (name, expected) in [
            ("authorization", "Bearer phc_key"),
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("content-length", "4"),
            ("posthog-attempt", "2"),
            ("posthog-request-id", "00000000-0000-0000-0000-000000000007"),
            ("posthog-request-timestamp", "2026-09-21T14:13:20.042Z"),
            ("posthog-sdk-info", SENDER),
            ("user-agent", SENDER),
        ] {
            assert_eq!(value(&headers, name).as_deref(), Some(expected), "{name}");
        }
        let (name, version) = SENDER.split_once('/').unwrap();
        assert!(name == "posthog-llma" && version.split('.').count() == 3 && SENDER.len() <= 200);
    }

    #[test]
    fn the_older_lanes_do_not_put_the_key_into_headers() {
        for lane in [Lane::AiBatch, Lane::Batch] {
            assert!(headers(lane).iter().all(|(_, value)| !value.contains("phc_key")));
        }
    }

    #[test]
    fn a_path_names_its_lane() {
        for lane in Lane::ALL {
            assert_eq!(Lane::of_path(lane.path()), Some(lane));
        }
        assert_eq!(Lane::of_path("/i/v1/ai/events/"), None);
        assert_eq!(Lane::default().next().and_then(Lane::next).and_then(Lane::next), None);
    }
}
