//! `posthog-llma-status.json` in Claude Code's folder: the outcome of the last session. Users of `PostHog`'s Python
//! plugin know this file, and their scripts read it; the keys are that plugin's.

use crate::delivery::outcome::Outcome;
use crate::delivery::python_plugin;
use crate::delivery::report::count;
use crate::delivery::send::{Delivered, Destination};
use crate::outbox::Outbox;
use crate::program::{LocalSession, Program};
use posthog_llma_pipeline::time;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, EventKind};
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use crate::delivery::python_plugin::FILE_NAME;

/// The status to write.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    status: Value,
}

impl StatusFile {
    /// The status of a delivery; `None` if there is no folder to write it to.
    pub fn new(
        program: &Program,
        destination: &Destination,
        session: &LocalSession,
        options: &ConversionOptions,
        delivered: &Delivered,
    ) -> Option<Self> {
        let sum = |kind| delivered.batches.iter().map(|batch| batch.count(kind)).sum::<u64>();
        let (generations, spans, traces) = (sum(EventKind::Generation), sum(EventKind::Span), sum(EventKind::Trace));
        let id = &session.files.id;
        let project = session.directory.as_deref().and_then(Path::file_name).unwrap_or_default();
        let status = json!({
            "session_id": id,
            "events_sent": generations + spans + traces,
            "generations": generations,
            "tool_uses": spans,
            "traces": traces,
            "host": destination.origin.to_string(),
            "distinct_id": options.distinct_id.clone().unwrap_or_else(|| format!("claude-code:{id}")),
            "project_name": project.to_string_lossy(),
        });
        Some(Self { path: program.config_dir()?.join(FILE_NAME), status })
    }

    /// The status of a hook that failed.
    pub fn of_failed_hook(config_dir: &Path, session_id: &str, error: &str) -> Self {
        let status = json!({"session_id": session_id, "events_sent": 0, "status": "error", "error": error});
        Self { path: config_dir.join(FILE_NAME), status }
    }

    /// Writes the file atomically. A failed write is not an error: the outbox has the record.
    pub fn write(mut self, outbox: &mut Outbox, outcome: &Outcome) {
        let error = match outcome {
            // Nothing was new: the file still describes the previous delivery.
            Outcome::Delivered { events: 0, rejected: 0 } | Outcome::Withheld { .. } | Outcome::Gone => return,
            Outcome::Delivered { rejected: 0, .. } => None,
            Outcome::Delivered { rejected, .. } => Some(format!("{} rejected", count(*rejected, "event"))),
            Outcome::Failed { error } | Outcome::ServerFailed { error, .. } => Some(error.clone()),
        };
        self.status["status"] = json!(if error.is_none() { "ok" } else { "error" });
        self.status["error"] = json!(error);
        let _ = self.save(Some(outbox));
    }

    /// Writes the status as is, with the time. Notes first what the Python plugin wrote there; without a record, the
    /// plugin's file stays as it is.
    pub fn save(mut self, outbox: Option<&mut Outbox>) -> io::Result<()> {
        match outbox {
            Some(outbox) => python_plugin::remember(outbox, &self.path).map_err(io::Error::other)?,
            None if python_plugin::wrote(&self.path) => return Ok(()),
            None => {}
        }
        self.status["timestamp"] = json!(time::format(crate::outbox::now()));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".posthog-llma-").tempfile_in(folder)?;
        writeln!(file, "{:#}", self.status)?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}
