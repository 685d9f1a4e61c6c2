//! Opening files that may have been replaced by something else.
//!
//! Opening a pipe waits for its other end, and reading a device may never finish. A repository, or another of the
//! user's programs, can put either where a file is expected, so only this module opens files to read (`clippy.toml`
//! enforces that).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Does the file exist? Anything that is neither a file nor absent is an error.
pub fn exists(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(_) => Err(io::Error::other("not a regular file")),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Does this error mean that the file does not exist?
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a file for reading. Follows symbolic links.
pub fn open(path: &Path) -> io::Result<File> {
    if exists(path)? { unchecked(path) } else { Err(io::Error::new(io::ErrorKind::NotFound, "no such file")) }
}

/// Reads a whole file. A file of more than `most` bytes is an error of the kind `FileTooLarge`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let bytes = read_start(path, most.saturating_add(1))?;
    if bytes.len() as u64 > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Reads the first `most` bytes of a file.
pub fn read_start(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file that is used only as a lock, and creates it if it is missing.
pub fn open_lock(path: &Path) -> io::Result<File> {
    exists(path)?;
    File::options().create(true).truncate(false).write(true).open(path)
}

#[expect(clippy::disallowed_methods, reason = "the caller has checked what it is")]
fn unchecked(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_start(&path, 4).unwrap(), b"1234");
    }

    #[test]
    fn what_is_missing_is_not_found_and_a_lock_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!exists(&path).unwrap());
        open_lock(&path).unwrap();
        assert!(exists(&path).unwrap());
    }

    #[test]
    fn a_directory_is_never_opened() {
        let folder = tempfile::tempdir().unwrap();
        for error in [open(folder.path()).unwrap_err(), open_lock(folder.path()).unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_an_error_and_not_a_hang() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        for error in [open(&path).unwrap_err(), read(&path, 1).unwrap_err(), open_lock(&path).unwrap_err()] {
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
        assert!(open(Path::new("/dev/zero")).is_err());
    }
}
