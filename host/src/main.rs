//! The `posthog-llma` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    posthog_llma::commands::run()
}
