//! The files passed to the component, one by one: it gets no directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use wasmtime_wasi::filesystem::{Descriptor, File as WasiFile};
use wasmtime_wasi::{FsPerms, OpenMode};

/// A session's file, open for reading.
#[derive(Debug)]
pub struct SessionFile {
    file: File,
}

/// Why a file is not passed to the component.
#[derive(Debug, thiserror::Error)]
pub enum SessionFileError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The path is a directory, a symbolic link, a pipe, a device or a socket.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
}

impl SessionFileError {
    /// Does the error mean that the process or the system has too many open files? Then it says nothing about the file.
    pub fn is_exhaustion(&self) -> bool {
        /// `ENFILE` and `EMFILE`, which are the same on all systems that have them.
        const TOO_MANY: [i32; 2] = [23, 24];
        match self {
            Self::Open { source, .. } => {
                cfg!(unix) && source.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code))
            }
            Self::NotRegular { .. } => false,
        }
    }
}

impl SessionFile {
    /// Opens a regular file. Refuses a symbolic link, because it may lead anywhere: resolve a path from the user first.
    /// Refuses a pipe before opening it, because opening one blocks until its other end is open.
    pub fn open(path: &Path) -> Result<Self, SessionFileError> {
        let failed = |source| SessionFileError::Open { path: path.to_owned(), source };
        let before = fs::symlink_metadata(path).map_err(failed)?;
        let not_regular = || SessionFileError::NotRegular { path: path.to_owned() };
        if !before.is_file() {
            return Err(not_regular());
        }
        #[expect(clippy::disallowed_methods, reason = "it was checked to be a regular file")]
        let file = File::open(path).map_err(failed)?;
        let after = file.metadata().map_err(failed)?;
        // A link may have replaced it between the two checks.
        if !after.is_file() || !is_same(&before, &after) {
            return Err(not_regular());
        }
        Ok(Self { file })
    }

    /// The file, for a conversion that the host runs itself: it reads the file here and passes on only bytes.
    pub fn as_file(&mut self) -> &mut File {
        &mut self.file
    }

    /// What the component gets: read access to this file only.
    pub(super) fn into_descriptor(self) -> Descriptor {
        // Blocking reads are 2 to 5 times faster than passing each to another thread, and nothing else runs here.
        let file = WasiFile::new(self.file, FsPerms::ReadOnly, OpenMode::READ, true);
        Descriptor::File(file)
    }
}

#[cfg(unix)]
fn is_same(before: &fs::Metadata, after: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (before.dev(), before.ino()) == (after.dev(), after.ino())
}

#[cfg(not(unix))]
fn is_same(_before: &fs::Metadata, _after: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_file_is_opened() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(SessionFile::open(file.path()).is_ok());
    }

    #[test]
    fn a_missing_file_and_a_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(SessionFile::open(&directory.path().join("x")), Err(SessionFileError::Open { .. })));
        assert!(matches!(SessionFile::open(directory.path()), Err(SessionFileError::NotRegular { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn a_symbolic_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        let link = directory.path().join("agent-1.jsonl");
        fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(matches!(SessionFile::open(&link), Err(SessionFileError::NotRegular { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_refused_without_waiting_for_its_other_end() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("session.jsonl");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            assert!(matches!(SessionFile::open(&pipe), Err(SessionFileError::NotRegular { .. })));
        }
    }
}
