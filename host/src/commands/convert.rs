//! `convert`: prints a session's events as they would be sent.

use super::cli::Convert;
use super::{FAILED, load};
use crate::delivery::conversion::{self, ConversionError};
use crate::delivery::report;
use crate::system::terminal::{events_out, tell, warn};
use posthog_llma_sandbox::{Limits, block_on};
use std::io::{self, BufWriter};
use std::process::ExitCode;

/// Prints a session's events.
pub fn run(arguments: &Convert) -> anyhow::Result<ExitCode> {
    let program = load()?;
    let session = program.session(&arguments.session)?;
    let (sandbox, options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    let mut out = BufWriter::new(events_out());
    let converted = block_on(conversion::convert(&sandbox, &session, &options, &mut out))?;
    // The process's exit frees the memory faster.
    std::mem::forget(sandbox);
    match converted {
        Ok(converted) => {
            warn(converted.left_out.warning().as_slice());
            warn(&report::line_warnings(&converted.report));
            if report::has_nothing(&converted.report) {
                tell(report::NOTHING);
            }
            // Incomplete output must not look complete.
            Ok(if converted.left_out.dropped() == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
        }
        // A reader such as `| head` has seen enough.
        Err(ConversionError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}
