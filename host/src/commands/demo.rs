//! `demo`: shows the main job without an account. It sends a sample session through the real sandbox and real HTTP to a
//! PostHog server inside this program, which applies PostHog's rules.

use super::FAILED;
use crate::claude_code::sessions::SessionFiles;
use crate::delivery::record::Unrecorded;
use crate::delivery::report::SendReport;
use crate::delivery::send::{self, Delivered, Destination};
use crate::outbox::now;
use crate::program::{self, LocalSession, ProgramError};
use crate::system::terminal::print;
use crate::view::tree;
use posthog_llma_local_posthog::{Config, LocalPostHog};
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_pipeline::session as guest;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::Patience;
use posthog_llma_sandbox::policy::{AllowedDestination, HttpPolicy, RequestLog};
use posthog_llma_sandbox::{Limits, Sandbox, block_on};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The key sent to the demo's server, which accepts any.
const KEY: &str = "phc_demo";

/// A server that the sandbox must not let the component reach. The domain is reserved and never exists.
const ELSEWHERE: &str = "https://posthog.invalid";

macro_rules! sample {
    ($file:literal) => {
        include_str!(concat!(
            "../../../tests/fixtures/demo/projects/-home-dev-storefront/44e37528-1ed2-41c1-b10f-e00cfcc58584",
            $file
        ))
    };
}

/// The sample session's files, by their names in its project's folder. The real client wrote them.
const SAMPLE: [(&str, &str); 3] = [
    ("44e37528-1ed2-41c1-b10f-e00cfcc58584.jsonl", sample!(".jsonl")),
    (
        "44e37528-1ed2-41c1-b10f-e00cfcc58584/subagents/agent-adf2f65eb37a4eb17.jsonl",
        sample!("/subagents/agent-adf2f65eb37a4eb17.jsonl"),
    ),
    (
        "44e37528-1ed2-41c1-b10f-e00cfcc58584/subagents/agent-adf2f65eb37a4eb17.meta.json",
        sample!("/subagents/agent-adf2f65eb37a4eb17.meta.json"),
    ),
];

/// Why a demo failed. It is never the user's settings, which the demo does not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum DemoError {
    /// The sample cannot be written to a folder, or the server cannot listen.
    #[error("cannot set up the demo: {0}")]
    Setup(#[from] io::Error),
    /// The sample is not a valid session.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A constant in this file is invalid.
    #[error("cannot set up the demo: {0}")]
    Constant(String),
}

/// Runs the demo.
pub fn run(arguments: &super::cli::Demo) -> anyhow::Result<ExitCode> {
    let sandbox = program::sandbox(Limits::default())?;
    let demo = block_on(try_out(&sandbox, now()))??;
    print(&if arguments.json { format!("{:#}\n", demo.json()) } else { demo.text() })?;
    Ok(if demo.is_good() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The demo's results.
#[derive(Debug)]
struct Demo {
    report: SendReport,
    events: Vec<Value>,
    files: Vec<String>,
    requests: RequestLog,
    /// The result when the same component is told to send elsewhere.
    elsewhere: Delivered,
}

async fn try_out(sandbox: &Sandbox, now: i64) -> Result<Demo, DemoError> {
    let folder = tempfile::tempdir()?;
    let session = sample(folder.path())?;
    let posthog = LocalPostHog::start(Config::default())?;
    let constant = |error: &dyn std::fmt::Display| DemoError::Constant(error.to_string());
    let api_key = ApiKey::parse(KEY).map_err(|error| constant(&error))?;
    let origin = |text: &str| Origin::parse(text, true).map_err(|error| constant(&error));
    let destination = Destination { origin: origin(&posthog.origin())?, api_key };
    let options = guest::ConversionOptions { distinct_id: Some("demo".to_owned()), ..Default::default() }.into();
    let patience = Patience { max_retries: 0, ..send::PATIENCE };

    let delivered = send::deliver(sandbox, &session, &options, &destination, patience, &mut Unrecorded).await;
    // Use the same component and policy with another destination.
    let policy = HttpPolicy::Allow(AllowedDestination::batches(destination.origin.clone()));
    let other = Destination { origin: origin(ELSEWHERE)?, ..destination.clone() };
    let elsewhere = send::deliver_within(sandbox, policy, &session, &options, &other, patience, &mut Unrecorded).await;
    Ok(Demo {
        report: SendReport::of(&session.files.id, &destination.origin, &delivered, Vec::new(), now),
        events: posthog.events(),
        files: SAMPLE
            .iter()
            .filter(|(name, _)| Path::new(name).extension().is_some_and(|extension| extension == "jsonl"))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        requests: delivered.requests,
        elsewhere,
    })
}

fn sample(folder: &Path) -> Result<LocalSession, DemoError> {
    for (name, text) in SAMPLE {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    let main = folder.canonicalize()?.join(SAMPLE[0].0);
    Ok(LocalSession::new(SessionFiles::of_transcript(&main).map_err(ProgramError::from)?, None))
}

impl Demo {
    /// Did everything go as expected, including the refusal?
    pub fn is_good(&self) -> bool {
        self.report.is_complete() && self.elsewhere.requests.refused() > 0 && self.elsewhere.requests.allowed() == 0
    }

    /// The results as JSON, for scripts.
    pub fn json(&self) -> Value {
        let refused: Vec<Value> = self
            .elsewhere
            .requests
            .refusals()
            .map(|r| json!({"method": r.method, "url": r.url, "reason": r.refusal.as_ref().map(ToString::to_string)}))
            .collect();
        json!({
            "report": self.report.json(),
            "events": self.events,
            "sandbox": {
                "files": self.files,
                "allowed": self.requests.allowed(),
                "refused": refused,
            },
        })
    }

    /// The results as text, for people.
    pub fn text(&self) -> String {
        let mut out = tree::draw(&self.events);
        let _ = write!(out, "\n{}", self.report.text());
        let _ = writeln!(out, "\nWhat the sandbox allowed");
        for file in &self.files {
            let _ = writeln!(out, "  read      {file}");
        }
        for request in self.requests.records().filter(|r| r.refusal.is_none()) {
            let _ = writeln!(out, "  request   {} {}", request.method, request.url);
        }
        let _ = writeln!(out, "What it refused, when the same component was asked to send the session elsewhere");
        for request in self.elsewhere.requests.refusals() {
            let reason = request.refusal.as_ref().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(out, "  request   {} {}: {reason}", request.method, request.url);
        }
        out.push_str(
            "What it never has: a directory, another file, writing, environment variables, sockets, name look-ups\n",
        );
        out
    }
}
