//! Draws a session as a tree the way PostHog does: by `$ai_parent_id`, with orphans at the top. What a prompt led to is
//! below the prompt, along with prompts queued into its turn and the pauses in it.

mod line;

use self::line::{Facts, Gap};
use crate::delivery::report::NOTHING;
use crate::view::words;
use anstyle::{AnsiColor, Style};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Maximum characters of a line's text.
const TEXT: usize = 60;

/// Nothing happening for this many milliseconds within a turn is a pause.
const PAUSE: i64 = 60_000;

/// This many milliseconds between two turns are a pause, too.
const BREAK: i64 = 300_000;

/// Subagents nest a few levels; without a limit, a cycle would never end.
const DEEPEST: usize = 64;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const MODEL: Style = AnsiColor::Cyan.on_default();
const TOOL: Style = AnsiColor::Yellow.on_default();
const AGENT: Style = AnsiColor::Magenta.on_default();
const ERROR: Style = AnsiColor::Red.on_default();

/// The events of one session as a tree, one line each.
pub fn draw(events: &[Value]) -> String {
    let mut tree = Tree::default();
    for event in events {
        tree.add(event);
    }
    anstream::adapter::strip_str(&tree.draw()).to_string()
}

/// Cuts off the lines of a drawn tree where a terminal of this many columns would wrap them.
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

/// A session's tree under construction. It keeps only what a line shows of each event.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    traces: Vec<Trace>,
    /// Each prompt once: all responses in its turn repeat it.
    prompts: Vec<String>,
    by_prompt: HashMap<String, usize>,
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
    facts: Facts,
    prompt: Option<Prompt>,
    /// The reason for it, if no person asked.
    reason: &'static str,
}

/// The prompt that a response of the main thread follows from.
#[derive(Debug, Clone, Copy)]
struct Prompt {
    /// Index of the prompt's text.
    text: usize,
    /// Whether the response answers the prompt itself rather than a tool's result.
    is_asked: bool,
}

#[derive(Debug)]
struct Trace {
    id: Option<String>,
    lines: String,
}

/// What follows from a prompt, in chronological order.
enum Item {
    Node(usize),
    /// A pause or a queued prompt.
    Note(String),
}

/// A prompt and what follows from it.
struct TurnView {
    prompt: usize,
    nodes: Vec<usize>,
    items: Vec<Item>,
    /// Total milliseconds of its pauses.
    paused: i64,
}

impl Tree {
    /// Adds an event. The order does not matter.
    pub fn add(&mut self, event: &Value) {
        let p = &event["properties"];
        let text = |name: &str| p[name].as_str().map(str::to_owned);
        // A session attached to another trace is a span, which stands in for its trace.
        if event["event"] == "$ai_trace" || p["$ai_span_type"] == "agent" {
            self.traces.push(Trace { id: text("$ai_trace_id"), lines: line::of_trace(p) });
            return;
        }
        let end = event["timestamp"].as_str().and_then(posthog_llma_pipeline::time::parse).unwrap_or(0);
        let facts = Facts::of(p);
        let is_main = event["event"] == "$ai_generation" && p["$ai_agent_name"].is_null();
        let asked = || p["$ai_input"].as_array().into_iter().flatten().filter(|m| m["role"] == "user");
        let prompt = p["$ai_user_prompt"]
            .as_str()
            .filter(|_| is_main)
            .map(|prompt| Prompt { text: self.intern(prompt), is_asked: asked().any(|m| m["content"] == prompt) });
        self.nodes.push(Node {
            id: text("$ai_span_id"),
            parent: text("$ai_parent_id"),
            trace: text("$ai_trace_id"),
            // `timestamp` is the event's end.
            start: end - line::milliseconds(p, "$ai_latency") - facts.waited,
            end,
            line: line::of_event(event, &facts),
            facts,
            prompt,
            reason: asked().find_map(|m| m["content"].as_str()).map_or("idle", words::reason),
        });
    }

    fn intern(&mut self, prompt: &str) -> usize {
        if let Some(&known) = self.by_prompt.get(prompt) {
            return known;
        }
        self.prompts.push(prompt.to_owned());
        self.by_prompt.insert(prompt.to_owned(), self.prompts.len() - 1);
        self.prompts.len() - 1
    }

    /// The tree, with colors as ANSI escape sequences.
    pub fn draw(&self) -> String {
        if self.nodes.is_empty() && self.traces.is_empty() {
            return format!("{NOTHING}\n");
        }
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
        let mut drawing = Drawing { tree: self, children: &children, out: String::new() };
        for (i, trace) in self.traces.iter().enumerate() {
            if i > 0 {
                drawing.out.push('\n');
            }
            drawing.out.push_str(&trace.lines);
            let roots = children.get(&None).into_iter().flatten().copied();
            let roots: Vec<usize> = roots.filter(|&node| self.nodes[node].trace == trace.id).collect();
            drawing.turns(&roots);
        }
        drawing.out
    }
}

