//! The clients whose transcripts differ, and in what.

use super::chance::Chance;

/// A client version and the layout that goes with it; every rule was read off a transcript of that version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Era {
    /// 1.0.31: sub-agents inline, no branch.
    Oldest,
    /// 1.0.128: sub-agents inline.
    Inline,
    /// 2.0.76: agents' files beside the main one.
    Flat,
    /// 2.1.6: agents' files in the session's folder.
    Folder,
    /// 2.1.50: `progress` lines, no `stop_reason` on any line.
    Progress,
    /// 2.1.112: `promptId`, each parallel result hangs on its own call, the envelope at the end of the line.
    PromptIds,
    /// 2.1.197: results between the lines of a response, agents' metadata names the call.
    Between,
    /// 2.1.330: `api-request` lines, nested agents, workflows.
    Requests,
}

/// What a response's lines have as `stop_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReasons {
    /// Null but on the last line, and now and then there too.
    LastLine,
    Never,
    EveryLine,
}

impl Era {
    pub(crate) const ALL: [Self; 8] = [
        Self::Oldest,
        Self::Inline,
        Self::Flat,
        Self::Folder,
        Self::Progress,
        Self::PromptIds,
        Self::Between,
        Self::Requests,
    ];

    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Oldest => "1.0.31",
            Self::Inline => "1.0.128",
            Self::Flat => "2.0.76",
            Self::Folder => "2.1.6",
            Self::Progress => "2.1.50",
            Self::PromptIds => "2.1.112",
            Self::Between => "2.1.197",
            Self::Requests => "2.1.330",
        }
    }

    pub(crate) fn variation(self) -> &'static str {
        match self {
            Self::Oldest => "era 1.0.31",
            Self::Inline => "era 1.0.128",
            Self::Flat => "era 2.0.76",
            Self::Folder => "era 2.1.6",
            Self::Progress => "era 2.1.50",
            Self::PromptIds => "era 2.1.112",
            Self::Between => "era 2.1.197",
            Self::Requests => "era 2.1.330",
        }
    }

    pub(crate) fn has_branch(self) -> bool {
        self != Self::Oldest
    }

    pub(crate) fn inline_agents(self) -> bool {
        self <= Self::Inline
    }

    pub(crate) fn has_prompt_ids(self) -> bool {
        self >= Self::PromptIds
    }

    /// Working directory, session, version and branch stand at the end of a line, with the entry point.
    pub(crate) fn envelope_at_end(self) -> bool {
        self >= Self::PromptIds
    }

    pub(crate) fn results_hang_on_their_calls(self) -> bool {
        self >= Self::PromptIds
    }

    pub(crate) fn results_between_lines(self) -> bool {
        self >= Self::Between
    }

    pub(crate) fn names_source_of_results(self) -> bool {
        self >= Self::Folder
    }

    pub(crate) fn has_attachments(self) -> bool {
        self >= Self::PromptIds
    }

    pub(crate) fn has_api_requests(self) -> bool {
        self == Self::Requests
    }

    pub(crate) fn has_agent_progress(self) -> bool {
        self == Self::Progress
    }

    pub(crate) fn has_background_agents(self) -> bool {
        self >= Self::Folder
    }

    /// Agents that start agents; only where the metadata names the call.
    pub(crate) fn has_nested_agents(self) -> bool {
        self >= Self::Between
    }

    pub(crate) fn has_workflows(self) -> bool {
        self == Self::Requests
    }

    pub(crate) fn agent_tool(self) -> &'static str {
        if self >= Self::PromptIds { "Agent" } else { "Task" }
    }

    pub(crate) fn agent_id(self, chance: &mut Chance) -> String {
        let digits = if self <= Self::Folder { 6 } else { 16 };
        format!("a{}", chance.hex(digits))
    }

    pub(crate) fn stop_reasons(self) -> StopReasons {
        match self {
            Self::Progress => StopReasons::Never,
            Self::PromptIds | Self::Between | Self::Requests => StopReasons::EveryLine,
            _ => StopReasons::LastLine,
        }
    }

    pub(crate) fn model(self, chance: &mut Chance) -> &'static str {
        chance.pick(match self {
            Self::Oldest | Self::Inline => &["claude-sonnet-4-20250514", "claude-opus-4-20250514"],
            Self::Flat => &["claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"],
            Self::Folder | Self::Progress | Self::PromptIds => &["claude-sonnet-4-6", "claude-opus-4-6"],
            Self::Between | Self::Requests => &["claude-opus-5-5", "claude-haiku-4-5-20251001"],
        })
    }
}
