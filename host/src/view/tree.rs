//! A session as a tree, drawn as PostHog draws it: by `$ai_parent_id`, orphans at the top. What follows from a prompt stands
//! below the prompt.

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Characters of a line's text.
const TEXT: usize = 60;

/// Sub-agents nest a few levels; a circle would never end.
const DEEPEST: usize = 64;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const MODEL: Style = AnsiColor::Cyan.on_default();
const TOOL: Style = AnsiColor::Yellow.on_default();
const AGENT: Style = AnsiColor::Magenta.on_default();
const ERROR: Style = AnsiColor::Red.on_default();

/// The events of one session as a tree, a line each.
pub fn draw(events: &[Value]) -> String {
    let mut tree = Tree::default();
    for event in events {
        tree.add(event);
    }
    anstream::adapter::strip_str(&tree.draw()).to_string()
}

/// Cuts the lines of a drawn tree where a terminal of this many columns would break them.
pub fn fit(tree: &str, columns: usize) -> String {
    let mut out = String::with_capacity(tree.len());
    for line in tree.lines() {
        if anstream::adapter::strip_str(line).to_string().width() <= columns {
            out.push_str(line);
        } else {
            let (mut left, mut in_escape) = (columns.saturating_sub(1), false);
            for c in line.chars() {
                in_escape |= c == '\u{1b}';
                if !in_escape {
                    let width = c.width().unwrap_or(0);
                    if width > left {
                        break;
                    }
                    left -= width;
                }
                in_escape &= c != 'm';
                out.push(c);
            }
            let _ = write!(out, "…{}", anstyle::Reset);
        }
        out.push('\n');
    }
    out
}

/// A session's tree in the making. Of the events it holds what a line shows.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    traces: Vec<Trace>,
}

/// A generation or a tool call.
#[derive(Debug)]
struct Node {
    id: Option<String>,
    parent: Option<String>,
    trace: Option<String>,
    start: i64,
    end: i64,
    line: String,
    sums: Sums,
    prompt: Option<Prompt>,
}

/// What a response of the main thread follows from.
#[derive(Debug)]
struct Prompt {
    /// The beginning of its text.
    text: String,
    /// The response answers the prompt itself, not a tool's result.
    is_asked: bool,
}

#[derive(Debug)]
struct Trace {
    id: Option<String>,
    line: String,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    input: u64,
    cached: u64,
    output: u64,
    errors: u64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.output = self.output.saturating_add(other.output);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

impl Tree {
    /// Adds an event, in whatever order.
    pub fn add(&mut self, event: &Value) {
        let p = &event["properties"];
        let text = |name: &str| p[name].as_str().map(str::to_owned);
        if event["event"] == "$ai_trace" {
            self.traces.push(Trace { id: text("$ai_trace_id"), line: trace_line(p) });
            return;
        }
        let end = event["timestamp"].as_str().and_then(posthog_llma_pipeline::time::parse).unwrap_or(0);
        let number = |name: &str| p[name].as_u64().unwrap_or(0);
        let is_main = event["event"] == "$ai_generation" && p["$ai_agent_name"].is_null();
        self.nodes.push(Node {
            id: text("$ai_span_id"),
            parent: text("$ai_parent_id"),
            trace: text("$ai_trace_id"),
            // `timestamp` is the end.
            start: end - (p["$ai_latency"].as_f64().unwrap_or(0.0) * 1000.0) as i64,
            end,
            line: line(event),
            sums: Sums {
                input: number("$ai_input_tokens"),
                cached: number("$ai_cache_read_input_tokens") + number("$ai_cache_creation_input_tokens"),
                output: number("$ai_output_tokens"),
                errors: u64::from(p["$ai_is_error"] == true),
            },
            prompt: p["$ai_user_prompt"].as_str().filter(|_| is_main).map(|prompt| Prompt {
                text: clean(prompt, 100),
                is_asked: p["$ai_input"]
                    .as_array()
                    .is_some_and(|input| input.iter().any(|m| m["role"] == "user" && m["content"] == prompt)),
            }),
        });
    }

