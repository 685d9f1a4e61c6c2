//! `redact`: prints text with its secrets replaced, to try the rules.

use super::cli::Redact;
use super::load;
use crate::system::terminal::print;
use posthog_llma_pipeline::redact::Redactor;
use serde_json::json;
use std::io::Read as _;
use std::process::ExitCode;

/// Reads text from standard input and prints it as it would be sent.
pub fn run(arguments: &Redact) -> anyhow::Result<ExitCode> {
    let options = load()?.options.conversion;
    let redactor = Redactor::of(options.redact_secrets, options.redact_patterns.as_deref())?;
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    if arguments.json {
        // Report the position in bytes and the rule, never the secret itself.
        let found: Vec<_> = redactor
            .find(&text)
            .into_iter()
            .map(|secret| json!({"rule": secret.rule, "start": secret.start, "end": secret.end}))
            .collect();
        let clean = redactor.redact(&text);
        let counts = redactor.take_counts();
        print(&format!(
            "{:#}\n",
            json!({"found": found, "redactions": counts, "text": clean.as_deref().unwrap_or(&text)})
        ))?;
    } else {
        print(redactor.redact(&text).as_deref().unwrap_or(&text))?;
    }
    Ok(ExitCode::SUCCESS)
}
