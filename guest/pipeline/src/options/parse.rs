//! The parsers of the options' values, and the errors about values that cannot be used.

use super::{ALLOW_CUSTOM_HOST, API_KEY, ApiKey, ToolSpans, TraceGrouping};
use crate::identity;
use crate::origin::Origin;
use serde_json::Value;
use std::fmt;

/// How many bytes of the key reveal too much: a key pasted into the wrong variable may lack its beginning.
const KEY_PIECE: usize = 12;
/// Maximum characters of a refused value that an error shows.
const SHOWN_LENGTH: usize = 60;

/// What a parser can see besides its value: the other variables.
pub(super) struct Context<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    api_key: Option<ApiKey>,
}

/// Why a value cannot be used.
pub(super) enum Refusal {
    /// What is wrong with it, to be appended to the value.
    OfValue(String),
    /// The complete reason: it contains the value, or the value must not be shown.
    Whole(String),
}

/// Reads an option's value.
type Parser<T> = fn(&str, &Context<'_>) -> Result<T, Refusal>;

impl<'a> Context<'a> {
    /// Reads the key before anything else, so that no later error can show a key that was put in the wrong variable.
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        let mut context = Self::without_key(lookup);
        context.api_key = context.value(API_KEY, api_key)?.flatten();
        Ok(context)
    }

    /// For variables without a key.
    pub(super) fn without_key(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, api_key: None }
    }

    /// A variable's text; none if the variable is not set.
    pub(super) fn set(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    /// A variable's value; none if the variable is not set.
    pub(super) fn value<T>(&self, variable: &'static str, parse: Parser<T>) -> Result<Option<T>, InvalidVariable> {
        let Some(value) = self.set(variable) else { return Ok(None) };
        parse(&value, self).map(Some).map_err(|refusal| InvalidVariable {
            variable,
            reason: match refusal {
                Refusal::Whole(reason) => reason,
                Refusal::OfValue(reason) => format!("{} {reason}", self.shown(&value)),
            },
        })
    }

    /// A value in the form in which an error may show it.
    pub(super) fn shown(&self, value: &str) -> String {
        if self.holds_a_key(value) {
            return "a text with an API key in it".to_owned();
        }
        let mut shown: String = value.chars().take(SHOWN_LENGTH).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        format!("{shown:?}")
    }

    /// Does another variable's value contain a large part of the key, or something that looks like a key?
    fn holds_a_key(&self, value: &str) -> bool {
        let holds = |piece: &[u8]| memchr::memmem::find(value.as_bytes(), piece).is_some();
        let of_key = |key: &ApiKey| {
            let key = key.expose().as_bytes();
            key.windows(KEY_PIECE.min(key.len())).any(holds)
        };
        value.contains("phc_") || value.contains("phx_") || self.api_key.as_ref().is_some_and(of_key)
    }
}

/// A project's value for a variable; none if it cannot be read.
pub(super) fn of_project<T>(variable: &'static str, said: Option<String>, parse: Parser<T>) -> Option<T> {
    let said = said?;
    let lookup = |name: &str| (name == variable).then(|| said.trim().to_owned());
    Context::without_key(&lookup).value(variable, parse).ok().flatten()
}

/// The value of a boolean variable, in upper or lower case; none if it is not a boolean.
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn refused<T>(reason: impl fmt::Display) -> Result<T, Refusal> {
    Err(Refusal::OfValue(reason.to_string()))
}

pub(super) fn api_key(value: &str, _: &Context<'_>) -> Result<Option<ApiKey>, Refusal> {
    ApiKey::parse(value).map(Some).map_err(|error| Refusal::Whole(error.to_string()))
}

pub(super) fn flag(value: &str, _: &Context<'_>) -> Result<bool, Refusal> {
    boolean(value).map_or_else(|| refused("is neither true, 1, yes or on, nor false, 0, no or off"), Ok)
}

pub(super) fn origin(value: &str, context: &Context<'_>) -> Result<Origin, Refusal> {
    // A value that is not a boolean has its own error.
    let allowed = context.set(ALLOW_CUSTOM_HOST).is_some_and(|allowed| boolean(&allowed) != Some(false));
    Origin::parse(value, allowed).map_err(|error| {
        if context.holds_a_key(value) {
            Refusal::OfValue(error.problem().to_string())
        } else {
            Refusal::Whole(error.to_string())
        }
    })
}

pub(super) fn distinct_id(value: &str, _: &Context<'_>) -> Result<Option<String>, Refusal> {
    if let Some(problem) = identity::distinct_id_problem(value) {
        return refused(problem);
    }
    Ok(Some(value.to_owned()))
}

impl TraceGrouping {
    /// The value that its variable would have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Message => "message",
        }
    }
}

pub(super) fn trace_grouping(value: &str, _: &Context<'_>) -> Result<TraceGrouping, Refusal> {
    let named = [TraceGrouping::Session, TraceGrouping::Message];
    let named = named.into_iter().find(|grouping| value.eq_ignore_ascii_case(grouping.as_str()));
    named.map_or_else(|| refused("is neither session nor message"), Ok)
}

impl ToolSpans {
    /// The value that its variable would have.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Errors => "errors",
            Self::None => "none",
        }
    }
}

pub(super) fn tool_spans(value: &str, _: &Context<'_>) -> Result<ToolSpans, Refusal> {
    let named = [ToolSpans::All, ToolSpans::Errors, ToolSpans::None];
    let named = named.into_iter().find(|spans| value.eq_ignore_ascii_case(spans.as_str()));
    named.map_or_else(|| refused("is not all, errors or none"), Ok)
}

pub(super) fn length(value: &str, _: &Context<'_>) -> Result<u32, Refusal> {
    match value.parse() {
        // The standard library also accepts `+5`.
        Ok(length) if !value.starts_with('+') => Ok(length),
        _ => refused(format_args!("is not a whole number from 0 to {}", u32::MAX)),
    }
}

pub(super) fn custom_properties(value: &str, _: &Context<'_>) -> Result<Option<String>, Refusal> {
    match serde_json::from_str(value) {
        Ok(Value::Object(properties)) => Ok(Some(Value::Object(properties).to_string())),
        Ok(_) => refused("is JSON, but not an object such as {\"team\": \"search\"}"),
        Err(error) => refused(format_args!("is not a JSON object such as {{\"team\": \"search\"}}: {error}")),
    }
}

/// Hooks run wherever their session does: a relative path would lead into a project.
pub(super) fn log_file(value: &str, _: &Context<'_>) -> Result<Option<String>, Refusal> {
    let is_drive = matches!(value.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic());
    let is_absolute = is_drive || ["/", "\\\\", "~/"].iter().any(|start| value.starts_with(start));
    if is_absolute {
        Ok(Some(value.to_owned()))
    } else {
        refused("is not an absolute path, nor one that begins with ~/")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a parser like the others")]
pub(super) fn text(value: &str, _: &Context<'_>) -> Result<Option<String>, Refusal> {
    Ok(Some(value.to_owned()))
}

/// A variable that cannot be used.
///
/// Shows the value, escaped and shortened, unless it contains an API key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is not valid: {reason}")]
pub struct InvalidVariable {
    /// One of [`variables`](super::variables).
    pub variable: &'static str,
    /// The value, what is wrong with it, and what is allowed.
    pub reason: String,
}
