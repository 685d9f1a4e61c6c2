//! The number of files this process can have open.

/// Raises the limit to the maximum the system allows: `ingest` can read 256 sessions at once, each with a file and a
/// connection, and some systems allow 256 files.
#[cfg(unix)]
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // macOS refuses values above a limit of its own. Keeping the old limit is not an error.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// This platform has no such limit.
#[cfg(not(unix))]
pub fn raise_limit() {}
