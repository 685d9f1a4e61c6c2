//! `doctor`: checks everything that delivery needs, step by step, and says what to do.

mod bundle;

use crate::claude_code::hooks::Hooks;
use crate::claude_code::patterns;
use crate::claude_code::sessions;
use crate::claude_code::settings::{Environment, Settings};
use crate::commands::checks::Checks;
use crate::commands::{cli, status, until_text};
use crate::delivery::report::count;
use crate::outbox::decisions::Decisions;
use crate::outbox::{self, Outbox, OutboxError};
use crate::program;
use crate::system::terminal::{hide, print, tell};
use crate::system::{git, log, regular};
use anyhow::anyhow;
use posthog_llma_pipeline::options::{self, ApiKey, InvalidVariable, Options};
use posthog_llma_pipeline::origin::{Origin, Scheme};
use posthog_llma_sandbox::block_on;
use posthog_llma_sandbox::probe::{Probed, probe};
use posthog_llma_sandbox::proxy::ProxySettings;
use serde_json::json;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command. Exit code 0: all is well.
pub fn run(arguments: &cli::Doctor) -> anyhow::Result<ExitCode> {
    let mut checks = Checks::default();
    checks.all(&Environment::of_process(), &std::env::current_dir()?)?;
    let ok = checks.all_good();
    if let Some(path) = &arguments.bundle {
        write_bundle(path, &checks)?;
    }
    if arguments.json {
        print(&format!("{:#}\n", json!({"ok": ok, "checks": checks.0})))?;
    } else {
        print(&lines(&checks, '✗'))?;
    }
    Ok(ExitCode::from(u8::from(!ok)))
}

/// Runs the checks after `setup`. What a fresh machine does not have yet counts as a next step, not as a problem with
/// the new settings.
pub(super) fn after_setup() -> anyhow::Result<ExitCode> {
    let mut checks = Checks::default();
    checks.all(&Environment::of_process(), &std::env::current_dir()?)?;
    let mut text = lines(&checks, '→');
    let has_fault = checks.0.iter().any(|check| !check.ok && !check.is_next);
    if !has_fault {
        let is_sent = checks.0.iter().all(|check| check.ok || check.name != "plugin");
        text += if is_sent {
            "\n✓ Done: new sessions are sent from now on\n"
        } else {
            "\n✓ Done: sessions are sent once the plugin is installed\n"
        };
    }
    print(&text)?;
    Ok(ExitCode::from(u8::from(has_fault)))
}

/// One line for each check, and what to do. `next` marks remaining steps.
fn lines(checks: &Checks, next: char) -> String {
    let mut text = String::new();
    for check in &checks.0 {
        let mark = match (check.ok, check.is_next) {
            (true, _) => '✓',
            (false, true) => next,
            (false, false) => '✗',
        };
        let _ = writeln!(text, "{mark} {}: {}", check.name, check.found);
        if let Some(advice) = check.advice.as_ref().filter(|_| !check.ok) {
            let _ = writeln!(text, "    {advice}");
        }
    }
    text
}

/// Writes the bundle for support, and reports that on standard error.
fn write_bundle(path: &Path, checks: &Checks) -> anyhow::Result<()> {
    let status = status::gather(&Environment::of_process())?;
    let named = status.options.as_ref().and_then(|options| program::log_path(options.log.as_deref()?));
    let log_file = named.or_else(|| Some(outbox::directory().ok()?.join(log::FILE_NAME))).unwrap_or_default();
    bundle::write(path, checks, &status, &log_file)
        .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
    tell(&format!(
        "{}: written. It contains no content, no token and no values of settings; look at it before you share it.",
        path.display()
    ));
    Ok(())
}

