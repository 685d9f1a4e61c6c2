//! Which files make a session: their names say it, and where they lie; of old ones, what stands in them.
//!
//! The program, the components and, by `conversion.sub-agents`, hosts in other languages ask here. Nothing is opened here.

use crate::time;
use crate::transcript::lenient;
use serde::Deserialize;
use std::io::{self, BufRead};

/// The folder of all projects' folders, in Claude Code's own.
pub const PROJECTS: &str = "projects";

/// The folder of a session's sub-agents, in the folder that is called after the session.
pub const SUBAGENTS: &str = "subagents";

/// The folder of its workflows' runs, in that one.
pub const WORKFLOWS: &str = "workflows";

/// Bytes of a transcript that are looked into to learn whose it is.
pub const LONGEST_HEAD: u64 = 64 << 10;

/// Bytes of a main transcript that are looked into to learn when it begins. The first lines of some have no timestamp.
pub const LONGEST_BEGINNING: u64 = 1 << 20;

/// Bytes of a sub-agent's metadata that are read: real ones have a few hundred.
pub const LONGEST_METADATA: u64 = 64 << 10;

/// The session's id in the name of a main transcript.
pub fn main_id(name: &str) -> Option<&str> {
    name.strip_suffix(".jsonl").filter(|id| !id.is_empty() && !id.starts_with("agent-"))
}

/// The `<id>` of `agent-<id>.jsonl`.
pub fn agent_id(name: &str) -> Option<&str> {
    name.strip_prefix("agent-")?.strip_suffix(".jsonl").filter(|id| !id.is_empty())
}

/// The name of the file that lies beside a sub-agent's transcript and says more of it.
pub fn metadata_name(agent_id: &str) -> String {
    format!("agent-{agent_id}.meta.json")
}

/// Is this the name of the folder of a workflow's run?
pub fn is_run(name: &str) -> bool {
    name.starts_with("wf_")
}

/// The id of the session whose main transcript this is. `path` are the names of its folders and its own.
pub fn main_transcript<'a>(path: &[&'a str]) -> Option<&'a str> {
    // What lies there belongs to a main transcript.
    main_id(path.last()?).filter(|_| !path.contains(&SUBAGENTS))
}

/// The first timestamp of a transcript, in milliseconds since 1970.
pub fn began(transcript: impl BufRead) -> Option<i64> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, default, deserialize_with = "lenient::str")]
        timestamp: lenient::Str<'a>,
    }

    let mut lines = transcript.take(LONGEST_BEGINNING).split(b'\n').map_while(Result::ok);
    lines.find_map(|line| {
        let line: Line<'_> = serde_json::from_slice(&line).ok()?;
        time::parse(line.timestamp.as_deref()?)
    })
}

/// Puts the main transcripts of one session in the order in which they are read: by their first timestamps, then by their
/// paths. One without a timestamp comes last. `key` gives the two.
pub fn order_mains<T, P: Ord>(mains: &mut [T], mut key: impl FnMut(&T) -> (Option<i64>, P)) {
    mains.sort_by_cached_key(|main| {
        let (began, path) = key(main);
        (began.unwrap_or(i64::MAX), path)
    });
}

/// A transcript of a sub-agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agent<'a> {
    /// The sub-agent's id.
    pub agent_id: &'a str,
    /// The folder of its workflow's run.
    pub workflow_run: Option<&'a str>,
    /// Its place does not say whose it is: [`session_of`] does. Claude Code 2.0.28 to 2.1.1 put all of them beside the main
    /// transcripts.
    pub is_flat: bool,
}

/// Is this file a sub-agent's transcript of the session with this id? `path` are the names of the folders below the one that
/// the main transcript lies in, and the file's own.
pub fn agent<'a>(id: &str, path: &[&'a str]) -> Option<Agent<'a>> {
    let (name, folders) = path.split_last()?;
    let agent_id = agent_id(name)?;
    let (workflow_run, is_flat) = match folders {
        [] => (None, true),
        [session, SUBAGENTS] if *session == id => (None, false),
        [session, SUBAGENTS, WORKFLOWS, run] if *session == id && is_run(run) => (Some(*run), false),
        _ => return None,
    };
    Some(Agent { agent_id, workflow_run, is_flat })
}

/// One of several files that were asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its index.
    pub file: usize,
    /// Whose it is.
    pub agent: Agent<'a>,
    /// The index of its metadata.
    pub metadata: Option<usize>,
}

/// The sub-agents' transcripts of a session among these files, in the order of their IDs, then of their paths. A path is as in
/// [`agent`].
pub fn agents<'a>(id: &str, paths: &[Vec<&'a str>]) -> Vec<Found<'a>> {
    let found = paths.iter().enumerate().filter_map(|(file, path)| {
        let agent = agent(id, path)?;
        let name = metadata_name(agent.agent_id);
        let folders = &path[..path.len() - 1];
        let metadata = paths.iter().position(|other| other.split_last() == Some((&name.as_str(), folders)));
        Some(Found { file, agent, metadata })
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|a, b| (a.agent.agent_id, &paths[a.file]).cmp(&(b.agent.agent_id, &paths[b.file])));
    found
}

