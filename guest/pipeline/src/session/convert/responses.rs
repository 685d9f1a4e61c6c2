//! Responses and tool calls: turns lines into generations and spans.

use super::Converter;
use crate::events::chat;
use crate::events::generation::Generation;
use crate::events::outcome::{self, Change, Intent};
use crate::events::span::{Span, ToolResult};
use crate::identity::key;
use crate::place::Place;
use crate::session::calls::{Answer, Line, Opened};
use crate::session::threads::MAIN;
use crate::transcript::entry::{Block, Content, Entry, Message};
use crate::transcript::text::Text;
use crate::transcript::verdict::Verdict;
use std::rc::Rc;

impl Converter {
    pub(super) fn add_response(&mut self, entry: &Entry<'_>, thread: Option<u32>) {
        let Some(message) = entry.response() else { return self.bad() };
        let line = self.calls.response(self.at.thread, entry, message);
        let place = self.place(entry, thread);
        if self.at.file == 0 {
            self.turns.put(entry.uuid.as_deref(), place);
        }
        let call = match line {
            Line::Of(call) => call,
            Line::Repeated => return,
            // Copied from another thread, together with its input.
            Line::Copied => return self.threads.get_mut(place.thread).input = chat::ChatInput::default(),
        };
        // The index knows all messages and lines, unless the transcript grew since the first reading.
        let Some(known) = self.index.messages.get_mut(call as usize).filter(|m| m.lines > 0) else { return };
        known.lines -= 1;
        let known = *known;
        let synthetic = message.model.as_deref() == Some("<synthetic>");
        if known.real && (!synthetic || entry.is_api_error_message) {
            self.add_line(call, known.interrupted, entry, message, place);
        }
        if known.lines == 0
            && let Some(generation) = self.open.generations.remove(&self.calls.id(call))
        {
            self.end_generation(&generation);
        }
    }

    /// Adds a line of a response.
    fn add_line(&mut self, call: u32, interrupted: bool, entry: &Entry<'_>, message: &Message<'_>, place: Place) {
        let id = self.calls.id(call);
        self.at.held |= self.index.held.has(id);
        self.at.sends |= !self.emitter.before().covered.contains(&id);
        if place.thread == MAIN {
            self.answer(place.turn);
        }
        let context = self.at.context(entry);
        let thread = self.threads.get_mut(place.thread);
        if thread.is_agent && thread.agent_type.is_none() {
            thread.agent_type = entry.attribution_agent.as_deref().map(Into::into);
        }
        let mut generation = self.open.generations.remove(&id).unwrap_or_else(|| {
            let mut new = Generation::begin(id, self.open.next(), place, Rc::clone(&context), self.at.now);
            new.input = std::mem::take(&mut thread.input);
            new.started = thread.asked;
            new.compacted = std::mem::take(&mut thread.compacted);
            new.interrupted = interrupted;
            new.retries = std::mem::take(&mut thread.retries);
            new
        });
        if let Some(requested) = entry.request_ref.as_deref().and_then(|r| self.open.requests.remove(&key(r))) {
            generation.started = Some(requested);
        }
        let model = if entry.is_api_error_message {
            thread.model.clone().or_else(|| entry.requested_model.as_deref().map(Into::into))
        } else {
            let model: Option<Rc<str>> = message.model.as_deref().map(Into::into);
            thread.model.clone_from(&model);
            model
        };
        let blocks = Content::of(message.content).into_blocks();
        // Must run for every block, so no short-circuiting.
        let new = blocks.iter().filter(|block| self.add_block(call, &mut generation, block, entry)).count();
        let adds = new > 0 || blocks.is_empty();
        // A copy with another `uuid` and time doesn't say when the response ended.
        if adds {
            generation.ended = self.at.now;
            generation.context = context;
        }
        generation.update(entry, message, model, adds);
        self.open.generations.insert(id, generation);
    }

    /// Adds a block of a response; returns whether it was new.
    fn add_block(&mut self, call: u32, generation: &mut Generation, block: &Block<'_>, entry: &Entry<'_>) -> bool {
        if !self.calls.is_new_block(call, block) {
            return false;
        }
        let kind = block.kind.as_deref().unwrap_or_default();
        generation.said |= kind != "fallback" && block.text.is_none_or(|text| text.get() != "\"\"");
        if kind == "tool_use" || kind == "server_tool_use" {
            let input = block.input.map(|raw| self.emitter.rules.of_json(raw)).unwrap_or_default();
            let input = Rc::new(input);
            generation.tools.push(chat::tool_name(block, &self.emitter.rules));
            if !self.emitter.rules.privacy {
                generation.output.push_call(block, Rc::clone(&input), &self.emitter.rules);
            }
            if let Some(id) = block.id.as_deref() {
                let opened = self.calls.tool(self.at.thread, call, id, entry.uuid.as_deref());
                self.call(opened, generation, block, input, entry);
            }
        } else if kind.ends_with("_tool_result") {
            let output = Rc::new(chat::result_text(block.content, &self.emitter.rules));
            self.add_result(entry, None, block, output);
        } else if !self.emitter.rules.privacy {
            generation.output.push(block, &self.emitter.rules);
        }
        true
    }

