//! Sessions with known counts: whole transcripts as the real clients write them, of every layout, and what their events
//! must add up to. The same seed and size give the same bytes.
//!
//! ```ignore
//! mod generator;
//! proptest!(|(seed: u64, size in generator::sizes())| {
//!     let session = generator::generate(seed, size);
//!     // Feed session.main and session.agents to the conversion; compare with session.expected.
//! });
//! ```
//!
//! Where the contract leaves something open, the generator avoids it or says so in [`Expected`]; see there.
#![allow(clippy::unwrap_used, reason = "only tests include this module")]
#![allow(dead_code, unused_imports, reason = "every test binary that includes this module uses its own part of it")]

mod agents;
mod chance;
mod damage;
mod era;
mod expected;
mod failures;
mod lines;
mod responses;
mod session;
mod tools;
mod turns;

pub(crate) use expected::{Agent, Expected, Failure, Generation, Place, Prompt, Span, Tokens, ToolOutcome, Trace};

/// A session's transcripts and what is known of them.
#[derive(Debug, Clone)]
pub(crate) struct GeneratedSession {
    /// Session id, the name of the main transcript without `.jsonl`.
    pub(crate) id: String,
    /// Bytes of the main transcript.
    pub(crate) main: Vec<u8>,
    /// Transcripts of sub-agents, in the order of their IDs.
    pub(crate) agents: Vec<GeneratedAgent>,
    /// What the events must add up to.
    pub(crate) expected: Expected,
}

/// A sub-agent's transcript.
#[derive(Debug, Clone)]
pub(crate) struct GeneratedAgent {
    /// The `<id>` of `agent-<id>.jsonl`.
    pub(crate) agent_id: String,
    /// Text of `agent-<id>.meta.json`, where there is one.
    pub(crate) metadata: Option<String>,
    /// The `wf_…` folder that it lies in, if it is a workflow's agent.
    pub(crate) workflow_run: Option<String>,
    /// Bytes of its transcript.
    pub(crate) bytes: Vec<u8>,
}

/// How large a session is and what may be in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Turns of the main thread.
    pub(crate) turns: u64,
    /// Responses of a turn at most.
    pub(crate) responses: u64,
    /// What may be in it.
    pub(crate) features: Features,
}

impl Size {
    /// A session in which anything can be.
    pub(crate) fn any(turns: u64, responses: u64) -> Self {
        Self { turns, responses, features: Features::ALL }
    }
}

/// What may be in a session: a set of the constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Features(u32);

impl Features {
    pub(crate) const TOOLS: Self = Self(1);
    pub(crate) const AGENTS: Self = Self(1 << 1);
    /// Agents in the background, nested ones, workflows.
    pub(crate) const DEEP_AGENTS: Self = Self(1 << 2);
    /// `Warmup` files and files of copies.
    pub(crate) const AGENTS_WITHOUT_CALL: Self = Self(1 << 3);
    /// An agent's own file is missing, its `progress` lines are there.
    pub(crate) const ONLY_PROGRESS: Self = Self(1 << 4);
    /// Two responses whose lines interleave.
    pub(crate) const INTERLEAVED: Self = Self(1 << 5);
    /// Lines repeated after a resumption.
    pub(crate) const COPIES: Self = Self(1 << 6);
    /// Slash commands, their output, meta lines, compaction.
    pub(crate) const COMMANDS: Self = Self(1 << 7);
    /// Failed API calls, synthetic answers.
    pub(crate) const FAILURES: Self = Self(1 << 8);
    /// Interruptions and what follows them.
    pub(crate) const INTERRUPTIONS: Self = Self(1 << 9);
    /// Missing counts, message IDs, line IDs, parents, results, calls.
    pub(crate) const GAPS: Self = Self(1 << 10);
    /// Timestamps that go backwards.
    pub(crate) const BACKWARDS: Self = Self(1 << 11);
    /// Lines of types that nobody knows.
    pub(crate) const UNKNOWN: Self = Self(1 << 12);
    /// Blank lines and CRLF.
    pub(crate) const LINE_ENDS: Self = Self(1 << 13);
    /// Bad lines, glued lines, a last line cut short.
    pub(crate) const DAMAGE: Self = Self(1 << 14);
    /// Lines that are good but for a lone surrogate, an odd `message` or bytes that are not UTF-8.
    pub(crate) const DOUBTFUL: Self = Self(1 << 15);
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self((1 << 16) - 1);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }
}

/// Sizes for property tests; they shrink to a session of one plain turn.
pub(crate) fn sizes() -> impl proptest::strategy::Strategy<Value = Size> {
    use proptest::prelude::{Strategy, prop_oneof};
    let features = prop_oneof![(0..=u32::MAX).prop_map(Features::from_bits), proptest::strategy::Just(Features::ALL)];
    (1_u64..7, 1_u64..5, features).prop_map(|(turns, responses, features)| Size { turns, responses, features })
}

/// Writes a session.
pub(crate) fn generate(seed: u64, size: Size) -> GeneratedSession {
    session::Writer::new(seed, size).write()
}
