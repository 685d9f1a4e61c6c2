//! What the user sets: the variables of the environment that this project knows, and what they may hold.
//!
//! A variable that cannot be read is an error, never its default: a typing error must not turn privacy off or send data
//! elsewhere.

use std::fmt;

use serde_json::{Map, Value};

use crate::identity;
use crate::origin::{Origin, OriginError};

#[cfg(test)]
mod tests;

/// The project key.
pub const API_KEY: &str = "POSTHOG_API_KEY";
/// Whether sessions are sent without being asked for.
pub const ENABLED: &str = "POSTHOG_LLMA_CC_ENABLED";
/// Whether what is complete is sent while a session runs, too.
pub const LIVE: &str = "POSTHOG_LLMA_CC_LIVE";
/// Where events go.
pub const HOST: &str = "POSTHOG_HOST";
/// Whether [`HOST`] may be neither in posthog.com nor this machine.
pub const ALLOW_CUSTOM_HOST: &str = "POSTHOG_LLMA_ALLOW_CUSTOM_HOST";
/// Whether texts are left out.
pub const PRIVACY_MODE: &str = "POSTHOG_LLMA_PRIVACY_MODE";
/// Whom the events belong to.
pub const DISTINCT_ID: &str = "POSTHOG_LLMA_DISTINCT_ID";
/// What becomes a trace.
pub const TRACE_GROUPING: &str = "POSTHOG_LLMA_TRACE_GROUPING";
/// Characters that are kept of each text.
pub const MAX_ATTRIBUTE_LENGTH: &str = "POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH";
/// Properties that every event gets.
pub const CUSTOM_PROPERTIES: &str = "POSTHOG_LLMA_CUSTOM_PROPERTIES";
/// Whether secrets in texts are replaced.
pub const REDACT_SECRETS: &str = "POSTHOG_LLMA_REDACT_SECRETS";
/// The user's own patterns for secrets, and exceptions: a JSON list, or the file that holds it.
pub const REDACT_PATTERNS: &str = "POSTHOG_LLMA_REDACT_PATTERNS";
/// `$ai_purpose`.
pub const PURPOSE: &str = "POSTHOG_AI_PURPOSE";

/// All variables that [`Options::parse`] looks up.
pub const VARIABLES: &[&str] = &[
    API_KEY,
    ENABLED,
    LIVE,
    HOST,
    ALLOW_CUSTOM_HOST,
    PRIVACY_MODE,
    DISTINCT_ID,
    TRACE_GROUPING,
    MAX_ATTRIBUTE_LENGTH,
    CUSTOM_PROPERTIES,
    REDACT_SECRETS,
    REDACT_PATTERNS,
    PURPOSE,
];

/// Longest project key in bytes that `PostHog` takes.
const MAX_API_KEY: usize = 64;
/// Bytes of the key that are a good piece of it: one that was pasted into the wrong variable may lack its beginning.
const KEY_PIECE: usize = 12;
/// Characters of a refused value that an error shows.
const SHOWN_LENGTH: usize = 60;

/// What becomes a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TraceGrouping {
    /// One trace for the whole session.
    #[default]
    Session,
    /// One trace for each prompt.
    Message,
}

