//! Decides which lines belong to the same model call, and gives calls their IDs.
//!
//! Ids come from the provider, and only Anthropic's are unique: gateways give every response the same `message.id`,
//! restart tool IDs in each turn, or omit `requestId`. So an id is evidence, not identity. Both readings ask here with
//! the same lines in the same order, and get the same answers; an answer depends only on earlier lines, so a session
//! that grows never renames what was sent.

use crate::identity::{EventId, FixedMap, FixedSet, IdMap, IdSet, key};
use crate::time;
use crate::transcript::entry::{Block, Content, Entry, Message};
use crate::transcript::fingerprint;
use crate::transcript::prompt::{self, Said};
use crate::transcript::raw::Raw;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The calls of a session, as far as it has been read.
#[derive(Debug, Default)]
pub struct Calls {
    /// The thread of each line, by `uuid`: a copy has the same one.
    seen: FixedMap<u128, u32>,
    /// Threads, by a key of the place of their lines.
    threads: FixedMap<u128, u32>,
    state: Vec<Thread>,
    calls: Vec<Call>,
    /// The latest call of each `message.id` in each thread.
    open: FixedMap<(u32, u128), Open>,
    /// The call of each `requestId`, within one `message.id` of one thread.
    by_request: FixedMap<(u32, u128, u128), u32>,
    /// The thread that has each identity.
    identities: IdMap<u32>,
    /// How many calls of a thread would have had the same identity.
    equal: FixedMap<(u32, EventId), u32>,
    /// Blocks of calls.
    blocks: FixedSet<u64>,
    /// Prompts that have a `promptId`: a second prompt with the same one is a copy, and does not count.
    prompts: FixedSet<u64>,
    spans: IdSet,
    /// `uuid`s of the lines that call tools.
    calling: FixedSet<u128>,
    tools: FixedMap<u128, Waiting>,
}

/// A thread's state that concerns calls.
#[derive(Debug, Default)]
struct Thread {
    /// Prompts so far.
    prompts: u32,
    /// Results of tools so far.
    results: u32,
    /// The last line of a response.
    last: Option<Open>,
}

/// A call. Calls are in the order of their first lines.
#[derive(Debug)]
struct Call {
    id: EventId,
    /// Is it the first in its thread with this Anthropic id? Then the id alone is its identity.
    direct: bool,
    /// Was a result of one of its tools read since its last line?
    answered: bool,
    /// Is it also in another thread, and belongs to that one?
    copy: bool,
}

/// The facts that the next line is compared with.
#[derive(Debug, Clone, Copy)]
struct Open {
    call: u32,
    request: Option<u128>,
    block: Option<u64>,
    /// Input, cache read, cache write: the last counts that were not 0.
    counts: [u64; 3],
    stopped: bool,
    prompts: u32,
    results: u32,
}

/// Tool calls that share an id and have no result yet.
#[derive(Debug, Default)]
struct Waiting {
    calls: Vec<ToolCall>,
    /// A result that precedes its call, and the line that it names as its call's.
    early: Option<(u32, Option<u128>)>,
}

#[derive(Debug)]
struct ToolCall {
    thread: u32,
    call: u32,
    /// The `uuid` of its line.
    line: Option<u128>,
    span: EventId,
}

/// How a line of a response relates to calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The same line appeared earlier in this thread.
    Repeated,
    /// It is a copy of a line that belongs to a call of another thread.
    Copied,
    /// It belongs to the call with this index.
    Of(u32),
}

/// Where a tool's result belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is the result of this span.
    Of(EventId),
    /// Its call comes later: it has this key.
    Early(u128),
    /// It is a copy, or there is no such call here.
    Nothing,
}

/// A tool call that is not a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its span.
    pub span: EventId,
    /// The key of the result that preceded it.
    pub early: Option<u128>,
}

impl Calls {
    /// The thread of a line: that of its file, of sub-agents inside the main file, or of a sub-agent whose file is
    /// lost.
    pub fn thread(&mut self, file: u32, sidechain: bool, lost_agent: Option<&str>) -> u32 {
        let place = match lost_agent {
            Some(agent) => key(agent),
            None => u128::from(file) << 1 | u128::from(sidechain && file == 0),
        };
        let next = self.state.len() as u32;
        let thread = *self.threads.entry(place).or_insert(next);
        if thread == next {
            self.state.push(Thread::default());
        }
        thread
    }

