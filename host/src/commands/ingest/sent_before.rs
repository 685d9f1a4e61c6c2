//! Finds sessions that `PostHog`'s Python plugin has sent or may have sent: they are not sent again unless the user
//! says so.

use crate::commands::cli::SentBefore;
use crate::commands::unusable;
use crate::delivery::python_plugin::{PythonPlugin, SentByPlugin};
use crate::outbox::{DestinationId, Millis, Outbox, OutboxError};
use crate::program::Program;
use crate::system::terminal::{self, tell};
use posthog_llma_pipeline::time;
use std::collections::HashMap;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
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
    pub fn find<'a>(
        program: &Program,
        outbox: Option<&Outbox>,
        destination: Option<DestinationId>,
        sessions: impl IntoIterator<Item = (&'a str, &'a Path)>,
    ) -> Result<Self, OutboxError> {
        let Some(plugin) = PythonPlugin::find(&program.homes(), outbox, &program.options.origin)? else {
            return Ok(Self::default());
        };
        let mut found = Self { last: plugin.last(), ..Self::default() };
        for (id, transcript) in sessions {
            let known =
                outbox.zip(destination).map(|(outbox, destination)| outbox.has_delivered(destination, transcript));
            if known.transpose()?.unwrap_or(false) {
                continue;
            }
            let (reason, count) = match plugin.verdict(id, written_at(transcript)) {
                SentByPlugin::Yes => ("PostHog's Python plugin has sent it", 0),
                SentByPlugin::Perhaps => ("PostHog's Python plugin may have sent it", 1),
                SentByPlugin::No => continue,
            };
            found.counts[count] += 1;
            found.sessions.insert(transcript.to_owned(), format!("{reason} ({FLAG}=send sends it too)"));
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
    pub fn decide(self, answer: Option<SentBefore>) -> anyhow::Result<HashMap<PathBuf, String>> {
        let Some(warning) = self.warning() else { return Ok(HashMap::new()) };
        match answer {
            Some(SentBefore::Send) => Ok(HashMap::new()),
            Some(SentBefore::Skip) => Ok(self.sessions),
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

/// When the transcript was last written to, or now if that is unknown.
fn written_at(transcript: &Path) -> Millis {
    let modified = transcript.metadata().and_then(|metadata| metadata.modified()).ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.map_or(Millis::MAX, |time| time.as_millis() as Millis)
}

/// The current destination's number in the record, if there is a record.
pub fn known_destination(program: &Program, outbox: Option<&Outbox>) -> Result<Option<DestinationId>, OutboxError> {
    let Some((key, outbox)) = program.options.api_key.as_ref().zip(outbox) else { return Ok(None) };
    outbox.known_destination(&program.options.origin, key)
}