/// The values of all [`VARIABLES`], or their defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `POSTHOG_API_KEY`; needed to send, not to convert.
    pub api_key: Option<ApiKey>,
    /// `POSTHOG_LLMA_CC_ENABLED`, by default `false`.
    pub enabled: bool,
    /// `POSTHOG_LLMA_CC_LIVE`, by default `true`.
    pub live: bool,
    /// `POSTHOG_HOST`, by default `https://us.i.posthog.com`.
    pub origin: Origin,
    /// `POSTHOG_LLMA_PRIVACY_MODE`, by default `false`.
    pub privacy_mode: bool,
    /// `POSTHOG_LLMA_DISTINCT_ID`, at most 200 characters, not blank.
    pub distinct_id: Option<String>,
    /// `POSTHOG_LLMA_TRACE_GROUPING`, by default one trace for the session.
    pub trace_grouping: TraceGrouping,
    /// `POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH` in characters, by default 12,000.
    pub max_attribute_length: u32,
    /// `POSTHOG_LLMA_CUSTOM_PROPERTIES`.
    pub custom_properties: Option<Map<String, Value>>,
    /// `POSTHOG_LLMA_REDACT_SECRETS`, by default `true`.
    pub redact_secrets: bool,
    /// `POSTHOG_LLMA_REDACT_PATTERNS`: the list, or where it is; a host that can read files puts what is in it here.
    pub redact_patterns: Option<String>,
    /// `POSTHOG_AI_PURPOSE`.
    pub purpose: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_key: None,
            enabled: false,
            live: true,
            origin: Origin::default(),
            privacy_mode: false,
            distinct_id: None,
            trace_grouping: TraceGrouping::default(),
            max_attribute_length: 12_000,
            custom_properties: None,
            redact_secrets: true,
            redact_patterns: None,
            purpose: None,
        }
    }
}

/// What a variable that is true or false says, in any case; none if it says neither.
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

impl Options {
    /// Reads all [`VARIABLES`]. `lookup` gives a variable's value; an empty one counts as not set.
    ///
    /// The error is the first variable that cannot be used.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        // First, so that no later error can show a key that stands in the wrong variable.
        let api_key = set(API_KEY)
            .map(|value| ApiKey::parse(&value).map_err(|error| InvalidVariable::new(API_KEY, &error)))
            .transpose()?;
        let read = Reader { set, api_key: api_key.as_ref() };
        let default = Self::default();

        let allow_custom_host = read.boolean(ALLOW_CUSTOM_HOST, false)?;
        Ok(Self {
            enabled: read.boolean(ENABLED, default.enabled)?,
            live: read.boolean(LIVE, default.live)?,
            origin: read.origin(allow_custom_host)?.unwrap_or(default.origin),
            privacy_mode: read.boolean(PRIVACY_MODE, default.privacy_mode)?,
            distinct_id: read.distinct_id()?,
            trace_grouping: read.trace_grouping()?,
            max_attribute_length: read.max_attribute_length(default.max_attribute_length)?,
            custom_properties: read.custom_properties()?,
            redact_secrets: read.boolean(REDACT_SECRETS, default.redact_secrets)?,
            redact_patterns: (read.set)(REDACT_PATTERNS),
            purpose: (read.set)(PURPOSE),
            api_key,
        })
    }
}

/// Reads one variable after the other.
struct Reader<'a, Lookup> {
    set: Lookup,
    api_key: Option<&'a ApiKey>,
}

