//! `doctor --bundle`: writes what support needs to one file that is safe to give to a stranger. It has no content, no
//! key, no settings' values and no server's messages, and its paths omit the home directory's name.

use crate::commands::checks::Checks;
use crate::commands::status::Status;
use crate::outbox::{Millis, Note};
use crate::system::terminal::without_key;
use crate::system::{atomic, log};
use posthog_llma_pipeline::options::{ApiKey, Options};
use posthog_llma_pipeline::redact::Redactor;
use posthog_llma_pipeline::time;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// Longest name of a line type that is included: real ones are a single word.
const LONGEST_TYPE: usize = 40;

/// Checks whose findings contain only this program's and the system's own words. Others may contain settings' values, a
/// server's message, or the names of projects.
const TOLD: [&str; 7] = ["connection", "TLS", "state directory", "plugin", "hooks", "another sender", "newest session"];

/// Writes the bundle to a file that only its owner can read.
pub(super) fn write(path: &Path, checks: &Checks, status: &Status, log_file: &Path) -> io::Result<()> {
    let bundle = Cleaner::new(status.options.as_ref()).clean(gather(checks, status, log_file));
    atomic::write(path, format!("{bundle:#}\n").as_bytes())
}

fn gather(checks: &Checks, status: &Status, log_file: &Path) -> Value {
    let at = |note: Option<&Note>| note.map(|note| time::format(note.at));
    let time_of = |at: Option<Millis>| at.map(time::format);
    let summary = &status.summary;
    let destination = &summary.destination;
    let is_word = |name: &str| {
        (1..=LONGEST_TYPE).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    json!({
        "program": {
            "version": env!("CARGO_PKG_VERSION"),
            "component_sha256": posthog_llma_sandbox::COMPONENT_SHA256,
        },
        "platform": {
            "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        },
        // Include which settings are set, and where, but not their values.
        "settings": status.settings.iter().map(|(name, _, source)| json!({"name": name, "source": source})).collect::<Vec<_>>(),
        "settings_can_be_used": status.settings_error.is_none(),
        "hooks_are_given": status.hooks_have.as_ref().map(|hooks| &hooks.variables),
        "checks": checks.0.iter().map(|check| json!({
            "name": check.name,
            "ok": check.ok,
            "found": TOLD.contains(&check.name).then_some(&check.found),
        })).collect::<Vec<_>>(),
        "outbox": {
            "sessions": destination.sessions,
            "owed_elsewhere": summary.owed_elsewhere(),
            "on_disk": status.on_disk,
            "never_seen": status.never_seen,
            "events": destination.events,
            "refused_events": destination.quarantined,
            "last_delivery": time_of(destination.delivered_at),
            "failures_in_a_row": destination.attempts,
            "needs_the_user": destination.refused,
            "next_try": (destination.due_at > 0).then(|| time::format(destination.due_at)),
            "can_be_read": status.record_error.is_none(),
            "was_damaged": at(status.damaged.as_ref()),
        },
        "last_hook": at(status.hook.as_ref()),
        "last_hook_that_failed": at(status.hook_failure.as_ref()),
        "unknown_line_types": summary.unknown_types.iter()
            .map(|(name, lines)| json!({"name": if is_word(name) { name } else { "(not a word)" }, "lines": lines})).collect::<Vec<_>>(),
        "log": log::tail(log_file),
    })
}

/// Removes from texts what they might contain after all.
struct Cleaner {
    redactor: Redactor,
    home: Option<PathBuf>,
    key: Option<ApiKey>,
    host: Option<String>,
}

impl Cleaner {
    fn new(options: Option<&Options>) -> Self {
        let home = std::env::home_dir().filter(|home| home.parent().is_some());
        Self {
            redactor: Redactor::new(),
            home,
            key: options.and_then(|options| options.api_key.clone()),
            // PostHog Cloud's own hosts identify nobody.
            host: options.map(|options| options.origin.host().to_owned()).filter(|host| !host.ends_with("posthog.com")),
        }
    }

    fn clean(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.clean_text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.clean(value)).collect(),
            Value::Object(members) => {
                Value::Object(members.into_iter().map(|(name, value)| (name, self.clean(value))).collect())
            }
            other => other,
        }
    }

    fn clean_text(&self, text: &str) -> String {
        let mut text = self.key.as_ref().map_or_else(|| text.to_owned(), |key| without_key(text, key));
        if let Some(host) = &self.host {
            text = text.replace(host, "(host)");
        }
        if let Some(home) = self.home.as_ref().and_then(|home| home.to_str()) {
            text = text.replace(home, "~");
        }
        self.redactor.redact(&text).unwrap_or(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_type_of_lines_that_is_a_sentence_is_not_told() {
        let mut status = Status::default();
        status.summary.unknown_types =
            vec![("frame-link".into(), 3), ("the secret plan".into(), 1), ("x".repeat(41), 1), (String::new(), 1)];
        let bundle = gather(&Checks::default(), &status, Path::new("/no/log"));
        let types = bundle["unknown_line_types"].as_array().unwrap();
        let names: BTreeSet<_> = types.iter().filter_map(|of| of["name"].as_str()).collect();
        assert_eq!(names, BTreeSet::from(["frame-link", "(not a word)"]));
    }

    #[test]
    fn what_gets_in_all_the_same_is_taken_out() {
        let key = ApiKey::parse("phc_0123456789abcdefghij").unwrap();
        let cleaner = Cleaner { redactor: Redactor::new(), home: Some("/home/ada".into()), key: Some(key), host: None };
        let dirty = json!({"log": ["phc_0123456789abcdefghij /home/ada/x AKIAIOSFODNN7EXAMPLE"]});
        let clean = cleaner.clean(dirty).to_string();
        assert!(clean.contains("~/x") && !clean.contains("0123456789") && !clean.contains("AKIAIOSF"), "{clean}");
    }
}
