//! How many files this process can have open.

/// Raises the number to the most that the system allows: each file of a session is open while the session is sent, and one
/// with thousands of sub-agents has as many.
#[cfg(unix)]
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // macOS refuses what is above a number of its own; that it stays as it was is not an error.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// There is no such number.
#[cfg(not(unix))]
pub fn raise_limit() {}
