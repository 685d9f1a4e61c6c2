//! What one delivery covers. The extent is recorded before the first batch leaves, and a process that continues the
//! delivery reads no further. So the same `uuid` always has the same bytes, and what is written in the meantime belongs
//! to the next delivery.

use crate::claude_code::sessions;
use crate::outbox::{Live, Millis, Outbox, OutboxError, SessionId};
use crate::program::LocalSession;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, ConversionReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// How long incomplete parts are held back after their last line, in milliseconds.
const HELD_FOR: Millis = Live::LONGEST.as_millis() as Millis;

/// The extent of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The state of the session's files at the start of the delivery.
    state: String,
    /// The number of bytes to read of each file, by path.
    ends: BTreeMap<String, u64>,
    /// Incomplete parts written after this time are held back.
    hold_after: Millis,
    /// Tool calls without a result are held back, too, because the session is running.
    hold_calls: bool,
    /// Anything written before this time is left out.
    #[serde(default)]
    since: Option<Millis>,
    /// The extent is not everything in the files: the rest does not belong to this destination.
    #[serde(default)]
    is_part: bool,
}

impl Extent {
    /// Everything there is now. `runs` means that the session is, or may be, running: a line that is still being written
    /// is left to the next delivery.
    pub fn of(session: &LocalSession, now: Millis, runs: bool) -> Self {
        let since = now.saturating_sub(HELD_FOR);
        let mut is_fresh = false;
        let ends = session.transcripts().filter_map(|(path, _)| {
            let metadata = path.metadata().ok()?;
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            is_fresh |= modified.is_some_and(|time| time.as_millis() as Millis > since);
            // Whoever reads it says why it cannot be read.
            let whole = runs.then(|| sessions::whole_lines(path, metadata.len()).ok()).flatten();
            Some((path.to_string_lossy().into_owned(), whole.unwrap_or(metadata.len())))
        });
        let ends = ends.collect();
        // Nothing is held back in a session that nobody writes to, whatever the timestamps of its lines.
        let hold_after = if is_fresh { since } else { Millis::MAX };
        Self { state: session.state(), ends, hold_after, hold_calls: runs, since: None, is_part: false }
    }

    /// Holds nothing back: incomplete parts are sent as they are.
    #[must_use]
    pub fn without_hold(self) -> Self {
        Self { hold_after: Millis::MAX, hold_calls: false, ..self }
    }

    /// Restricts the extent to what was written since this time.
    #[must_use]
    pub fn since(self, since: Option<Millis>) -> Self {
        Self { since, is_part: self.is_part || since.is_some(), ..self }
    }

    /// Restricts the extent to what was written until this time, because the session continued at another destination.
    pub fn until(mut self, until: Millis) -> io::Result<Self> {
        for (path, end) in &mut self.ends {
            *end = sessions::written_until(Path::new(path), until)?.min(*end);
        }
        Ok(Self { is_part: true, ..self.without_hold() })
    }

    /// Is the extent less than everything in the files?
    pub fn is_part(&self) -> bool {
        self.is_part
    }

    /// Parses a recorded extent; `None` if it cannot be parsed.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The extent as text for the record.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The extent of a session's unfinished delivery, if there is one that covers anything. Narrows the session to it.
    pub fn resume(outbox: &Outbox, id: SessionId, session: &mut LocalSession) -> Result<Option<Self>, OutboxError> {
        let begun = outbox.extent(id)?.as_deref().and_then(Self::parse);
        session.read_before = outbox.read_before(id)?;
        Ok(begun.filter(|begun| begun.narrow(session)))
    }

    /// Begins a delivery: records its extent and narrows the session to it. `again` means that everything is sent, as
    /// if nothing had been delivered before.
    pub fn begin(
        &self,
        outbox: &mut Outbox,
        id: SessionId,
        session: &mut LocalSession,
        again: bool,
    ) -> Result<(), OutboxError> {
        outbox.begin(id, &self.to_text())?;
        self.narrow(session);
        session.read_before = if again { BTreeMap::new() } else { outbox.read_before(id)? };
        Ok(())
    }

    /// Removes from the session what is not covered. Returns whether anything is left: the files may have been moved.
    fn narrow(&self, session: &mut LocalSession) -> bool {
        let covers = |path: &Path| self.ends.contains_key(path.to_string_lossy().as_ref());
        let mut mains = session.files.mains().filter(|path| covers(path)).map(Path::to_owned);
        let Some(main) = mains.next() else { return false };
        let more = mains.collect();
        session.files.main = main;
        session.files.more = more;
        session.files.agents.retain(|agent| covers(&agent.path));
        session.ends = self.ends.clone();
        true
    }

