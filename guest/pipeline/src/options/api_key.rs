//! The project token.

use std::fmt;

/// Maximum length in bytes of a project token that `PostHog` accepts.
const MAX_API_KEY: usize = 64;

/// A project token, in a form that `PostHog` accepts.
///
/// Displayed as `phc_…abcd`; only [`ApiKey::expose`] returns the full token.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Reads a token. Surrounding white space is dropped.
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

    /// The token itself, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Does it start with `phc_`? `PostHog` also answers 200 to an unknown token and drops the events, so one that
    /// doesn't deserves a warning.
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
        // In a short text, four characters would be a large part of the secret.
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

/// A text that is not a project token. Does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApiKey {
    /// Only white space.
    #[error("it is blank")]
    Blank,
    /// Over 64 bytes.
    #[error("it has more than {MAX_API_KEY} bytes")]
    TooLong,
    /// White space, a control character, or one outside ASCII.
    #[error("it contains white space, a control character or one outside ASCII")]
    Characters,
    /// `phx_…`, which gives access to a user's account and cannot be used to send events.
    #[error("it is a personal API key (phx_…); events need the project token (phc_…) from the project's settings")]
    Personal,
}