    /// The identity of a call.
    pub fn id(&self, call: u32) -> EventId {
        self.calls[call as usize].id
    }

    /// The latest call of this `message.id` in this thread.
    pub fn latest(&self, thread: u32, message_id: &str) -> Option<u32> {
        self.open.get(&(thread, key(message_id))).map(|open| open.call)
    }

    /// Notes a user line. Returns whether it is new to the session.
    pub fn user(&mut self, thread: u32, entry: &Entry<'_>, content: &Content<'_>) -> bool {
        let beginning = prompt::beginning(content);
        let about = content.first_result().unwrap_or(&beginning);
        if self.seen_in(thread, entry, about).is_some() {
            return false;
        }
        let is_prompt = matches!(prompt::said(entry, content), Said::Prompt | Said::Command);
        if is_prompt && self.is_new_prompt(thread, entry, content) {
            self.state[thread as usize].prompts += 1;
        }
        true
    }

    fn is_new_prompt(&mut self, thread: u32, entry: &Entry<'_>, content: &Content<'_>) -> bool {
        let Some(id) = &entry.prompt_id else { return true };
        let mut hasher = DefaultHasher::new();
        (thread, id, prompt::beginning(content)).hash(&mut hasher);
        self.prompts.insert(hasher.finish())
    }

    /// The thread that had this line first, if the session had it before: a line with this `uuid` about the same thing.
    fn seen_in(&mut self, thread: u32, entry: &Entry<'_>, about: &str) -> Option<u32> {
        let mut hasher = DefaultHasher::new();
        about.hash(&mut hasher);
        let line = key(entry.uuid.as_deref()?) ^ u128::from(hasher.finish());
        let next = self.seen.len();
        let first = *self.seen.entry(line).or_insert(thread);
        (self.seen.len() == next).then_some(first)
    }

    /// Takes a line of a response and says how it relates to calls.
    pub fn response(&mut self, thread: u32, entry: &Entry<'_>, message: &Message<'_>) -> Line {
        let message_id = message.id.as_deref().filter(|id| !id.is_empty());
        let before = self.seen_in(thread, entry, message_id.unwrap_or_default());
        if before == Some(thread) {
            return Line::Repeated;
        }
        let line = LineFacts::of(entry, message);
        let open = match message_id {
            Some(id) => self.open.get(&(thread, key(id))).copied(),
            None => self.state[thread as usize].last,
        };
        let known = message_id
            .zip(line.request)
            .and_then(|(id, request)| self.by_request.get(&(thread, key(id), request)).copied());
        let same = match (known, open) {
            (Some(call), _) => Some(call),
            (None, Some(open)) if self.continues(thread, &open, &line, message_id.is_some()) => Some(open.call),
            _ => None,
        };
        // A line copied from another thread adds nothing to a call of this one.
        let same = same.filter(|call| before.is_none() || self.calls[*call as usize].copy);
        let call = same.unwrap_or_else(|| self.begin(thread, entry, message, message_id, before.is_some()));
        self.note(thread, call, message_id, &line, open.filter(|open| open.call == call));
        if self.calls[call as usize].copy { Line::Copied } else { Line::Of(call) }
    }

    /// Does this line continue that call? The first applicable rule decides.
    fn continues(&self, thread: u32, open: &Open, line: &LineFacts, by_id: bool) -> bool {
        if let (Some(before), Some(now)) = (open.request, line.request) {
            return before == now;
        }
        if let (Some(before), Some(now)) = (open.block, line.block) {
            return now > before;
        }
        let state = &self.state[thread as usize];
        if !by_id || open.prompts != state.prompts {
            return false;
        }
        let both = open.counts.iter().zip(line.counts).filter(|(before, now)| **before > 0 && *now > 0);
        let answered = self.calls[open.call as usize].answered;
        // A stop reason alone proves nothing: some clients write it on every line of a response.
        if both.clone().any(|(before, now)| *before != now) && (answered || open.stopped) {
            return false;
        }
        !(both.count() == 0 && open.stopped && open.results != state.results)
    }