struct Drawing<'a> {
    tree: &'a Tree,
    children: &'a HashMap<Option<usize>, Vec<usize>>,
    out: String,
}

impl<'a> Drawing<'a> {
    fn node(&self, node: usize) -> &'a Node {
        &self.tree.nodes[node]
    }

    /// Draws a trace's turns. A single turn has no line of its own, because the trace names it; in privacy mode,
    /// nothing distinguishes turns.
    fn turns(&mut self, roots: &[usize]) {
        let (before, turns) = self.split(roots);
        let single = turns.len() < 2;
        self.items(&before, "", single && turns.is_empty());
        let mut ended: Option<i64> = None;
        for (i, turn) in turns.iter().enumerate() {
            let start = turn.nodes.first().map_or(0, |&node| self.node(node).start);
            if let Some(gap) = ended.map(|end| start - end).filter(|gap| *gap >= BREAK) {
                let _ = writeln!(
                    self.out,
                    "{FAINT}│  {}{FAINT:#}",
                    Gap { milliseconds: gap, reason: "until the next prompt" }
                );
            }
            ended = Some(self.end(&turn.nodes));
            if single {
                self.items(&turn.items, "", true);
                continue;
            }
            let (fork, below) = if i + 1 == turns.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let line = self.turn_line(turn);
            let _ = writeln!(self.out, "{FAINT}{fork}{FAINT:#}{line}");
            self.items(&turn.items, below, true);
        }
    }

    /// What comes before any prompt, and the turns.
    fn split(&self, roots: &[usize]) -> (Vec<Item>, Vec<TurnView>) {
        let mut before = Vec::new();
        let mut turns: Vec<TurnView> = Vec::new();
        for &root in roots {
            let node = self.node(root);
            if let Some(prompt) = node.prompt {
                let queued = turns.last().and_then(|turn| self.queued(turn.prompt, prompt.text));
                let goes_on = turns.last().is_some_and(|turn| turn.prompt == prompt.text && !prompt.is_asked);
                if let (Some(queued), Some(turn)) = (queued, turns.last_mut()) {
                    turn.prompt = prompt.text;
                    turn.items.push(Item::Note(format!("{STRONG}❯ + {queued}{STRONG:#}  {FAINT}queued{FAINT:#}")));
                } else if !goes_on {
                    turns.push(TurnView { prompt: prompt.text, nodes: Vec::new(), items: Vec::new(), paused: 0 });
                }
            }
            let Some(turn) = turns.last_mut() else {
                before.push(Item::Node(root));
                continue;
            };
            let pause = if turn.nodes.is_empty() { 0 } else { node.start - self.end(&turn.nodes) };
            if pause >= PAUSE {
                turn.paused += pause;
                let gap = Gap { milliseconds: pause, reason: node.reason };
                turn.items.push(Item::Note(format!("{FAINT}{gap}{FAINT:#}")));
            }
            turn.nodes.push(root);
            turn.items.push(Item::Node(root));
        }
        (before, turns)
    }

    /// The prompt queued into a turn, if that is how the turn's prompt grew.
    fn queued(&self, before: usize, now: usize) -> Option<String> {
        let added = self.tree.prompts[now].strip_prefix(self.tree.prompts[before].as_str())?.strip_prefix("\n\n")?;
        Some(clean(added, TEXT))
    }

    fn items(&mut self, items: &[Item], indent: &str, ends: bool) {
        for (i, item) in items.iter().enumerate() {
            let (fork, below) = if ends && i + 1 == items.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            match item {
                Item::Note(note) => {
                    let _ = writeln!(self.out, "{FAINT}{indent}{fork}{FAINT:#}{note}");
                }
                Item::Node(node) => self.branch(*node, indent, fork, below, 0),
            }
        }
    }

    fn branch(&mut self, node: usize, indent: &str, fork: &str, below: &str, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        let _ = writeln!(self.out, "{FAINT}{indent}{fork}{FAINT:#}{}", self.node(node).line);
        let children = self.children.get(&Some(node)).map_or(&[][..], Vec::as_slice);
        let indent = format!("{indent}{below}");
        for (i, &child) in children.iter().enumerate() {
            let (fork, below) = if i + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.branch(child, &indent, fork, below, depth + 1);
        }
    }

    /// These nodes and all below them.
    fn below(&self, roots: &[usize]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut open: Vec<(usize, usize)> = roots.iter().map(|&root| (root, 0)).collect();
        while let Some((node, depth)) = open.pop() {
            found.push(node);
            if depth < DEEPEST {
                open.extend(self.children.get(&Some(node)).into_iter().flatten().map(|&child| (child, depth + 1)));
            }
        }
        found
    }

    fn end(&self, roots: &[usize]) -> i64 {
        self.below(roots).into_iter().map(|node| self.node(node).end).max().unwrap_or(i64::MIN)
    }

    fn turn_line(&self, turn: &TurnView) -> String {
        let mut sum = Facts::default();
        // Concurrent waits count once; a subagent's waits are also its call's.
        let mut waits: Vec<(i64, i64)> = Vec::new();
        let mut end = i64::MIN;
        for node in self.below(&turn.nodes) {
            let node = self.node(node);
            sum += &node.facts;
            end = end.max(node.end);
            if node.facts.waited > 0 {
                waits.push((node.start, node.start + node.facts.waited));
            }
        }
        waits.sort_unstable();
        let (mut waited, mut until) = (0, i64::MIN);
        for (from, to) in waits {
            waited += to.saturating_sub(from.max(until)).max(0);
            until = until.max(to);
        }
        let start = turn.nodes.first().map_or(end, |&node| self.node(node).start);
        let work = end.saturating_sub(start) - waited - turn.paused;
        let first = self.tree.prompts[turn.prompt].split("\n\n").next().unwrap_or_default();
        let prompt = if turn.items.iter().any(|item| matches!(item, Item::Note(note) if note.contains("❯ +"))) {
            first
        } else {
            &self.tree.prompts[turn.prompt]
        };
        line::of_turn(&clean(prompt, TEXT), work, waited + turn.paused, &sum)
    }
}

