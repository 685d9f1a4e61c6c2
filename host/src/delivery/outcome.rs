//! What became of a session that was due.

/// What became of one session.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// All that was new is delivered: so many events; none if all was before.
    Delivered {
        /// Events that a server answered 200 to.
        events: u64,
        /// Events that it refused for good.
        rejected: u64,
    },
    /// It failed by itself, and is tried again later.
    Failed {
        /// Why.
        error: String,
    },
    /// The server took nothing more: no other session is tried either.
    ServerFailed {
        /// Why.
        error: String,
        /// Events that were delivered before that.
        events: u64,
    },
    /// It is not to be sent, by the user's word or by its project's.
    Withheld {
        /// Why.
        reason: String,
    },
    /// Its transcript is gone.
    Gone,
}
