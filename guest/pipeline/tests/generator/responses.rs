//! Responses of the model: which blocks they have, and how they are spread over lines.

use super::Features;
use super::era::StopReasons;
use super::expected::{Generation, Span, Tokens};
use super::lines::{Copies, Json, Members, list, object, optional, text, timestamp};
use super::session::{Thread, Writer};
use super::tools::Call;

/// A response that is being written.
pub(crate) struct Response {
    /// `message.id`; without one the line's own `uuid` takes its place.
    id: Option<String>,
    /// Key of the generation; known from the first line on.
    key: Option<String>,
    request_id: String,
    request_ref: Option<String>,
    started_at: Option<i64>,
    model: &'static str,
    /// Blocks of each line.
    lines: Vec<Vec<Block>>,
    written: usize,
    usage: Usage,
    stop_reason: Option<&'static str>,
    interrupted: bool,
    tools: Vec<String>,
    texts: Vec<String>,
    thinking: Vec<String>,
}

/// One content block.
struct Block {
    json: Json,
    holds: Holds,
}

/// What of a block is to be found again in the events.
enum Holds {
    Nothing,
    Text(String),
    /// A text with half a surrogate pair in it.
    BrokenText,
    Thinking(String),
    Call(Call),
}

/// The counts of a response, and how they look on its lines.
struct Usage {
    /// Written as they are; a count that is missing stands in `omitted`.
    tokens: Tokens,
    /// Counts that are left out or written as something that is not a number.
    broken: Vec<(&'static str, Option<&'static str>)>,
    grows: bool,
    absent: bool,
}

impl Response {
    pub(crate) fn lines_left(&self) -> usize {
        self.lines.len() - self.written
    }
}

impl Writer {
    /// A response with so many tool calls at most, their results, and what the calls start.
    pub(crate) fn respond(&mut self, thread: &mut Thread, calls: u64) {
        let mut response = self.plan(thread, calls);
        let mut open = Vec::new();
        while response.lines_left() > 0 {
            let made = self.write_line(thread, &mut response);
            if self.era.results_between_lines()
                && response.lines_left() > 0
                && !made.is_empty()
                && self.chance.one_in(2)
            {
                self.expected.note("result between lines");
                self.settle(thread, made, false);
            } else {
                open.extend(made);
            }
            if thread.is_main() && self.chance.one_in(10) {
                self.ambient(thread);
            }
        }
        self.settle(thread, open, true);
    }

    /// Two responses whose lines interleave.
    pub(crate) fn respond_twice(&mut self, thread: &mut Thread) {
        self.expected.note("interleaved");
        let mut responses = [self.plan(thread, 1), self.plan(thread, 1)];
        let mut open = Vec::new();
        while responses.iter().any(|r| r.lines_left() > 0) {
            let index = self.chance.index(2);
            if responses[index].lines_left() > 0 {
                open.extend(self.write_line(thread, &mut responses[index]));
            }
        }
        self.settle(thread, open, true);
    }

    /// A response that the user stops: newer clients write what had arrived.
    pub(crate) fn respond_interrupted(&mut self, thread: &mut Thread) -> String {
        let mut response = self.plan(thread, 0);
        response.lines.truncate(1);
        response.interrupted = true;
        response.stop_reason = None;
        self.write_line(thread, &mut response);
        self.expected.note("interrupted response");
        response.key.unwrap()
    }

    fn plan(&mut self, thread: &mut Thread, most_calls: u64) -> Response {
        if self.now_and_then(Features::BACKWARDS, 15) {
            self.expected.note("clock backwards before a response");
            thread.clock -= self.chance.between(1, 70_000);
        }
        let mut started_at = thread.asked_at;
        let request_ref = self.era.has_api_requests().then(|| self.chance.uuid());
        if let Some(request) = &request_ref {
            thread.clock += self.chance.between(0, 40);
            started_at = Some(thread.clock);
            self.api_request(thread, request);
        }
        let model = self.era.model(&mut self.chance);
        thread.model = Some(model.to_owned());
        let mut response = Response {
            id: Some(format!("msg_01{}", self.chance.hex(22))),
            key: None,
            request_id: format!("req_01{}", self.chance.hex(22)),
            request_ref,
            started_at,
            model,
            lines: Vec::new(),
            written: 0,
            usage: self.usage(),
            stop_reason: None,
            interrupted: false,
            tools: Vec::new(),
            texts: Vec::new(),
            thinking: Vec::new(),
        };
        let calls = if self.may(Features::TOOLS) && most_calls > 0 { self.chance.below(most_calls + 1) } else { 0 };
        let blocks = self.blocks(thread, calls);
        if blocks.len() == 1 && self.now_and_then(Features::GAPS, 6) {
            self.expected.note("response without message.id");
            response.id = None;
        }
        for block in blocks {
            match response.lines.last_mut() {
                Some(line) if self.chance.one_in(6) => line.push(block),
                _ => response.lines.push(vec![block]),
            }
        }
        if response.lines.len() > 4 {
            self.expected.note("response over many lines");
        }
        response.stop_reason = match self.era.stop_reasons() {
            StopReasons::Never => None,
            StopReasons::LastLine if self.chance.one_in(6) => None,
            _ if calls > 0 => Some("tool_use"),
            _ => {
                Some(self.chance.pick(&["end_turn", "end_turn", "end_turn", "max_tokens", "refusal", "stop_sequence"]))
            }
        };
        response
    }

