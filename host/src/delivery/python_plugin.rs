//! What `PostHog`'s Python plugin has sent of this machine's sessions, as far as that can be known.
//!
//! It keeps no record. Its events have ids of their own, made of other parts than ours, and nobody can ask `PostHog` for them
//! with a project's key. What it leaves is its status file, with the last session that it sent, and when: that one is in
//! `PostHog`, and each session that was written to before may be. The file's name is ours, too, so what stands in it is noted
//! before it is replaced.

use crate::delivery::status_file::FILE_NAME;
use crate::outbox::{Millis, Outbox, OutboxError};
use crate::system::regular;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_pipeline::time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Name of the note.
const NOTE: &str = "python-plugin";

/// Real files have a few hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// How Python writes UTC in a time. This program writes `Z`.
const PYTHONS_UTC: &str = "+00:00";

/// After its last hook a client may write a line more.
const LAST_LINES: Millis = 60_000;

/// A session that it sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LastSent {
    session_id: String,
    host: String,
    at: Millis,
}

impl LastSent {
    /// What the plugin has written; none if this program has, or if it sent nothing.
    fn read(path: &Path) -> Option<Self> {
        let status: Value = serde_json::from_slice(&regular::read(path, MAX_BYTES).ok()?).ok()?;
        let text = |name: &str| status[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let at = time::parse(&text("timestamp").filter(|time| time.ends_with(PYTHONS_UTC))?)?;
        if status["status"] != "ok" {
            return None;
        }
        Some(Self { session_id: text("session_id")?, host: text("host")?, at })
    }

    /// Did it go to this server?
    fn went_to(&self, origin: &Origin) -> bool {
        // A host may have been written without its scheme.
        let host = if self.host.contains("://") { self.host.clone() } else { format!("https://{}", self.host) };
        Origin::parse(&host, true)
            .is_ok_and(|sent| sent == *origin || (is_cloud(&sent) && cloud(&sent) == cloud(origin)))
    }
}

fn is_cloud(origin: &Origin) -> bool {
    cloud(origin).is_some()
}

/// The region of `PostHog`'s cloud that a host belongs to: `us.posthog.com`, `us.i.posthog.com` and `app.posthog.com` are one.
fn cloud(origin: &Origin) -> Option<&'static str> {
    let name = origin.host().strip_suffix("posthog.com").filter(|name| name.is_empty() || name.ends_with('.'))?;
    Some(if name.starts_with("eu.") { "eu" } else { "us" })
}

/// Notes what the plugin has written to this file, which is about to be replaced.
pub fn remember(outbox: &mut Outbox, path: &Path) -> Result<(), OutboxError> {
    match LastSent::read(path) {
        Some(sent) => outbox.note(NOTE, &serde_json::to_string(&sent).unwrap_or_default()),
        None => Ok(()),
    }
}

/// Has the plugin written this file?
pub fn wrote(path: &Path) -> bool {
    LastSent::read(path).is_some()
}

/// What of a session the plugin has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentByPlugin {
    /// It sent it.
    Yes,
    /// It ran when this session was written to last, or later.
    Perhaps,
    /// It cannot have.
    No,
}

/// What the plugin has sent to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonPlugin {
    sent: Vec<LastSent>,
}

impl PythonPlugin {
    /// What is known of it, by its status file in these homes, and in the home directory's own, where it always writes it; and
    /// by what was noted of one that was replaced. None if it sent nothing there.
    pub fn find(homes: &[PathBuf], outbox: Option<&Outbox>, origin: &Origin) -> Result<Option<Self>, OutboxError> {
        let own = std::env::home_dir().map(|home| home.join(".claude"));
        let mut sent: Vec<LastSent> =
            homes.iter().chain(&own).filter_map(|home| LastSent::read(&home.join(FILE_NAME))).collect();
        let noted = outbox.map(|outbox| outbox.noted(NOTE)).transpose()?.flatten();
        sent.extend(noted.and_then(|note| serde_json::from_str(&note.text).ok()));
        sent.retain(|sent| sent.went_to(origin));
        Ok((!sent.is_empty()).then_some(Self { sent }))
    }

    /// When it sent something last.
    pub fn last(&self) -> Millis {
        self.sent.iter().map(|sent| sent.at).max().unwrap_or_default()
    }

    /// What of a session it has sent that was written to last at this time.
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
