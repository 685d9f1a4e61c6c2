//! `posthog-llma`, the program.

use clap::Parser as _;
use posthog_llma::cli::{Cli, Command, Convert, Demo, Send};
use posthog_llma::commands::{Unusable, doctor, flush, ingest, setup, shell, status, view};
use posthog_llma::conversion::{self, ConversionError};
use posthog_llma::courier::{SessionRecord, Told};
use posthog_llma::delivery::{self, Destination};
use posthog_llma::demo;
use posthog_llma::detach;
use posthog_llma::hook;
use posthog_llma::outbox::now;
use posthog_llma::program::{self, ProgramError};
use posthog_llma::report::{self, Report};
use posthog_llma::sandbox::bindings::exports::posthog::llm_analytics::delivery::BatchReport;
use posthog_llma::sandbox::{self, Limits};
use posthog_llma::terminal::{complain, load, print, warn};
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::process::ExitCode;

/// Something was not delivered, or could not be read.
const FAILED: u8 = 1;
/// Called wrongly, or a setting cannot be used. (clap uses the same.)
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Convert(arguments) => convert(&arguments),
        Command::Send(arguments) => send(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::View(arguments) => view::run(&arguments),
        Command::Demo(arguments) => demo(&arguments),
        Command::Hook => {
            hook::run();
            Ok(ExitCode::SUCCESS)
        }
        Command::Ingest(arguments) => ingest::run(&arguments),
        Command::Flush(arguments) => flush::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Detach(arguments) => detach::pass_on(&arguments.command, arguments.stdin())
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
        Command::Worker(arguments) => {
            let client = arguments.client;
            hook::work(arguments.input(), client)
        }
        .map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain("error", &format!("{error:#}"));
            ExitCode::from(if is_settings(&error) { UNUSABLE } else { FAILED })
        }
    }
}

fn is_settings(error: &anyhow::Error) -> bool {
    error.is::<Unusable>() || matches!(error.downcast_ref(), Some(ProgramError::Settings(_)))
}

fn convert(arguments: &Convert) -> anyhow::Result<ExitCode> {
    let program = load()?;
    let session = program.session(&arguments.session)?;
    let ((sandbox, cache_warning), options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    warn(cache_warning.as_slice());
    let mut out = BufWriter::new(io::stdout().lock());
    let converted = sandbox::block_on(conversion::convert(&sandbox, &session, &options, &mut out))?;
    // The end of the process gives its memory back, too, and faster.
    std::mem::forget(sandbox);
    match converted {
        Ok(converted) => {
            warn(&converted.warnings);
            warn(&report::line_warnings(&converted.report));
            Ok(ExitCode::SUCCESS)
        }
        // `| head` has seen enough.
        Err(ConversionError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

fn send(arguments: &Send) -> anyhow::Result<ExitCode> {
    let program = load()?;
    let Some(api_key) = program.options.api_key.clone() else { return Err(Unusable::NO_KEY.into()) };
    let session = program.session(&arguments.session)?;
    let mut warnings = Vec::new();
    if !api_key.looks_like_project_key() {
        warnings.push(format!(
            "POSTHOG_API_KEY ({api_key}) does not look like a project key (phc_…); PostHog answers 200 to an unknown key and \
             keeps nothing"
        ));
    }
    let ((sandbox, cache_warning), options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    warnings.extend(cache_warning);
    let destination = Destination { origin: program.options.origin.clone(), api_key };
    let patience = delivery::patience(&arguments.patience);
    let size: u64 = session.transcripts().filter_map(|(path, _)| path.metadata().ok()).map(|m| m.len()).sum();
    let progress = Progress::new(size * 2);
    let mut record = match SessionRecord::open(&destination, &session, &program.options, arguments.again) {
        Ok((record, warning)) => {
            warnings.extend(warning);
            Some(record)
        }
        Err(error) => {
            warnings.push(format!("what is sent is not written down, so a later delivery sends it again: {error}"));
            None
        }
    };
    let on_batch = |batch: &BatchReport| progress.show(batch.bytes_read);
    let mut told = Told { record: record.as_mut(), on_batch };
    let delivered =
        sandbox::block_on(delivery::deliver(&sandbox, &session, &options, &destination, patience, &mut told))?;
    if let Some(record) = record.as_mut().filter(|_| delivered.error.is_none()) {
        record.complete()?;
    }
    let refused = record.as_ref().map_or(Ok(0), SessionRecord::refused)?;
    progress.end();
    let report = Report::of(&session.files.id, &destination.origin, &delivered, warnings, now()).with_refused(refused);
    if arguments.json {
        print(&format!("{:#}\n", report.json()))?;
    } else {
        print(&report.text())?;
        warn(&report.warnings);
        if let Some(error) = &report.error {
            complain("error", error);
        }
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn demo(arguments: &Demo) -> anyhow::Result<ExitCode> {
    let (sandbox, cache_warning) = program::sandbox(Limits::default())?;
    warn(cache_warning.as_slice());
    let demo = sandbox::block_on(demo::run(&sandbox, now()))??;
    print(&if arguments.json { format!("{:#}\n", demo.json()) } else { demo.text() })?;
    Ok(if demo.is_good() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// How far a long delivery is, on a terminal.
struct Progress {
    total: u64,
    shown: bool,
}

impl Progress {
    /// Sessions below this size are done before anyone reads it.
    const WORTH_IT: u64 = 8 << 20;

    fn new(total: u64) -> Self {
        Self { total, shown: total > Self::WORTH_IT && io::stderr().is_terminal() }
    }

    fn show(&self, bytes: u64) {
        if self.shown {
            let percent = (bytes * 100).checked_div(self.total).unwrap_or(100).min(100);
            let _ = write!(io::stderr(), "\r{percent:3} % of {}", report::bytes(self.total / 2));
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
