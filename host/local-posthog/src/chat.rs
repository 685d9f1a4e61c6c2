//! `OpenAI`'s chat format, which is documented for `$ai_input` and `$ai_output_choices`, in the forms that `PostHog`
//! renders.

use serde_json::{Map, Value};

use super::json::shown;

/// Checks an array of messages. The error gives the message's number, from 1: "is not in the chat format: message 2 …".
pub(super) fn check(messages: &Value) -> Result<(), String> {
    let Value::Array(messages) = messages else {
        return Err("is not in the chat format: it is not an array".to_owned());
    };
    for (index, message) in messages.iter().enumerate() {
        check_message(message)
            .map_err(|problem| format!("is not in the chat format: message {} {problem}", index + 1))?;
    }
    Ok(())
}

fn check_message(message: &Value) -> Result<(), String> {
    let Value::Object(message) = message else {
        return Err("is not an object".to_owned());
    };
    let role = match text(message, "role")? {
        role @ ("system" | "developer" | "user" | "assistant" | "tool") => role,
        other => return Err(format!("has the unknown role `{}`", shown(other))),
    };
    let calls = message.get("tool_calls");
    match message.get("content") {
        Some(Value::Null | Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            for part in parts {
                check_part(part)?;
            }
        }
        Some(_) => return Err("has a `content` that is not text, null or an array".to_owned()),
        None if calls.is_some() => {}
        None => return Err("has neither `content` nor `tool_calls`".to_owned()),
    }
    if let Some(calls) = calls {
        if role != "assistant" {
            return Err("has `tool_calls` but is not the assistant's".to_owned());
        }
        let Value::Array(calls) = calls else {
            return Err("has `tool_calls` that are not an array".to_owned());
        };
        for call in calls {
            check_call(call)?;
        }
    }
    if role == "tool" {
        text(message, "tool_call_id")?;
    } else if message.contains_key("tool_call_id") {
        return Err("has a `tool_call_id` but is not a tool's".to_owned());
    }
    Ok(())
}

fn check_part(part: &Value) -> Result<(), String> {
    let Value::Object(part) = part else {
        return Err("has a part of `content` that is not an object".to_owned());
    };
    match text(part, "type")? {
        "text" => text(part, "text").map(drop),
        "thinking" => text(part, "thinking").map(drop),
        "image" => {
            let Some(Value::Object(source)) = part.get("source") else {
                return Err("has an image without `source`".to_owned());
            };
            text(source, "media_type")?;
            text(source, "data")?;
            match text(source, "type")? {
                "base64" => Ok(()),
                _ => Err("has an image that is not base64".to_owned()),
            }
        }
        other => Err(format!("has a part of the type `{}`, which is drawn as raw JSON", shown(other))),
    }
}

fn check_call(call: &Value) -> Result<(), String> {
    let Value::Object(call) = call else {
        return Err("has a tool call that is not an object".to_owned());
    };
    text(call, "id")?;
    if text(call, "type")? != "function" {
        return Err("has a tool call that is not a function".to_owned());
    }
    let Some(Value::Object(function)) = call.get("function") else {
        return Err("has a tool call without `function`".to_owned());
    };
    text(function, "name")?;
    // OpenAI's own format is JSON in a string; many clients send the object itself. PostHog renders both.
    match function.get("arguments") {
        Some(Value::String(_) | Value::Object(_)) => Ok(()),
        _ => Err("has a tool call whose `arguments` are not text or an object".to_owned()),
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match object.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("has a `{name}` that is not a string")),
        None => Err(format!("has no `{name}`")),
    }
}
