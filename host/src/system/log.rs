//! The log: what the program did and when, for anyone who has to find out why something did not arrive.
//!
//! The log never contains a session's content, a setting's value or a key: an event's fields are IDs, counts, times,
//! statuses and this program's own words, never text from a server, a file or a person. Other crates' events are left
//! out, because this program does not control what they contain.

use crate::system::regular;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

/// The log's name in the state directory.
pub const FILE_NAME: &str = "worker.log";

/// Maximum size of the file in bytes. A file that would grow beyond it becomes the old file and replaces the previous
/// one.
const LARGEST: u64 = 1024 * 1024;

/// Maximum number of bytes that [`tail`] returns.
const TAIL: u64 = 64 * 1024;

/// How much detail is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What the program did.
    Usual,
    /// Every step as well: someone named the log file, so they want the details.
    Full,
}

/// Starts logging to this file. Only the first call in a process has an effect.
pub fn start(path: &Path, detail: Detail) -> io::Result<()> {
    let file = Rotating::open(path)?;
    let level = match detail {
        Detail::Usual => Level::INFO,
        Detail::Full => Level::DEBUG,
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Mutex::new(file))
        .with_filter(Targets::new().with_target("posthog_llma", level));
    // An error means that one is already set.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    Ok(())
}

/// The last lines of a log: the old file's, then the new one's.
pub fn tail(path: &Path) -> Vec<String> {
    let mut text = Vec::new();
    for path in [old(path), path.to_owned()] {
        text.extend(regular::read_start(&path, 2 * LARGEST).unwrap_or_default());
    }
    let from = text.len().saturating_sub(TAIL as usize);
    let text = String::from_utf8_lossy(&text[from..]).into_owned();
    // The first line is cut off.
    text.lines().skip(usize::from(from > 0)).map(str::to_owned).collect()
}

/// The path of the old file.
fn old(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".1");
    path.with_file_name(name)
}

/// A size-limited file that several processes append to, one line at a time.
struct Rotating {
    path: PathBuf,
    file: File,
}

impl Rotating {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: append_to(path)? })
    }

    /// Starts a new file if this one has no room for this many bytes.
    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        let is_full = |length: u64| length.saturating_add(bytes as u64) > LARGEST;
        if !is_full(self.file.metadata()?.len()) {
            return Ok(());
        }
        // Another process may already have started a new one.
        if fs::metadata(&self.path).is_ok_and(|metadata| is_full(metadata.len())) {
            fs::rename(&self.path, old(&self.path))?;
        }
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.make_room(bytes.len())?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file to append to. A new file is accessible to its owner only. Refuses pipes and devices: opening one may
/// block forever, and its size cannot be limited.
fn append_to(path: &Path) -> io::Result<File> {
    regular::exists(path)?;
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stays_within_its_bounds_whoever_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut one, mut other) = (Rotating::open(&path).unwrap(), Rotating::open(&path).unwrap());
        let line = format!("{}\n", "x".repeat(99_999));
        for _ in 0..25 {
            one.write_all(line.as_bytes()).unwrap();
            other.write_all(line.as_bytes()).unwrap();
        }
        let sizes = [path.clone(), old(&path)].map(|path| path.metadata().unwrap().len());
        assert!(sizes.iter().all(|size| *size <= LARGEST) && sizes[0] > 0, "{sizes:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_tail_is_whole_lines_of_both_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        assert!(tail(&path).is_empty());
        fs::write(old(&path), "first\n").unwrap();
        fs::write(&path, "second\nthird\n").unwrap();
        assert_eq!(tail(&path), ["first", "second", "third"]);
        let long: String =
            (0..10_000).flat_map(|number| ["line ".to_owned(), number.to_string(), "\n".to_owned()]).collect();
        fs::write(&path, long).unwrap();
        let lines = tail(&path);
        assert!(lines.len() < 10_000 && lines.iter().all(|line| line.starts_with("line ")));
        assert_eq!(lines.last().unwrap(), "line 9999");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_its_owner_s_alone_and_what_is_none_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        Rotating::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for path in [directory.path(), Path::new("/dev/null"), &directory.path().join("no/such/folder")] {
            assert!(Rotating::open(path).is_err(), "{}", path.display());
        }
    }
}