/// Does this transcript say that it belongs to the session?
pub fn belongs_to(id: &str, transcript: impl BufRead) -> io::Result<bool> {
    Ok(session_of(transcript)?.is_some_and(|session| is_id(&session, id)))
}

/// Is this id that of the session? File systems may not tell upper from lower case.
pub fn is_id(session: &str, id: &str) -> bool {
    session.eq_ignore_ascii_case(id)
}

/// The session that a transcript says it belongs to: the first `sessionId` in its first 64 KiB.
pub fn session_of(transcript: impl BufRead) -> io::Result<Option<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        session_id: String,
    }

    let mut head = transcript.take(LONGEST_HEAD);
    let mut line = Vec::new();
    while head.read_until(b'\n', &mut line)? > 0 {
        if let Ok(parsed) = serde_json::from_slice::<Line>(&line) {
            return Ok(Some(parsed.session_id));
        }
        if head.limit() == 0 && line.last() != Some(&b'\n') {
            return Ok(session_of_cut_line(&line));
        }
        line.clear();
    }
    Ok(None)
}

/// The session of a line whose end is missing. Versions that write flat agents have `sessionId` before the message,
/// and in a text its quotation marks would be escaped.
fn session_of_cut_line(line: &[u8]) -> Option<String> {
    const NAME: &str = "\"sessionId\":\"";
    let line = String::from_utf8_lossy(line);
    let (_, rest) = line.split_once(NAME)?;
    let (id, _) = rest.split_once('"')?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_whose_a_sub_agents_transcript_is() {
        let of = |path: &'static str| agent("s", &path.split('/').collect::<Vec<_>>());
        let known = |workflow_run, is_flat| Some(Agent { agent_id: "a", workflow_run, is_flat });
        assert_eq!(of("agent-a.jsonl"), known(None, true));
        assert_eq!(of("s/subagents/agent-a.jsonl"), known(None, false));
        assert_eq!(of("s/subagents/workflows/wf_1/agent-a.jsonl"), known(Some("wf_1"), false));
        for other in [
            "s.jsonl",
            "agent-.jsonl",
            "agent-a.meta.json",
            "other/subagents/agent-a.jsonl",
            "s/agent-a.jsonl",
            "s/subagents/workflows/agent-a.jsonl",
            "s/subagents/workflows/run/agent-a.jsonl",
            "s/subagents/deeper/agent-a.jsonl",
            "s/subagents/workflows/wf_1/deeper/agent-a.jsonl",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn agents_stand_in_the_order_of_their_ids_and_with_their_metadata() {
        let paths = [
            "s/subagents/workflows/wf_2/agent-b.jsonl",
            "s/subagents/agent-b.jsonl",
            "s/subagents/agent-a.meta.json",
            "s/subagents/workflows/wf_2/agent-b.meta.json",
            "s/subagents/agent-a.jsonl",
        ];
        let paths = paths.map(|path| path.split('/').collect::<Vec<_>>());
        let found: Vec<_> = agents("s", &paths).iter().map(|found| (found.file, found.metadata)).collect();
        assert_eq!(found, [(4, Some(2)), (1, None), (0, Some(3))]);
    }

    #[test]
    fn a_transcript_begins_at_its_first_timestamp_wherever_that_stands() {
        let at = |lines: &str| began(lines.as_bytes());
        let time = time::parse("2026-01-02T03:04:05Z");
        assert_eq!(at("{\"timestamp\":\"2026-01-02T03:04:05Z\"}"), time);
        assert_eq!(at("{}\nno json\n{\"timestamp\":5}\n\n {\"timestamp\":\"2026-01-02T03:04:05Z\"}\r\n"), time);
        assert_eq!(at(""), None);
        assert_eq!(at("null\n[]\n{\"timestamp\":\"yesterday\"}"), None);
    }

    #[test]
    fn a_main_transcript_without_a_timestamp_comes_last_and_paths_decide_between_equals() {
        let mut mains = [("d", None), ("c", Some(2)), ("b", Some(2)), ("a", None), ("z", Some(1))];
        order_mains(&mut mains, |(path, began)| (*began, *path));
        assert_eq!(mains.map(|(path, _)| path), ["z", "b", "c", "a", "d"]);
    }

    #[test]
    fn a_main_transcript_is_no_sub_agents() {
        assert_eq!(
            ["s.jsonl", "agent-s.jsonl", ".jsonl", "s.json", "s"].map(main_id),
            [Some("s"), None, None, None, None]
        );
    }

    #[test]
    fn a_transcript_says_its_session_past_damaged_lines_and_in_a_line_that_is_too_long() {
        let of = |text: &str| session_of(text.as_bytes()).unwrap();
        assert_eq!(of("not json\n{}\n{\"sessionId\":\"s\"}\n{\"sessionId\":\"t\"}").as_deref(), Some("s"));
        let long = "x".repeat(LONGEST_HEAD as usize);
        assert_eq!(of(&format!("{{\"sessionId\":\"s\",\"text\":\"{long}\"}}")).as_deref(), Some("s"));
        assert_eq!(of(&format!("{{\"text\":\"{long}\",\"sessionId\":\"s\"}}")), None);
        assert_eq!(of("{\"sessionId\":\"s\",\"text\":\"damaged"), None);
        assert_eq!(of(""), None);
    }
}