    /// Sets the options for converting the session within this extent.
    pub fn apply(&self, options: &mut ConversionOptions) {
        options.hold_after = Some(self.hold_after);
        options.hold_calls = self.hold_calls;
        options.since = self.since;
    }

    /// The state to record when the session is delivered. As long as something is held back, it never matches the state
    /// of the files.
    pub fn state_after(&self, report: Option<&ConversionReport>) -> String {
        let held = report.is_some_and(|report| report.held_events > 0);
        if held { format!("{} held", self.state) } else { self.state.clone() }
    }

    /// The state to record with the last batch: what is held back is known only afterward.
    pub fn state_at_last(&self) -> String {
        if self.hold_after == Millis::MAX && !self.hold_calls {
            self.state.clone()
        } else {
            format!("{} held", self.state)
        }
    }

    /// The state of the files at the start.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// When to send what is held back, unless more of it arrives earlier.
    pub fn held_until(report: Option<&ConversionReport>, now: Millis) -> Option<Millis> {
        let since = posthog_llma_pipeline::time::parse(report?.held_since.as_deref()?)?;
        Some(since.saturating_add(HELD_FOR + 1).min(now + HELD_FOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude_code::sessions::SessionFiles;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    fn session(main: &Path) -> LocalSession {
        LocalSession::of_transcript(main).unwrap()
    }

    fn home() -> (tempfile::TempDir, std::path::PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let main = home.path().join("projects/-a/s.jsonl");
        fs::create_dir_all(home.path().join("projects/-a/s/subagents")).unwrap();
        fs::create_dir_all(home.path().join("projects/-b")).unwrap();
        fs::write(&main, "12345").unwrap();
        (home, main)
    }

    #[test]
    fn what_comes_later_is_left_out() {
        let (home, main) = home();
        fs::write(home.path().join("projects/-a/s/subagents/agent-1.jsonl"), "1").unwrap();
        let extent = Extent::of(&session(&main), 0, false);
        assert_eq!(Extent::parse(&extent.to_text()).unwrap(), extent);
        fs::write(&main, "1234567").unwrap();
        fs::write(home.path().join("projects/-b/s.jsonl"), "{\"timestamp\":\"2020-01-01T00:00:00Z\"}\n").unwrap();
        fs::write(home.path().join("projects/-a/s/subagents/agent-0.jsonl"), "0").unwrap();
        let mut later = session(&main);
        assert_eq!((later.files.more.len(), later.files.agents.len()), (1, 2));
        assert!(extent.narrow(&mut later));
        assert_eq!((later.files.main.as_path(), later.files.more.len()), (main.as_path(), 0));
        assert_eq!(later.files.agents.iter().map(|a| a.agent_id.as_str()).collect::<Vec<_>>(), ["1"]);
        assert_eq!(later.ends[main.to_str().unwrap()], 5);
        let mut elsewhere = session(&main);
        elsewhere.files = SessionFiles { main: home.path().join("x.jsonl"), ..elsewhere.files };
        elsewhere.files.more.clear();
        assert!(!extent.narrow(&mut elsewhere));
        for text in ["", "{", "{}", "null", "[]"] {
            assert_eq!(Extent::parse(text), None);
        }
    }

    #[test]
    fn while_the_session_runs_a_line_that_is_being_written_is_left_to_the_next_delivery() {
        let (_home, main) = home();
        let long = "x".repeat(200_000);
        for (text, whole) in [
            (String::new(), 0),
            ("{}\n".to_owned(), 3),
            ("{}\n{\"a\":".to_owned(), 3),
            ("{\"a\":".to_owned(), 0),
            (format!("{{}}\n{long}"), 3),
            (format!("{long}\n{long}\nx"), 400_002),
        ] {
            fs::write(&main, &text).unwrap();
            for (runs, end) in [(true, whole), (false, text.len() as u64)] {
                let extent = Extent::of(&session(&main), 0, runs);
                assert_eq!(extent.ends[main.to_str().unwrap()], end, "{runs}, {}", text.len());
            }
        }
    }

    #[test]
    fn a_session_that_nobody_writes_to_is_not_held_whatever_its_clock_says() {
        let (_home, main) = home();
        let at = |ago: u64| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - ago);
            File::options().write(true).open(&main).unwrap().set_modified(time).unwrap();
            Extent::of(&session(&main), 1_000_000_000, true)
        };
        assert_eq!((at(599).hold_after, at(599).hold_calls), (1_000_000_000 - 600_000, true));
        assert_eq!((at(600).hold_after, at(600).hold_calls), (Millis::MAX, true));
        assert_eq!(at(599).without_hold().hold_after, Millis::MAX);
    }
}
