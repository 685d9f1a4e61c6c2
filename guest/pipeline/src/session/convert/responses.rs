//! Responses and tool calls: how lines become generations and spans.

use super::Converter;
use crate::events::chat;
use crate::events::generation::Generation;
use crate::events::outcome::{self, Change, Intent};
use crate::events::span::{Span, ToolResult};
use crate::identity::{EventId, key};
use crate::place::Place;
use crate::session::threads::MAIN;
use crate::transcript::entry::{Block, Content, Entry, Message};
use crate::transcript::text::Text;
use crate::transcript::verdict::Verdict;
use std::rc::Rc;

impl Converter {
    pub(super) fn add_response(&mut self, entry: &Entry<'_>, thread: Option<u32>) {
        let Some((id, message)) = entry.response() else { return self.bad() };
        let copy = self.at.file == 0 && !self.index.is_first(entry.uuid.as_deref());
        let place = self.place(entry, thread);
        if self.at.file == 0 {
            self.turns.put(entry.uuid.as_deref(), place);
        }
        // Only a transcript that grew since the first reading has messages that the index does not know.
        let Some(known) = self.index.messages.get_mut(&id).filter(|m| m.file == self.at.file) else {
            // Copied from another file, with what it answers.
            self.threads.get_mut(place.thread).input = chat::Input::default();
            return;
        };
        if copy {
            return;
        }
        known.lines = known.lines.saturating_sub(1);
        let (is_last, real) = (known.lines == 0, known.real);
        let synthetic = message.model.as_deref() == Some("<synthetic>");
        if real && (!synthetic || entry.is_api_error_message) {
            self.add_line(id, entry, message, place);
        }
        if is_last && let Some(generation) = self.open.generations.remove(&id) {
            self.end_generation(generation);
        }
    }

    /// A line of a response.
    fn add_line(&mut self, id: EventId, entry: &Entry<'_>, message: &Message<'_>, place: Place) {
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
        let adds = match Content::of(message.content) {
            Content::Text(raw) => {
                let text = Block { text: Some(raw), ..Block::default() };
                self.add_block(&mut generation, &text, entry)
            }
            Content::Blocks(blocks) => {
                // Evaluated for each block: no short-cut.
                let new = blocks.iter().filter(|block| self.add_block(&mut generation, block, entry)).count();
                new > 0 || blocks.is_empty()
            }
        };
        // A copy with another `uuid` and time says nothing of when the response ended.
        if adds {
            generation.ended = self.at.now;
            generation.context = context;
        }
        generation.update(entry, message, model, adds);
        self.open.generations.insert(id, generation);
    }

    /// A block of a response; says whether it was new.
    fn add_block(&mut self, generation: &mut Generation, block: &Block<'_>, entry: &Entry<'_>) -> bool {
        if !generation.is_new(block) {
            return false;
        }
        let kind = block.kind.as_deref().unwrap_or_default();
        if kind == "tool_use" || kind == "server_tool_use" {
            let input = block.input.map(|raw| self.emitter.rules.of_json(raw, entry.elided)).unwrap_or_default();
            let input = Rc::new(input);
            generation.tools.push(chat::tool_name(block, &self.emitter.rules));
            if !self.emitter.rules.privacy {
                generation.output.push_call(block, Rc::clone(&input), &self.emitter.rules);
            }
            if let Some(id) = block.id.as_deref() {
                self.call(EventId::span(id), generation, block, input, entry);
            }
        } else if kind.ends_with("_tool_result") {
            let output = Rc::new(chat::result_text(block.content, &self.emitter.rules, entry.elided));
            self.add_result(entry, block, output);
        } else if !self.emitter.rules.privacy {
            generation.output.push(block, &self.emitter.rules, entry.elided);
        }
        true
    }

    fn call(&mut self, id: EventId, generation: &Generation, block: &Block<'_>, input: Rc<Text>, entry: &Entry<'_>) {
        if !self.open.opened.insert(id) {
            return;
        }
        self.threads.called(id, generation.turn);
        let span = Span {
            id,
            sequence: self.open.next(),
            generation: generation.id,
            turn: generation.turn,
            thread: generation.thread,
            context: self.at.context(entry),
            name: chat::tool_name(block, &self.emitter.rules),
            input,
            called: self.at.now,
            intent: Intent::of(block, block.name.as_deref().unwrap_or_default(), entry.elided),
        };
        if let Some(result) = self.open.early.remove(&id) {
            self.end_span(&span, Some(&result));
        } else if self.index.tools.get(&id).is_some_and(|t| t.answered) {
            self.open.spans.insert(id, span);
        } else {
            self.end_span(&span, None);
        }
    }

    /// The results of tools in a user line; returns their texts, in order.
    pub(super) fn add_results(&mut self, entry: &Entry<'_>, content: &Content<'_>) -> Vec<Rc<Text>> {
        let Content::Blocks(blocks) = content else { return Vec::new() };
        let results = blocks.iter().filter(|b| b.kind.as_deref() == Some("tool_result"));
        let add = |block: &Block<'_>| {
            let output = Rc::new(chat::result_text(block.content, &self.emitter.rules, entry.elided));
            self.add_result(entry, block, Rc::clone(&output));
            output
        };
        results.map(add).collect()
    }

    fn add_result(&mut self, entry: &Entry<'_>, block: &Block<'_>, output: Rc<Text>) {
        let Some(id) = block.tool_use_id.as_deref().map(EventId::span) else { return };
        let open = self.open.spans.remove(&id);
        let called_later = !self.open.opened.contains(&id) && self.index.tools.get(&id).is_some_and(|t| t.called);
        if open.is_none() && !called_later {
            return;
        }
        let verdict = Verdict::of(entry, block);
        let intent = open.as_ref().map_or(Intent::Other, |span| span.intent);
        let result = ToolResult {
            at: Some(self.at.now),
            verdict,
            waited: self.index.timeline.wait(id),
            change: Change::of(entry, intent, verdict),
            commits: outcome::commits(block, intent, verdict),
            output,
        };
        match open {
            Some(span) => self.end_span(&span, Some(&result)),
            None => {
                self.open.early.entry(id).or_insert(result);
            }
        }
    }

    pub(super) fn end_generation(&mut self, mut generation: Generation) {
        generation.interrupted |= self.index.messages.get(&generation.id).is_some_and(|m| m.interrupted);
        let (turn, thread) = (self.turns.get_mut(generation.turn), self.threads.get_mut(generation.thread));
        let sent = self.emitter.generation(&generation, turn, thread);
        self.notices.passed(sent);
    }

    pub(super) fn end_span(&mut self, span: &Span, result: Option<&ToolResult>) {
        let (turn, thread) = (self.turns.get_mut(span.turn), self.threads.get(span.thread));
        let sent = self.emitter.span(span, result, turn, thread);
        self.notices.passed(sent);
    }
}
