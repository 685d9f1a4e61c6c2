//! Whether git tracks a file, according to the repository's index (gitformat-index(5)).

use super::config;
use crate::system::regular;
use memchr::memmem;
use std::fs;
use std::path::Path;

/// An index of 100,000 files has about 10 MiB.
const MAX_INDEX: u64 = 256 << 20;

/// Whether git tracks a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// The index lists the file.
    Yes,
    /// The index does not list the file, or the file is not in a repository.
    No,
    /// The index has a format this module cannot read. Don't take this for a "no".
    CannotTell,
}

/// Whether the repository that contains the file tracks it.
pub fn is_tracked(file: &Path) -> Tracked {
    let Some(folder) = file.parent().and_then(|folder| folder.canonicalize().ok()) else { return Tracked::No };
    let Some(git_dir) = config::git_dir(&folder) else { return Tracked::No };
    let index = git_dir.join("index");
    let bytes = match regular::read(&index, MAX_INDEX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Tracked::No,
        Err(_) => return Tracked::CannotTell,
    };
    let top = folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&folder);
    let below = folder.strip_prefix(top).unwrap_or(Path::new("")).join(file.file_name().unwrap_or_default());
    let name = below.to_string_lossy().replace('\\', "/");
    match bytes.get(..8) {
        // Versions 2 and 3 store each path in full. On a case-insensitive file system, the path's case may differ.
        Some(b"DIRC\0\0\0\x02" | b"DIRC\0\0\0\x03") if !is_split(&git_dir) => {
            let bytes = bytes.to_ascii_lowercase();
            let path = [name.to_ascii_lowercase().as_bytes(), b"\0"].concat();
            if memmem::find(&bytes, &path).is_some() { Tracked::Yes } else { Tracked::No }
        }
        _ => Tracked::CannotTell,
    }
}

/// Is part of the index in another file?
fn is_split(git_dir: &Path) -> bool {
    let mut files = fs::read_dir(git_dir).into_iter().flatten().flatten();
    files.any(|file| file.file_name().as_encoded_bytes().starts_with(b"sharedindex."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_file_is_tracked_once_it_is_added() {
        let directory = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let status = Command::new("git").args(arguments).current_dir(directory.path()).status();
            assert!(status.unwrap().success());
        };
        let file = directory.path().join("sub/a.json");
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(is_tracked(&file), Tracked::No);
        git(&["init", "-q"]);
        assert_eq!(is_tracked(&file), Tracked::No);
        git(&["add", "sub/a.json"]);
        assert_eq!(is_tracked(&file), Tracked::Yes);
        assert_eq!(is_tracked(&directory.path().join("sub/A.JSON")), Tracked::Yes);
        assert_eq!(is_tracked(&directory.path().join("sub/b.json")), Tracked::No);
        git(&["update-index", "--index-version", "4"]);
        assert_eq!(is_tracked(&file), Tracked::CannotTell);
        fs::write(directory.path().join(".git/index"), "DIR").unwrap();
        assert_eq!(is_tracked(&file), Tracked::CannotTell);
    }
}
