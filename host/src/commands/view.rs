//! `view`: shows a session, in the terminal or as a page.

use crate::cli::View;
use crate::sandbox::{self, Limits};
use crate::terminal::{load, print, print_to, warn};
use crate::{report, view};
use std::process::ExitCode;

/// Runs the command.
pub fn run(arguments: &View) -> anyhow::Result<ExitCode> {
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