    /// The tree with its colours, as ANSI escape sequences.
    pub fn draw(&self) -> String {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|&node| self.nodes[node].start);
        let mut known = HashMap::new();
        for &node in &order {
            if let Some(id) = self.nodes[node].id.as_deref() {
                known.entry(id).or_insert(node);
            }
        }
        let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
        for &node in &order {
            let parent = self.nodes[node].parent.as_deref().and_then(|id| known.get(id).copied());
            children.entry(parent.filter(|parent| *parent != node)).or_default().push(node);
        }
        let mut drawing = Drawing { nodes: &self.nodes, children: &children, out: String::new() };
        for (i, trace) in self.traces.iter().enumerate() {
            if i > 0 {
                drawing.out.push('\n');
            }
            let _ = writeln!(drawing.out, "{}", trace.line);
            let roots = children.get(&None).into_iter().flatten().copied();
            let roots: Vec<usize> = roots.filter(|&node| self.nodes[node].trace == trace.id).collect();
            drawing.turns(&roots);
        }
        drawing.out
    }
}

struct Drawing<'a> {
    nodes: &'a [Node],
    children: &'a HashMap<Option<usize>, Vec<usize>>,
    out: String,
}

impl Drawing<'_> {
    /// A trace's turns. A single one is named by the trace; in privacy mode nothing tells them apart.
    fn turns(&mut self, roots: &[usize]) {
        let mut starts: Vec<usize> = Vec::new();
        for (i, &root) in roots.iter().enumerate() {
            if let Some(prompt) = &self.nodes[root].prompt {
                let last = starts.last().and_then(|&i| self.nodes[roots[i]].prompt.as_ref());
                if prompt.is_asked || last.is_none_or(|last| last.text != prompt.text) {
                    starts.push(i);
                }
            }
        }
        if starts.len() < 2 {
            return self.branch(roots, "", 0, true);
        }
        self.branch(&roots[..starts[0]], "", 0, false);
        for (i, &start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(roots.len());
            let turn = &roots[start..end];
            let (fork, below) = if end == roots.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let line = self.turn_line(turn);
            let _ = writeln!(self.out, "{FAINT}{fork}{FAINT:#}{line}");
            self.branch(turn, below, 0, true);
        }
    }

    fn branch(&mut self, siblings: &[usize], indent: &str, depth: usize, ends: bool) {
        if depth > DEEPEST {
            return;
        }
        let children = self.children;
        for (i, &node) in siblings.iter().enumerate() {
            let (fork, below) = if ends && i + 1 == siblings.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let _ = writeln!(self.out, "{FAINT}{indent}{fork}{FAINT:#}{}", self.nodes[node].line);
            if let Some(children) = children.get(&Some(node)) {
                self.branch(children, &format!("{indent}{below}"), depth + 1, true);
            }
        }
    }

    fn turn_line(&self, roots: &[usize]) -> String {
        let (mut sums, mut end) = (Sums::default(), i64::MIN);
        let mut add = |node: usize| {
            sums += self.nodes[node].sums;
            end = end.max(self.nodes[node].end);
        };
        let mut open: Vec<(usize, usize)> = roots.iter().map(|&root| (root, 0)).collect();
        while let Some((node, depth)) = open.pop() {
            add(node);
            if depth < DEEPEST {
                open.extend(self.children.get(&Some(node)).into_iter().flatten().map(|&child| (child, depth + 1)));
            }
        }
        let Sums { input, cached, output, errors } = sums;
        let first = &self.nodes[roots[0]];
        let prompt = first.prompt.as_ref().map_or("", |prompt| &prompt.text);
        let seconds = end.saturating_sub(first.start).max(0) as f64 / 1000.0;
        let errors = if errors == 0 { String::new() } else { format!("  {ERROR}✗ {errors}{ERROR:#}") };
        format!(
            "{STRONG}❯ {}{STRONG:#}  {FAINT}{seconds:.1} s{FAINT:#}{errors}  {FAINT}{input} in + {cached} cached, {output} out{FAINT:#}",
            clean(prompt, TEXT)
        )
    }
}

fn trace_line(p: &Value) -> String {
    let name = p["$ai_trace_name"].as_str().unwrap_or("(no name)");
    let number = |name: &str| p[name].as_u64().unwrap_or(0);
    let cached = number("$ai_total_cache_read_input_tokens") + number("$ai_total_cache_creation_input_tokens");
    format!(
        "{STRONG}{}{STRONG:#}\n{FAINT}{}  {} in + {cached} cached, {} out{FAINT:#}{}",
        clean(name, 100),
        seconds(p),
        number("$ai_total_input_tokens"),
        number("$ai_total_output_tokens"),
        error(p)
    )
}

