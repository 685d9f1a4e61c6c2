//! Sub-agents: inline, in flat files, in the session's folder; several at once, nested, in the background, in workflows.

use super::Features;
use super::expected::{Agent, Place, Trace};
use super::lines::{Copies, Json, Line, Members, list, object, text};
use super::session::{AgentFile, Thread, Writer};
use super::tools::{Call, Kind, Started};

impl Writer {
    /// Runs what the calls start, and says for each what that was.
    pub(crate) fn run_agents(&mut self, thread: &mut Thread, calls: &[Call]) -> Vec<Started> {
        let mut started = Vec::new();
        let mut inline = Vec::new();
        let mut latest = thread.clock;
        for call in calls {
            started.push(match &call.kind {
                Kind::Agent { prompt, agent_type, background } => {
                    let agent = self.run(thread, call, prompt, agent_type);
                    let id = agent.place.agent.clone().unwrap();
                    if *background {
                        self.expected.note("agent in the background");
                    } else {
                        latest = latest.max(agent.clock);
                    }
                    if self.era.inline_agents() {
                        inline.push(agent.lines);
                    } else {
                        self.file(thread, call, agent, agent_type);
                    }
                    Started::Agent(id)
                }
                Kind::Workflow => Started::Workflow(self.workflow(thread, call)),
                Kind::Plain | Kind::Server => Started::Nothing,
            });
        }
        if started.iter().filter(|s| matches!(s, Started::Agent(_))).count() > 1 {
            self.expected.note("agents at once");
        }
        thread.clock = latest;
        self.interleave(thread, inline);
        started
    }

    /// One agent's thread, from its prompt on.
    fn run(&mut self, parent: &Thread, call: &Call, prompt: &str, agent_type: &str) -> Thread {
        let first = self.chance.uuid();
        let inline = self.era.inline_agents();
        let id = if inline { first.clone() } else { self.era.agent_id(&mut self.chance) };
        self.expected.note(if parent.is_main() { "agent" } else { "nested agent" });
        self.expected.agents.insert(id.clone(), Agent { call: call.id.clone(), only_progress: false });
        let mut agent = Thread {
            lines: Vec::new(),
            clock: call.made_at + self.chance.between(1, 50),
            leaf: None,
            asked_at: None,
            model: None,
            prompt_id: parent.prompt_id.clone(),
            place: Place {
                trace: parent.place.trace,
                agent: Some(id.clone()),
                call: Some(call.id.clone()),
                agent_type: Some(agent_type.to_owned()),
            },
            agent_id: (!inline).then_some(id),
            depth: parent.depth + 1,
        };
        self.user(&mut agent, Some(first), text(prompt), Vec::new(), Vec::new());
        for _ in 0..self.chance.between(1, 2) {
            self.respond(&mut agent, 2);
        }
        if self.now_and_then(Features::FAILURES, 12) {
            self.fail(&mut agent);
        } else {
            self.respond(&mut agent, 0);
        }
        agent
    }

    /// Lays an agent's lines down in a file of its own, or only in `progress` lines of its parent.
    fn file(&mut self, parent: &mut Thread, call: &Call, agent: Thread, agent_type: &str) {
        let id = agent.agent_id.clone().unwrap();
        if self.era.has_agent_progress() && parent.is_main() && self.chance.one_in(2) {
            let entries: Option<Vec<_>> =
                agent.lines.iter().map(|line| serde_json::from_str(&line.text).ok()).collect();
            if let Some(entries) = entries {
                let only_progress = self.now_and_then(Features::ONLY_PROGRESS, 2);
                self.progress(parent, call, &entries, &id, only_progress);
                if only_progress {
                    self.expected.note("agent without a file");
                    self.expected.agents.get_mut(&id).unwrap().only_progress = true;
                    return;
                }
            }
        }
        let metadata = self.metadata(parent, call, agent_type);
        self.files.push(AgentFile { id, metadata, workflow_run: None, lines: agent.lines });
    }

    fn metadata(&mut self, parent: &Thread, call: &Call, agent_type: &str) -> Option<String> {
        use super::era::Era;
        // Where it is missing, the parent's result or the prompt names the agent; nested ones have nothing else.
        if self.era < Era::PromptIds || (parent.is_main() && self.now_and_then(Features::GAPS, 4)) {
            return None;
        }
        let mut members: Members = vec![("agentType", text(agent_type)), ("description", text("Look"))];
        if self.era >= Era::Between {
            members.push(("toolUseId", text(&call.id)));
            if self.era == Era::Requests {
                members.extend(parent.agent_id.as_deref().map(|id| ("parentAgentId", text(id))));
            }
            members.push(("spawnDepth", (parent.depth + 1).to_string()));
        }
        Some(object(&members))
    }

