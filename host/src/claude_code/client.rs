//! Finds the Claude Code process that called a hook: once that process is gone, its session is no longer running.

use crate::system::processes::describe;

pub use crate::system::processes::Process;

/// How many ancestors to check: the client starts a shell, and the shell starts the hook.
const MOST_ANCESTORS: usize = 6;

/// Processes that only pass on the hook's call.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "posthog-llma"];

/// The nearest ancestor of this process that is not a shell. `None` where the system does not say (anything but Linux).
pub fn calling() -> Option<Process> {
    let mut at = std::process::id();
    for _ in 0..MOST_ANCESTORS {
        let parent = describe(at)?.parent;
        // The client is already gone, and this process was reparented.
        if parent <= 1 {
            return None;
        }
        let caller = describe(parent)?;
        if !SHELLS.contains(&caller.name.as_str()) {
            return Some((parent, caller.started));
        }
        at = parent;
    }
    None
}

/// Is this process still running?
pub fn is_running((process, started): Process) -> bool {
    describe(process).is_some_and(|found| found.started == started)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_runs_and_one_that_ended_does_not() {
        let started = describe(std::process::id()).unwrap().started;
        assert!(is_running((std::process::id(), started)));
        assert!(!is_running((std::process::id(), started + 1)));
        let mut child = Command::new("sleep").arg("10").stdin(Stdio::null()).spawn().unwrap();
        let found = describe(child.id()).unwrap();
        assert_eq!((found.name.as_str(), found.parent), ("sleep", std::process::id()));
        assert!(is_running((child.id(), found.started)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_running((child.id(), found.started)));
    }

    #[test]
    fn the_calling_process_is_no_shell() {
        // The test's own caller is cargo or a test runner.
        if let Some((process, _)) = calling() {
            assert!(!SHELLS.contains(&describe(process).unwrap().name.as_str()));
        }
    }
}
