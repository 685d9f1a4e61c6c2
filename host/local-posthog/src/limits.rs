//! Paths of the capture API, and how much each takes.

/// The path for AI events with a result for each of them.
pub const EVENTS_PATH: &str = "/i/v1/ai/events";
/// The path for AI events with one answer for all.
pub const AI_PATH: &str = "/i/v0/ai/batch/";
/// The path for events of any kind, for servers that do not know [`AI_PATH`].
pub const BATCH_PATH: &str = "/batch/";
/// Bytes of a body, as it is sent and again after decompression: 20 MiB.
pub const BODY_LIMIT: usize = 20 * 1024 * 1024;
/// Bytes of one event on [`EVENTS_PATH`] and [`AI_PATH`]: 8 MiB.
pub const AI_EVENT_LIMIT: usize = 8 * 1024 * 1024;
/// Bytes of one event on [`BATCH_PATH`]: 900 KiB. `PostHog` names this as a size to aim at; here it is a limit.
pub const BATCH_EVENT_LIMIT: usize = 900 * 1024;
/// Bytes of a project key.
pub const KEY_LIMIT: usize = 64;