    /// Notes the facts that the next line is compared with.
    fn note(&mut self, thread: u32, call: u32, message_id: Option<&str>, line: &LineFacts, before: Option<Open>) {
        let state = &mut self.state[thread as usize];
        let mut open = Open {
            call,
            request: line.request,
            block: line.block,
            counts: line.counts,
            stopped: line.stopped,
            prompts: state.prompts,
            results: state.results,
        };
        if let Some(before) = before {
            open.request = open.request.or(before.request);
            open.block = open.block.max(before.block);
            open.stopped |= before.stopped;
            for (now, before) in open.counts.iter_mut().zip(before.counts) {
                *now = if *now > 0 { *now } else { before };
            }
        }
        state.last = Some(open);
        self.calls[call as usize].answered = false;
        if let Some(id) = message_id {
            self.open.insert((thread, key(id)), open);
            if let Some(request) = line.request {
                self.by_request.insert((thread, key(id), request), call);
            }
        }
    }

    /// Begins a call with this line, or a copy of one. `copied`: the same line appeared in another thread.
    fn begin(
        &mut self,
        thread: u32,
        entry: &Entry<'_>,
        message: &Message<'_>,
        message_id: Option<&str>,
        copied: bool,
    ) -> u32 {
        let first_of_its_id = message_id.is_some_and(|id| !self.open.contains_key(&(thread, key(id))));
        let direct = message_id.filter(|id| first_of_its_id && is_anthropics_message(id)).map(EventId::generation);
        let content = Content::of(message.content);
        let (id, copy, direct) = match direct {
            Some(id) if copied || self.is_copy_of(id, thread, &content) => (id, true, true),
            Some(id) if !self.identities.contains_key(&id) => (id, false, true),
            _ => {
                let (id, copy) = self.name(thread, entry, message_id, &content);
                (id, copy || copied, false)
            }
        };
        if !copy {
            self.identities.insert(id, thread);
        }
        self.calls.push(Call { id, direct, answered: false, copy });
        self.calls.len() as u32 - 1
    }

    /// Does another thread have the call with this id, and with this content?
    fn is_copy_of(&self, id: EventId, thread: u32, content: &Content<'_>) -> bool {
        if self.identities.get(&id).is_none_or(|first| *first == thread) {
            return false;
        }
        let known = |block: &Block<'_>| self.blocks.contains(&block_key(id, block));
        match content {
            Content::Text(raw) => known(&Block { text: Some(*raw), ..Block::default() }),
            Content::Blocks(blocks) => blocks.first().is_none_or(known),
        }
    }

    /// The identity of a call whose id is not unique, and whether another thread has it.
    fn name(
        &mut self,
        thread: u32,
        entry: &Entry<'_>,
        message_id: Option<&str>,
        content: &Content<'_>,
    ) -> (EventId, bool) {
        let own = match (message_id, entry.uuid.as_deref()) {
            (None, Some(uuid)) => EventId::generation_of_line(uuid),
            (id, _) => {
                let time = entry.timestamp.as_deref().unwrap_or_default();
                let time = time::parse(time).map_or_else(|| time.to_owned(), |at| at.to_string());
                let first = fingerprint::first(content).unwrap_or_default();
                EventId::generation_among(id.unwrap_or_default(), &time, &first)
            }
        };
        let equal = self.equal.entry((thread, own)).or_default();
        let id = if *equal == 0 { own } else { own.nth(*equal) };
        *equal += 1;
        (id, self.identities.get(&id).is_some_and(|first| *first != thread))
    }

    /// Is this block new to its call? Copies of a line repeat its blocks.
    pub fn is_new_block(&mut self, call: u32, block: &Block<'_>) -> bool {
        let id = self.id(call);
        self.blocks.insert(block_key(id, block))
    }

    /// Notes a tool call in a line of a response.
    pub fn tool(&mut self, thread: u32, call: u32, tool_use_id: &str, line: Option<&str>) -> Opened {
        let Call { id: generation, direct, .. } = self.calls[call as usize];
        let alone = (direct && is_anthropics_tool(tool_use_id)).then(|| EventId::span(tool_use_id));
        let span = alone.filter(|id| self.spans.insert(*id)).unwrap_or_else(|| {
            let own = EventId::span_of(generation, tool_use_id);
            let equal = self.equal.entry((thread, own)).or_default();
            let id = if *equal == 0 { own } else { own.nth(*equal) };
            *equal += 1;
            id
        });
        let line = line.map(key);
        self.calling.extend(line);
        let waiting = self.tools.entry(key(tool_use_id)).or_default();
        let is_its_own = |(of, source): &(u32, Option<u128>)| *of == thread && (source.is_none() || *source == line);
        if waiting.early.as_ref().is_some_and(is_its_own) {
            waiting.early = None;
            return Opened { span, early: Some(early_key(thread, tool_use_id)) };
        }
        waiting.calls.push(ToolCall { thread, call, line, span });
        Opened { span, early: None }
    }

