//! Text for people: durations, counts, what a tool is asked to do.

use crate::delivery::counted::count;
use serde_json::Value;
use std::borrow::Cow;

/// Arguments that say what a tool does, the most telling first.
const TELLING: [&str; 20] = [
    "command",
    "file_path",
    "notebook_path",
    "pattern",
    "query",
    "url",
    "description",
    "skill",
    "subject",
    "questions",
    "todos",
    "plan",
    "path",
    "prompt",
    "name",
    "task_id",
    "message",
    "text",
    "content",
    "id",
];

/// A duration as people write it: `0.4 s`, `12.0 s`, `2 min 05 s`, `2 h 04 min`, `3 days 4 h`.
pub fn duration(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    if milliseconds < 59_950 {
        return format!("{:.1} s", milliseconds as f64 / 1000.0);
    }
    let seconds = (milliseconds + 500) / 1000;
    let minutes = seconds / 60;
    match minutes {
        0..60 => format!("{minutes} min {:02} s", seconds % 60),
        60..2880 => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => format!("{} days {} h", minutes / 1440, minutes % 1440 / 60),
    }
}

/// The argument of a tool's input that says what the tool does. `input` is JSON and may be cut off.
pub fn argument(input: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Value>(input) {
        Ok(Value::Object(members)) => {
            let telling = TELLING.iter().find_map(|name| members.get(*name).and_then(said));
            let other = || members.values().find_map(said);
            telling.or_else(other).map_or_else(|| Cow::Borrowed(""), Cow::Owned)
        }
        Ok(_) => Cow::Borrowed(input),
        Err(_) => beginning(input),
    }
}

/// A value's text, if it is a string or a list.
fn said(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Array(values) if !values.is_empty() => {
            let first = &values[0];
            let first = ["question", "content", "subject"].iter().find_map(|name| first[*name].as_str());
            Some(match (first, values.len()) {
                (Some(first), 1) => first.to_owned(),
                (Some(first), more) => format!("{first} (and {} more)", more - 1),
                (None, n) => count(n as u64, "item"),
            })
        }
        _ => None,
    }
}

/// The value of the first telling argument in JSON that was cut off.
fn beginning(input: &str) -> Cow<'_, str> {
    let found = TELLING.iter().find_map(|name| Some(input.split_once(&format!("\"{name}\":"))?.1.trim_start()));
    let Some(value) = found.and_then(|rest| rest.strip_prefix('"')) else { return Cow::Borrowed(input) };
    let mut end = value.len();
    let mut escaped = false;
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let raw = &value[..end];
    // Drop a lone backslash at the cut.
    let text = serde_json::from_str(&format!("\"{}\"", raw.trim_end_matches('\\')));
    text.map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// The reason why the session continued, from a user line that no person wrote.
pub fn reason(content: &str) -> &'static str {
    let content = content.trim_start();
    if content.starts_with("<task-notification") || content.starts_with("<bash-notification") {
        "until a background job reported"
    } else if content.starts_with("<teammate-message") {
        "until a teammate wrote"
    } else {
        "idle"
    }
}

/// What a tool was waiting for.
pub fn awaited(tool: &str) -> &'static str {
    match tool {
        "AskUserQuestion" | "ExitPlanMode" => "for an answer",
        "AgentOutputTool" | "BashOutput" | "Monitor" | "TaskOutput" => "for a background job",
        "ScheduleWakeup" | "Sleep" | "Wait" => "for a timer",
        _ => "for permission",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (milliseconds, words) in [
            (-5, "0.0 s"),
            (400, "0.4 s"),
            (12_000, "12.0 s"),
            (59_960, "1 min 00 s"),
            (125_000, "2 min 05 s"),
            (3_599_600, "1 h 00 min"),
            (7_440_000, "2 h 04 min"),
            (273_600_000, "3 days 4 h"),
        ] {
            assert_eq!(duration(milliseconds), words);
        }
    }

    #[test]
    fn a_tool_is_told_by_its_telling_argument() {
        for (input, words) in [
            (r#"{"description":"Run the tests","command":"npm test"}"#, "npm test"),
            (r#"{"limit":5,"file_path":"/home/dev/shop/a.ts"}"#, "/home/dev/shop/a.ts"),
            (r#"{"prompt":"Look at all","description":"Look","subagent_type":"Explore"}"#, "Look"),
            (r#"{"questions":[{"question":"Which branch?"},{"question":"When?"}]}"#, "Which branch? (and 1 more)"),
            (r#"{"todos":[{"content":"x"}]}"#, "x"),
            (r#"{"a":1,"b":"two"}"#, "two"),
            (r#"{"command":"  ","x":[1,2]}"#, "2 items"),
            (r"{}", ""),
            ("plain", "plain"),
            (
                r#"{"command":"echo \"a\" && ls… [truncated 900 characters]"#,
                "echo \"a\" && ls… [truncated 900 characters]",
            ),
            (r#"{"x":{"command":"ls -l","y":"cut o"#, "ls -l"),
            (r#"{"command":"cut \"#, "cut "),
            (r#"{"zzz":"cut"#, r#"{"zzz":"cut"#),
        ] {
            assert_eq!(argument(input), words, "{input}");
        }
    }
}
