//! Responses and tool calls: how lines become generations and spans.

use super::Converter;
use crate::events::chat;
use crate::events::event::{Event, Kind};
use crate::events::generation::Generation;
use crate::events::span::{Span, ToolResult};
use crate::events::trace;
use crate::identity::{EventId, key};
use crate::place::Place;
use crate::session::threads::MAIN;
use crate::transcript::entry::{Block, Content, Entry, Message};
use crate::transcript::lenient;
use crate::transcript::text::Text;
use serde_json::value::RawValue;
use std::rc::Rc;

/// How the result of a tool ends that the user stopped, but for what closes it.
const INTERRUPTED: &str = "[Request interrupted by user for tool use";

impl Converter {
    pub(super) fn add_response(&mut self, entry: &Entry<'_>, thread: Option<u32>) {
        let Some((id, message)) = entry.response() else { return self.bad() };
        let copy = self.file == 0 && !self.index.is_first(entry.uuid.as_deref());
        let place = self.place(entry, thread);
        if self.file == 0 {
            self.turns.put(entry.uuid.as_deref(), place);
        }
        // Only a transcript that grew since the first reading has messages that the index does not know.
        let Some(known) = self.index.messages.get_mut(&id).filter(|m| m.file == self.file) else {
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
        if is_last && let Some(generation) = self.generations.remove(&id) {
            self.end_generation(generation);
        }
    }

    /// A line of a response.
    fn add_line(&mut self, id: EventId, entry: &Entry<'_>, message: &Message<'_>, place: Place) {
        let context = self.context(entry);
        let thread = self.threads.get_mut(place.thread);
        if thread.is_agent && thread.agent_type.is_none() {
            thread.agent_type = entry.attribution_agent.as_deref().map(Into::into);
        }
        let mut generation = self.generations.remove(&id).unwrap_or_else(|| {
            self.sequence += 1;
            let mut new = Generation::begin(id, self.sequence, place, Rc::clone(&context), self.now);
            new.input = std::mem::take(&mut thread.input);
            new.started = thread.asked;
            new
        });
        if let Some(requested) = entry.request_ref.as_deref().and_then(|r| self.requests.remove(&key(r))) {
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
            generation.ended = self.now;
            generation.context = context;
            if place.thread == MAIN {
                self.turns.get_mut(place.turn).worked_until(self.now);
            }
        }
        generation.update(entry, message, model, adds);
        self.generations.insert(id, generation);
    }

    /// A block of a response; says whether it was new.
    fn add_block(&mut self, generation: &mut Generation, block: &Block<'_>, entry: &Entry<'_>) -> bool {
        if !generation.is_new(block) {
            return false;
        }
        let kind = block.kind.as_deref().unwrap_or_default();
        if kind == "tool_use" || kind == "server_tool_use" {
            let input = block.input.map(|raw| self.rules.of_json(raw, entry.elided)).unwrap_or_default();
            let input = Rc::new(input);
            generation.tools.push(chat::tool_name(block));
            if !self.rules.privacy {
                generation.output.push_call(block, Rc::clone(&input));
            }
            if let Some(id) = block.id.as_deref() {
                self.call(EventId::span(id), generation, block, input, entry);
            }
        } else if kind.ends_with("_tool_result") {
            let output = Rc::new(chat::result_text(block.content, self.rules, entry.elided));
            self.add_result(block, output, false);
        } else if !self.rules.privacy {
            generation.output.push(block, self.rules, entry.elided);
        }
        true
    }

    fn call(&mut self, id: EventId, generation: &Generation, block: &Block<'_>, input: Rc<Text>, entry: &Entry<'_>) {
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
            input,
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

    /// The results of tools in a user line; returns their texts, in order.
    pub(super) fn add_results(&mut self, entry: &Entry<'_>, content: &Content<'_>) -> Vec<Rc<Text>> {
        let Content::Blocks(blocks) = content else { return Vec::new() };
        let interrupted = was_interrupted(entry);
        let results = blocks.iter().filter(|b| b.kind.as_deref() == Some("tool_result"));
        let add = |block: &Block<'_>| {
            let output = Rc::new(chat::result_text(block.content, self.rules, entry.elided));
            self.add_result(block, Rc::clone(&output), interrupted);
            output
        };
        results.map(add).collect()
    }

    fn add_result(&mut self, block: &Block<'_>, output: Rc<Text>, interrupted: bool) {
        let Some(id) = block.tool_use_id.as_deref().map(EventId::span) else { return };
        let open = self.spans.remove(&id);
        let called_later = !self.opened.contains(&id) && self.index.tools.get(&id).is_some_and(|t| t.called);
        if open.is_none() && !called_later {
            return;
        }
        let raw = block.content.map_or("", RawValue::get);
        let failed_search = raw.starts_with('{') && raw.contains("_tool_result_error");
        // A tool can also read these words somewhere.
        let stopped = block.is_error && last_text(block).trim_end_matches(['"', ']']).ends_with(INTERRUPTED);
        let result = ToolResult {
            at: Some(self.now),
            is_error: block.is_error || failed_search,
            interrupted: interrupted || stopped,
            output,
        };
        match open {
            Some(span) => self.end_span(&span, Some(&result)),
            None => {
                self.early.entry(id).or_insert(result);
            }
        }
    }

    pub(super) fn end_generation(&mut self, mut generation: Generation) {
        generation.interrupted |= self.index.messages.get(&generation.id).is_some_and(|m| m.interrupted);
        let thread = self.threads.get_mut(generation.thread);
        let is_first_of_agent = thread.is_agent && !std::mem::replace(&mut thread.counted, true);
        if self.before.covered.contains(&generation.id) {
            return self.exclude(generation.turn, generation.ended);
        }
        self.covered = false;
        let turn = self.turns.get_mut(generation.turn);
        turn.sent = true;
        let prompt = turn.prompt.clone();
        let trace = &mut self.traces[turn.trace as usize];
        let trace_id = trace.id(&self.envelope);
        let parent = thread.call.map_or_else(|| trace_id.clone(), |call| call.to_string());
        let agent = thread.agent_type.clone();
        let (mut event, shortened) = self.envelope.event(
            Kind::Generation,
            generation.id,
            generation.ended,
            &trace_id,
            &generation.context,
            |p| generation.write(p, self.rules, &parent, prompt.as_deref(), agent.as_deref()),
        );
        trace.cover(generation.id, generation.ended, &generation.context);
        trace.totals.generations += 1;
        trace.totals.subagents += u64::from(is_first_of_agent);
        if generation.failure.is_some() {
            trace.fail(generation.ended, generation.error(self.rules));
        } else {
            let usage = &generation.usage;
            let tokens = [
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_input_tokens,
                usage.cache_creation_input_tokens,
            ];
            event.tokens = tokens.map(Option::unwrap_or_default);
            let totals = &mut trace.totals;
            for (count, sum) in tokens.into_iter().zip([
                &mut totals.input_tokens,
                &mut totals.output_tokens,
                &mut totals.cache_read_tokens,
                &mut totals.cache_creation_tokens,
            ]) {
                trace::add(sum, count);
            }
        }
        self.emit(event, shortened, generation.ended);
    }

    pub(super) fn end_span(&mut self, span: &Span, result: Option<&ToolResult>) {
        let timestamp = span.timestamp(result);
        if self.before.covered.contains(&span.id) {
            return self.exclude(span.turn, timestamp);
        }
        self.covered = false;
        let turn = self.turns.get_mut(span.turn);
        turn.sent = true;
        let trace = &mut self.traces[turn.trace as usize];
        let trace_id = trace.id(&self.envelope);
        let agent = self.threads.get(span.thread).agent_type.clone();
        let (event, shortened) = self.envelope.event(Kind::Span, span.id, timestamp, &trace_id, &span.context, |p| {
            span.write(p, self.rules, result, agent.as_deref());
        });
        trace.cover(span.id, timestamp, &span.context);
        trace.totals.tool_calls += 1;
        trace.totals.tool_errors += u64::from(result.is_some_and(|r| r.is_error));
        self.emit(event, shortened, timestamp);
    }

    /// Leaves an event out: all up to it was covered by an earlier delivery.
    fn exclude(&mut self, turn: u32, at: i64) {
        self.counts.excluded_events += 1;
        self.turns.get_mut(turn).leave_out_until(at);
        self.noticed.clear();
        self.covered = true;
    }

    /// Gives an event out, unless it was delivered before without its trace.
    pub(super) fn emit(&mut self, event: Event, shortened: bool, timestamp: i64) {
        let counts = &mut self.counts;
        if self.before.uncovered.contains(&event.id) {
            counts.excluded_events += 1;
            return;
        }
        let (count, tokens) = match event.kind {
            Kind::Generation => (&mut counts.generations, event.tokens),
            Kind::Span => (&mut counts.spans, [0; 4]),
            Kind::Trace => (&mut counts.traces, [0; 4]),
        };
        *count += 1;
        for (sum, tokens) in [
            &mut counts.input_tokens,
            &mut counts.output_tokens,
            &mut counts.cache_read_tokens,
            &mut counts.cache_creation_tokens,
        ]
        .into_iter()
        .zip(tokens)
        {
            *sum = sum.saturating_add(tokens);
        }
        counts.shortened_events += u64::from(shortened);
        counts.earliest = Some(counts.earliest.map_or(timestamp, |e| e.min(timestamp)));
        self.events.push_back(event);
    }
}

/// The last text of a tool's result, raw.
fn last_text<'a>(result: &Block<'a>) -> &'a str {
    match Content::of(result.content) {
        Content::Text(raw) => raw.get(),
        Content::Blocks(blocks) => blocks.iter().rev().find_map(|b| b.text).map_or("", RawValue::get),
    }
}

/// Did the user stop the tool whose result this line holds?
fn was_interrupted(entry: &Entry<'_>) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Interruption {
        #[serde(deserialize_with = "lenient::bool")]
        interrupted: bool,
    }
    // Most are large, and few need to be looked into.
    let says_so = |raw: &&str| {
        const KEY: &str = "\"interrupted\":";
        let is_true = |at: usize| raw[at + KEY.len()..].trim_ascii_start().starts_with("true");
        raw.starts_with('{') && memchr::memmem::find_iter(raw.as_bytes(), KEY).any(is_true)
    };
    entry
        .tool_use_result
        .map(RawValue::get)
        .filter(says_so)
        .and_then(lenient::reparse_owned::<Interruption>)
        .is_some_and(|r| r.interrupted)
}
