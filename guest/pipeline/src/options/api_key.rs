//! The project key.

use std::fmt;

/// Longest project key in bytes that `PostHog` takes.
const MAX_API_KEY: usize = 64;

/// A project key, of a form that `PostHog` takes.
///
/// Shown as `phc_…abcd`; only [`ApiKey::expose`] gives its text.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Reads a key. White space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, InvalidApiKey> {
        let text = text.trim();
        if text.is_empty() {
            Err(InvalidApiKey::Blank)
        } else if text.len() > MAX_API_KEY {
            Err(InvalidApiKey::TooLong)
        } else if !text.is_ascii() || text.contains(|c: char| c.is_ascii_control() || c == ' ') {
            Err(InvalidApiKey::Characters)
        } else if text.starts_with("phx_") {
            Err(InvalidApiKey::Personal)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The key itself, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it starts with `phc_`. `PostHog` answers 200 to an unknown key too and drops the events, so one that
    /// does not deserves a warning.
    pub fn looks_like_project_key(&self) -> bool {
        self.0.starts_with("phc_")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.looks_like_project_key() {
            formatter.write_str("phc_")?;
        }
        formatter.write_str("…")?;
        // Of a short text, four characters would be a good part of the secret.
        let end = self.0.len().saturating_sub(4);
        match self.0.get(end..) {
            Some(last) if self.0.len() >= 20 => formatter.write_str(last),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({self})")
    }
}

/// A text that is not a project key. Does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApiKey {
    /// Nothing but white space.
    #[error("it is blank")]
    Blank,
    /// Over 64 bytes.
    #[error("it has more than {MAX_API_KEY} bytes")]
    TooLong,
    /// White space, a control character, or one outside ASCII.
    #[error("it contains white space, a control character or one outside ASCII")]
    Characters,
    /// `phx_…`, which gives access to a user's account and does not take events.
    #[error("it is a personal API key (phx_…); events need the project token (phc_…) from the project's settings")]
    Personal,
}
