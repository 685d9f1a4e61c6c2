//! A directory that only its owner can read and write.

use std::fs;
use std::io;
use std::path::Path;

/// Makes a directory that is ours alone, mode 0700, even if it was not. Root could change the mode of anybody's, so the owner
/// counts, too.
#[cfg(unix)]
pub fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if fs::metadata(directory)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// A directory below the user's profile is private by inheritance.
#[cfg(not(unix))]
pub fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}
