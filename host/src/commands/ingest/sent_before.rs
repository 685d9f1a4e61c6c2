//! Finds sessions that `PostHog`'s Python plugin has sent or may have sent: they are not sent again unless the user
//! says so.

use super::super::unusable;
use crate::commands::cli::{Ingest as Arguments, SentBefore};
use crate::delivery::ingest::PastSession;
use crate::delivery::python_plugin::{PythonPlugin, SentByPlugin};
use crate::outbox::{DestinationId, Millis, Outbox, OutboxError};
use crate::program::Program;
use crate::system::terminal::{self, tell};
use posthog_llma_pipeline::time;
use std::collections::HashMap;
use std::io::{self, BufRead as _};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// The flag that answers the question.
const FLAG: &str = "--python-plugin";

/// The selected sessions that the Python plugin has sent or may have sent.
#[derive(Debug, Default)]
pub struct SentByPython {
    /// Their main transcripts, each with the reason to think so.
    pub sessions: HashMap<PathBuf, String>,
    /// How many it certainly sent, and how many it may have sent.
    counts: [usize; 2],
    last: Millis,
}

impl SentByPython {
    /// Looks for them. Sessions that this program delivered itself are left to its own record.
    pub fn find(
        program: &Program,
        outbox: Option<&Outbox>,
        destination: Option<DestinationId>,
        sessions: &[PastSession],
    ) -> Result<Self, OutboxError> {
        let Some(plugin) = PythonPlugin::find(&program.homes(), outbox, &program.options.origin)? else {
            return Ok(Self::default());
        };
        let mut found = Self { last: plugin.last(), ..Self::default() };
        for session in sessions {
            let known = outbox.zip(destination).map(|(outbox, id)| outbox.has_delivered(id, &session.transcript));
            if known.transpose()?.unwrap_or(false) {
                continue;
            }
            let (reason, count) = match plugin.verdict(&session.id, written_at(session)) {
                SentByPlugin::Yes => ("PostHog's Python plugin has sent it", 0),
                SentByPlugin::Perhaps => ("PostHog's Python plugin may have sent it", 1),
                SentByPlugin::No => continue,
            };
            found.counts[count] += 1;
            found.sessions.insert(session.transcript.clone(), format!("{reason} ({FLAG}=send sends it too)"));
        }
        Ok(found)
    }

    /// A warning about them; `None` if there are none.
    pub fn warning(&self) -> Option<String> {
        let which = match self.counts {
            [0, 0] => return None,
            [sent, 0] => format!("it sent {sent}"),
            [0, perhaps] => format!("it may have sent {perhaps}"),
            [sent, perhaps] => format!("it sent {sent}, and may have sent {perhaps} more"),
        };
        Some(format!(
            "PostHog's Python plugin sent sessions from this machine until {}. Of those to send, {which}; PostHog would count \
             these twice",
            time::format(self.last)
        ))
    }

    /// Decides what to leave out, by the flag or by asking. It is an error if there is nobody to ask.
    pub fn decide(self, arguments: &Arguments) -> anyhow::Result<HashMap<PathBuf, String>> {
        let Some(warning) = self.warning() else { return Ok(HashMap::new()) };
        match arguments.python_plugin {
            Some(SentBefore::Send) => Ok(HashMap::new()),
            Some(SentBefore::Skip) => Ok(self.sessions),
            // A dry run sends nothing, so it needs no decision.
            None if arguments.dry_run => Ok(HashMap::new()),
            None if terminal::is_interactive() => {
                tell(&format!("{warning}."));
                terminal::ask("Leave them out, or send them too? Type skip or send:")?;
                let mut line = String::new();
                io::stdin().lock().read_line(&mut line)?;
                match line.trim().to_ascii_lowercase().as_str() {
                    "skip" => Ok(self.sessions),
                    "send" => Ok(HashMap::new()),
                    _ => Err(unusable("nothing was sent: the answer was neither skip nor send".to_owned())),
                }
            }
            None => Err(unusable(format!(
                "nothing was sent. {warning}: {FLAG}=skip leaves them out, {FLAG}=send sends them too"
            ))),
        }
    }
}

/// When the session's first main transcript was last written to, or now if that is unknown.
fn written_at(session: &PastSession) -> Millis {
    let modified = session.transcript.metadata().and_then(|metadata| metadata.modified()).ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.map_or(Millis::MAX, |time| time.as_millis() as Millis)
}
