//! Why a batch is refused.

use http::StatusCode;

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub struct Refusal {
    /// The status to respond with.
    pub status: StatusCode,
    /// The text to respond with. It names the event and the property, and never quotes a key.
    pub reason: String,
    /// The tag for it on [`EVENTS_PATH`](super::limits::EVENTS_PATH).
    pub tag: &'static str,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        let tag = match status {
            StatusCode::UNAUTHORIZED => "invalid_api_token",
            StatusCode::REQUEST_TIMEOUT => "request_timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_encoding",
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable",
            _ => "invalid_batch",
        };
        Self { status, reason: reason.into(), tag }
    }

    pub(super) fn tagged(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}
