//! A directory that only its owner can read and write.

use std::fs;
use std::io;
use std::path::Path;

/// Makes a directory private to this user, with mode 0700, even if it already exists. Checks the owner as well, because
/// root could change the mode of another user's directory.
#[cfg(unix)]
pub fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if fs::metadata(directory)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// A directory below the user's profile inherits its permissions, so it is private.
#[cfg(not(unix))]
pub fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}
