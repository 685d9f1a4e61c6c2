//! The message of an assistant or user line, and its tokens.

use crate::transcript::lenient::{self, Str};
use crate::transcript::raw::Raw;
use serde::Deserialize;
use std::borrow::Cow;

/// `message` of an assistant or user line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub id: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub model: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub stop_reason: Str<'a>,
    #[serde(deserialize_with = "lenient::object")]
    pub usage: Option<Usage>,
    /// A string or a list of blocks.
    #[serde(borrow)]
    pub content: Option<Raw<'a>>,
}

/// Tokens, as far as they are sent. A count that is missing or no whole number is `None`.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Usage {
    #[serde(deserialize_with = "lenient::count")]
    pub input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    pub cache_creation: Option<CacheCreation>,
    #[serde(deserialize_with = "lenient::object")]
    pub server_tool_use: Option<ServerToolUse>,
    #[serde(deserialize_with = "lenient::object")]
    pub output_tokens_details: Option<OutputTokensDetails>,
    #[serde(deserialize_with = "owned_str")]
    pub service_tier: Option<String>,
    #[serde(deserialize_with = "owned_str")]
    pub speed: Option<String>,
    /// The calls of the model that one response took; what is not an object is `None`.
    #[serde(deserialize_with = "lenient::objects")]
    pub iterations: Vec<Option<Iteration>>,
}

/// One of the calls that a response took, with tokens of its own.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Iteration {
    /// `message`, `fallback_message`, `advisor_message`, `compaction`, …
    #[serde(rename = "type", deserialize_with = "owned_str")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "owned_str")]
    pub model: Option<String>,
    #[serde(deserialize_with = "lenient::count")]
    pub input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    pub cache_creation: Option<CacheCreation>,
}

/// What a `cost-state` line counts of one model (2.1.300+).
#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelUsage {
    #[serde(deserialize_with = "lenient::count")]
    pub input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub output_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub cache_creation_input_tokens: Option<u64>,
}

fn owned_str<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(lenient::str(deserializer)?.map(Cow::into_owned))
}

/// How long the cache entries live that a call wrote.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct CacheCreation {
    #[serde(deserialize_with = "lenient::count")]
    pub ephemeral_5m_input_tokens: Option<u64>,
    #[serde(deserialize_with = "lenient::count")]
    pub ephemeral_1h_input_tokens: Option<u64>,
}

/// Calls of tools that run at the model's provider.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ServerToolUse {
    #[serde(deserialize_with = "lenient::count")]
    pub web_search_requests: Option<u64>,
}

/// What the output tokens were spent on.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct OutputTokensDetails {
    #[serde(deserialize_with = "lenient::count")]
    pub thinking_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_are_no_whole_number_are_missing() {
        let usage: Usage = serde_json::from_str(r#"{"input_tokens":3.0,"output_tokens":-1,"cache_read_input_tokens":"7","cache_creation_input_tokens":1.5}"#).unwrap();
        assert_eq!(usage, Usage { input_tokens: Some(3), ..Usage::default() });
    }
}
