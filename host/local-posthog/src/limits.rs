//! Paths of the capture API and the size limits of each.

/// The path for AI events that returns a result for each event.
pub const EVENTS_PATH: &str = "/i/v1/ai/events";
/// The path for AI events that returns one answer for the whole batch.
pub const AI_PATH: &str = "/i/v0/ai/batch/";
/// The path for events of any kind, for servers without [`AI_PATH`].
pub const BATCH_PATH: &str = "/batch/";
/// Maximum bytes of a body, both as sent and after decompression: 20 MiB.
pub const BODY_LIMIT: usize = 20 * 1024 * 1024;
/// Maximum bytes of one event on [`EVENTS_PATH`] and [`AI_PATH`]: 8 MiB.
pub const AI_EVENT_LIMIT: usize = 8 * 1024 * 1024;
/// Maximum bytes of one event on [`BATCH_PATH`]: 900 KiB. For `PostHog`, this is a target; here it is a limit.
pub const BATCH_EVENT_LIMIT: usize = 900 * 1024;
/// Maximum bytes of a project token.
pub const KEY_LIMIT: usize = 64;
