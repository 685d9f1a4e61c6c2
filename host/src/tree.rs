//! A trace as a tree, drawn as PostHog draws it: by `$ai_parent_id`, orphans at the top.

use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Characters of a line's text.
const TEXT: usize = 60;

/// The events of one session as a tree, a line each.
pub fn draw(events: &[Value]) -> String {
    let mut nodes: Vec<&Value> = events.iter().filter(|e| e["event"] != "$ai_trace").collect();
    nodes.sort_by_key(|e| start(e));
    let known: HashMap<&str, usize> =
        nodes.iter().enumerate().filter_map(|(i, e)| Some((e["properties"]["$ai_span_id"].as_str()?, i))).collect();
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (i, event) in nodes.iter().enumerate() {
        let parent = event["properties"]["$ai_parent_id"].as_str().and_then(|id| known.get(id).copied());
        children.entry(parent.filter(|parent| *parent != i)).or_default().push(i);
    }
    let mut out = String::new();
    let traces: Vec<&Value> = events.iter().filter(|e| e["event"] == "$ai_trace").collect();
    for (i, trace) in traces.iter().enumerate() {
        let _ = writeln!(out, "{}", trace_line(trace));
        let id = &trace["properties"]["$ai_trace_id"];
        let roots: Vec<usize> = children
            .get(&None)
            .into_iter()
            .flatten()
            .copied()
            .filter(|&node| nodes[node]["properties"]["$ai_trace_id"] == *id)
            .collect();
        branch(&mut out, &nodes, &children, &roots, "", 0);
        if i + 1 < traces.len() {
            out.push('\n');
        }
    }
    out
}

fn branch(
    out: &mut String,
    nodes: &[&Value],
    children: &HashMap<Option<usize>, Vec<usize>>,
    siblings: &[usize],
    indent: &str,
    depth: usize,
) {
    // Sub-agents nest a few levels; a circle would never end.
    if depth > 64 {
        return;
    }
    for (i, &node) in siblings.iter().enumerate() {
        let (fork, below) = if i + 1 == siblings.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let _ = writeln!(out, "{indent}{fork}{}", line(nodes[node]));
        if let Some(children_here) = children.get(&Some(node)) {
            branch(out, nodes, children, children_here, &format!("{indent}{below}"), depth + 1);
        }
    }
}

/// Where it starts: `timestamp` is the end.
fn start(event: &Value) -> i64 {
    let end = event["timestamp"].as_str().and_then(posthog_llma_guest::time::parse).unwrap_or(0);
    end - (event["properties"]["$ai_latency"].as_f64().unwrap_or(0.0) * 1000.0) as i64
}

fn trace_line(trace: &Value) -> String {
    let p = &trace["properties"];
    let name = p["$ai_trace_name"].as_str().unwrap_or("(no name)");
    let number = |name: &str| p[name].as_u64().unwrap_or(0);
    let cached = number("$ai_total_cache_read_input_tokens") + number("$ai_total_cache_creation_input_tokens");
    format!(
        "{}\n{}  {} in + {cached} cached, {} out{}",
        clean(name, 100),
        seconds(p),
        number("$ai_total_input_tokens"),
        number("$ai_total_output_tokens"),
        error(p)
    )
}

fn line(event: &Value) -> String {
    let p = &event["properties"];
    let agent = p["$ai_agent_name"].as_str().map_or_else(String::new, |agent| format!(" [{}]", clean(agent, 30)));
    if event["event"] == "$ai_span" {
        let name = clean(p["$ai_span_name"].as_str().unwrap_or("?"), 40);
        return format!(
            "{name}  {}  {}{}",
            seconds(p),
            clean(p["$ai_input_state"].as_str().unwrap_or(""), TEXT),
            error(p)
        );
    }
    let model = clean(p["$ai_model"].as_str().unwrap_or("?"), 40);
    let tokens = match (p["$ai_input_tokens"].as_u64(), p["$ai_output_tokens"].as_u64()) {
        (Some(input), Some(output)) => {
            let cached = ["$ai_cache_read_input_tokens", "$ai_cache_creation_input_tokens"];
            let cached: u64 = cached.iter().filter_map(|name| p[name].as_u64()).sum();
            format!("  {input} in + {cached} cached, {output} out")
        }
        _ => String::new(),
    };
    format!("{model}{agent}  {}{tokens}  {}{}", seconds(p), clean(&answer(p), TEXT), error(p))
}

/// The first words of a generation's answer.
fn answer(p: &Value) -> String {
    let messages = p["$ai_output_choices"].as_array().into_iter().flatten();
    let mut thinking = "";
    for message in messages {
        match &message["content"] {
            Value::String(text) => return text.clone(),
            Value::Array(parts) => {
                for part in parts {
                    if let Some(text) = part["text"].as_str() {
                        return text.to_owned();
                    }
                    thinking = part["thinking"].as_str().unwrap_or(thinking);
                }
            }
            _ => {}
        }
    }
    if thinking.is_empty() { String::new() } else { format!("({thinking})") }
}

fn seconds(p: &Value) -> String {
    p["$ai_latency"].as_f64().map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn error(p: &Value) -> String {
    if p["$ai_is_error"] != true {
        return String::new();
    }
    let what = p["$ai_error"].as_str().or_else(|| p["$ai_error_type"].as_str()).unwrap_or("");
    format!("  ✗ {}", clean(what, TEXT))
}

/// One line without control characters: a transcript must not steer the terminal.
fn clean(text: &str, most: usize) -> String {
    let mut words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut out = String::new();
    let mut length = 0;
    for word in words.by_ref() {
        if !out.is_empty() {
            out.push(' ');
            length += 1;
        }
        for c in word.chars() {
            if length >= most {
                out.push('…');
                return out;
            }
            out.push(c);
            length += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_stand_under_their_parents_in_the_order_of_their_start() {
        let event = |kind: &str, id: &str, parent: &str, end: &str| {
            json!({"event": kind, "timestamp": format!("2026-01-01T00:00:{end}Z"),
                "properties": {"$ai_trace_id": "t", "$ai_span_id": id, "$ai_parent_id": parent, "$ai_span_name": id, "$ai_model": id}})
        };
        let tree = draw(&[
            event("$ai_span", "second", "model", "03"),
            event("$ai_span", "first", "model", "02"),
            event("$ai_generation", "orphan", "gone", "09"),
            event("$ai_generation", "model", "t", "01"),
            json!({"event": "$ai_trace", "properties": {"$ai_trace_id": "t", "$ai_trace_name": "Fix\u{1b}[31m it"}}),
        ]);
        let names: Vec<_> = tree.lines().map(|l| l.split("  –").next().unwrap()).collect();
        assert_eq!(
            names,
            ["Fix [31m it", "–  0 in + 0 cached, 0 out", "├─ model", "│  ├─ first", "│  └─ second", "└─ orphan"]
        );
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let event = |id: &str, parent: &str| {
            json!({"event": "$ai_span", "timestamp": "2026-01-01T00:00:00Z",
                "properties": {"$ai_trace_id": "t", "$ai_span_id": id, "$ai_parent_id": parent}})
        };
        let trace = json!({"event": "$ai_trace", "properties": {"$ai_trace_id": "t"}});
        assert_eq!(draw(&[event("a", "b"), event("b", "a"), event("c", "c"), trace]).lines().count(), 3);
    }
}
