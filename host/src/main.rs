//! `posthog-llma`, the program.

use clap::Parser as _;
use posthog_llma::cli::{Cli, Command, Convert, Demo, Send, View};
use posthog_llma::conversion::{self, ConversionError};
use posthog_llma::delivery::{self, Destination, PATIENCE};
use posthog_llma::demo;
use posthog_llma::program::{self, Program, ProgramError};
use posthog_llma::report::{self, Report};
use posthog_llma::sandbox::bindings::exports::posthog::llm_analytics::delivery::Patience;
use posthog_llma::sandbox::{self, Limits};
use posthog_llma::view;
use posthog_llma_guest::options::ApiKey;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Something was not delivered, or could not be read.
const FAILED: u8 = 1;
/// Called wrongly, or a setting cannot be used. (clap uses the same.)
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Convert(arguments) => convert(&arguments),
        Command::Send(arguments) => send(&arguments),
        Command::View(arguments) => view(&arguments),
        Command::Demo(arguments) => demo(&arguments),
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

/// What is missing in the settings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(&'static str);

/// The project key, as soon as it is known: nothing that is printed for people may hold it, not even when a server
/// repeats it.
static API_KEY: OnceLock<ApiKey> = OnceLock::new();

fn load() -> Result<Program, ProgramError> {
    let program = Program::load()?;
    if let Some(key) = &program.options.api_key {
        let _ = API_KEY.set(key.clone());
    }
    Ok(program)
}

fn without_key(text: &str) -> String {
    API_KEY.get().map_or_else(|| text.to_owned(), |key| report::without_key(text, key))
}

/// Says something beside the result. That nobody listens is no error.
fn complain(what: &str, message: &str) {
    let _ = writeln!(io::stderr(), "posthog-llma: {what}: {}", without_key(message));
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        complain("warning", warning);
    }
}

fn convert(arguments: &Convert) -> anyhow::Result<ExitCode> {
    let program = load()?;
    let session = program.session(&arguments.session)?;
    let ((sandbox, cache_warning), options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    warn(cache_warning.as_slice());
    let mut out = BufWriter::new(io::stdout().lock());
    let converted = sandbox::block_on(conversion::convert(&sandbox, &session, &options, &mut out))?;
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
    let Some(api_key) = program.options.api_key.clone() else {
        return Err(Unusable(
            "POSTHOG_API_KEY is not set: it is the project key (phc_…), in the project's settings in PostHog",
        )
        .into());
    };
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
    let patience = patience(arguments.timeout, arguments.retries);
    let size: u64 = session.transcripts().filter_map(|(path, _)| path.metadata().ok()).map(|m| m.len()).sum();
    let progress = Progress::new(size * 2);
    let delivered =
        sandbox::block_on(delivery::deliver(&sandbox, &session, &options, &destination, patience, |batch| {
            progress.show(batch.bytes_read);
        }))?;
    progress.end();
    let report = Report::of(&session.files.id, &destination.origin, &delivered, warnings, now());
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

/// The whole request bounds its parts.
fn patience(timeout: Duration, retries: u32) -> Patience {
    let request_timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    Patience {
        connect_timeout: PATIENCE.connect_timeout.min(request_timeout),
        first_byte_timeout: PATIENCE.first_byte_timeout.min(request_timeout),
        request_timeout,
        max_retries: retries,
        ..PATIENCE
    }
}

fn view(arguments: &View) -> anyhow::Result<ExitCode> {
    let program = load()?;
    let session = program.session(&arguments.session)?;
    let ((sandbox, cache_warning), options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    warn(cache_warning.as_slice());
    let converted = if let Some(path) = &arguments.html {
        let page = sandbox::block_on(view::page(&sandbox, &session, &options, path))??;
        let size = report::bytes(page.bytes);
        print(&format!("{}: {} events, {size}. Open it in a browser.\n", path.display(), page.events))?;
        page.converted
    } else {
        let (tree, converted) = sandbox::block_on(view::tree(&sandbox, &session, &options))??;
        // Without the colours where nobody would see them.
        print_to(&mut anstream::stdout(), &tree)?;
        converted
    };
    warn(&converted.warnings);
    warn(&report::line_warnings(&converted.report));
    Ok(ExitCode::SUCCESS)
}

fn demo(arguments: &Demo) -> anyhow::Result<ExitCode> {
    let (sandbox, cache_warning) = program::sandbox(Limits::default())?;
    warn(cache_warning.as_slice());
    let demo = sandbox::block_on(demo::run(&sandbox, now()))??;
    print(&if arguments.json { format!("{:#}\n", demo.json()) } else { demo.text() })?;
    Ok(if demo.is_good() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn print(text: &str) -> io::Result<()> {
    print_to(&mut io::stdout(), text)
}

fn print_to(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(without_key(text).as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
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
