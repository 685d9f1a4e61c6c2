//! What the events of a generated session must add up to. The generator fills it in while it writes the lines; nothing
//! of it comes from the conversion.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// All that is known of a generated session.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Expected {
    /// Every model response of the tree, failed calls included, by `message.id`, or by the line's `uuid` where there is none.
    pub(crate) generations: BTreeMap<String, Generation>,
    /// Every tool call of the tree, by the id of its `tool_use` or `server_tool_use` block.
    pub(crate) spans: BTreeMap<String, Span>,
    /// Every turn, in file order. Several prompt lines of one `promptId` are one.
    pub(crate) prompts: Vec<Prompt>,
    /// Every sub-agent that a call started, by agent id; where they are inline, by the `uuid` of its first line.
    pub(crate) agents: BTreeMap<String, Agent>,
    /// Ids of agent files that no call started: only a `Warmup`, or only copies of the main thread's lines. The contract
    /// leaves open whether they count as sub-agents.
    pub(crate) agents_without_call: Vec<String>,
    /// `compact_boundary` lines, copies left out.
    pub(crate) compactions: u64,
    /// Lines of each type that nobody knows.
    pub(crate) unknown_types: BTreeMap<String, u64>,
    /// Lines that are bad for certain: no JSON object, or cut short, or two objects glued together.
    pub(crate) surely_bad_lines: u64,
    /// Lines that may count as bad or not: a `message` that is not an object with an id, a lone surrogate, bytes that are no
    /// UTF-8 inside an otherwise good line.
    pub(crate) doubtful_lines: u64,
    /// Which of its variations the session has, for tests that all of them turn up.
    pub(crate) variations: BTreeMap<&'static str, u64>,
}

/// One response of the model, or one call that failed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Generation {
    /// `None` for a failed call before any response in its thread.
    pub(crate) model: Option<String>,
    /// Of the last line. All `None` for a failed call.
    pub(crate) tokens: Tokens,
    /// As in the last line, not mapped; `None` makes the count of output tokens a partial one. Of no meaning if it failed.
    pub(crate) stop_reason: Option<String>,
    pub(crate) failure: Option<Failure>,
    pub(crate) interrupted: bool,
    /// From the `api-request` line that it refers to, or else from the latest user line of its thread, to its own last
    /// line; never negative; `None` where neither is there.
    pub(crate) latency_ms: Option<u64>,
    pub(crate) place: Place,
    /// Names of the tools that it called, in the order of the blocks.
    pub(crate) tools: Vec<String>,
    /// Texts of its text blocks, in order; a text with a lone surrogate is left out.
    pub(crate) texts: Vec<String>,
    /// Texts of its thinking blocks, in order.
    pub(crate) thinking: Vec<String>,
    /// `None` for `""`, `"HEAD"` and where there is no `gitBranch`.
    pub(crate) branch: Option<String>,
}

/// Counts of one generation, or their sums. `None` is a count that is missing or no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tokens {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: Option<u64>,
    pub(crate) cache_creation: Option<u64>,
    /// Both of these or neither.
    pub(crate) cache_creation_5m: Option<u64>,
    pub(crate) cache_creation_1h: Option<u64>,
}

/// Why a call failed, as far as its line says it in fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Option<u16>,
    /// `error` of the line.
    pub(crate) kind: Option<String>,
    pub(crate) text: String,
    /// When its line was written, in milliseconds since 1970.
    pub(crate) at: i64,
}

/// Where an event belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Trace when each prompt is one.
    pub(crate) trace: Trace,
    /// Key in [`Expected::agents`] or member of [`Expected::agents_without_call`]; `None` on the main thread.
    pub(crate) agent: Option<String>,
    /// The tool call that started the agent. `None` on the main thread and in an agent without one.
    pub(crate) call: Option<String>,
    /// Type of the sub-agent. `None` on the main thread and where nothing tells it.
    pub(crate) agent_type: Option<String>,
}

/// A trace in message grouping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// The session's: there was no prompt yet.
    Session,
    /// Index in [`Expected::prompts`].
    Prompt(usize),
    /// The contract does not say: an agent that no call started.
    Unspecified,
}

/// One tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) name: String,
    /// Key in [`Expected::generations`].
    pub(crate) generation: String,
    pub(crate) place: Place,
    pub(crate) outcome: ToolOutcome,
}

/// What became of a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolOutcome {
    /// There is a result; latency is never negative.
    Result { error: bool, latency_ms: u64 },
    /// There is none.
    None,
    /// A tool that the server ran: its result, if any, is a block of the same response.
    Server,
}

/// One turn.
#[allow(clippy::struct_field_names, reason = "`promptId` is the client's name for it")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// `promptId`, from the clients that have it.
    pub(crate) prompt_id: Option<String>,
    /// `uuid` of its first line.
    pub(crate) uuid: Option<String>,
    /// Text of its first line. Of a slash command only the name.
    pub(crate) text: String,
    /// Texts of later lines of the same `promptId`.
    pub(crate) follow_ups: Vec<String>,
    /// A slash command that the client handled itself: no response follows.
    pub(crate) command: bool,
}

/// One sub-agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The tool call that started it: key in [`Expected::spans`].
    pub(crate) call: String,
    /// Its transcript is missing; what is known of it stands in the parent's `progress` lines.
    pub(crate) only_progress: bool,
}

impl Expected {
    /// Sums over all generations. Each is 0 at least.
    pub(crate) fn tokens(&self) -> Tokens {
        let sum =
            |pick: fn(&Tokens) -> Option<u64>| Some(self.generations.values().filter_map(|g| pick(&g.tokens)).sum());
        Tokens {
            input: sum(|t| t.input),
            output: sum(|t| t.output),
            cache_read: sum(|t| t.cache_read),
            cache_creation: sum(|t| t.cache_creation),
            cache_creation_5m: sum(|t| t.cache_creation_5m),
            cache_creation_1h: sum(|t| t.cache_creation_1h),
        }
    }

    pub(crate) fn failed_calls(&self) -> usize {
        self.generations.values().filter(|g| g.failure.is_some()).count()
    }

    pub(crate) fn tool_errors(&self) -> usize {
        let failed = |s: &&Span| matches!(s.outcome, ToolOutcome::Result { error: true, .. });
        self.spans.values().filter(failed).count()
    }

    /// Calls without a result, those of the server's tools left out.
    pub(crate) fn calls_without_result(&self) -> usize {
        self.spans.values().filter(|s| s.outcome == ToolOutcome::None).count()
    }

    /// Sum over all spans with a result.
    pub(crate) fn span_latency_ms(&self) -> u64 {
        let latency = |s: &Span| match s.outcome {
            ToolOutcome::Result { latency_ms, .. } => latency_ms,
            ToolOutcome::None | ToolOutcome::Server => 0,
        };
        self.spans.values().map(latency).sum()
    }

    /// Sum over all generations but the failed ones, whose start the contract leaves open where a client retries.
    pub(crate) fn generation_latency_ms(&self) -> u64 {
        let answered = self.generations.values().filter(|g| g.failure.is_none());
        answered.filter_map(|g| g.latency_ms).sum()
    }

    pub(crate) fn unknown_lines(&self) -> u64 {
        self.unknown_types.values().sum()
    }

    /// How many bad lines a report may speak of.
    pub(crate) fn bad_lines(&self) -> RangeInclusive<u64> {
        self.surely_bad_lines..=self.surely_bad_lines + self.doubtful_lines
    }

    pub(crate) fn note(&mut self, variation: &'static str) {
        *self.variations.entry(variation).or_default() += 1;
    }
}
