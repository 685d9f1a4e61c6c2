//! The second reading: entries become events.

use crate::chat;
use crate::entry::{Block, Content, Entry, Message};
use crate::event::{Context, Envelope, Event, Kind};
use crate::generation::Generation;
use crate::identity::{EventId, FixedMap, IdMap, IdSet, key};
use crate::index::{Index, generation_id};
use crate::prompt;
use crate::session::{Counts, FileRole, TraceGrouping};
use crate::span::{Span, ToolResult};
use crate::text::{TextRules, prefix};
use crate::threads::{MAIN, Threads};
use crate::time;
use crate::trace::{self, Noticed, Trace};
use crate::turns::{Place, Turns};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Types of lines that are known, beside those that are used.
const KNOWN: [&str; 26] = [
    "agent-color",
    "agent-name",
    "agent-setting",
    "ai-title",
    "api-request-blob",
    "api-request-shape",
    "atis-latch",
    "attachment",
    "bridge-session",
    "cost-state",
    "custom-title",
    "file-history-delta",
    "file-history-snapshot",
    "last-prompt",
    "mode",
    "permission-mode",
    "pr-link",
    "progress",
    "queue-operation",
    "saved_hook_context",
    "speculation-accept",
    "summary",
    "tag",
    "task-summary",
    "tools-used",
    "worktree-state",
];

/// Different unknown types that are named in a report.
const MOST_UNKNOWN_TYPES: usize = 32;

/// Turns entries into events.
#[derive(Debug)]
pub struct Converter {
    index: Index,
    rules: TextRules,
    grouping: TraceGrouping,
    envelope: Envelope,
    excluded: IdSet,
    turns: Turns,
    threads: Threads,
    traces: Vec<Trace>,
    generations: IdMap<Generation>,
    spans: IdMap<Span>,
    /// Spans that were opened, done or not.
    opened: IdSet,
    /// Results that stand before their call.
    early: IdMap<ToolResult>,
    /// Start of the calls that have an `api-request` line.
    requests: FixedMap<u128, i64>,
    /// Noticed in the file that is being read, by trace. What stands before an excluded event was covered before.
    noticed: BTreeMap<u32, Noticed>,
    context: Rc<Context>,
    file: u32,
    line: u64,
    /// The last time seen, for lines without one.
    now: i64,
    sequence: u64,
    events: VecDeque<Event>,
    counts: Counts,
}

