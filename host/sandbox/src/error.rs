//! The errors that can end a run early.

use super::limits::{Limits, MemoryExhausted, TimeExhausted};
use std::time::Duration;
use wasmtime_wasi::I32Exit;

/// The most characters of the component's error output to show.
const MAX_MESSAGE_CHARS: usize = 500;

/// Why a run of the component gave no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine, the component or the runtime cannot be set up: a bug in this program or a problem with the machine.
    #[error("cannot set up the sandbox: {0}")]
    Setup(String),
    /// The component crashed: a panic, a stack overflow, or a call that it must not make.
    #[error("the component crashed: {reason}{}", said(message))]
    Trap {
        /// The WebAssembly trap, or the root cause.
        reason: String,
        /// The end of a panic's message: at most 500 characters, with control characters escaped. May be empty.
        message: String,
    },
    /// The component called `exit` with this code.
    #[error("the component exited with code {0}")]
    Exited(i32),
    /// The run took longer than its limit.
    #[error("the component was stopped after {} s (--max-time sets the limit)", .0.as_secs_f64())]
    TimeLimit(Duration),
    /// The component needs more memory than its limit, in bytes.
    #[error("the component was stopped: it needs more than {} MiB of memory (--max-memory sets the limit)", .0 / (1024 * 1024))]
    MemoryLimit(usize),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl SandboxError {
    // By value, so that it can be passed to `map_err`.
    #[expect(clippy::needless_pass_by_value, reason = "used as a function")]
    pub(super) fn setup(error: wasmtime::Error) -> Self {
        Self::Setup(format!("{error:#}"))
    }

    /// Classifies the error of a call by its cause.
    pub(super) fn of_call(error: &wasmtime::Error, limits: Limits, stderr: &str) -> Self {
        if error.is::<MemoryExhausted>() {
            return Self::MemoryLimit(limits.memory);
        }
        if error.is::<TimeExhausted>() {
            return Self::TimeLimit(limits.time);
        }
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Self::Exited(*code);
        }
        let reason = match error.downcast_ref::<wasmtime::Trap>() {
            Some(trap) => trap.to_string(),
            None => error.root_cause().to_string(),
        };
        Self::Trap { reason, message: last_words(stderr) }
    }
}

/// The end of the text, because a panic's message is written last.
fn last_words(stderr: &str) -> String {
    let skipped = stderr.chars().count().saturating_sub(MAX_MESSAGE_CHARS);
    let end: String = stderr.chars().skip(skipped).collect();
    let one_line: Vec<&str> = end.lines().map(str::trim).collect();
    one_line.join(" ").escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_short_and_harmless_in_a_terminal() {
        let text = format!("{}\x1b[2J\nlast", "x".repeat(10_000));
        let words = last_words(&text);
        assert!(words.ends_with("x\\u{1b}[2J last"), "{words}");
        assert!(words.chars().count() < 520);
    }

    #[test]
    fn an_error_says_what_happened_in_the_users_words() {
        let limits = Limits::default();
        let memory = SandboxError::of_call(&MemoryExhausted.into(), limits, "");
        assert_eq!(
            memory.to_string(),
            "the component was stopped: it needs more than 256 MiB of memory (--max-memory sets the limit)"
        );
        let time = SandboxError::of_call(&TimeExhausted.into(), limits, "");
        assert_eq!(time.to_string(), "the component was stopped after 600 s (--max-time sets the limit)");
        let trap = wasmtime::Trap::UnreachableCodeReached.into();
        assert_eq!(
            SandboxError::of_call(&trap, limits, "panicked at src/lib.rs:\nno way").to_string(),
            "the component crashed: wasm trap: wasm `unreachable` instruction executed: \
             panicked at src/lib.rs: no way"
        );
    }
}
