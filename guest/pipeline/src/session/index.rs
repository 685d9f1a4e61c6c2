//! The first reading: collects what later lines say about earlier ones. Only IDs are kept.

use crate::identity::{EventId, FixedMap, FixedSet, IdMap, IdSet, key};
use crate::session::calls::{Answer, Calls, Line};
use crate::session::timeline::{self, Beginning};
use crate::session::timelines::Timelines;
use crate::session::types::{FileRole, Hold};
use crate::time;
use crate::transcript::context;
use crate::transcript::entry::{Content, Entry};
use crate::transcript::lenient;
use crate::transcript::prompt::{self, Said};
use crate::transcript::raw::Raw;
use crate::transcript::shape;
use crate::transcript::text;
use crate::transcript::verdict::Verdict;
use memchr::memmem::{self, Finder};
use serde::Deserialize;

/// The findings of the first reading.
#[derive(Debug, Default)]
pub struct Index {
    /// Tells which lines are one call.
    pub calls: Calls,
    /// Responses, in the order of the calls.
    pub messages: Vec<Message>,
    /// Tool calls, by the id of their span.
    pub tools: IdMap<Tool>,
    /// Keys of the results that precede their calls.
    pub early: FixedSet<u128>,
    /// Those of them that report a failed call.
    failed_early: FixedSet<u128>,
    /// Tool calls whose spans are not identified by their id alone.
    by_tool_id: FixedMap<u128, Vec<EventId>>,
    /// Ids of the generations and spans that will be produced, in file order.
    pub order: Vec<EventId>,
    /// Calls that may have started a sub-agent, in file order.
    pub starters: Vec<Starter>,
    /// Maps a sub-agent (its id) or a workflow run (its folder) to the call that started it, according to the call's
    /// result.
    pub started_by: FixedMap<String, EventId>,
    /// The earliest timestamp in any line, for lines without one.
    pub earliest: Option<i64>,
    /// How each sub-agent's transcript begins, by file.
    pub roots: Vec<Option<Root>>,
    /// When the session worked and when it waited.
    pub timeline: Timelines,
    /// The session's project: that of its first directory, or of the one it was in before it went into a worktree.
    pub project: Option<String>,
    /// Did a `worktree-state` line give the project?
    has_origin: bool,
    /// A command on the main thread that no model has answered yet.
    command: Option<Command>,
    /// The `promptId` of the main thread's last prompt.
    prompt_id: Option<u128>,
    /// The file's last response, if no user line follows it.
    last_response: Option<(u32, u32)>,
    /// The last timestamp seen, for lines without one.
    now: i64,
    /// Sub-agents that have a transcript of their own.
    agents: FixedSet<String>,
    /// Calls that another call's counts leave out, with that call.
    beside: IdMap<EventId>,
    /// The last response of each thread of calls, if nothing follows it.
    last: Vec<Option<u32>>,
    /// What is still open, and therefore not produced.
    pub held: Held,
    /// Anything written before this time is not counted, in milliseconds since 1970.
    since: Option<i64>,
    marks: Marks,
}

/// What is still open: more of it may come.
#[derive(Debug, Default)]
pub struct Held {
    /// Ids of events that are not produced.
    events: IdSet,
    /// When the last line of those that are only open for a short time was written.
    pub since: Option<i64>,
}

impl Held {
    /// Is this event held?
    pub fn has(&self, event: EventId) -> bool {
        self.events.contains(&event)
    }

    /// The number of held events.
    pub fn count(&self) -> u64 {
        self.events.len() as u64
    }
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
    /// The `promptId` of the turn in which it was started.
    pub prompt_id: Option<String>,
    /// The name of the teammate whose transcript it is.
    pub teammate: Option<String>,
}

/// A response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Message {
    /// The number of its lines, without copies.
    pub lines: u32,
    /// Is any line from a model, or from a failed call? (The client writes some of its own lines in the form of
    /// responses.)
    pub real: bool,
    /// Did the user stop it?
    pub interrupted: bool,
    /// Does its last line have a stop reason, or report a failure?
    stopped: bool,
    /// When its last line was written.
    at: i64,
}