    fn blocks(&mut self, thread: &Thread, calls: u64) -> Vec<Block> {
        let mut blocks = Vec::new();
        match self.chance.below(6) {
            0 => blocks.push(Block {
                json: object(&[("type", text("redacted_thinking")), ("data", text("ZmFrZQ=="))]),
                holds: Holds::Nothing,
            }),
            1 | 2 => {
                let thought = if self.chance.one_in(4) { String::new() } else { format!("thought {}", self.serial()) };
                let json = object(&[
                    ("type", text("thinking")),
                    ("thinking", text(&thought)),
                    ("signature", text("c2lnbmF0dXJl")),
                ]);
                let holds = if thought.is_empty() { Holds::Nothing } else { Holds::Thinking(thought) };
                blocks.push(Block { json, holds });
            }
            _ => {}
        }
        let texts = if self.chance.one_in(8) { self.chance.below(9) } else { self.chance.below(3) };
        for _ in 0..texts.max(u64::from(calls == 0 && blocks.is_empty())) {
            blocks.push(self.text_block());
        }
        if calls > 1 {
            self.expected.note("parallel calls");
        }
        for _ in 0..calls {
            let (call, json) = self.call(thread);
            blocks.push(Block { json, holds: Holds::Call(call) });
        }
        blocks
    }

    fn text_block(&mut self) -> Block {
        let words = format!("answer {}: \u{e9}t\u{e9} \u{1f980} \"quoted\" a < b", self.serial());
        let mut json = text(&words);
        let mut holds = Holds::Text(words);
        if self.now_and_then(Features::DOUBTFUL, 15) {
            json = json.replacen("answer", r"answer \ud83d", 1);
            holds = Holds::BrokenText;
        }
        Block { json: object(&[("type", text("text")), ("text", json)]), holds }
    }

    /// Writes the next line of a response; returns the calls on it.
    fn write_line(&mut self, thread: &mut Thread, response: &mut Response) -> Vec<Call> {
        let last = response.lines_left() == 1;
        thread.clock += self.chance.between(1, 4_000);
        let blocks: Vec<Block> = std::mem::take(&mut response.lines[response.written]);
        response.written += 1;
        let uuid = if response.id.is_none() { Some(self.chance.uuid()) } else { self.any_uuid() };
        let stop_reason = match self.era.stop_reasons() {
            StopReasons::LastLine if !last => None,
            _ => response.stop_reason,
        };
        let mut message: Members = Vec::new();
        message.extend(response.id.as_deref().map(|id| ("id", text(id))));
        message.extend([
            ("type", text("message")),
            ("role", text("assistant")),
            ("model", text(response.model)),
            ("content", list(&blocks.iter().map(|b| b.json.clone()).collect::<Vec<_>>())),
            ("stop_reason", optional(stop_reason)),
            ("stop_sequence", optional(None)),
        ]);
        if !response.usage.absent {
            let share = if last || !response.usage.grows { 100 } else { 1 + 8 * response.written as u64 };
            message.push(("usage", response.usage.json(share.min(100))));
        }
        let mut body = vec![("message", object(&message)), ("requestId", text(&response.request_id))];
        body.extend(response.request_ref.as_deref().map(|id| ("requestRef", text(id))));
        body.extend(
            thread
                .place
                .agent_type
                .as_deref()
                .filter(|_| self.era.has_nested_agents())
                .map(|kind| ("attributionAgent", text(kind))),
        );
        body.push(("type", text("assistant")));
        let after = if response.interrupted { vec![("isAbortedMidStream", "true".to_owned())] } else { Vec::new() };
        let mut envelope = self.envelope(thread);
        if self.now_and_then(Features::GAPS, 20) && !(self.era.inline_agents() && self.may(Features::AGENTS)) {
            self.expected.note("dangling parent");
            envelope.parent = Some(self.chance.uuid());
        }
        let line = envelope.line(body, uuid.as_deref(), thread.clock, after);
        let mut calls = Vec::new();
        let mut broken_text = false;
        for block in blocks {
            match block.holds {
                Holds::Nothing => {}
                Holds::Text(words) => response.texts.push(words),
                Holds::BrokenText => broken_text = true,
                Holds::Thinking(thought) => response.thinking.push(thought),
                Holds::Call(call) => {
                    response.tools.push(call.name.clone());
                    calls.push(call);
                }
            }
        }
        if broken_text {
            self.expected.note("lone surrogate");
            self.expected.doubtful_lines += 1;
        }
        let key = response.key.get_or_insert_with(|| response.id.clone().or_else(|| uuid.clone()).unwrap()).clone();
        thread.push(line, uuid.clone(), Copies::Anywhere);
        if last || response.interrupted {
            self.expect_generation(thread, response, &key);
        }
        for call in &mut calls {
            call.line.clone_from(&uuid);
            call.made_at = thread.clock;
            let span = Span {
                name: call.name.clone(),
                generation: key.clone(),
                place: thread.place.clone(),
                outcome: call.outcome_without_result(),
            };
            self.expected.spans.insert(call.id.clone(), span);
        }
        calls
    }