    fn call(&mut self, opened: Opened, generation: &Generation, block: &Block<'_>, input: Rc<Text>, entry: &Entry<'_>) {
        let id = opened.span;
        self.threads.called(id, generation.turn);
        let span = Span {
            id,
            sequence: self.open.next(),
            generation: generation.id,
            turn: generation.turn,
            thread: generation.thread,
            context: self.at.context(entry),
            name: chat::tool_name(block, &self.emitter.rules),
            server: entry.attribution_mcp_server.as_deref().map(str::to_owned),
            input,
            called: self.at.now,
            intent: Intent::of(block, block.name.as_deref().unwrap_or_default()),
        };
        if let Some(mut result) = opened.early.and_then(|key| self.open.early.remove(&key)) {
            result.waited = self.index.timeline.wait(id);
            self.end_span(&span, Some(&result));
        } else if self.index.tools.get(&id).is_some_and(|t| t.answered) {
            self.open.spans.insert(id, span);
        } else {
            self.end_span(&span, None);
        }
    }

    /// Adds the tool results of a user line; returns their texts, in order.
    pub(super) fn add_results(&mut self, entry: &Entry<'_>, content: &Content<'_>) -> Vec<Rc<Text>> {
        let Content::Blocks(blocks) = content else { return Vec::new() };
        let source = entry.source_tool_assistant_uuid.as_deref();
        let results = blocks.iter().filter(|b| b.kind.as_deref() == Some("tool_result"));
        let add = |block: &Block<'_>| {
            let output = Rc::new(chat::result_text(block.content, &self.emitter.rules));
            self.add_result(entry, source, block, Rc::clone(&output));
            output
        };
        results.map(add).collect()
    }

    fn add_result(&mut self, entry: &Entry<'_>, source: Option<&str>, block: &Block<'_>, output: Rc<Text>) {
        let Some(id) = block.tool_use_id.as_deref() else { return };
        let answer = self.calls.result(self.at.thread, id, source);
        let (open, early) = match answer {
            Answer::Of(span) => (self.open.spans.remove(&span), None),
            Answer::Early(key) if self.index.early.contains(&key) => (None, Some(key)),
            Answer::Early(_) | Answer::Nothing => (None, None),
        };
        if open.is_none() && early.is_none() {
            return;
        }
        let verdict = Verdict::of(entry, block);
        let intent = open.as_ref().map_or(Intent::Other, |span| span.intent);
        let result = ToolResult {
            at: Some(self.at.now),
            verdict,
            waited: open.as_ref().map_or(0, |span| self.index.timeline.wait(span.id)),
            change: Change::of(entry, intent, verdict),
            commits: outcome::commits(block, intent, verdict),
            output,
        };
        match (open, early) {
            (Some(span), _) => self.end_span(&span, Some(&result)),
            (None, Some(key)) => {
                self.open.early.insert(key, result);
            }
            (None, None) => {}
        }
    }

    pub(super) fn end_generation(&mut self, generation: &Generation) {
        if self.index.held.has(generation.id) {
            return;
        }
        let (turn, thread) = (self.turns.get_mut(generation.turn), self.threads.get_mut(generation.thread));
        // A call that is not sent can't be a parent, so its generation is.
        let call = thread.call.map(|call| match self.index.tools.get(&call) {
            Some(tool) if !self.emitter.sends(tool.failed) => tool.generation,
            _ => call,
        });
        let sent = self.emitter.generation(generation, call, turn, thread);
        self.passed(sent);
    }

    fn passed(&mut self, sent: bool) {
        if sent {
            // This includes the redactions of the line that completes it.
            self.notice_redactions();
        }
        self.notices.passed(sent, &mut self.emitter);
    }

    pub(super) fn end_span(&mut self, span: &Span, result: Option<&ToolResult>) {
        if self.index.held.has(span.id) {
            return;
        }
        let (turn, thread) = (self.turns.get_mut(span.turn), self.threads.get(span.thread));
        let sent = self.emitter.span(span, result, turn, thread);
        self.passed(sent);
    }
}
