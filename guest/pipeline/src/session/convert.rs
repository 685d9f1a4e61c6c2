//! The second reading: turns entries into events.

use crate::events::event::{Context, Envelope, Event};
use crate::events::generation::Generation;
use crate::events::span::{Span, ToolResult};
use crate::events::trace::Noticed;
use crate::identity::{EventId, FixedMap, IdMap, key};
use crate::place::Place;
use crate::session::calls::Calls;
use crate::session::index::{self, Index};
use crate::session::threads::{MAIN, Threads};
use crate::session::timeline;
use crate::session::turns::Turns;
use crate::session::types::{Before, Counts, FileRole, Policy};
use crate::time;
use crate::transcript::entry::{Content, Entry};
use crate::transcript::lenient;
use crate::transcript::prompt::{self, Said};
use crate::transcript::text::{TextRules, prefix};
use std::collections::VecDeque;
use std::rc::Rc;

mod costs;
mod emit;
mod notices;
mod prompts;
mod responses;

use self::emit::Emitter;
use self::notices::Notices;
use self::prompts::{Queue, Titles};

/// Known types of lines, besides those that are used.
const KNOWN: [&str; 27] = [
    "agent-color",
    "agent-name",
    "agent-setting",
    "api-request-blob",
    "api-request-shape",
    "atis-latch",
    "attribution-snapshot",
    "bridge-session",
    "content-replacement",
    "continued-in",
    "file-history-delta",
    "file-history-snapshot",
    "frame-link",
    "last-prompt",
    "marble-origami-commit",
    "marble-origami-snapshot",
    "mode",
    "permission-mode",
    "progress",
    "queue-operation",
    "relocated",
    "saved_hook_context",
    "speculation-accept",
    "tag",
    "task-summary",
    "tools-used",
    "worktree-state",
];

/// Maximum number of different unknown types in a report.
const MOST_UNKNOWN_TYPES: usize = 32;

/// Turns entries into events: interprets lines, and passes what is complete to the [`Emitter`].
#[derive(Debug)]
pub struct Converter {
    index: Index,
    calls: Calls,
    turns: Turns,
    threads: Threads,
    open: Open,
    notices: Notices,
    at: Position,
    queue: Queue,
    titles: Titles,
    emitter: Emitter,
}

/// What is not complete yet.
#[derive(Debug, Default)]
struct Open {
    generations: IdMap<Generation>,
    spans: IdMap<Span>,
    /// Results that precede their calls.
    early: FixedMap<u128, ToolResult>,
    /// When calls started, for those that have an `api-request` line.
    requests: FixedMap<u128, i64>,
    /// Generations and spans so far, to order those that are still open at the end.
    sequence: u64,
}

impl Open {
    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}

/// The line being read.
#[derive(Debug, Default)]
struct Position {
    file: u32,
    line: u64,
    /// Its thread in [`Calls`].
    thread: u32,
    /// The last timestamp seen, for lines without one.
    now: i64,
    /// Does it belong to something that is held?
    held: bool,
    /// Does it belong to a response that no earlier delivery sent?
    sends: bool,
    /// Did an earlier delivery read it?
    read: bool,
    /// Is what it counts not to be counted again, because an earlier delivery read it, or because it is too old?
    told: bool,
    context: Rc<Context>,
}

impl Position {
    fn context(&mut self, entry: &Entry<'_>) -> Rc<Context> {
        if !self.context.is_of(entry) {
            self.context = Rc::new(Context::of(entry));
        }
        Rc::clone(&self.context)
    }
}

impl Converter {
    /// Converts the session with these files, once they are indexed.
    pub fn new(
        mut index: Index,
        files: &[FileRole],
        rules: TextRules,
        policy: Policy,
        envelope: Envelope,
        before: Before,
    ) -> Self {
        let threads = Threads::new(files, &mut index);
        // The second reading keeps its own.
        index.calls = Calls::default();
        let knows_lines = before.knows_lines();
        let mut emitter = Emitter::new(rules, policy, envelope, before);
        emitter.counts.held_events = index.held.count();
        emitter.counts.held_since = index.held.since;
        let now = index.earliest.unwrap_or(0);
        Self {
            index,
            calls: Calls::default(),
            turns: Turns::new(),
            threads,
            open: Open::default(),
            notices: Notices::new(knows_lines),
            at: Position { now, ..Position::default() },
            queue: Queue::default(),
            titles: Titles::default(),
            emitter,
        }
    }

    /// Starts a file: the following lines belong to it.
    pub fn begin_file(&mut self, file: u32) {
        self.notices.settle(&mut self.emitter);
        self.at.file = file;
        self.at.line = 0;
        // Timestamps are only compared within a file.
        self.open.requests.clear();
    }

    /// Events that are complete, in order.
    pub fn events(&mut self) -> &mut VecDeque<Event> {
        &mut self.emitter.events
    }

