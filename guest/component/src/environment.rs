//! The variables that a host passes to a command or a server.

use posthog_llma_pipeline::options::{NameVerdict, Options, judge_name};

/// The value of a variable.
pub(crate) fn variable(name: &str) -> Option<String> {
    wasi::cli::environment::get_environment().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// The settings. An error names the variable.
pub(crate) fn options() -> Result<Options, String> {
    for (name, value) in wasi::cli::environment::get_environment() {
        if let NameVerdict::NearMiss(meant) = judge_name(&name)
            && !value.is_empty()
        {
            return Err(format!("{name:?} is not a setting; did you mean {meant}?"));
        }
    }
    Options::parse(variable).map_err(|error| error.to_string())
}