impl<Lookup: Fn(&str) -> Option<String>> Reader<'_, Lookup> {
    fn boolean(&self, name: &'static str, default: bool) -> Result<bool, InvalidVariable> {
        let Some(value) = (self.set)(name) else {
            return Ok(default);
        };
        boolean(&value)
            .ok_or_else(|| self.invalid(name, &value, "is neither true, 1, yes or on, nor false, 0, no or off"))
    }

    fn origin(&self, allow_custom_host: bool) -> Result<Option<Origin>, InvalidVariable> {
        let Some(value) = (self.set)(HOST) else {
            return Ok(None);
        };
        Origin::parse(&value, allow_custom_host).map(Some).map_err(|error: OriginError| {
            if self.holds_a_key(&value) {
                self.invalid(HOST, &value, &error.problem())
            } else {
                InvalidVariable::new(HOST, &error)
            }
        })
    }

    fn distinct_id(&self) -> Result<Option<String>, InvalidVariable> {
        let Some(value) = (self.set)(DISTINCT_ID) else {
            return Ok(None);
        };
        match identity::distinct_id_problem(&value) {
            Some(problem) => Err(self.invalid(DISTINCT_ID, &value, &problem)),
            None => Ok(Some(value)),
        }
    }

    fn trace_grouping(&self) -> Result<TraceGrouping, InvalidVariable> {
        let Some(value) = (self.set)(TRACE_GROUPING) else {
            return Ok(TraceGrouping::default());
        };
        match value.to_ascii_lowercase().as_str() {
            "session" => Ok(TraceGrouping::Session),
            "message" => Ok(TraceGrouping::Message),
            _ => Err(self.invalid(TRACE_GROUPING, &value, "is neither session nor message")),
        }
    }

    fn max_attribute_length(&self, default: u32) -> Result<u32, InvalidVariable> {
        let Some(value) = (self.set)(MAX_ATTRIBUTE_LENGTH) else {
            return Ok(default);
        };
        match value.parse() {
            // The standard library takes `+5` too.
            Ok(length) if !value.starts_with('+') => Ok(length),
            _ => {
                let reason = format!("is no whole number from 0 to {}", u32::MAX);
                Err(self.invalid(MAX_ATTRIBUTE_LENGTH, &value, &reason))
            }
        }
    }

    fn custom_properties(&self) -> Result<Option<Map<String, Value>>, InvalidVariable> {
        let Some(value) = (self.set)(CUSTOM_PROPERTIES) else {
            return Ok(None);
        };
        match serde_json::from_str(&value) {
            Ok(Value::Object(properties)) => Ok(Some(properties)),
            Ok(_) => {
                Err(self.invalid(CUSTOM_PROPERTIES, &value, "is JSON but no object such as {\"team\": \"search\"}"))
            }
            Err(error) => {
                let reason = format!("is no JSON object such as {{\"team\": \"search\"}}: {error}");
                Err(self.invalid(CUSTOM_PROPERTIES, &value, &reason))
            }
        }
    }

    fn invalid(&self, variable: &'static str, value: &str, reason: &(impl fmt::Display + ?Sized)) -> InvalidVariable {
        let value = if self.holds_a_key(value) {
            "a text with an API key in it".to_owned()
        } else {
            let mut shown: String = value.chars().take(SHOWN_LENGTH).collect();
            if shown.len() < value.len() {
                shown.push('…');
            }
            format!("{shown:?}")
        };
        InvalidVariable::new(variable, &format_args!("{value} {reason}"))
    }

    /// Whether a good piece of the key, or what looks like one, stands in another variable's value.
    fn holds_a_key(&self, value: &str) -> bool {
        let holds = |piece: &[u8]| memchr::memmem::find(value.as_bytes(), piece).is_some();
        let of_key = |key: &ApiKey| {
            let key = key.expose().as_bytes();
            key.windows(KEY_PIECE.min(key.len())).any(holds)
        };
        value.contains("phc_") || value.contains("phx_") || self.api_key.is_some_and(of_key)
    }
}

/// A variable that cannot be used.
///
/// Shows the value, escaped and shortened, unless there is an API key in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is not valid: {reason}")]
pub struct InvalidVariable {
    /// One of [`VARIABLES`].
    pub variable: &'static str,
    /// The value, what is wrong with it, and what is allowed.
    pub reason: String,
}

impl InvalidVariable {
    fn new(variable: &'static str, reason: &impl fmt::Display) -> Self {
        Self { variable, reason: reason.to_string() }
    }
}

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
        } else if !text.is_ascii() || text.contains(|c: char| c.is_ascii_control()) {
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

/// A text that is no project key. Does not hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApiKey {
    /// Nothing but white space.
    #[error("the key is blank")]
    Blank,
    /// Over 64 bytes.
    #[error("the key has more than {MAX_API_KEY} bytes")]
    TooLong,
    /// A control character, or one outside ASCII.
    #[error("the key holds a control character or one outside ASCII")]
    Characters,
    /// `phx_…`, which gives access to a user's account and does not take events.
    #[error(
        "this is a personal API key (phx_…); events need the project's key (phc_…), which the project's settings show"
    )]
    Personal,
}