impl Converter {
    /// Converts the session with these files, once they have been indexed.
    pub fn new(
        mut index: Index,
        files: &[FileRole],
        rules: TextRules,
        grouping: TraceGrouping,
        envelope: Envelope,
        excluded: IdSet,
    ) -> Self {
        let threads = Threads::new(files, &mut index);
        let now = index.earliest.unwrap_or(0);
        Self {
            index,
            rules,
            grouping,
            envelope,
            excluded,
            turns: Turns::new(),
            threads,
            traces: vec![Trace::of_session()],
            generations: IdMap::default(),
            spans: IdMap::default(),
            opened: IdSet::default(),
            early: IdMap::default(),
            requests: FixedMap::default(),
            noticed: BTreeMap::new(),
            context: Rc::default(),
            file: 0,
            line: 0,
            now,
            sequence: 0,
            events: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// From here on the lines are this file's.
    pub fn begin_file(&mut self, file: u32) {
        self.settle_noticed();
        self.file = file;
        self.line = 0;
        // Times are only compared within a file.
        self.requests.clear();
    }

    /// Events that are complete, in order.
    pub fn events(&mut self) -> &mut VecDeque<Event> {
        &mut self.events
    }

    /// Counts so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A line was read; `whole` is whether all of it could be.
    pub fn end_line(&mut self, whole: bool) {
        self.line += 1;
        self.counts.lines += 1;
        if !whole {
            self.bad();
        }
    }

    fn bad(&mut self) {
        self.counts.bad_lines += 1;
        self.notice(Noticed { bad_lines: 1, ..Noticed::default() });
    }

    fn notice(&mut self, noticed: Noticed) {
        let turn = if self.file == 0 { self.turns.last() } else { self.threads.turn_of_file(self.file) };
        *self.noticed.entry(self.turns.get(turn).trace).or_default() += noticed;
    }

    fn settle_noticed(&mut self) {
        for (trace, noticed) in std::mem::take(&mut self.noticed) {
            self.traces[trace as usize].totals.noticed += noticed;
        }
    }

    /// Takes one entry.
    pub fn add(&mut self, entry: &Entry<'_>) {
        if let Some(at) = entry.timestamp.as_deref().and_then(time::parse) {
            self.now = at;
        }
        match entry.kind.as_deref().unwrap_or("(none)") {
            "assistant" => self.add_response(entry, None),
            "user" => self.add_user(entry, None),
            "system" => {
                let new = self.pass(entry);
                if new && entry.subtype.as_deref() == Some("compact_boundary") {
                    self.notice(Noticed { compactions: 1, ..Noticed::default() });
                }
            }
            "api-request" => {
                if let Some(id) = &entry.id {
                    self.requests.insert(key(id), self.now);
                }
            }
            "progress" => self.add_progress(entry),
            kind => {
                self.pass(entry);
                if KNOWN.binary_search(&kind).is_err() {
                    self.unknown(kind);
                }
            }
        }
    }

    fn unknown(&mut self, kind: &str) {
        self.counts.unknown_lines += 1;
        self.notice(Noticed { unknown_lines: 1, ..Noticed::default() });
        let types = &mut self.counts.unknown_types;
        let kind = prefix(kind, 64);
        if types.len() < MOST_UNKNOWN_TYPES || types.contains_key(kind) {
            *types.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// A line that says nothing but may stand between two that do. Says whether it is no copy.
    fn pass(&mut self, entry: &Entry<'_>) -> bool {
        if self.file > 0 {
            return true;
        }
        let place = self.place(entry, None);
        self.turns.put(entry.uuid.as_deref(), place)
    }

    /// Before the client gave sub-agents files of their own that can be lost, it repeated their messages.
    fn add_progress(&mut self, entry: &Entry<'_>) {
        self.pass(entry);
        let Some(progress) = self.index.progress_of_lost_agent(entry) else { return };
        let Some(raw) = progress.message.map(RawValue::get) else { return };
        let Some(mut inner) = crate::lenient::reparse::<Entry<'_>>(raw) else { return };
        // What is the same for both is only said once.
        inner.cwd = inner.cwd.or_else(|| entry.cwd.clone());
        inner.git_branch = inner.git_branch.or_else(|| entry.git_branch.clone());
        inner.version = inner.version.or_else(|| entry.version.clone());
        inner.entrypoint = inner.entrypoint.or_else(|| entry.entrypoint.clone());
        inner.elided = entry.elided;
        if let Some(at) = inner.timestamp.as_deref().and_then(time::parse) {
            self.now = at;
        }
        let Some(agent) = progress.agent_id.as_deref() else { return };
        let call = entry.parent_tool_use_id.as_deref().map(EventId::span);
        let turn = self.place(entry, None).turn;
        let thread = self.threads.lost_agent(agent, call, turn, &self.index);
        match inner.kind.as_deref() {
            Some("assistant") => self.add_response(&inner, Some(thread)),
            Some("user") => self.add_user(&inner, Some(thread)),
            _ => {}
        }
    }

    /// Where an entry stands that is no prompt.
    fn place(&mut self, entry: &Entry<'_>, thread: Option<u32>) -> Place {
        if let Some(thread) = thread {
            return Place { turn: self.threads.get(thread).turn, thread };
        }
        if self.file > 0 {
            let thread = self.threads.of_file(self.file, &self.turns, &mut self.index);
            return Place { turn: self.threads.get(thread).turn, thread };
        }
        let parent = entry.parent_uuid.as_deref();
        if entry.is_sidechain {
            let known = parent.and_then(|p| self.turns.place(p)).filter(|p| p.thread != MAIN);
            return known.unwrap_or_else(|| {
                let prompt = entry.message.as_ref().and_then(|m| m.content).map(RawValue::get);
                let prompt = prompt.and_then(|raw| crate::index::prompt_key(raw, entry.elided));
                let thread = self.threads.inline(prompt, &mut self.index, self.turns.last());
                Place { turn: self.threads.get(thread).turn, thread }
            });
        }
        Place { turn: self.turns.of_line(entry.prompt_id.as_deref(), parent), thread: MAIN }
    }

    fn context(&mut self, entry: &Entry<'_>) -> Rc<Context> {
        let context = Context::of(entry);
        if *self.context != context {
            self.context = Rc::new(context);
        }
        Rc::clone(&self.context)
    }

    fn add_user(&mut self, entry: &Entry<'_>, thread: Option<u32>) {
        let Some(content) = entry.message.as_ref().filter(|m| m.content.is_some()) else { return self.bad() };
        let content = Content::of(content.content);
        // A copy of a line that was read before.
        if self.file == 0
            && thread.is_none()
            && entry.uuid.as_deref().is_some_and(|uuid| self.turns.place(uuid).is_some())
        {
            return;
        }
        let on_main = self.file == 0 && thread.is_none() && !entry.is_sidechain;
        let place = if on_main && prompt::is_prompt(entry, &content) {
            Place { turn: self.begin_turn(entry, &content), thread: MAIN }
        } else {
            self.place(entry, thread)
        };
        if self.file == 0 {
            self.turns.put(entry.uuid.as_deref(), place);
        }
        if let Content::Blocks(blocks) = &content {
            let interrupted = was_interrupted(entry);
            for block in blocks.iter().filter(|b| b.kind.as_deref() == Some("tool_result")) {
                self.add_result(block, interrupted, entry.elided);
            }
        }
        if entry.is_meta {
            return;
        }
        if place.thread == MAIN {
            let turn = self.turns.get_mut(place.turn);
            turn.last = turn.last.max(Some(self.now));
        }
        let thread = self.threads.get_mut(place.thread);
        thread.asked = Some(self.now);
        if !self.rules.privacy {
            thread.input.push(&content, self.rules, entry.elided);
        }
    }

    fn begin_turn(&mut self, entry: &Entry<'_>, content: &Content<'_>) -> u32 {
        let (turn, new) = self.turns.begin(entry.prompt_id.as_deref(), 0);
        if new {
            if self.grouping == TraceGrouping::Message {
                let id = match (&entry.prompt_id, &entry.uuid) {
                    (Some(id), _) => EventId::other("prompt", id),
                    (None, Some(uuid)) => EventId::other("prompt-line", uuid),
                    (None, None) => {
                        EventId::other("prompt-place", &format!("{}:{}", self.envelope.session_id, self.line))
                    }
                };
                self.turns.get_mut(turn).trace = self.traces.len() as u32;
                self.traces.push(Trace::of_prompt(id));
            }
            self.turns.get_mut(turn).from = Some(self.now);
        }
        if !self.rules.privacy {
            let beginning = self.rules.of(&prompt::beginning(content, entry.elided));
            let trace = self.turns.get(turn).trace as usize;
            self.traces[trace].name_after(&beginning);
            if self.turns.get(turn).prompt.is_none() {
                let text = match content {
                    Content::Text(raw) => self.rules.of_json(raw, entry.elided),
                    Content::Blocks(_) => {
                        chat::result_text(entry.message.as_ref().and_then(|m| m.content), self.rules, entry.elided)
                    }
                };
                self.turns.hold(turn, prompt::typed(&text).into_owned());
            }
        }
        turn
    }

    fn add_response(&mut self, entry: &Entry<'_>, thread: Option<u32>) {
        let Some(message) = &entry.message else { return self.bad() };
        let id = generation_id(entry, message);
        if id.is_none() && message.model.is_none() && message.usage.is_none() {
            return self.bad();
        }
        let copy = self.file == 0 && entry.uuid.as_deref().is_some_and(|uuid| self.turns.place(uuid).is_some());
        let place = self.place(entry, thread);
        if self.file == 0 {
            self.turns.put(entry.uuid.as_deref(), place);
        }
        let synthetic = message.model.as_deref() == Some("<synthetic>");
        let (id, is_last, real) = match id {
            Some(id) => {
                // Only a transcript that grew since the first reading has messages that the index does not know.
                let Some(known) = self.index.messages.get_mut(&id).filter(|m| m.file == self.file) else { return };
                known.lines = known.lines.saturating_sub(1);
                (id, known.lines == 0, known.real)
            }
            None => (self.id_by_place(), true, !synthetic || entry.is_api_error_message),
        };
        if real && !copy && (!synthetic || entry.is_api_error_message) {
            self.add_line(id, entry, message, place);
        }
        if is_last && let Some(generation) = self.generations.remove(&id) {
            self.end_generation(generation);
        }
    }

    /// The id of a generation whose line has no id at all: its place in the session.
    fn id_by_place(&self) -> EventId {
        let file = self.threads.name_of_file(self.file);
        EventId::other("generation-place", &format!("{}:{file}:{}", self.envelope.session_id, self.line))
    }

    /// A line of a response.
    fn add_line(&mut self, id: EventId, entry: &Entry<'_>, message: &Message<'_>, place: Place) {
        let context = self.context(entry);
        let mut generation = self.generations.remove(&id).unwrap_or_else(|| {
            self.sequence += 1;
            let mut new = Generation::begin(id, self.sequence, place, Rc::clone(&context), self.now);
            let thread = self.threads.get_mut(place.thread);
            new.input = std::mem::take(&mut thread.input);
            new.started = thread.asked;
            new
        });
        if let Some(requested) = entry.request_ref.as_deref().and_then(|r| self.requests.remove(&key(r))) {
            generation.started = Some(requested);
        }
        let model = if entry.is_api_error_message {
            self.threads.get(place.thread).model.clone().or_else(|| entry.requested_model.as_deref().map(Into::into))
        } else {
            let model: Option<Rc<str>> = message.model.as_deref().map(Into::into);
            self.threads.get_mut(place.thread).model.clone_from(&model);
            model
        };
        let mut adds = true;
        match Content::of(message.content) {
            Content::Text(raw) => {
                let text = Block { text: serde_json::from_str(raw).ok(), ..Block::default() };
                adds = self.add_block(&mut generation, &text, entry);
            }
            Content::Blocks(blocks) => {
                // Evaluated for each block: no short-cut.
                let new = blocks.iter().filter(|block| self.add_block(&mut generation, block, entry)).count();
                adds = adds && (new > 0 || blocks.is_empty());
            }
        }
        // A copy with another `uuid` and time says nothing of when the response ended.
        if adds {
            generation.ended = self.now;
            generation.context = context;
        }
        if place.thread == MAIN {
            let turn = self.turns.get_mut(place.turn);
            turn.last = turn.last.max(Some(self.now));
        }
        generation.update(entry, message, model);
        self.generations.insert(id, generation);
    }

    /// A block of a response; says whether it was new.
    fn add_block(&mut self, generation: &mut Generation, block: &Block<'_>, entry: &Entry<'_>) -> bool {
        if !generation.is_new(block) {
            return false;
        }
        if !self.rules.privacy {
            generation.output.push(block, self.rules, entry.elided);
        }
        let kind = block.kind.as_deref().unwrap_or_default();
        if kind == "tool_use" || kind == "server_tool_use" {
            generation.tools.push(chat::tool_name(block));
            if let Some(id) = block.id.as_deref() {
                self.call(EventId::span(id), generation, block, entry);
            }
        } else if kind.ends_with("_tool_result") {
            self.add_result(block, false, entry.elided);
        }
        true
    }

    fn call(&mut self, id: EventId, generation: &Generation, block: &Block<'_>, entry: &Entry<'_>) {
        if !self.opened.insert(id) {
            return;
        }
        self.threads.called(id, generation.turn);
        self.sequence += 1;
        let span = Span {
            id,
            sequence: self.sequence,
            generation: generation.id,
            turn: generation.turn,
            thread: generation.thread,
            context: self.context(entry),
            name: chat::tool_name(block),
            input: block.input.map(|raw| self.rules.of_json(raw.get(), entry.elided)).unwrap_or_default(),
            called: self.now,
        };
        if let Some(result) = self.early.remove(&id) {
            self.end_span(&span, Some(&result));
        } else if self.index.tools.get(&id).is_some_and(|t| t.answered) {
            self.spans.insert(id, span);
        } else {
            self.end_span(&span, None);
        }
    }

    fn add_result(&mut self, block: &Block<'_>, interrupted: bool, elided: bool) {
        let Some(id) = block.tool_use_id.as_deref().map(EventId::span) else { return };
        let open = self.spans.remove(&id);
        let called_later = !self.opened.contains(&id) && self.index.tools.get(&id).is_some_and(|t| t.called);
        if open.is_none() && !called_later {
            return;
        }
        let output = chat::result_text(block.content, self.rules, elided);
        let raw = block.content.map_or("", RawValue::get);
        let failed_search = raw.starts_with('{') && raw.contains("_tool_result_error");
        let result = ToolResult {
            at: Some(self.now),
            is_error: block.is_error || failed_search,
            interrupted: interrupted || raw.contains("[Request interrupted by user for tool use]"),
            output,
        };
        match open {
            Some(span) => self.end_span(&span, Some(&result)),
            None => {
                self.early.entry(id).or_insert(result);
            }
        }
    }

    fn end_generation(&mut self, mut generation: Generation) {
        generation.interrupted |= self.index.messages.get(&generation.id).is_some_and(|m| m.interrupted);
        let turn = self.turns.get_mut(generation.turn);
        let trace_index = turn.trace;
        if self.excluded.contains(&generation.id) {
            turn.excluded = true;
            turn.from = turn.from.max(Some(generation.ended));
            return self.exclude(trace_index);
        }
        turn.sent = true;
        let prompt = turn.prompt.clone();
        let trace = &mut self.traces[trace_index as usize];
        let trace_id = trace.id(&self.envelope);
        let thread = self.threads.get_mut(generation.thread);
        let parent = thread.call.map_or_else(|| trace_id.clone(), |call| call.to_string());
        let agent = thread.agent_type.clone();
        let (event, shortened) = self.envelope.event(
            Kind::Generation,
            generation.id,
            generation.ended,
            &trace_id,
            &generation.context,
            |p| generation.write(p, self.rules, &parent, prompt.as_deref(), agent.as_deref()),
        );
        trace.cover(generation.id, generation.ended, &generation.context);
        trace.totals.generations += 1;
        trace.totals.subagents += u64::from(thread.is_agent && !std::mem::replace(&mut thread.counted, true));
        if generation.failure.is_some() {
            trace.fail(generation.error(self.rules));
        } else {
            let usage = &generation.usage;
            let totals = &mut trace.totals;
            for (sum, total, count) in [
                (&mut totals.input_tokens, &mut self.counts.input_tokens, usage.input_tokens),
                (&mut totals.output_tokens, &mut self.counts.output_tokens, usage.output_tokens),
                (&mut totals.cache_read_tokens, &mut self.counts.cache_read_tokens, usage.cache_read_input_tokens),
                (
                    &mut totals.cache_creation_tokens,
                    &mut self.counts.cache_creation_tokens,
                    usage.cache_creation_input_tokens,
                ),
            ] {
                trace::add(sum, count);
                *total = total.saturating_add(count.unwrap_or(0));
            }
        }
        self.counts.generations += 1;
        self.emit(event, shortened, generation.ended);
    }

    fn end_span(&mut self, span: &Span, result: Option<&ToolResult>) {
        let turn = self.turns.get_mut(span.turn);
        let trace_index = turn.trace;
        if self.excluded.contains(&span.id) {
            turn.excluded = true;
            return self.exclude(trace_index);
        }
        turn.sent = true;
        let trace = &mut self.traces[trace_index as usize];
        let trace_id = trace.id(&self.envelope);
        let agent = self.threads.get(span.thread).agent_type.clone();
        let timestamp = span.timestamp(result);
        let (event, shortened) = self.envelope.event(Kind::Span, span.id, timestamp, &trace_id, &span.context, |p| {
            span.write(p, self.rules, result, agent.as_deref());
        });
        trace.cover(span.id, timestamp, &span.context);
        trace.totals.tool_calls += 1;
        trace.totals.tool_errors += u64::from(result.is_some_and(|r| r.is_error));
        self.counts.spans += 1;
        self.emit(event, shortened, timestamp);
    }

    fn exclude(&mut self, trace: u32) {
        self.counts.excluded_events += 1;
        self.noticed.remove(&trace);
    }

    fn emit(&mut self, event: Event, shortened: bool, timestamp: i64) {
        self.counts.shortened_events += u64::from(shortened);
        self.counts.earliest = Some(self.counts.earliest.map_or(timestamp, |e| e.min(timestamp)));
        self.events.push_back(event);
    }

    /// The end: what is still open is complete now, and so are the traces.
    pub fn finish(&mut self) {
        self.settle_noticed();
        let mut generations: Vec<_> = std::mem::take(&mut self.generations).into_values().collect();
        generations.sort_by_key(|g| g.sequence);
        for generation in generations {
            self.end_generation(generation);
        }
        let mut spans: Vec<_> = std::mem::take(&mut self.spans).into_values().collect();
        spans.sort_by_key(|s| s.sequence);
        for span in &spans {
            self.end_span(span, None);
        }
        let work = trace::work(&self.turns, self.traces.len());
        for (trace, work) in std::mem::take(&mut self.traces).iter().zip(work) {
            if let Some((event, shortened)) = trace.event(&self.envelope, work, self.rules.privacy) {
                self.counts.traces += 1;
                let earliest = self.counts.earliest;
                self.emit(event, shortened, earliest.unwrap_or(0));
            }
        }
    }
}

/// Did the user stop the tool whose result this line holds?
fn was_interrupted(entry: &Entry<'_>) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Interruption {
        #[serde(deserialize_with = "crate::lenient::bool")]
        interrupted: bool,
    }
    entry
        .tool_use_result
        .map(RawValue::get)
        .filter(|raw| raw.starts_with('{') && memchr::memmem::find(raw.as_bytes(), b"\"interrupted\":true").is_some())
        .and_then(crate::lenient::reparse_owned::<Interruption>)
        .is_some_and(|r| r.interrupted)
}

impl Context {
    fn of(entry: &Entry<'_>) -> Self {
        let owned = |text: &crate::lenient::Str<'_>| text.as_deref().filter(|t| !t.is_empty()).map(str::to_owned);
        Self {
            // Windows and Unix paths; a session may have been written on another system than the one it is read on.
            project: entry.cwd.as_deref().and_then(|cwd| {
                let name = cwd.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next()?;
                Some(name.to_owned()).filter(|name| !name.is_empty())
            }),
            // Outside of a repository: "" up to 2.0.76, "HEAD" from 2.1.112 on.
            branch: owned(&entry.git_branch).filter(|branch| branch != "HEAD"),
            version: owned(&entry.version),
            entrypoint: owned(&entry.entrypoint),
        }
    }
}