/// A tool call.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The file with the call.
    pub file: u32,
    /// Is there a result?
    pub answered: bool,
    /// Did it fail?
    pub failed: bool,
    /// The generation that made the call.
    pub generation: EventId,
    /// When it was called.
    called: i64,
}

/// A call that may have started a sub-agent.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The call's span.
    pub span: EventId,
    /// The file that contains the call.
    pub file: u32,
    /// Key of the prompt that the sub-agent gets.
    pub prompt: Option<u128>,
    /// The type of sub-agent that was requested.
    pub agent_type: Option<String>,
    /// The name of the teammate that it starts, and of the teammate's team.
    pub teammate: Option<(String, Option<String>)>,
}

/// Input of a call that starts a sub-agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StarterInput<'a> {
    #[serde(borrow)]
    prompt: Option<Raw<'a>>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    subagent_type: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    name: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    team_name: lenient::Str<'a>,
}

/// The parts of a result that link a call to its sub-agent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResultLinks<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    agent_id: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    run_id: lenient::Str<'a>,
}

/// How many characters of a prompt its key depends on.
const PROMPT_KEY: usize = 4000;

/// Key of a sub-agent's first prompt, to find the call that gave it.
pub fn prompt_key(prompt: Raw<'_>) -> Option<u128> {
    // Both sides are cut at the same place. The rest would hardly tell two prompts apart.
    let (text, _) = text::decode(prompt, PROMPT_KEY + 1000)?;
    // A teammate gets it in a wrapper.
    let prompt = shape::instruction(&text).unwrap_or(text.trim());
    Some(key(text::prefix(prompt, PROMPT_KEY)))
}

/// Marks of the lines that this reading needs, in any file. They have no quote in front, because `"type": "assistant"`
/// and `"type":"assistant"` are both JSON. Results come first: their lines are the long ones, and have the mark near
/// their beginning.
const OF_ALL: [&[u8]; 6] =
    [b"tool_result\"", b"assistant\"", b"user\"", b"interruptedMessageId", b"agent_progress\"", b"interrupted by user"];

/// Marks of the lines in the main file that say when and where it worked.
const OF_MAIN: [&[u8]; 3] = [b"turn_duration\"", b"scheduled_task_fire\"", b"worktree-state\""];

