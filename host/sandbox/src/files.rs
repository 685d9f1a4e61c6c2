//! The files passed to the component, one by one: it gets no directory.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorStat, DescriptorType, ErrorCode};

/// The most bytes of one answer. The component may ask for any number, and the host must hold what it answers.
const MAX_READ_BYTES: usize = 64 * 1024;

/// A session's file. It is open only while it is read: a session can have more files than a process can have open.
#[derive(Debug)]
pub struct SessionFile {
    path: PathBuf,
    found: fs::Metadata,
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

/// Opens a regular file for reading. Refuses a symbolic link, because it may lead anywhere: resolve a path from the user
/// first. Refuses a pipe before opening it, because opening one blocks until its other end is open.
pub fn open(path: &Path) -> Result<File, SessionFileError> {
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
    Ok(file)
}

impl SessionFile {
    /// A file that can be opened now.
    pub fn find(path: &Path) -> Result<Self, SessionFileError> {
        let failed = |source| SessionFileError::Open { path: path.to_owned(), source };
        let found = open(path)?.metadata().map_err(failed)?;
        Ok(Self { path: path.to_owned(), found })
    }

    /// Opens the file that was found, never another one that has taken its place.
    fn open(&self) -> Result<File, ErrorCode> {
        let file = open(&self.path).map_err(|error| match error {
            SessionFileError::Open { source, .. } => ErrorCode::from(source),
            SessionFileError::NotRegular { .. } => ErrorCode::NoEntry,
        })?;
        if is_same(&self.found, &file.metadata()?) { Ok(file) } else { Err(ErrorCode::NoEntry) }
    }
}

/// The files that the component has, of which one at a time is open.
#[derive(Debug, Default)]
pub(super) struct Granted {
    open: Option<(u32, File)>,
}

impl Granted {
    /// The open file with this handle. The one that was read before is closed.
    pub(super) fn file(
        &mut self,
        table: &ResourceTable,
        handle: &Resource<Descriptor>,
    ) -> wasmtime::Result<Result<&mut File, ErrorCode>> {
        let number = handle.rep();
        let file = match self.open.take().filter(|(open, _)| *open == number) {
            Some((_, file)) => file,
            None => match table.get(&Resource::<SessionFile>::new_borrow(number))?.open() {
                Ok(file) => file,
                Err(error) => return Ok(Err(error)),
            },
        };
        Ok(Ok(&mut self.open.insert((number, file)).1))
    }

    /// The component dropped this handle.
    pub(super) fn close(&mut self, number: u32) {
        self.open.take_if(|(open, _)| *open == number);
    }
}

/// The size. Links and times of a file tell nothing about a session.
pub(super) fn stat(file: &File) -> Result<DescriptorStat, ErrorCode> {
    Ok(DescriptorStat {
        type_: DescriptorType::RegularFile,
        link_count: 1,
        size: file.metadata()?.len(),
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    })
}

/// Up to this many bytes from there on, and whether the file ends there.
pub(super) fn read(file: &mut File, length: u64, offset: u64) -> Result<(Vec<u8>, bool), ErrorCode> {
    let length = usize::try_from(length).unwrap_or(MAX_READ_BYTES).min(MAX_READ_BYTES);
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(offset))?;
    // Blocking reads are 2 to 5 times faster than passing each to another thread, and nothing else runs here.
    let read = file.read(&mut bytes)?;
    bytes.truncate(read);
    Ok((bytes, read == 0))
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
    fn a_file_that_was_replaced_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session.jsonl");
        fs::write(&path, "mine").unwrap();
        let found = SessionFile::find(&path).unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_len(2).unwrap();
        assert!(found.open().is_ok(), "it may change");
        fs::write(directory.path().join("other"), "another").unwrap();
        fs::rename(directory.path().join("other"), &path).unwrap();
        assert_eq!(found.open().err(), cfg!(unix).then_some(ErrorCode::NoEntry));
        fs::remove_file(&path).unwrap();
        assert_eq!(found.open().err(), Some(ErrorCode::NoEntry));
    }

    #[test]
    fn of_all_files_one_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let (mut table, mut granted) = (ResourceTable::new(), Granted::default());
        let handles = ["one", "two"].map(|text| {
            fs::write(directory.path().join(text), text).unwrap();
            let file = SessionFile::find(&directory.path().join(text)).unwrap();
            table.push(file).unwrap().rep()
        });
        for (number, text) in [(0, "one"), (1, "two"), (1, "two"), (0, "one")] {
            let handle = Resource::new_borrow(handles[number]);
            let file = granted.file(&table, &handle).unwrap().unwrap();
            assert_eq!(read(file, 100, 0).unwrap().0, text.as_bytes());
            assert_eq!(granted.open.as_ref().unwrap().0, handles[number]);
        }
    }

    #[test]
    fn a_regular_file_is_opened() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).is_ok());
    }

    #[test]
    fn a_missing_file_and_a_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(open(&directory.path().join("x")), Err(SessionFileError::Open { .. })));
        assert!(matches!(open(directory.path()), Err(SessionFileError::NotRegular { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn a_symbolic_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        let link = directory.path().join("agent-1.jsonl");
        fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(matches!(open(&link), Err(SessionFileError::NotRegular { .. })));
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_is_refused_without_waiting_for_its_other_end() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("session.jsonl");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            assert!(matches!(open(&pipe), Err(SessionFileError::NotRegular { .. })));
        }
    }
}