    /// Finds the call that a tool's result belongs to. `source` is the `uuid` of the line with the call, if the client
    /// gives it (2.1.1+); otherwise it is the latest earlier call without a result, or the next call.
    pub fn result(&mut self, thread: u32, tool_use_id: &str, source: Option<&str>) -> Answer {
        self.state[thread as usize].results += 1;
        let source = source.map(key);
        let waiting = self.tools.entry(key(tool_use_id)).or_default();
        let named = source.and_then(|source| waiting.calls.iter().rposition(|call| call.line == Some(source)));
        let found = match (named, source) {
            (Some(found), _) => Some(found),
            // That line was read, and its call already has a result.
            (None, Some(source)) if self.calling.contains(&source) => return Answer::Nothing,
            (None, _) => {
                let here = waiting.calls.iter().rposition(|call| call.thread == thread);
                // Anthropic's IDs are unique: a sub-agent's result may be in another file.
                here.or_else(|| waiting.calls.len().checked_sub(1).filter(|_| is_anthropics_tool(tool_use_id)))
            }
        };
        match found {
            Some(found) => {
                let tool = waiting.calls.remove(found);
                if waiting.calls.is_empty() && waiting.early.is_none() {
                    self.tools.remove(&key(tool_use_id));
                }
                self.calls[tool.call as usize].answered = true;
                Answer::Of(tool.span)
            }
            None if waiting.early.is_some() => Answer::Nothing,
            None => {
                waiting.early = Some((thread, source));
                Answer::Early(early_key(thread, tool_use_id))
            }
        }
    }
}

/// What a line says about its call.
struct LineFacts {
    request: Option<u128>,
    block: Option<u64>,
    counts: [u64; 3],
    stopped: bool,
}

impl LineFacts {
    fn of(entry: &Entry<'_>, message: &Message<'_>) -> Self {
        let usage = message.usage.as_ref();
        let count = |count: Option<u64>| count.unwrap_or(0);
        Self {
            request: entry.request_id.as_deref().filter(|id| !id.is_empty()).map(key),
            block: entry.api_block_index,
            counts: usage.map_or([0; 3], |u| {
                [count(u.input_tokens), count(u.cache_read_input_tokens), count(u.cache_creation_input_tokens)]
            }),
            stopped: message.stop_reason.is_some(),
        }
    }
}

/// The key of a block within its call. A tool call is identified by its id, its name and the beginning of its input.
fn block_key(call: EventId, block: &Block<'_>) -> u64 {
    const INPUT: usize = 256;
    let mut hasher = DefaultHasher::new();
    (call, &block.kind, &block.id, &block.name, &block.tool_use_id).hash(&mut hasher);
    let input = block.input.map_or("", Raw::get);
    (input.len(), &input.as_bytes()[..input.len().min(INPUT)]).hash(&mut hasher);
    if block.id.is_none() {
        let data = block.source.as_ref().and_then(|source| source.data);
        for raw in [block.text, block.thinking, block.content, data] {
            raw.map(Raw::get).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn early_key(thread: u32, tool_use_id: &str) -> u128 {
    key(tool_use_id).wrapping_add(u128::from(thread))
}

/// Does it have the form of Anthropic's message IDs, including those by way of Bedrock or Vertex?
fn is_anthropics_message(id: &str) -> bool {
    id.strip_prefix("msg_").is_some_and(is_anthropics)
}

/// The same for the IDs of tool calls.
fn is_anthropics_tool(id: &str) -> bool {
    id.strip_prefix("toolu_").or_else(|| id.strip_prefix("srvtoolu_")).is_some_and(is_anthropics)
}

fn is_anthropics(rest: &str) -> bool {
    let rest = rest.strip_prefix("bdrk_").or_else(|| rest.strip_prefix("vrtx_")).unwrap_or(rest);
    rest.len() >= 20 && rest.bytes().all(|b| b.is_ascii_alphanumeric())
}
