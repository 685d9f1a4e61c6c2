//! Makes an event fit by cutting its longest texts. This is rare, so the code is simple rather than fast.

use crate::transcript::text;
use serde_json::Value;

/// Properties whose texts may be cut: those that hold content.
const CONTENT: [&str; 6] =
    ["$ai_input", "$ai_output_choices", "$ai_input_state", "$ai_output_state", "$ai_user_prompt", "$ai_error"];

/// The same event within `largest` bytes: its longer texts are all cut at one limit, and if even that is not enough,
/// its content is left out. The same event and limit give the same bytes.
pub fn to_fit(json: Vec<u8>, largest: usize) -> Vec<u8> {
    if json.len() <= largest {
        return json;
    }
    let Ok(mut event) = serde_json::from_slice::<Value>(&json) else { return json };
    let mut limit = largest / 2;
    loop {
        if let Some(properties) = event.get_mut("properties").and_then(Value::as_object_mut) {
            for name in CONTENT {
                if let Some(value) = properties.get_mut(name) {
                    cut_texts(value, limit);
                }
            }
        }
        match serde_json::to_vec(&event) {
            Ok(json) if json.len() <= largest => return json,
            _ if limit > 64 => limit /= 2,
            _ => break,
        }
    }
    if let Some(properties) = event.get_mut("properties").and_then(Value::as_object_mut) {
        for name in CONTENT {
            properties.remove(name);
        }
    }
    serde_json::to_vec(&event).unwrap_or(json)
}

fn cut_texts(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) if text.len() > limit => *text = text::cut(text, text.chars().count(), limit),
        Value::Array(values) => values.iter_mut().for_each(|value| cut_texts(value, limit)),
        Value::Object(members) => members.values_mut().for_each(|value| cut_texts(value, limit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(input: &Value) -> Vec<u8> {
        json!({"event": "$ai_span", "uuid": "u", "properties": {"$ai_span_name": "Bash", "$ai_input": input}})
            .to_string()
            .into()
    }

    #[test]
    fn an_event_that_fits_is_not_touched() {
        let json = event(&json!("short"));
        assert_eq!(to_fit(json.clone(), 1000), json);
    }

    #[test]
    fn the_longest_texts_are_cut_first() {
        let json = to_fit(event(&json!([{"content": "x".repeat(5000)}, {"content": "y".repeat(100)}])), 2000);
        assert!(json.len() <= 2000);
        let event: Value = serde_json::from_slice(&json).unwrap();
        let input = &event["properties"]["$ai_input"];
        assert!(input[0]["content"].as_str().unwrap().ends_with(" characters]"));
        assert_eq!(input[1]["content"], "y".repeat(100));
    }

    #[test]
    fn content_of_too_many_small_pieces_is_left_out() {
        let json = to_fit(event(&json!(vec!["x"; 5000])), 2000);
        let event: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(event["properties"], json!({"$ai_span_name": "Bash"}));
    }
}