impl Checks {
    fn all(&mut self, environment: &Environment, directory: &Path) -> anyhow::Result<()> {
        let settings = match Settings::load(environment, directory) {
            Ok(settings) => Some(settings),
            Err(error) => {
                self.bad("settings", error.to_string(), "Correct it where it is set: nothing is sent until then.");
                None
            }
        };
        if let Some(settings) = &settings {
            self.of_settings(settings)?;
        }
        self.pause();
        self.state_directory();
        match git::user_email(directory) {
            Some(email) => self.good("git email", email),
            None if settings.as_ref().is_some_and(|s| s.get(options::DISTINCT_ID).is_some()) => {
                self.good("git email", "none, but POSTHOG_LLMA_DISTINCT_ID is set");
            }
            // Allowed, and not a problem: events then belong to their session.
            None => self.good(
                "git email",
                "none: events are not attributed to a person (`git config --global user.email` or POSTHOG_LLMA_DISTINCT_ID would)",
            ),
        }
        let homes = environment.homes();
        if homes.is_empty() {
            self.bad("Claude Code", "no home directory found", "Set HOME or CLAUDE_CONFIG_DIR.");
        } else {
            self.of_hooks(&Hooks::of_all(&homes, &[directory.to_owned()]), status::seen(&homes));
        }
        for home in &homes {
            self.transcripts(home);
        }
        Ok(())
    }

    fn of_settings(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let options = settings.options();
        let error_of = |variable: &str| match &options {
            Err(crate::claude_code::settings::SettingsError::Invalid {
                error: InvalidVariable { variable: bad, .. },
                ..
            }) => *bad == variable,
            _ => false,
        };
        if !settings.warnings().is_empty() {
            let advice = "Correct the name, or remove it: `posthog-llma --help` lists the settings.";
            self.bad("setting names", settings.warnings().join("; "), advice);
        }
        match &options {
            Ok(options) if options.enabled => self.good("settings", "valid, and sending is on"),
            Ok(_) => self.bad(
                "settings",
                format!("valid, but {} is not true", options::ENABLED),
                "Set it to true, for example with `posthog-llma setup`.",
            ),
            Err(error) if error_of(options::API_KEY) || error_of(options::HOST) => {
                let invalid = if error_of(options::HOST) { options::HOST } else { options::API_KEY };
                self.bad("settings", format!("{invalid} is invalid"), format!("Correct it where it is set: {error}"));
            }
            Err(error) => self.bad("settings", error.to_string(), "Correct the value where it is set."),
        }
        if let Some((value, _)) = settings.get(options::REDACT_PATTERNS) {
            match patterns::read(value) {
                Ok(_) => self.good("patterns", "the patterns for secrets are valid"),
                Err(error) => {
                    self.bad("patterns", error.to_string(), "Correct the list; docs/redaction.md has an example.");
                }
            }
        }
        let key = settings.get(options::API_KEY).map(|(key, _)| ApiKey::parse(key));
        let key = match key {
            None => {
                self.bad(
                    "key",
                    format!("{} is not set", options::API_KEY),
                    "Run `posthog-llma setup`. It asks for the project token (phc_…), which is in the project's settings in PostHog.",
                );
                None
            }
            Some(Err(error)) => {
                self.bad(
                    "key",
                    error.to_string(),
                    "Copy the project token (phc_…) from the project's settings in PostHog.",
                );
                None
            }
            Some(Ok(key)) => {
                hide(Some(&key));
                if key.looks_like_project_key() {
                    self.good("key", key.to_string());
                } else {
                    self.bad(
                        "key",
                        format!("{key} does not look like a project token"),
                        "PostHog accepts events with an unknown token and drops them: check that it starts with phc_.",
                    );
                }
                Some(key)
            }
        };
        let origin = match &options {
            Ok(Options { origin, .. }) => {
                self.good("host", format!("{origin} is allowed"));
                Some(origin.clone())
            }
            Err(error) if error_of(options::HOST) => {
                self.bad(
                    "host",
                    error.to_string(),
                    "Use only scheme, host and port, such as https://eu.i.posthog.com.",
                );
                None
            }
            Err(_) => None,
        };
        if let (Some(key), Some(origin)) = (key, origin) {
            self.network(&origin, &key)?;
        }
        Ok(())
    }

