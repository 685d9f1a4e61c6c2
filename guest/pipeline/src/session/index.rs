//! The first reading: what later lines say about earlier ones. Only ids are kept.

use crate::identity::{EventId, FixedMap, FixedSet, IdMap, key};
use crate::session::timeline::{self, Beginning, Timeline};
use crate::session::types::FileRole;
use crate::time;
use crate::transcript::context;
use crate::transcript::entry::{Block, Content, Entry};
use crate::transcript::lenient;
use crate::transcript::prompt::{self, Said};
use crate::transcript::shape;
use crate::transcript::text;
use crate::transcript::verdict::Verdict;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What the first reading found.
#[derive(Debug, Default)]
pub struct Index {
    /// Responses, by the id of their generation.
    pub messages: IdMap<Message>,
    /// Tool calls, by the id of their span.
    pub tools: IdMap<Tool>,
    /// Ids of the generations and spans that will come, in file order.
    pub order: Vec<EventId>,
    /// Calls that may have started a sub-agent, in file order.
    pub starters: Vec<Starter>,
    /// Sub-agent (its id) or workflow run (its folder) → the call that started it, as the call's result says.
    pub started_by: FixedMap<String, EventId>,
    /// The earliest time in any line, for lines without one.
    pub earliest: Option<i64>,
    /// How each sub-agent's transcript begins, by file.
    pub roots: Vec<Option<Root>>,
    /// When the session worked and when it waited.
    pub timeline: Timeline,
    /// The session's project: that of its first directory, or of the one it was in before it went into a worktree.
    pub project: Option<String>,
    /// The project was told by a `worktree-state` line.
    has_origin: bool,
    /// A command on the main thread that no model answered yet.
    command: Option<Command>,
    /// The `promptId` of the main thread's last prompt.
    prompt_id: Option<u128>,
    /// The file's last response, if no user line stands behind it.
    last_response: Option<(u32, EventId)>,
    /// The last time seen, for lines without one.
    now: i64,
    /// Sub-agents that have a transcript of their own.
    agents: FixedSet<String>,
    /// `uuid`s of the responses' lines in the main file: a line that stands there twice counts once.
    seen: FixedSet<u128>,
}

/// A slash command or a `!` line.
#[derive(Debug, Clone, Copy)]
struct Command {
    line: u128,
    at: i64,
    prompt_id: Option<u128>,
}

/// The first user line of a sub-agent's transcript.
#[derive(Debug, Clone)]
pub struct Root {
    /// Key of the prompt it was given.
    pub prompt: Option<u128>,
    /// The `promptId` of the turn it was started in.
    pub prompt_id: Option<String>,
    /// The name of the teammate whose transcript it is.
    pub teammate: Option<String>,
}

/// A response.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// The file that has it first; what other files say of it are copies.
    pub file: u32,
    /// Lines in that file, copies left out.
    pub lines: u32,
    /// Some line is of a model, or of a failed call. (The client writes lines of its own in the form of responses.)
    pub real: bool,
    /// The user stopped it.
    pub interrupted: bool,
}

/// A tool call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tool {
    /// The file with the call.
    pub file: u32,
    /// There is a call, not only a result.
    pub called: bool,
    /// There is a result.
    pub answered: bool,
}

/// A call that may have started a sub-agent.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The call's span.
    pub span: EventId,
    /// The file that it stands in.
    pub file: u32,
    /// Key of the prompt that the sub-agent gets.
    pub prompt: Option<u128>,
    /// The kind of sub-agent asked for.
    pub agent_type: Option<String>,
    /// The name of the teammate that it starts, and of its team.
    pub teammate: Option<(String, Option<String>)>,
}

/// Input of a call that starts a sub-agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StarterInput<'a> {
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    subagent_type: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    name: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    team_name: lenient::Str<'a>,
}

/// Of a result, what links a call to its sub-agent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResultLinks<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    agent_id: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    run_id: lenient::Str<'a>,
}

