//! What may be sent in privacy mode: numbers, booleans, and texts that are a word or an id.
//!
//! A stop reason, a model or a tool's name is a word whenever the real client wrote it. But a transcript is only a
//! file, and a tool's author or a server can put a sentence where a name belongs: anything without a known shape is
//! content, and is replaced by [`OTHER`]. Every property is checked here, so one that is forgotten, or added later,
//! cannot leak a text.

/// Replaces a text that is not a word.
pub const OTHER: &str = "other";

/// Maximum bytes of a word. Real ones have a few dozen; a tool's name may have 128.
const LONGEST_WORD: usize = 200;

/// Properties that hold names given by people: a folder, a branch, a repository, and the user's own settings, which
/// include another trace's IDs.
const NAMES: [&str; 6] =
    ["$ai_project_name", "$ai_git_branch", "$ai_git_repo", "$ai_purpose", "$ai_trace_id", "$ai_parent_id"];

/// Properties that are content, whatever their values look like.
const CONTENT: [&str; 7] = [
    "$ai_error",
    "$ai_input",
    "$ai_input_state",
    "$ai_output_choices",
    "$ai_output_state",
    "$ai_trace_name",
    "$ai_user_prompt",
];

/// Properties that are comma-separated lists of words.
const LISTS: [&str; 1] = ["$ai_tools_called"];

/// Is this what people, models and tools wrote?
pub fn is_content(name: &str) -> bool {
    CONTENT.contains(&name)
}

/// Does the value, given as JSON, have a shape that this property may have?
pub fn is_known(name: &str, json: &[u8]) -> bool {
    if is_content(name) {
        return false;
    }
    let Some(text) = json.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return !matches!(json.first(), Some(b'{' | b'[') | None);
    };
    match name {
        _ if NAMES.contains(&name) => true,
        _ if LISTS.contains(&name) => text.split(|byte| *byte == b',').all(is_word),
        _ => is_word(text),
    }
}

/// A word or an id, such as `claude-opus-4-1[1m]`, `mcp__server__tool`, `plugin:skill`, `<synthetic>`.
fn is_word(text: &[u8]) -> bool {
    text.len() <= LONGEST_WORD
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@+[]()<>#".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(name: &str, value: &serde_json::Value) -> bool {
        is_known(name, value.to_string().as_bytes())
    }

    #[test]
    fn words_ids_and_numbers_pass() {
        for value in [
            serde_json::json!("end_turn"),
            "claude-opus-4-1-20250805[1m]".into(),
            "us.anthropic.claude-sonnet-4-5-v1:0".into(),
            "mcp__plugin_x_y__do-it".into(),
            "<synthetic>".into(),
            "2.1.330".into(),
            "".into(),
            3.into(),
            2.5.into(),
            true.into(),
            serde_json::Value::Null,
        ] {
            assert!(is("$ai_model", &value), "{value}");
        }
        assert!(is("$ai_tools_called", &"Bash,mcp__a__b".into()));
    }

    #[test]
    fn content_is_content_whatever_it_looks_like() {
        for name in CONTENT {
            assert!(!is(name, &"deploy".into()) && !is(name, &3.into()), "{name}");
        }
    }

    #[test]
    fn whatever_could_be_a_sentence_does_not() {
        for value in [
            serde_json::json!("the secret plan"),
            "a\tb".into(),
            "\u{e9}t\u{e9}".into(),
            "a\"b".into(),
            "a,b".into(),
            "a".repeat(201).into(),
            serde_json::json!(["a"]),
            serde_json::json!({"a": "b"}),
        ] {
            assert!(!is("$ai_stop_reason", &value), "{value}");
        }
        assert!(!is("$ai_tools_called", &"Bash,the plan".into()));
        assert!(is("$ai_project_name", &"my notes, old".into()));
        assert!(!is("$ai_project_name", &serde_json::json!({"a": "b"})));
    }
}