/// One line without control characters, including those that change the writing direction: a transcript must not
/// control the terminal.
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
        assert_eq!(names, ["Fix [31m it", "tokens unknown", "├─ model", "│  ├─ first", "│  └─ second", "└─ orphan"]);
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
    fn tokens_that_nobody_counted_are_not_called_zero() {
        let event = |id: &str, end: u32, role: &str, counts: Value| {
            let mut properties = json!({"$ai_trace_id": "t", "$ai_span_id": format!("{id}{end}"), "$ai_parent_id": "t",
                "$ai_model": id, "$ai_user_prompt": id, "$ai_input": [{"role": role, "content": id}]});
            properties.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
            json!({"event": "$ai_generation", "timestamp": format!("2026-01-01T00:00:{end:02}Z"), "properties": properties})
        };
        let unknown = || json!({"claude_code_usage_unknown": true});
        let trace = |totals: Value| {
            let mut properties = json!({"$ai_trace_id": "t", "$ai_trace_name": "a"});
            properties.as_object_mut().unwrap().extend(totals.as_object().unwrap().clone());
            json!({"event": "$ai_trace", "properties": properties})
        };
        let known = json!({"$ai_input_tokens": 2, "$ai_output_tokens": 3});
        let tree = draw(&[event("a", 1, "user", unknown()), event("b", 2, "user", unknown()), trace(json!({}))]);
        assert!(!tree.contains(" in + "), "{tree}");
        assert_eq!(tree.matches("tokens unknown").count(), 3, "{tree}");
        let totals = json!({"$ai_total_input_tokens": 2, "$ai_total_output_tokens": 3});
        let tree = draw(&[
            event("a", 1, "user", known),
            event("a", 2, "tool", unknown()),
            event("b", 3, "user", unknown()),
            trace(totals),
        ]);
        assert!(tree.lines().nth(1).unwrap().ends_with("2 in + 0 cached, 3 out"), "{tree}");
        assert!(tree.contains("2 in + 0 cached, 3 out, unknown for 1 model call"), "{tree}");
        assert_eq!(tree.matches("tokens unknown").count(), 1, "{tree}");
    }

    #[test]
    fn lines_are_cut_at_the_terminals_width_whatever_they_hold() {
        let line = format!("├─ {MODEL}opus{MODEL:#}  {FAINT}日本語{FAINT:#} 🦔 end");
        let shown = |columns| anstream::adapter::strip_str(&fit(&line, columns)).to_string();
        assert_eq!(fit(&line, 22), format!("{line}\n"));
        assert_eq!(shown(21), "├─ opus  日本語 🦔 e…\n");
        // Half of a wide character does not fit.
        assert_eq!((shown(14), shown(15)), ("├─ opus  日本…\n".to_owned(), "├─ opus  日本…\n".to_owned()));
        assert_eq!((shown(1), shown(0)), ("…\n".to_owned(), "…\n".to_owned()));
        assert!(fit(&line, 5).ends_with("…\u{1b}[0m\n"), "the color ends with the line");
    }

    #[test]
    fn what_the_client_counted_beyond_the_transcript_is_told() {
        let trace = json!({"event": "$ai_trace", "properties": {"$ai_trace_id": "t", "$ai_trace_name": "Fix it",
            "claude_code_unaccounted_input_tokens": 3, "claude_code_unaccounted_cache_read_tokens": 16355}});
        assert!(draw(&[trace]).ends_with("not in the transcript: 3 in, 16,355 cache read\n"));
    }

    #[test]
    fn no_text_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\r\nc\u{7}", 60), "a [31m b c");
    }
}