    /// What the parent's file repeats of an agent while it runs: its calls and their results. Where the agent's own file is
    /// missing it repeats every line, so that what is known of the agent stays whole.
    fn progress(&mut self, parent: &mut Thread, call: &Call, entries: &[serde_json::Value], id: &str, all: bool) {
        self.expected.note("agent_progress");
        for entry in entries {
            let message = entry["message"].to_string();
            if !all && !message.contains("\"tool_use\"") && !message.contains("\"tool_result\"") {
                continue;
            }
            if entry["message"].is_null() {
                continue;
            }
            let mut repeated: Members = Vec::new();
            for name in ["type", "timestamp", "message", "requestId", "isApiErrorMessage", "error", "uuid"] {
                repeated.extend(entry.get(name).map(|value| (name, value.to_string())));
            }
            let data = object(&[
                ("message", object(&repeated)),
                ("normalizedMessages", list(&[])),
                ("type", text("agent_progress")),
                ("prompt", text("")),
                ("agentId", text(id)),
            ]);
            self.aside(
                parent,
                vec![
                    ("type", text("progress")),
                    ("data", data),
                    ("toolUseID", text("agent_msg_x")),
                    ("parentToolUseID", text(&call.id)),
                ],
            );
        }
    }

    /// Agents that a script starts; returns the id of the run.
    fn workflow(&mut self, thread: &Thread, call: &Call) -> String {
        self.expected.note("workflow");
        let run = format!("wf_{}-{}", self.chance.hex(8), self.chance.hex(3));
        for _ in 0..self.chance.between(1, 2) {
            let prompt = format!("workflow step {}", self.serial());
            let agent = self.run(thread, call, &prompt, "workflow-subagent");
            let metadata = object(&[
                ("agentType", text("workflow-subagent")),
                ("description", text("step")),
                ("spawnDepth", "1".to_owned()),
                ("inWorkflowRun", "true".to_owned()),
            ]);
            self.files.push(AgentFile {
                id: agent.agent_id.unwrap(),
                metadata: Some(metadata),
                workflow_run: Some(run.clone()),
                lines: agent.lines,
            });
        }
        run
    }

    /// Puts the lines of agents that ran at once into their parent's file.
    fn interleave(&mut self, thread: &mut Thread, agents: Vec<Vec<Line>>) {
        let mut waiting: Vec<_> = agents.into_iter().map(Vec::into_iter).collect();
        if !waiting.is_empty() {
            self.expected.note("inline agent");
        }
        while !waiting.is_empty() {
            let index = self.chance.index(waiting.len());
            match waiting[index].next() {
                Some(line) => thread.lines.push(line),
                None => drop(waiting.remove(index)),
            }
        }
    }

    /// A file that holds only a warm-up of the client's own.
    pub(crate) fn warmup(&mut self, main: &Thread) {
        self.expected.note("Warmup");
        let mut agent = self.agent_without_call(main.clock);
        let first = self.chance.uuid();
        self.user(&mut agent, Some(first), text("Warmup"), Vec::new(), Vec::new());
        self.respond(&mut agent, 0);
        let id = agent.agent_id.unwrap();
        self.files.push(AgentFile { id, metadata: None, workflow_run: None, lines: agent.lines });
    }

    /// A file that holds copies of the main thread's lines: same IDs, same times.
    pub(crate) fn copy_agent(&mut self, main: &Thread) {
        self.expected.note("acompact");
        let id = format!("acompact-{}", self.chance.hex(16));
        self.expected.agents_without_call.push(id.clone());
        let mark = format!("\"agentId\":{},", text(&id));
        let copied = main.lines.iter().filter(|line| line.copies == Copies::Anywhere);
        let lines = copied
            .map(|line| {
                let mut copy = line.text.replacen("\"isSidechain\":false", "\"isSidechain\":true", 1);
                let place = [r#""type":"user""#, r#""message":"#].iter().filter_map(|start| copy.find(start)).min();
                copy.insert_str(place.unwrap(), &mark);
                Line { text: copy, copies: Copies::Never }
            })
            .collect();
        self.files.push(AgentFile { id, metadata: None, workflow_run: None, lines });
    }

    fn agent_without_call(&mut self, clock: i64) -> Thread {
        let id = self.era.agent_id(&mut self.chance);
        self.expected.agents_without_call.push(id.clone());
        Thread {
            lines: Vec::new(),
            clock,
            leaf: None,
            asked_at: None,
            model: None,
            prompt_id: None,
            place: Place { trace: Trace::Unspecified, agent: Some(id.clone()), call: None, agent_type: None },
            agent_id: Some(id),
            depth: 1,
        }
    }

    /// The words that tell the main thread of an agent's end.
    pub(crate) fn notification(&mut self) -> Json {
        text(&format!(
            "<task-notification>\n<task-id>a{}</task-id>\n<status>completed</status>\n</task-notification>",
            self.chance.hex(16)
        ))
    }
}