    /// Tool calls that are counted but not sent, since the last call.
    pub fn left_out(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.emitter.left_out)
    }

    /// Counts so far.
    pub fn counts(&self) -> &Counts {
        &self.emitter.counts
    }

    /// The next line is in this file and begins at this offset.
    pub fn begin_line(&mut self, file: u32, start: u64) {
        self.at.sends = false;
        self.at.read = self.emitter.before().has_read(file, start);
        self.date(self.at.now);
    }

    /// The line was written at this time.
    fn date(&mut self, at: i64) {
        self.at.now = at;
        self.at.told = self.at.read || self.emitter.is_before(at);
    }

    /// A line was read; `whole` is whether all of it could be.
    pub fn end_line(&mut self, whole: bool) {
        self.at.line += 1;
        self.emitter.counts.lines += 1;
        if !whole {
            self.bad();
        }
        // Redactions in what is held are reported together with it.
        if std::mem::take(&mut self.at.held) {
            self.emitter.rules.redactor.take_counts();
        }
        // An earlier delivery counted them, unless it held the response back: then they are in what is sent now.
        if self.at.told && !self.at.sends {
            self.emitter.rules.redactor.take_counts();
        }
        self.notice_redactions();
    }

    /// Notes the redactions since the last call.
    fn notice_redactions(&mut self) {
        let redactions = self.emitter.rules.redactor.take_counts();
        if !redactions.is_empty() {
            self.put_notice(Noticed { redactions, ..Noticed::default() });
        }
    }

    fn bad(&mut self) {
        self.emitter.counts.bad_lines += 1;
        self.notice(Noticed { bad_lines: 1, ..Noticed::default() });
    }

    /// Notes something in this line, unless an earlier delivery counted it.
    fn notice(&mut self, noticed: Noticed) {
        if !self.at.told {
            self.put_notice(noticed);
        }
    }

    fn put_notice(&mut self, noticed: Noticed) {
        let turn = if self.at.file == 0 { self.turns.last() } else { self.threads.turn_of_file(self.at.file) };
        self.notices.add(self.turns.get(turn).trace, noticed);
    }

    /// Takes one entry.
    pub fn add(&mut self, entry: &Entry<'_>) {
        if let Some(at) = entry.timestamp.as_deref().and_then(time::parse) {
            self.date(at);
        }
        self.at.thread = self.calls.thread(self.at.file, entry.is_sidechain, None);
        match entry.kind.as_deref().unwrap_or("(none)") {
            "assistant" => self.add_response(entry, None),
            "user" => self.add_user(entry, None),
            "system" => self.add_system(entry),
            "attachment" => self.add_attachment(entry),
            "queue-operation" if self.at.file == 0 => self.add_queue_operation(entry),
            "custom-title" | "ai-title" | "summary" => {
                self.pass(entry);
                self.add_title(entry);
            }
            "pr-link" => {
                self.pass(entry);
                let trace = self.turns.get(self.turns.last()).trace;
                self.emitter.link(trace, entry);
            }
            "api-request" => {
                if let (Some(id), Some(at)) = (&entry.id, entry.timestamp.as_deref().and_then(time::parse)) {
                    self.open.requests.insert(key(id), at);
                }
            }
            "progress" => self.add_progress(entry),
            "cost-state" => {
                self.pass(entry);
                let told = self.emitter.before().knows_lines().then_some(self.at.told);
                self.emitter.costs.read(entry, told);
            }
            kind => {
                self.pass(entry);
                if KNOWN.binary_search(&kind).is_err() {
                    self.unknown(kind);
                }
            }
        }
    }

    fn add_system(&mut self, entry: &Entry<'_>) {
        if !self.pass(entry) {
            return;
        }
        match entry.subtype.as_deref() {
            Some("compact_boundary") => {
                let thread = self.place(entry, None).thread;
                self.threads.get_mut(thread).compacted = true;
                self.notice(Noticed { compactions: 1, ..Noticed::default() });
            }
            Some("api_error") => {
                let thread = self.place(entry, None).thread;
                self.threads.get_mut(thread).retries.add(entry.retry_in_ms.unwrap_or(0));
            }
            Some("scheduled_task_fire") if self.at.file == 0 => {
                let stretch = self.index.timeline.take(timeline::line_key(entry));
                let turn = self.turns.last();
                self.turns.get_mut(turn).goes_on(stretch);
            }
            _ => {}
        }
    }

    fn unknown(&mut self, kind: &str) {
        self.emitter.counts.unknown_lines += 1;
        self.notice(Noticed { unknown_lines: 1, ..Noticed::default() });
        let clean = self.emitter.rules.redactor.redact(kind);
        let kind = prefix(clean.as_deref().unwrap_or(kind), 64);
        let types = &mut self.emitter.counts.unknown_types;
        if types.len() < MOST_UNKNOWN_TYPES || types.contains_key(kind) {
            *types.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// A line without content that may connect two others. Returns whether it is not a copy.
    fn pass(&mut self, entry: &Entry<'_>) -> bool {
        if self.at.file > 0 {
            return !self.is_copy(entry);
        }
        let place = self.place(entry, None);
        self.turns.put(entry.uuid.as_deref(), place)
    }

    /// Before sub-agents had files of their own, which can be lost, the client repeated their messages.
    fn add_progress(&mut self, entry: &Entry<'_>) {
        self.pass(entry);
        let Some(progress) = self.index.progress_of_lost_agent(entry) else { return };
        let Some(mut inner) = progress.message.and_then(lenient::reparse::<Entry<'_>>) else { return };
        // What is the same for both is only said once.
        inner.cwd = inner.cwd.or_else(|| entry.cwd.clone());
        inner.git_branch = inner.git_branch.or_else(|| entry.git_branch.clone());
        inner.version = inner.version.or_else(|| entry.version.clone());
        inner.entrypoint = inner.entrypoint.or_else(|| entry.entrypoint.clone());
        if let Some(at) = inner.timestamp.as_deref().and_then(time::parse) {
            self.at.now = at;
        }
        let Some(agent) = progress.agent_id.as_deref() else { return };
        self.at.thread = self.calls.thread(self.at.file, true, Some(agent));
        let call = entry.parent_tool_use_id.as_deref();
        let turn = self.place(entry, None).turn;
        let thread = self.threads.lost_agent(agent, call, turn, &self.index);
        match inner.kind.as_deref() {
            Some("assistant") => self.add_response(&inner, Some(thread)),
            Some("user") => self.add_user(&inner, Some(thread)),
            _ => {}
        }
    }

    /// Did this line appear earlier in the main file?
    fn is_copy(&self, entry: &Entry<'_>) -> bool {
        entry.uuid.as_deref().is_some_and(|uuid| self.turns.place(uuid).is_some())
    }

    /// The place of an entry that is not a prompt.
    fn place(&mut self, entry: &Entry<'_>, thread: Option<u32>) -> Place {
        let thread = match thread {
            Some(thread) => thread,
            None if self.at.file > 0 => self.threads.of_file(self.at.file, &self.turns, &self.index),
            None if entry.is_sidechain => return self.place_inline(entry),
            None => {
                let turn = self.turns.of_line(entry.prompt_id.as_deref(), entry.parent_uuid.as_deref());
                return Place { turn, thread: MAIN };
            }
        };
        Place { turn: self.threads.get(thread).turn, thread }
    }

    /// The place of a line from a sub-agent without a file of its own. Its first line has no parent, and holds the
    /// prompt.
    fn place_inline(&mut self, entry: &Entry<'_>) -> Place {
        let parent = entry.parent_uuid.as_deref();
        let known = parent.and_then(|p| self.turns.place(p));
        if let Some(place) = known.filter(|place| place.thread != MAIN) {
            return place;
        }
        let content = Content::of(entry.message.as_ref().and_then(|m| m.content));
        let is_user = entry.kind.as_deref() == Some("user");
        let begins = is_user && !content.has_result() && (parent.is_none() || known.is_some());
        let thread = match self.threads.last_inline() {
            Some(last) if !begins => last,
            _ => {
                let prompt = content.first_text().and_then(index::prompt_key);
                self.threads.inline(prompt, self.turns.last())
            }
        };
        Place { turn: self.threads.get(thread).turn, thread }
    }

    fn add_user(&mut self, entry: &Entry<'_>, thread: Option<u32>) {
        let Some(content) = entry.message.as_ref().filter(|m| m.content.is_some()) else { return self.bad() };
        let content = Content::of(content.content);
        if !self.calls.user(self.at.thread, entry, &content) || self.is_copy(entry) {
            return;
        }
        let on_main = self.at.file == 0 && thread.is_none() && !entry.is_sidechain;
        let place = if on_main {
            let said = prompt::said(entry, &content);
            if said == Said::Prompt {
                self.forget_queued(&content);
            }
            self.place_said(entry, &content, said)
        } else {
            self.place(entry, thread)
        };
        if self.at.file == 0 {
            self.turns.put(entry.uuid.as_deref(), place);
        }
        let results = self.add_results(entry, &content);
        let thread = self.threads.get_mut(place.thread);
        thread.asked = Some(self.at.now);
        // The client's own texts are not sent.
        if !self.emitter.rules.privacy && !entry.is_meta {
            thread.input.push(&content, &results, &self.emitter.rules);
        }
    }

    /// Ends the conversion: what is still open is now complete, and so are the traces.
    pub fn finish(&mut self) {
        self.notices.settle(&mut self.emitter);
        let mut generations: Vec<_> = std::mem::take(&mut self.open.generations).into_values().collect();
        generations.sort_by_key(|g| g.sequence);
        for generation in generations {
            self.end_generation(&generation);
        }
        let mut spans: Vec<_> = std::mem::take(&mut self.open.spans).into_values().collect();
        spans.sort_by_key(|s| s.sequence);
        for span in &spans {
            self.end_span(span, None);
        }
        self.entitle();
        self.emitter.finish(&self.turns, &self.index.timeline);
    }
}