    fn network(&mut self, origin: &Origin, key: &ApiKey) -> anyhow::Result<()> {
        let proxies = || ProxySettings::from_variables(|name| std::env::var(name).ok());
        let proxy = match proxies().choose(origin) {
            Ok(proxy) => proxy,
            Err(error) => {
                self.bad("proxy", error.to_string(), "Correct the variable, or unset it.");
                return Ok(());
            }
        };
        let probed = block_on(probe(proxies(), origin, key))?;
        let host = origin.host();
        match (&probed, &proxy) {
            (Probed::UnknownHost, None) => {
                self.bad("DNS", format!("{host} does not resolve"), "Check POSTHOG_HOST and the network.");
                return Ok(());
            }
            (_, None) => self.good("DNS", format!("{host} resolves")),
            (_, Some(proxy)) => self.good("DNS", format!("{host} is resolved by the proxy {proxy}")),
        }
        match &probed {
            Probed::Unreachable(why) => {
                let advice = "Check POSTHOG_HOST, the network, and HTTPS_PROXY if there is a proxy.";
                self.bad("connection", why.clone(), advice);
                return Ok(());
            }
            Probed::Tls(why) => {
                let advice = "Behind a proxy with its own certificate authority, set SSL_CERT_FILE to that authority's certificate.";
                self.bad("TLS", why.clone(), advice);
                return Ok(());
            }
            _ if origin.scheme() == Scheme::Http => self.good("TLS", "not needed on this machine"),
            _ => self.good("TLS", "the certificate is trusted"),
        }
        match probed {
            Probed::Answered(400, _) => self.good("request", "the server answers as PostHog does"),
            Probed::Answered(404 | 405, _) => {
                self.good("request", "the server has no endpoint for AI events; /batch/ will be used");
            }
            Probed::Answered(401 | 403, words) => {
                self.bad("request", format!("the server rejects the token: {words}"), "Check POSTHOG_API_KEY.");
            }
            Probed::Answered(status, words) => self.bad(
                "request",
                format!("the server answers {status}: {words}"),
                "PostHog answers an empty batch with 400: check POSTHOG_HOST.",
            ),
            Probed::UnknownHost | Probed::Tls(_) | Probed::Unreachable(_) => {
                self.bad("request", "the proxy does not reach the host", "Check HTTPS_PROXY and POSTHOG_HOST.");
            }
        }
        Ok(())
    }

    fn pause(&mut self) {
        // Decisions that cannot be read stop every command that sends, with an error of their own.
        let decisions = outbox::directory().ok().and_then(|directory| Decisions::load(&directory).ok());
        if let Some(until) = decisions.and_then(|decisions| decisions.paused()) {
            self.bad("pause", format!("sending is paused{}", until_text(until)), "Run `posthog-llma resume`.");
        }
    }

    fn state_directory(&mut self) {
        let opened = outbox::directory().and_then(|directory| Outbox::open_and_check(&directory));
        // Storing a note proves that the record is writable.
        let written = opened.and_then(|(mut outbox, warning)| {
            outbox.note("doctor", "was here")?;
            Ok((outbox.path().display().to_string(), warning))
        });
        match written {
            Ok((path, None)) => self.good("state directory", format!("{path} is writable")),
            Ok((_, Some(warning))) => self.bad("state directory", warning, "Nothing to do: it was repaired."),
            Err(error) => {
                let advice = match error {
                    OutboxError::Newer { .. } => "Update posthog-llma.",
                    _ => "Nothing is sent that cannot be recorded: free some space, or make the directory writable.",
                };
                self.bad("state directory", error.to_string(), advice);
            }
        }
    }

    fn transcripts(&mut self, config: &Path) {
        let projects = config.join("projects");
        match sessions::all(&[config.to_owned()]) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.is_dir() => {
                self.good("transcripts", "no sessions yet");
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.bad(
                "transcripts",
                format!("no sessions yet: {} does not exist", projects.display()),
                "Run a session first, or set CLAUDE_CONFIG_DIR to Claude Code's directory.",
            ),
            Err(error) => self.bad(
                "transcripts",
                format!("{} cannot be read: {error}", projects.display()),
                "Check its permissions, or set CLAUDE_CONFIG_DIR to Claude Code's directory.",
            ),
            Ok(sessions) => {
                let unreadable = sessions.iter().find_map(|session| {
                    let read = regular::open(&session.path).and_then(|mut file| file.read(&mut [0]));
                    read.err().map(|error| format!("{} cannot be read: {error}", session.path.display()))
                });
                match unreadable {
                    Some(unreadable) => self.bad("transcripts", unreadable, "Check its permissions."),
                    None => self.good("transcripts", format!("{} readable", count(sessions.len() as u64, "session"))),
                }
            }
        }
    }
}