fn line(event: &Value) -> String {
    let p = &event["properties"];
    if event["event"] == "$ai_span" {
        let name = clean(p["$ai_span_name"].as_str().unwrap_or("?"), 40);
        let input = clean(p["$ai_input_state"].as_str().unwrap_or(""), TEXT);
        return format!("{TOOL}{name}{TOOL:#}  {FAINT}{}{FAINT:#}{}{}", seconds(p), error(p), text(&input));
    }
    // Errors come before texts, which a narrow terminal cuts.
    let agent = p["$ai_agent_name"].as_str();
    let agent = agent.map_or_else(String::new, |agent| format!(" {AGENT}[{}]{AGENT:#}", clean(agent, 30)));
    let model = clean(p["$ai_model"].as_str().unwrap_or("?"), 40);
    let tokens = match (p["$ai_input_tokens"].as_u64(), p["$ai_output_tokens"].as_u64()) {
        (Some(input), Some(output)) => {
            let cached = ["$ai_cache_read_input_tokens", "$ai_cache_creation_input_tokens"];
            let cached: u64 = cached.iter().filter_map(|name| p[name].as_u64()).sum();
            format!("  {input} in + {cached} cached, {output} out")
        }
        _ => String::new(),
    };
    // A failed call's answer is its error.
    let answer = if p["$ai_is_error"] == true { String::new() } else { clean(&answer(p), TEXT) };
    format!("{MODEL}{model}{MODEL:#}{agent}  {FAINT}{}{tokens}{FAINT:#}{}{}", seconds(p), error(p), text(&answer))
}

fn text(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("  {text}") }
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
    format!("  {ERROR}✗ {}{ERROR:#}", clean(what, TEXT))
}

/// One line without control characters, those that change the direction of writing too: a transcript must not steer the
/// terminal.
fn clean(text: &str, most: usize) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut words = text.split(|c: char| c.is_whitespace() || steers(c)).filter(|word| !word.is_empty());
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

    #[test]
    fn several_prompts_each_have_what_follows_from_them() {
        let event = |id: &str, end: u32, prompt: &str, input: Value, error: bool| {
            json!({"event": "$ai_generation", "timestamp": format!("2026-01-01T00:00:{end:02}Z"),
                "properties": {"$ai_trace_id": "t", "$ai_span_id": id, "$ai_parent_id": "t", "$ai_model": id, "$ai_latency": 1.0,
                    "$ai_input_tokens": 2, "$ai_output_tokens": 3, "$ai_user_prompt": prompt, "$ai_input": input,
                    "$ai_is_error": error}})
        };
        let asked = |prompt: &str| json!([{"role": "user", "content": prompt}]);
        let result = json!([{"role": "tool", "content": "Go on."}]);
        let tree = draw(&[
            event("a", 1, "Go on.", asked("Go on."), false),
            event("b", 3, "Go on.", result, true),
            event("c", 9, "Go on.", asked("Go on."), false),
            json!({"event": "$ai_trace", "properties": {"$ai_trace_id": "t", "$ai_trace_name": "Go on."}}),
        ]);
        let lines: Vec<_> = tree.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "├─ ❯ Go on.  3.0 s  ✗ 1  4 in + 0 cached, 6 out",
                "│  ├─ a  1.0 s  2 in + 0 cached, 3 out",
                "│  └─ b  1.0 s  2 in + 0 cached, 3 out  ✗ ",
                "└─ ❯ Go on.  1.0 s  2 in + 0 cached, 3 out",
                "   └─ c  1.0 s  2 in + 0 cached, 3 out",
            ]
        );
    }

    #[test]
    fn lines_are_cut_at_the_terminals_width_whatever_they_hold() {
        let line = format!("├─ {MODEL}opus{MODEL:#}  {FAINT}日本語{FAINT:#} 🦔 end");
        let shown = |columns| anstream::adapter::strip_str(&fit(&line, columns)).to_string();
        assert_eq!(fit(&line, 22), format!("{line}\n"));
        assert_eq!(shown(21), "├─ opus  日本語 🦔 e…\n");
        // Half a letter does not fit.
        assert_eq!((shown(14), shown(15)), ("├─ opus  日本…\n".to_owned(), "├─ opus  日本…\n".to_owned()));
        assert_eq!((shown(1), shown(0)), ("…\n".to_owned(), "…\n".to_owned()));
        assert!(fit(&line, 5).ends_with("…\u{1b}[0m\n"), "the colour ends with the line");
    }

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\r\nc\u{7}", 60), "a [31m b c");
    }
}
