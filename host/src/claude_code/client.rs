//! The process of Claude Code that called a hook: a session whose process is gone does not run any more.

use std::fs;

/// How many generations of processes are looked at: a hook is called by a shell, that by the client.
const MOST_ANCESTORS: usize = 6;

/// Processes that only pass a hook on.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "posthog-llma"];

/// A process: its number, and when it started in ticks since the machine did. Numbers are used again, pairs are not.
pub type Process = (u32, u64);

/// The nearest process above this one that is no shell. None where the system does not tell (anything but Linux).
pub fn calling() -> Option<Process> {
    let mut at = std::process::id();
    for _ in 0..MOST_ANCESTORS {
        let (_, parent, _) = stat(at)?;
        // The client is gone already, and this process was handed on.
        if parent <= 1 {
            return None;
        }
        let (name, _, started) = stat(parent)?;
        if !SHELLS.contains(&name.as_str()) {
            return Some((parent, started));
        }
        at = parent;
    }
    None
}

/// Does it still run?
pub fn is_running((process, started): Process) -> bool {
    stat(process).is_some_and(|(_, _, since)| since == started)
}

/// Name, parent and start of a process, from `/proc/<pid>/stat` (man 5 `proc_pid_stat`).
fn stat(process: u32) -> Option<(String, u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses and may hold some.
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // The 22nd field of all, the 18th from here.
    let started = fields.nth(17)?.parse().ok()?;
    // A zombie has ended; only nobody asked how.
    (state != "Z").then(|| (name.to_owned(), parent, started))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_runs_and_one_that_ended_does_not() {
        let (_, _, started) = stat(std::process::id()).unwrap();
        assert!(is_running((std::process::id(), started)));
        assert!(!is_running((std::process::id(), started + 1)));
        let mut child = Command::new("sleep").arg("10").stdin(Stdio::null()).spawn().unwrap();
        let (name, parent, started) = stat(child.id()).unwrap();
        assert_eq!((name.as_str(), parent), ("sleep", std::process::id()));
        assert!(is_running((child.id(), started)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_running((child.id(), started)));
    }

    #[test]
    fn the_calling_process_is_no_shell() {
        // The test's own caller is cargo, or a runner.
        if let Some((process, _)) = calling() {
            assert!(!SHELLS.contains(&stat(process).unwrap().0.as_str()));
        }
    }
}
