//! Splits a list of Claude Code folders the way other tools that read its sessions do: at commas, or at the system's
//! `PATH` separator.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The folders in the value of `CLAUDE_CONFIG_DIR`. The client itself treats the value as one folder, so a value that
/// names an existing folder is not split.
pub(super) fn listed(value: &OsStr) -> Vec<PathBuf> {
    let whole = PathBuf::from(value);
    let Some(text) = value.to_str().filter(|_| !whole.is_dir()) else { return vec![whole] };
    let parts = |parts: Vec<PathBuf>| {
        let mut folders: Vec<PathBuf> = Vec::new();
        for part in parts {
            if !part.as_os_str().is_empty() && !folders.contains(&part) {
                folders.push(part);
            }
        }
        folders
    };
    let by_comma = text.split(',').map(|part| PathBuf::from(part.trim())).collect();
    let mut folders = Vec::new();
    for part in parts(by_comma) {
        folders.extend(if part.is_dir() { vec![part] } else { by_separator(&part) });
    }
    let folders = parts(folders);
    if folders.is_empty() { vec![whole] } else { folders }
}

/// On Windows the separator is `;`, so a drive's colon does not split.
fn by_separator(part: &Path) -> Vec<PathBuf> {
    std::env::split_paths(part.as_os_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_the_separator_of_paths_are_between_folders() {
        let list = |value: &str| listed(OsStr::new(value)).iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(list("/no/a"), ["/no/a"]);
        assert_eq!(list("/no/a, /no/b,"), ["/no/a", "/no/b"]);
        assert_eq!(list("/no/a,/no/a"), ["/no/a"]);
        assert_eq!(list(" , "), [" , "]);
        let joined = std::env::join_paths(["/no/a", "/no/b"]).unwrap();
        assert_eq!(listed(&joined), [Path::new("/no/a"), Path::new("/no/b")]);
        let mixed = format!("/no/c,{}", joined.to_str().unwrap());
        assert_eq!(list(&mixed), ["/no/c", "/no/a", "/no/b"]);
    }

    #[test]
    fn what_is_one_folder_is_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a,b", if cfg!(windows) { "a;b" } else { "a:b" }] {
            let odd = folder.path().join(name);
            std::fs::create_dir(&odd).unwrap();
            assert_eq!(listed(odd.as_os_str()), [odd]);
        }
    }
}
