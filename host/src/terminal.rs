//! What the program says: its results, and what it says beside them. Nothing that is said holds the project key.

use crate::program::{Program, ProgramError};
use crate::report;
use posthog_llma_guest::options::ApiKey;
use std::io::{self, Write as _};
use std::sync::OnceLock;

/// The project key, as soon as it is known: nothing that is printed for people may hold it, not even when a server
/// repeats it.
static API_KEY: OnceLock<ApiKey> = OnceLock::new();

/// The settings, see [`Program::load`]. From here on the key is known.
pub fn load() -> Result<Program, ProgramError> {
    let program = Program::load()?;
    hide(program.options.api_key.as_ref());
    Ok(program)
}

/// This key must not be shown.
pub fn hide(key: Option<&ApiKey>) {
    if let Some(key) = key {
        let _ = API_KEY.set(key.clone());
    }
}

fn without_key(text: &str) -> String {
    API_KEY.get().map_or_else(|| text.to_owned(), |key| report::without_key(text, key))
}

/// Prints a result. That its reader has seen enough, as `| head` has, is no error.
pub fn print(text: &str) -> io::Result<()> {
    print_to(&mut io::stdout(), text)
}

/// As [`print()`], to another stream.
pub fn print_to(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(without_key(text).as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something beside the result. That nobody listens is no error.
pub fn complain(what: &str, message: &str) {
    let _ = writeln!(io::stderr(), "posthog-llma: {what}: {}", without_key(message));
}

/// Says warnings, a line each.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        complain("warning", warning);
    }
}

/// Says what goes on, a line without more ado.
pub fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "{}", without_key(message));
}
