//! How the record identifies destinations, sessions and files.

use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::options::ApiKey;
use std::fmt;
use std::path::{Path, PathBuf};

/// A destination's number in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationId(pub(super) i64);

impl fmt::Display for DestinationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A session's number in the record, for one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub(super) i64);

/// The key's SHA-1, which distinguishes keys without revealing them: a key is too random to be guessed from its hash.
pub(super) fn key_hash(key: &ApiKey) -> String {
    EventId::other("project-key", key.expose()).to_string()
}

#[cfg(unix)]
pub(super) fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(unix)]
pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    std::ffi::OsString::from_vec(bytes).into()
}

/// On this platform, paths that are not valid Unicode are not found.
#[cfg(not(unix))]
pub(super) fn bytes_of(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(not(unix))]
pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
