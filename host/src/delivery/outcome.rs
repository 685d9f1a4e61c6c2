//! The outcome of delivering a session that was due.

/// The outcome for one session.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Everything new was delivered. Zero events mean that all of it was already delivered.
    Delivered {
        /// Events that a server accepted with status 200.
        events: u64,
        /// Events that the server permanently refused.
        rejected: u64,
    },
    /// The session failed for its own reasons and is retried later.
    Failed {
        /// The reason.
        error: String,
    },
    /// The server accepted nothing more: no other session is tried either.
    ServerFailed {
        /// The reason.
        error: String,
        /// Events delivered before the failure.
        events: u64,
    },
    /// The user or the project has excluded the session from sending.
    Withheld {
        /// The reason.
        reason: String,
    },
    /// The transcript is gone.
    Gone,
}