/// Characters of a prompt that its key is made of.
const PROMPT_KEY: usize = 4000;

/// Key of a sub-agent's first prompt, to find the call that gave it. `raw` is a JSON string.
pub fn prompt_key(raw: &str, elided: bool) -> Option<u128> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    // Both sides are cut at the same place. The rest would hardly tell two prompts apart.
    let (text, _) = text::decode(inner, PROMPT_KEY + 1000, elided);
    // A teammate gets it in a wrapper.
    let prompt = shape::instruction(&text).unwrap_or(text.trim());
    Some(key(text::prefix(prompt, PROMPT_KEY)))
}

/// What stands in lines of the main file that say when it worked, and where.
const OF_MAIN: [&[u8]; 4] = [b"user\"", b"turn_duration\"", b"scheduled_task_fire\"", b"worktree-state\""];

impl Index {
    /// An index for these files.
    pub fn new(files: &[FileRole]) -> Self {
        let agents = files.iter().filter_map(|f| match f {
            FileRole::Main => None,
            FileRole::Agent(agent) => Some(agent.agent_id.clone()),
        });
        Self { agents: agents.collect(), roots: vec![None; files.len()], ..Self::default() }
    }

    /// Does this reading need to look into this line of this file? Most lines are of no use to it.
    pub fn concerns(&self, file: u32, line: &[u8]) -> bool {
        // Without quotes in front: `"type": "assistant"` and `"type":"assistant"` are both JSON.
        // Results first: theirs are the long lines, and it stands at their beginning.
        memmem::find(line, b"tool_result\"").is_some()
            || memmem::find(line, b"assistant\"").is_some()
            || memmem::find(line, b"interruptedMessageId").is_some()
            || memmem::find(line, b"agent_progress\"").is_some()
            || (file == 0 && OF_MAIN.iter().any(|mark| memmem::find(line, mark).is_some()))
            || memmem::find(line, b"interrupted by user").is_some()
            || (file == 0 && self.project.is_none() && memmem::find(line, b"cwd\"").is_some())
            || (file > 0 && self.roots.get(file as usize).is_some_and(Option::is_none))
    }

    /// Has this sub-agent a transcript of its own? Then what other files repeat of it is left out.
    pub fn has_file(&self, agent_id: &str) -> bool {
        self.agents.contains(agent_id)
    }

    /// Takes note of an entry.
    pub fn add(&mut self, file: u32, entry: &Entry<'_>) {
        if let Some(time) = entry.timestamp.as_deref().and_then(time::parse) {
            self.earliest = Some(self.earliest.map_or(time, |e| e.min(time)));
            self.now = time;
        }
        if file == 0 {
            self.locate(entry);
        }
        if let Some(id) = &entry.interrupted_message_id {
            self.interrupted(EventId::generation(id));
        }
        match entry.kind.as_deref() {
            Some("assistant") => self.add_response(file, entry),
            Some("user") => {
                self.add_results(file, entry);
                self.add_said(file, entry);
            }
            Some("system") if file == 0 => match entry.subtype.as_deref() {
                Some("turn_duration") if !entry.is_sidechain => {
                    self.timeline.measured(self.now, entry.duration_ms.unwrap_or(0));
                }
                Some("scheduled_task_fire") => self.begin(entry, Beginning::Wake),
                _ => {}
            },
            Some("progress") => {
                if let Some(raw) = self.progress_of_lost_agent(entry).and_then(|p| p.message)
                    && let Some(inner) = lenient::reparse::<Entry<'_>>(raw.get())
                {
                    self.add(file, &inner);
                }
            }
            _ => {}
        }
    }

    /// The progress that repeats a message of a sub-agent whose own transcript is missing.
    pub fn progress_of_lost_agent<'e, 'a>(
        &self,
        entry: &'e Entry<'a>,
    ) -> Option<&'e crate::transcript::entry::Progress<'a>> {
        let progress = entry.data.as_ref().filter(|d| d.kind.as_deref() == Some("agent_progress"))?;
        (!self.has_file(progress.agent_id.as_deref()?)).then_some(progress)
    }

