//! Tool calls and their results.

use super::Features;
use super::expected::{Span, ToolOutcome};
use super::lines::{Json, Members, list, object, text};
use super::responses::duration;
use super::session::{Thread, Writer};

/// A tool call.
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// `uuid` of its line.
    pub(crate) line: Option<String>,
    pub(crate) made_at: i64,
}

/// What a tool call does.
pub(crate) enum Kind {
    Plain,
    /// A tool of the model's server: no result line.
    Server,
    Agent {
        prompt: String,
        agent_type: &'static str,
        background: bool,
    },
    Workflow,
}

/// What a call started, for its result.
pub(crate) enum Started {
    Nothing,
    Agent(String),
    Workflow(String),
}

impl Call {
    pub(crate) fn outcome_without_result(&self) -> ToolOutcome {
        if matches!(self.kind, Kind::Server) { ToolOutcome::Server } else { ToolOutcome::None }
    }
}

const TOOLS: [&str; 7] = ["Bash", "Read", "Glob", "Grep", "Edit", "WebFetch", "mcp__fake__echo"];

impl Writer {
    /// A call, and its block.
    pub(crate) fn call(&mut self, thread: &Thread) -> (Call, Json) {
        let mut id = format!("toolu_01{}", self.chance.hex(22));
        let deep = self.may(Features::DEEP_AGENTS);
        let agents = self.may(Features::AGENTS)
            && (thread.is_main() || (deep && self.era.has_nested_agents() && thread.depth == 1));
        let (name, kind, input) = match self.chance.below(8) {
            0 | 1 if agents => {
                let prompt = format!("agent task {}: look for the sum", self.serial());
                let agent_type = self.chance.pick(&["general-purpose", "Explore", "reviewer"]);
                let background = deep && thread.is_main() && self.era.has_background_agents() && self.chance.one_in(3);
                let mut input =
                    vec![("description", text("Look")), ("prompt", text(&prompt)), ("subagent_type", text(agent_type))];
                input.extend(background.then(|| ("run_in_background", "true".to_owned())));
                (self.era.agent_tool(), Kind::Agent { prompt, agent_type, background }, object(&input))
            }
            2 if deep && thread.is_main() && self.era.has_workflows() => {
                ("Workflow", Kind::Workflow, object(&[("script", text("export const meta = {}"))]))
            }
            3 => {
                id = format!("srvtoolu_01{}", self.chance.hex(22));
                self.expected.note("server tool");
                ("web_search", Kind::Server, object(&[("query", text("sums"))]))
            }
            _ => {
                let name = self.chance.pick(&TOOLS);
                (name, Kind::Plain, object(&[("command", text(&format!("command {}", self.serial())))]))
            }
        };
        let block = if matches!(kind, Kind::Server) { "server_tool_use" } else { "tool_use" };
        let json = object(&[("type", text(block)), ("id", text(&id)), ("name", text(name)), ("input", input)]);
        (Call { id, name: name.to_owned(), kind, line: None, made_at: 0 }, json)
    }

    /// Runs what the calls start and writes their results, in any order. `may_jump`: the clock may go backwards.
    pub(crate) fn settle(&mut self, thread: &mut Thread, mut calls: Vec<Call>, may_jump: bool) {
        calls.retain(|call| !matches!(call.kind, Kind::Server));
        let mut started = self.run_agents(thread, &calls);
        let mut order: Vec<usize> = (0..calls.len()).collect();
        if self.chance.one_in(2) {
            self.chance.shuffle(&mut order);
            if !order.is_sorted() {
                self.expected.note("results out of order");
            }
        }
        if may_jump && !calls.is_empty() && self.now_and_then(Features::BACKWARDS, 10) {
            self.expected.note("clock backwards before a result");
            thread.clock -= self.chance.between(1, 90_000);
        }
        for index in order {
            let call = &calls[index];
            let started = std::mem::replace(&mut started[index], Started::Nothing);
            // A workflow's result is the only link to its agents.
            if !matches!(call.kind, Kind::Workflow) && self.now_and_then(Features::GAPS, 12) {
                self.expected.note("call without a result");
                continue;
            }
            self.result(thread, call, &started);
        }
    }

