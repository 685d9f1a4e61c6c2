//! `view`: shows a session in the terminal or as a page.

use super::load;
use crate::commands::cli::View;
use crate::delivery::report;
use crate::system::terminal::{columns, complain, print, print_colored, warn};
use crate::view::ViewError;
use crate::view::{self, tree};
use posthog_llma_sandbox::{self, Limits};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shells' exit code for a command ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Runs the command.
pub fn run(arguments: &View) -> anyhow::Result<ExitCode> {
    let program = load()?;
    let session = program.session(&arguments.session)?;
    let (sandbox, options) = program.prepare(&session, Limits::from(&arguments.limits))?;
    let converted = if let Some(path) = &arguments.html {
        stop_on_interrupt();
        match posthog_llma_sandbox::block_on(view::page(&sandbox, &session, &options, path, &STOP))? {
            Ok(page) => {
                let size = report::bytes(page.bytes);
                print(&format!("{}: {} events, {size}. Open it in a browser.\n", path.display(), page.events))?;
                page.converted
            }
            Err(error @ ViewError::Interrupted(_)) => {
                complain("error", &error.to_string());
                return Ok(ExitCode::from(INTERRUPTED));
            }
            Err(error) => return Err(error.into()),
        }
    } else {
        let (tree, converted) = posthog_llma_sandbox::block_on(view::tree(&sandbox, &session, &options))??;
        let tree = match columns() {
            Some(columns) => tree::fit(&tree, columns),
            None => tree,
        };
        print_colored(&tree)?;
        converted
    };
    warn(converted.left_out.warning().as_slice());
    warn(&report::line_warnings(&converted.report));
    Ok(ExitCode::SUCCESS)
}

/// Uses a thread of its own: a conversion never yields, so nothing else could run in its thread.
fn stop_on_interrupt() {
    std::thread::spawn(|| {
        let interrupt = async {
            if tokio::signal::ctrl_c().await.is_ok() {
                STOP.store(true, Ordering::Relaxed);
            }
        };
        posthog_llma_sandbox::block_on(interrupt)
    });
}