    fn interrupted(&mut self, id: EventId) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.interrupted = true;
        }
    }

    fn add_response(&mut self, file: u32, entry: &Entry<'_>) {
        let Some((id, message)) = entry.response() else { return };
        if file == 0 && entry.uuid.as_deref().is_some_and(|uuid| !self.seen.insert(key(uuid))) {
            return;
        }
        let synthetic = message.model.as_deref() == Some("<synthetic>");
        let real = !synthetic || entry.is_api_error_message;
        let known =
            self.messages.entry(id).or_insert_with(|| Message { file, lines: 0, real: false, interrupted: false });
        if known.file != file {
            return;
        }
        if real && !known.real {
            self.order.push(id);
        }
        known.lines += 1;
        // The client's own line within a response: what it had got when the user stopped it.
        known.interrupted |= entry.is_aborted_mid_stream || (synthetic && known.real && !entry.is_api_error_message);
        known.real |= real;
        if real {
            self.last_response = Some((file, id));
            if file == 0 && !entry.is_sidechain {
                self.answer();
            }
            self.add_calls(file, entry);
        }
    }

    /// Where the session works. It may move later; its project stays.
    fn locate(&mut self, entry: &Entry<'_>) {
        if let Some(origin) = entry.worktree_session.as_ref().and_then(|w| w.original_cwd.as_deref())
            && !std::mem::replace(&mut self.has_origin, true)
            && let Some(name) = context::project(origin)
        {
            self.project = Some(name.to_owned());
        }
        if self.project.is_none() {
            self.project = entry.cwd.as_deref().and_then(context::project).map(str::to_owned);
        }
    }

    /// A model answers on the main thread: a command that stands before it is a prompt.
    fn answer(&mut self) {
        if let Some(command) = self.command.take() {
            self.timeline.begin(command.line, Beginning::Prompt, command.at);
            self.prompt_id = command.prompt_id.or(self.prompt_id);
        }
        self.timeline.line(self.now);
    }

    fn begin(&mut self, entry: &Entry<'_>, beginning: Beginning) {
        self.command = None;
        self.timeline.begin(timeline::line_key(entry), beginning, self.now);
        self.prompt_id = entry.prompt_id.as_deref().map(key).or(self.prompt_id);
    }

    /// What a user line means for the time, and for the response before it.
    fn add_said(&mut self, file: u32, entry: &Entry<'_>) {
        let response = self.last_response.take().filter(|(of, _)| *of == file);
        let Some(raw) = entry.message.as_ref().and_then(|m| m.content) else { return };
        let content = Content::of(Some(raw));
        let said = prompt::said(entry, &content);
        if said == Said::Stopped
            && entry.interrupted_message_id.is_none()
            && let Some((_, id)) = response
        {
            self.interrupted(id);
        }
        if file > 0 || entry.is_sidechain {
            return;
        }
        let prompt_id = entry.prompt_id.as_deref().map(key);
        match said {
            Said::Prompt => self.begin(entry, Beginning::Prompt),
            Said::Told => self.begin(entry, Beginning::Wake),
            Said::Command => {
                self.command = Some(Command { line: timeline::line_key(entry), at: self.now, prompt_id });
            }
            Said::Printed => {
                // The model is shown what a `!` line printed; what other local commands printed is for the user alone.
                let is_of_shell = content.first_text().is_some_and(|text| text.starts_with("\"<bash-"));
                self.command = self.command.take().filter(|_| is_of_shell);
            }
            Said::Stopped | Said::StoppedTool | Said::Other => {
                // What the client writes before the next prompt follows from no prompt: a caveat, or a summary, which has
                // the next one's `promptId`. There may be a night between.
                let of_another = prompt_id.is_some() && prompt_id != self.prompt_id;
                if !entry.is_meta && !entry.is_compact_summary && !of_another {
                    self.timeline.line(self.now);
                }
            }
        }
    }

    /// In the second reading: is this line of a response, in the main file, no copy of an earlier one? Forgets that it was
    /// there, so it must be asked once for each line.
    pub fn is_first(&mut self, uuid: Option<&str>) -> bool {
        uuid.is_none_or(|uuid| self.seen.remove(&key(uuid)))
    }

    fn add_calls(&mut self, file: u32, entry: &Entry<'_>) {
        let Content::Blocks(blocks) = Content::of(entry.message.as_ref().and_then(|m| m.content)) else { return };
        for block in &blocks {
            let kind = block.kind.as_deref().unwrap_or_default();
            if let Some(answered) = block.tool_use_id.as_deref().filter(|_| kind.ends_with("_tool_result")) {
                self.tools.entry(EventId::span(answered)).or_default().answered = true;
            }
            let Some(id) = block.id.as_deref().filter(|_| kind == "tool_use" || kind == "server_tool_use") else {
                continue;
            };
            let span = EventId::span(id);
            let tool = self.tools.entry(span).or_default();
            if tool.called {
                continue;
            }
            (tool.file, tool.called) = (file, true);
            self.order.push(span);
            let on_main = file == 0 && !entry.is_sidechain;
            self.timeline.called(span, file, on_main, block.name.as_deref().unwrap_or_default(), self.now);
            if matches!(block.name.as_deref(), Some("Task" | "Agent")) {
                let input = block.input.and_then(|i| lenient::reparse::<StarterInput<'_>>(i.get())).unwrap_or_default();
                self.starters.push(Starter {
                    span,
                    file,
                    prompt: input.prompt.and_then(|p| prompt_key(p.get(), entry.elided)),
                    agent_type: input.subagent_type.map(std::borrow::Cow::into_owned),
                    teammate: input
                        .name
                        .map(|name| (name.into_owned(), input.team_name.map(std::borrow::Cow::into_owned))),
                });
            }
        }
    }

    fn add_results(&mut self, file: u32, entry: &Entry<'_>) {
        let content = Content::of(entry.message.as_ref().and_then(|m| m.content));
        if file > 0
            && let Some(root @ None) = self.roots.get_mut(file as usize)
        {
            *root = Some(Root {
                prompt: content.first_text().and_then(|raw| prompt_key(raw, entry.elided)),
                prompt_id: entry.prompt_id.clone().map(std::borrow::Cow::into_owned),
                teammate: entry.agent_name.clone().map(std::borrow::Cow::into_owned),
            });
        }
        let Content::Blocks(blocks) = content else { return };
        let mut results = blocks.iter().filter(|b| b.kind.as_deref() == Some("tool_result"));
        let links = entry
            .tool_use_result
            .map(RawValue::get)
            // `agentId` and `runId`. Most are large, and few need to be looked into.
            .filter(|raw| memmem::find(raw.as_bytes(), b"Id\"").is_some())
            .and_then(lenient::reparse::<ResultLinks<'_>>)
            .unwrap_or_default();
        let mut first = true;
        for (block, id) in results.by_ref().filter_map(|b| Some((b, b.tool_use_id.as_deref()?))) {
            let span = EventId::span(id);
            self.timeline.answered(span, by_person(entry, block), self.now);
            let tool = self.tools.entry(span).or_default();
            if !tool.called {
                tool.file = file;
            }
            tool.answered = true;
            if std::mem::take(&mut first) {
                for started in [&links.agent_id, &links.run_id].into_iter().flatten() {
                    self.started_by.entry(started.clone().into_owned()).or_insert(span);
                }
            }
        }
    }
}

/// Did a person say yes or no to the call with this result, as far as the client says?
fn by_person(entry: &Entry<'_>, result: &Block<'_>) -> Option<bool> {
    if Verdict::of(entry, result) == Verdict::Rejected {
        return Some(false);
    }
    entry.permission_decision.as_ref().filter(|decision| decision.is_by_person()).map(|_| true)
}
