//! The forms of the properties of AI events, as `PostHog` documents them.

use serde_json::{Map, Value};

use super::chat;
use super::json::shown;

const IDS: [&str; 5] = ["$ai_trace_id", "$ai_session_id", "$ai_span_id", "$ai_parent_id", "$ai_generation_id"];

const TEXTS: [&str; 14] = [
    "$ai_error",
    "$ai_error_type",
    "$ai_model",
    "$ai_provider",
    "$ai_span_name",
    "$ai_span_type",
    "$ai_trace_name",
    "$ai_user_prompt",
    "$ai_tools_called",
    "$ai_stop_reason",
    "$ai_framework",
    "$ai_project_name",
    "$ai_git_branch",
    "$ai_git_repo",
];

/// Checks the properties of an event with this name. The error names the property: "has a `$ai_error` that …".
pub(super) fn check(event: &str, properties: &Map<String, Value>) -> Result<(), String> {
    if properties.contains_key("$session_id") {
        return Err("has `$session_id`, which is for web sessions".to_owned());
    }
    if !event.starts_with("$ai_") {
        return Ok(());
    }
    for (name, value) in properties {
        check_value(name, value).map_err(|problem| format!("has a `{}` that {problem}", shown(name)))?;
    }
    if !properties.contains_key("$ai_trace_id") {
        return Err("has no `$ai_trace_id`".to_owned());
    }
    let five_minutes = properties.contains_key("$ai_cache_creation_5m_input_tokens");
    let one_hour = properties.contains_key("$ai_cache_creation_1h_input_tokens");
    if five_minutes != one_hour {
        return Err("has only one of `$ai_cache_creation_5m_input_tokens` and `$ai_cache_creation_1h_input_tokens`: the split is used only with both".to_owned());
    }
    // If a trace event has no parent, or its own trace as parent, its latency is added on top of its generations'.
    if event == "$ai_trace" && properties.get("$ai_parent_id") != Some(&Value::from("root")) {
        return Err("has a `$ai_parent_id` that is not \"root\"".to_owned());
    }
    Ok(())
}

fn check_value(name: &str, value: &Value) -> Result<(), String> {
    if IDS.contains(&name) {
        return check_id(value);
    }
    if TEXTS.contains(&name) {
        return wanted(value.is_string(), "is not a string");
    }
    match name {
        "$ai_input" | "$ai_output_choices" => chat::check(value),
        "$ai_is_error" => wanted(value.is_boolean(), "is neither true nor false"),
        "$ai_latency" => {
            wanted(value.as_f64().is_some_and(|seconds| seconds >= 0.0), "is not a number of seconds, 0 or more")
        }
        _ => match name.strip_prefix("$ai_") {
            Some(rest) if rest.ends_with("_tokens") || rest.ends_with("_count") => {
                wanted(value.is_u64(), "is not an integer, 0 or more")
            }
            Some(rest) if rest.ends_with("_cost_usd") => Err("must be left to the server to compute".to_owned()),
            _ => Ok(()),
        },
    }
}

fn check_id(value: &Value) -> Result<(), String> {
    let Value::String(id) = value else {
        return Err("is not a string".to_owned());
    };
    if id.is_empty() {
        return Err("is empty".to_owned());
    }
    match id.chars().find(|&letter| !letter.is_ascii_alphanumeric() && !"-_~.@()!':|".contains(letter)) {
        None => Ok(()),
        Some(letter) => Err(format!("contains {letter:?}; IDs have only letters, digits and -_~.@()!':|")),
    }
}

fn wanted(good: bool, problem: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(problem.to_owned()) }
}
