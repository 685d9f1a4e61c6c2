//! A directory that only its owner can read and write.

use std::fs;
use std::io;
use std::path::Path;

/// Makes a directory that is ours alone, mode 0700, even if it was not. Only its owner can change its mode, so success also
/// says that it is ours.
#[cfg(unix)]
pub fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// A directory below the user's profile is private by inheritance.
#[cfg(not(unix))]
pub fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}