/// Searches lines for the marks.
#[derive(Debug)]
struct Marks {
    of_all: [Finder<'static>; OF_ALL.len()],
    of_main: [Finder<'static>; OF_MAIN.len()],
}

impl Default for Marks {
    fn default() -> Self {
        Self { of_all: OF_ALL.map(Finder::new), of_main: OF_MAIN.map(Finder::new) }
    }
}

impl Index {
    /// An index for these files. Anything written before `since` is not counted.
    pub fn new(files: &[FileRole], since: Option<i64>) -> Self {
        let agents = files.iter().filter_map(|f| match f {
            FileRole::Main => None,
            FileRole::Agent(agent) => Some(agent.agent_id.clone()),
        });
        Self { agents: agents.collect(), roots: vec![None; files.len()], since, ..Self::default() }
    }

    /// Does this reading need to parse this line of this file? It has no use for most lines.
    pub fn concerns(&self, file: u32, line: &[u8]) -> bool {
        let holds = |marks: &[Finder<'_>]| marks.iter().any(|mark| mark.find(line).is_some());
        holds(&self.marks.of_all)
            || (file == 0 && holds(&self.marks.of_main))
            || (file == 0 && self.project.is_none() && memmem::find(line, b"cwd\"").is_some())
            || (file > 0 && self.roots.get(file as usize).is_some_and(Option::is_none))
    }

    /// Does this sub-agent have a transcript of its own? If so, its messages repeated in other files are left out.
    pub fn has_file(&self, agent_id: &str) -> bool {
        self.agents.contains(agent_id)
    }

    /// Takes note of an entry. `told`: did an earlier delivery read its line?
    pub fn add(&mut self, file: u32, entry: &Entry<'_>, told: bool) {
        let at = || entry.timestamp.as_deref().and_then(time::parse).unwrap_or(self.now);
        let is_old = self.since.is_some_and(|since| at() < since);
        self.timeline.next_line(told || is_old);
        let thread = self.calls.thread(file, entry.is_sidechain, None);
        self.add_to(thread, file, entry);
    }

    fn add_to(&mut self, thread: u32, file: u32, entry: &Entry<'_>) {
        if let Some(time) = entry.timestamp.as_deref().and_then(time::parse) {
            self.earliest = Some(self.earliest.map_or(time, |e| e.min(time)));
            self.now = time;
        }
        if file == 0 {
            self.locate(entry);
        }
        if let Some(call) = entry.interrupted_message_id.as_deref().and_then(|id| self.calls.latest(thread, id)) {
            self.message(call).interrupted = true;
        }
        if let Some(session) = entry.written_in.as_deref().filter(|_| file == 0 && !entry.is_sidechain) {
            self.timeline.written_in(key(session), self.now);
        }
        match entry.kind.as_deref() {
            Some("assistant") => self.add_response(thread, file, entry),
            Some("user") => {
                self.add_results(thread, file, entry);
                self.add_said(file, entry);
            }
            Some("system") if file == 0 => match entry.subtype.as_deref() {
                Some("turn_duration") if !entry.is_sidechain => {
                    *self.last(thread) = None;
                    self.timeline.measured(self.now, entry.duration_ms.unwrap_or(0));
                }
                Some("scheduled_task_fire") => self.begin(entry, Beginning::Wake),
                _ => {}
            },
            Some("progress") => {
                if let Some(progress) = self.progress_of_lost_agent(entry)
                    && let Some(inner) = progress.message.and_then(lenient::reparse::<Entry<'_>>)
                {
                    let thread = self.calls.thread(file, true, progress.agent_id.as_deref());
                    self.add_to(thread, file, &inner);
                }
            }
            _ => {}
        }
    }

    /// Holds back what is still open: removes it from the order.
    pub fn hold_back(&mut self, rule: Hold) {
        let Some(after) = rule.after else { return };
        let held = &mut self.held;
        for call in self.last.iter().flatten() {
            let message = self.messages.get(*call as usize).copied().unwrap_or_default();
            if message.real && !message.stopped && !message.interrupted && message.at > after {
                held.events.insert(self.calls.id(*call));
                held.since = held.since.max(Some(message.at));
            }
        }
        for (span, tool) in &self.tools {
            let is_new = tool.called > after;
            if !tool.answered && (is_new || rule.calls) {
                held.since = held.since.max(Some(tool.called).filter(|_| is_new));
                held.events.insert(*span);
            } else if held.events.contains(&tool.generation) {
                held.events.insert(*span);
            }
        }
        for (call, of) in &self.beside {
            if held.events.contains(of) {
                held.events.insert(*call);
            }
        }
        self.order.retain(|event| !held.events.contains(event));
    }

    /// The last response of a thread.
    fn last(&mut self, thread: u32) -> &mut Option<u32> {
        let thread = thread as usize;
        if thread >= self.last.len() {
            self.last.resize(thread + 1, None);
        }
        &mut self.last[thread]
    }

    fn message(&mut self, call: u32) -> &mut Message {
        let call = call as usize;
        if call >= self.messages.len() {
            self.messages.resize(call + 1, Message::default());
        }
        &mut self.messages[call]
    }

    /// The spans of the tool calls with this id, in file order.
    pub fn called(&self, tool_use_id: &str) -> impl Iterator<Item = EventId> {
        let alone = Some(EventId::span(tool_use_id)).filter(|span| self.tools.contains_key(span));
        alone.into_iter().chain(self.by_tool_id.get(&key(tool_use_id)).into_iter().flatten().copied())
    }

    /// The progress message that repeats a sub-agent's message, if its own transcript is missing.
    pub fn progress_of_lost_agent<'e, 'a>(
        &self,
        entry: &'e Entry<'a>,
    ) -> Option<&'e crate::transcript::entry::ProgressLine<'a>> {
        let progress = entry.data.as_ref().filter(|d| d.kind.as_deref() == Some("agent_progress"))?;
        (!self.has_file(progress.agent_id.as_deref()?)).then_some(progress)
    }

    fn add_response(&mut self, thread: u32, file: u32, entry: &Entry<'_>) {
        let Some(message) = entry.response() else { return };
        let Line::Of(call) = self.calls.response(thread, entry, message) else { return };
        let id = self.calls.id(call);
        let synthetic = message.model.as_deref() == Some("<synthetic>");
        let real = !synthetic || entry.is_api_error_message;
        *self.last(thread) = Some(call);
        let now = self.now;
        let known = self.message(call);
        known.lines += 1;
        known.stopped =
            message.stop_reason.as_deref().is_some_and(|reason| !reason.is_empty()) || entry.is_api_error_message;
        known.at = now;
        // The client's own line within a response: what had arrived when the user stopped it.
        known.interrupted |= entry.is_aborted_mid_stream || (synthetic && known.real && !entry.is_api_error_message);
        let first = real && !known.real;
        known.real |= real;
        if first {
            self.order.push(id);
        }
        if real {
            self.last_response = Some((file, call));
            if file == 0 && !entry.is_sidechain {
                self.answer();
            }
            self.add_calls(thread, file, call, entry);
        }
        if let Some(usage) = message.usage.as_ref().filter(|_| real && !entry.is_api_error_message) {
            for (position, _) in usage.beside() {
                let beside = id.iteration(position);
                if self.beside.insert(beside, id).is_none() {
                    self.order.push(beside);
                }
            }
        }
    }

    /// Notes where the session works. It may move later, but its project stays.
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

    /// A model answers on the main thread: the command before the answer is a prompt.
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

    /// What a user line means for the timeline, and for the response before it.
    fn add_said(&mut self, file: u32, entry: &Entry<'_>) {
        let response = self.last_response.take().filter(|(of, _)| *of == file);
        let Some(raw) = entry.message.as_ref().and_then(|m| m.content) else { return };
        let content = Content::of(Some(raw));
        let said = prompt::said(entry, &content);
        if said == Said::Stopped
            && entry.interrupted_message_id.is_none()
            && let Some((_, call)) = response
        {
            self.message(call).interrupted = true;
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
                let is_of_shell = content.first_text().is_some_and(|text| text.get().starts_with("\"<bash-"));
                self.command = self.command.take().filter(|_| is_of_shell);
            }
            Said::Stopped | Said::StoppedTool | Said::Other => {
                // The lines that the client writes before the next prompt don't follow from an earlier one: a caveat,
                // or a summary with the next prompt's `promptId`. A night may lie between them.
                let of_another = prompt_id.is_some() && prompt_id != self.prompt_id;
                if !entry.is_meta && !entry.is_compact_summary && !of_another {
                    self.timeline.line(self.now);
                }
            }
        }
    }

    fn add_calls(&mut self, thread: u32, file: u32, call: u32, entry: &Entry<'_>) {
        for block in &Content::of(entry.message.as_ref().and_then(|m| m.content)).into_blocks() {
            if !self.calls.is_new_block(call, block) {
                continue;
            }
            let kind = block.kind.as_deref().unwrap_or_default();
            if let Some(answered) = block.tool_use_id.as_deref().filter(|_| kind.ends_with("_tool_result")) {
                self.resolve(thread, answered, None, Verdict::of(entry, block));
            }
            let Some(id) = block.id.as_deref().filter(|_| kind == "tool_use" || kind == "server_tool_use") else {
                continue;
            };
            let opened = self.calls.tool(thread, call, id, entry.uuid.as_deref());
            let span = opened.span;
            self.early.extend(opened.early);
            let failed = opened.early.is_some_and(|early| self.failed_early.contains(&early));
            let generation = self.calls.id(call);
            self.tools
                .insert(span, Tool { file, answered: opened.early.is_some(), failed, generation, called: self.now });
            if span != EventId::span(id) {
                self.by_tool_id.entry(key(id)).or_default().push(span);
            }
            self.order.push(span);
            let on_main = file == 0 && !entry.is_sidechain;
            self.timeline.called(span, file, on_main, block.name.as_deref().unwrap_or_default(), self.now);
            if matches!(block.name.as_deref(), Some("Task" | "Agent")) {
                let input = block.input.and_then(lenient::reparse::<StarterInput<'_>>).unwrap_or_default();
                self.starters.push(Starter {
                    span,
                    file,
                    prompt: input.prompt.and_then(prompt_key),
                    agent_type: input.subagent_type.map(std::borrow::Cow::into_owned),
                    teammate: input
                        .name
                        .map(|name| (name.into_owned(), input.team_name.map(std::borrow::Cow::into_owned))),
                });
            }
        }
    }

    /// Takes a result: returns the span it belongs to, if the call came first.
    fn resolve(&mut self, thread: u32, tool_use_id: &str, source: Option<&str>, verdict: Verdict) -> Option<EventId> {
        let failed = verdict == Verdict::Failed;
        match self.calls.result(thread, tool_use_id, source) {
            Answer::Of(span) => {
                if let Some(tool) = self.tools.get_mut(&span) {
                    tool.answered = true;
                    tool.failed = failed;
                }
                Some(span)
            }
            Answer::Early(key) => {
                self.failed_early.extend(failed.then_some(key));
                None
            }
            Answer::Nothing => None,
        }
    }

    fn add_results(&mut self, thread: u32, file: u32, entry: &Entry<'_>) {
        let Some(content) = entry.message.as_ref().and_then(|m| m.content) else { return };
        let content = Content::of(Some(content));
        if file > 0
            && let Some(root @ None) = self.roots.get_mut(file as usize)
        {
            *root = Some(Root {
                prompt: content.first_text().and_then(prompt_key),
                prompt_id: entry.prompt_id.clone().map(std::borrow::Cow::into_owned),
                teammate: entry.agent_name.clone().map(std::borrow::Cow::into_owned),
            });
        }
        if !self.calls.user(thread, entry, &content) {
            return;
        }
        *self.last(thread) = None;
        let Content::Blocks(blocks) = content else { return };
        let mut results = blocks.iter().filter(|b| b.kind.as_deref() == Some("tool_result"));
        let links = entry
            .tool_use_result
            // `agentId` and `runId`. Most are large, and few need to be looked into.
            .filter(|raw| memmem::find(raw.get().as_bytes(), b"Id\"").is_some())
            .and_then(lenient::reparse::<ResultLinks<'_>>)
            .unwrap_or_default();
        let mut first = true;
        for (block, id) in results.by_ref().filter_map(|b| Some((b, b.tool_use_id.as_deref()?))) {
            let verdict = Verdict::of(entry, block);
            let span = self.resolve(thread, id, entry.source_tool_assistant_uuid.as_deref(), verdict);
            if let Some(span) = span {
                self.timeline.answered(span, by_person(entry, verdict), self.now);
            }
            if std::mem::take(&mut first)
                && let Some(span) = span
            {
                for started in [&links.agent_id, &links.run_id].into_iter().flatten() {
                    self.started_by.entry(started.clone().into_owned()).or_insert(span);
                }
            }
        }
    }
}

/// Did a person approve or refuse the call with this result, according to the client?
fn by_person(entry: &Entry<'_>, verdict: Verdict) -> Option<bool> {
    if verdict == Verdict::Rejected {
        return Some(false);
    }
    entry.permission_decision.as_ref().filter(|decision| decision.is_by_person()).map(|_| true)
}