    fn expect_generation(&mut self, thread: &Thread, response: &mut Response, key: &str) {
        let generation = Generation {
            model: Some(response.model.to_owned()),
            tokens: response.usage.known(),
            stop_reason: response.stop_reason.map(str::to_owned),
            failure: None,
            interrupted: response.interrupted,
            latency_ms: response.started_at.map(|start| duration(start, thread.clock)),
            place: thread.place.clone(),
            tools: std::mem::take(&mut response.tools),
            texts: std::mem::take(&mut response.texts),
            thinking: std::mem::take(&mut response.thinking),
            branch: self.known_branch(),
        };
        assert!(self.expected.generations.insert(key.to_owned(), generation).is_none(), "two responses with one id");
    }

    pub(crate) fn api_request(&mut self, thread: &mut Thread, id: &str) {
        let mut members: Members = vec![("type", text("api-request")), ("sessionId", text(&self.session))];
        members.extend(thread.agent_id.as_deref().map(|id| ("agentId", text(id))));
        members.extend([
            ("id", text(id)),
            ("timestamp", text(&timestamp(thread.clock))),
            ("version", text(self.era.version())),
            ("querySource", text("repl_main_thread")),
        ]);
        Self::bare(thread, &members);
    }

    fn usage(&mut self) -> Usage {
        let split = self.chance.one_in(2).then(|| (self.chance.below(9_000), self.chance.below(9_000)));
        let tokens = Tokens {
            input: Some(self.chance.below(5_000)),
            output: Some(self.chance.below(9_000)),
            cache_read: Some(self.chance.below(90_000)),
            cache_creation: Some(split.map_or_else(|| self.chance.below(9_000), |(short, long)| short + long)),
            cache_creation_5m: split.map(|(short, _)| short),
            cache_creation_1h: split.map(|(_, long)| long),
        };
        let mut broken = Vec::new();
        if self.now_and_then(Features::GAPS, 6) {
            let count = self.chance.pick(&[
                "input_tokens",
                "output_tokens",
                "cache_read_input_tokens",
                "cache_creation_input_tokens",
            ]);
            let instead = self.chance.pick(&[None, Some("null"), Some("\"12\""), Some("{}")]);
            broken.push((count, instead));
            self.expected.note("missing count");
        }
        let absent = self.now_and_then(Features::GAPS, 25);
        let grows = self.chance.one_in(2);
        if grows {
            self.expected.note("growing usage");
        }
        Usage { tokens, broken, grows, absent }
    }
}

/// Milliseconds from one time to another, never negative.
pub(crate) fn duration(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

impl Usage {
    /// The object of a line that shows so many per cent of the output.
    fn json(&self, per_cent: u64) -> Json {
        let t = &self.tokens;
        let mut members: Members = Vec::new();
        let mut count = |name: &'static str, value: u64| match self.broken.iter().find(|(broken, _)| *broken == name) {
            Some((_, Some(instead))) => members.push((name, (*instead).to_owned())),
            Some((_, None)) => {}
            None => members.push((name, value.to_string())),
        };
        count("input_tokens", t.input.unwrap());
        count("cache_creation_input_tokens", t.cache_creation.unwrap());
        count("cache_read_input_tokens", t.cache_read.unwrap());
        count("output_tokens", t.output.unwrap() * per_cent / 100);
        if let (Some(short), Some(long)) = (t.cache_creation_5m, t.cache_creation_1h) {
            let split = object(&[
                ("ephemeral_5m_input_tokens", short.to_string()),
                ("ephemeral_1h_input_tokens", long.to_string()),
            ]);
            members.push(("cache_creation", split));
        }
        members.push(("service_tier", text("standard")));
        object(&members)
    }

    /// The counts that its last line tells.
    fn known(&self) -> Tokens {
        if self.absent {
            return Tokens::default();
        }
        let mut known = self.tokens;
        for (name, _) in &self.broken {
            match *name {
                "input_tokens" => known.input = None,
                "output_tokens" => known.output = None,
                "cache_read_input_tokens" => known.cache_read = None,
                // Without the total, nothing says that the split adds up to it.
                _ => (known.cache_creation, known.cache_creation_5m, known.cache_creation_1h) = (None, None, None),
            }
        }
        known
    }
}
