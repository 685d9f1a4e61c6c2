//! Finds out, as far as possible, which of this machine's sessions `PostHog`'s Python plugin has sent.
//!
//! The plugin keeps no record. Its event IDs are derived differently from ours, and a project token does not allow
//! querying `PostHog` for them. The plugin only leaves its status file, with the last session it sent and the time:
//! that session is in `PostHog`, and any session last written to before then may be. This program's file has the same
//! name, so it notes the plugin's content before replacing it.

use crate::outbox::{Millis, Outbox, OutboxError};
use crate::system::regular;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_pipeline::time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Name of the file.
pub const FILE_NAME: &str = "posthog-llma-status.json";

/// Name of the note.
const NOTE: &str = "python-plugin";

/// Real files have a few hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Python's suffix for UTC in a timestamp. This program writes `Z`.
const PYTHONS_UTC: &str = "+00:00";

/// A client may write another line after its last hook.
const LAST_LINES: Millis = 60_000;

/// A session that the plugin sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LastSent {
    session_id: String,
    host: String,
    at: Millis,
}

impl LastSent {
    /// Reads what the plugin wrote; `None` if this program wrote the file, or the plugin sent nothing.
    fn read(path: &Path) -> Option<Self> {
        let status: Value = serde_json::from_slice(&regular::read(path, MAX_BYTES).ok()?).ok()?;
        let text = |name: &str| status[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let at = time::parse(&text("timestamp").filter(|time| time.ends_with(PYTHONS_UTC))?)?;
        if status["status"] != "ok" {
            return None;
        }
        Some(Self { session_id: text("session_id")?, host: text("host")?, at })
    }

    /// Was the session sent to this server?
    fn went_to(&self, origin: &Origin) -> bool {
        // The host may be written without a scheme.
        let host = if self.host.contains("://") { self.host.clone() } else { format!("https://{}", self.host) };
        Origin::parse(&host, true)
            .is_ok_and(|sent| sent == *origin || (is_cloud(&sent) && cloud(&sent) == cloud(origin)))
    }
}

fn is_cloud(origin: &Origin) -> bool {
    cloud(origin).is_some()
}

/// The `PostHog` Cloud region of a host: `us.posthog.com`, `us.i.posthog.com` and `app.posthog.com` are the same
/// region.
fn cloud(origin: &Origin) -> Option<&'static str> {
    let name = origin.host().strip_suffix("posthog.com").filter(|name| name.is_empty() || name.ends_with('.'))?;
    Some(if name.starts_with("eu.") { "eu" } else { "us" })
}

/// Notes what the plugin wrote to this file before the file is replaced.
pub fn remember(outbox: &mut Outbox, path: &Path) -> Result<(), OutboxError> {
    match LastSent::read(path) {
        Some(sent) => outbox.note(NOTE, &serde_json::to_string(&sent).unwrap_or_default()),
        None => Ok(()),
    }
}

/// Did the plugin write this file?
pub fn wrote(path: &Path) -> bool {
    LastSent::read(path).is_some()
}

/// Whether the plugin has sent a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentByPlugin {
    /// The plugin sent it.
    Yes,
    /// The plugin ran when this session was last written to, or later.
    Perhaps,
    /// The plugin cannot have sent it.
    No,
}

/// What the plugin has sent to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonPlugin {
    sent: Vec<LastSent>,
}

impl PythonPlugin {
    /// Collects what is known from the plugin's status file in these homes and in the default one in the home
    /// directory, where the plugin always writes it, and from the note about a replaced file. `None` if the plugin sent
    /// nothing to this server.
    pub fn find(homes: &[PathBuf], outbox: Option<&Outbox>, origin: &Origin) -> Result<Option<Self>, OutboxError> {
        let own = std::env::home_dir().map(|home| home.join(".claude"));
        let mut sent: Vec<LastSent> =
            homes.iter().chain(&own).filter_map(|home| LastSent::read(&home.join(FILE_NAME))).collect();
        let noted = outbox.map(|outbox| outbox.noted(NOTE)).transpose()?.flatten();
        sent.extend(noted.and_then(|note| serde_json::from_str(&note.text).ok()));
        sent.retain(|sent| sent.went_to(origin));
        Ok((!sent.is_empty()).then_some(Self { sent }))
    }

    /// When the plugin last sent something.
    pub fn last(&self) -> Millis {
        self.sent.iter().map(|sent| sent.at).max().unwrap_or_default()
    }

    /// Whether the plugin has sent a session that was last written to at this time.
    pub fn verdict(&self, session_id: &str, written_at: Millis) -> SentByPlugin {
        if let Some(sent) = self.sent.iter().find(|sent| sent.session_id == session_id)
            && written_at <= sent.at + LAST_LINES
        {
            return SentByPlugin::Yes;
        }
        if written_at <= self.last() + LAST_LINES { SentByPlugin::Perhaps } else { SentByPlugin::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn origin(text: &str) -> Origin {
        Origin::parse(text, true).unwrap()
    }

    fn status(timestamp: &str) -> Value {
        json!({"session_id": "s", "status": "ok", "host": "https://us.i.posthog.com", "timestamp": timestamp, "error": null})
    }

    const PYTHONS: &str = "2026-11-20T14:03:00.123456+00:00";

    fn read(status: &Value) -> Option<LastSent> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE_NAME);
        std::fs::write(&path, status.to_string()).unwrap();
        LastSent::read(&path)
    }

    #[test]
    fn only_what_python_wrote_of_what_it_sent_counts() {
        assert_eq!(read(&status(PYTHONS)).unwrap().session_id, "s");
        assert_eq!(read(&status("2026-11-20T14:03:00.123Z")), None, "this program's own");
        let mut failed = status(PYTHONS);
        failed["status"] = json!("error");
        assert_eq!(read(&failed), None);
        for odd in [json!(null), json!([]), json!({"timestamp": PYTHONS}), json!({"status": "ok", "timestamp": 7})] {
            assert_eq!(read(&odd), None, "{odd}");
        }
        assert_eq!(LastSent::read(Path::new("/nowhere")), None);
    }

    #[test]
    fn another_server_has_nothing_of_it() {
        let sent = |host: &str| LastSent { session_id: "s".into(), host: host.into(), at: 0 };
        let us = origin("https://us.i.posthog.com");
        for host in
            ["https://us.i.posthog.com/", "https://app.posthog.com", "us.posthog.com", "https://US.i.posthog.com"]
        {
            assert!(sent(host).went_to(&us), "{host}");
        }
        for host in ["https://eu.i.posthog.com", "https://posthog.example.com", "https://evilposthog.com", "", "?"] {
            assert!(!sent(host).went_to(&us), "{host}");
        }
        assert!(sent("https://ph.example.com").went_to(&origin("https://ph.example.com")));
    }

    #[test]
    fn the_last_session_was_sent_earlier_ones_perhaps_and_later_ones_not() {
        let at = 1_000_000;
        let plugin = PythonPlugin { sent: vec![LastSent { session_id: "s".into(), host: "h".into(), at }] };
        assert_eq!(plugin.verdict("s", at), SentByPlugin::Yes);
        assert_eq!(plugin.verdict("s", at + LAST_LINES + 1), SentByPlugin::No, "it went on since");
        assert_eq!(plugin.verdict("t", at - 1), SentByPlugin::Perhaps);
        assert_eq!(plugin.verdict("t", at + LAST_LINES + 1), SentByPlugin::No);
    }
}