    fn result(&mut self, thread: &mut Thread, call: &Call, started: &Started) {
        thread.clock += self.chance.between(0, 20_000);
        let error = matches!(call.kind, Kind::Plain) && self.chance.one_in(4);
        let words = format!("result {}", self.serial());
        let mut members: Members = vec![
            ("tool_use_id", text(&call.id)),
            ("type", text("tool_result")),
            ("content", self.result_content(&words)),
        ];
        if error {
            members = vec![
                ("type", text("tool_result")),
                ("content", text(&format!("Exit code 1\n{words}"))),
                ("is_error", "true".to_owned()),
                ("tool_use_id", text(&call.id)),
            ];
        } else if self.chance.one_in(2) {
            members.push(("is_error", "false".to_owned()));
        }
        let mut after: Members = Vec::new();
        // Agents' own lines usually lack it.
        if thread.is_main() || self.era.inline_agents() {
            after.extend(self.tool_use_result(call, started, error).map(|json| ("toolUseResult", json)));
        }
        if self.era.names_source_of_results() {
            after.extend(call.line.as_deref().map(|uuid| ("sourceToolAssistantUUID", text(uuid))));
        }
        if self.era.results_hang_on_their_calls() && call.line.is_some() {
            thread.leaf.clone_from(&call.line);
        }
        let uuid = self.any_uuid();
        self.user(thread, uuid, list(&[object(&members)]), Vec::new(), after);
        let outcome = ToolOutcome::Result { error, latency_ms: duration(call.made_at, thread.clock) };
        let span: &mut Span = self.expected.spans.get_mut(&call.id).unwrap();
        span.outcome = outcome;
    }

    fn result_content(&mut self, words: &str) -> Json {
        match self.chance.below(4) {
            0 => list(&[object(&[("type", text("text")), ("text", text(words))])]),
            1 => {
                let source = object(&[
                    ("type", text("base64")),
                    ("data", text("iVBORw0KGgo=")),
                    ("media_type", text("image/png")),
                ]);
                let image = object(&[("type", text("image")), ("source", source)]);
                list(&[object(&[("type", text("text")), ("text", text(words))]), image])
            }
            _ => text(words),
        }
    }

    fn tool_use_result(&mut self, call: &Call, started: &Started, error: bool) -> Option<Json> {
        if error {
            return Some(text("Error: Exit code 1"));
        }
        match (&call.kind, started) {
            (Kind::Agent { prompt, agent_type, background }, Started::Agent(id)) => {
                let mut members: Members = Vec::new();
                let status = if *background { "async_launched" } else { "completed" };
                if !self.era.inline_agents() {
                    members.extend([("status", text(status)), ("prompt", text(prompt)), ("agentId", text(id))]);
                    members.push(("agentType", text(agent_type)));
                }
                members.push(("content", list(&[object(&[("type", text("text")), ("text", text("done"))])])));
                if !background {
                    // The last message's tokens, not a sum: nobody may count them.
                    let usage =
                        object(&[("input_tokens", "7000000".to_owned()), ("output_tokens", "7000000".to_owned())]);
                    members.extend([("totalTokens", "14000000".to_owned()), ("usage", usage)]);
                }
                Some(object(&members))
            }
            (Kind::Workflow, Started::Workflow(run)) => Some(object(&[
                ("status", text("async_launched")),
                ("taskType", text("local_workflow")),
                ("workflowName", text("tiny")),
                ("runId", text(run)),
                (
                    "transcriptDir",
                    text(&format!("/home/dev/.claude/projects/x/{}/subagents/workflows/{run}", self.session)),
                ),
            ])),
            _ => match self.chance.below(4) {
                0 => None,
                1 => Some(list(&[object(&[("type", text("text")), ("text", text("from a server"))])])),
                2 => Some(text("words")),
                _ => {
                    Some(object(&[("stdout", text("out")), ("stderr", text("")), ("interrupted", "false".to_owned())]))
                }
            },
        }
    }

    /// A result of a call that stands nowhere.
    pub(crate) fn orphan_result(&mut self, thread: &mut Thread) {
        self.expected.note("result without a call");
        let id = format!("toolu_01{}", self.chance.hex(22));
        let result = object(&[
            ("tool_use_id", text(&id)),
            ("type", text("tool_result")),
            ("content", text("of a call that stands nowhere")),
            ("is_error", "false".to_owned()),
        ]);
        let uuid = self.any_uuid();
        self.user(thread, uuid, list(&[result]), Vec::new(), Vec::new());
    }
}
