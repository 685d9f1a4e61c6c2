//! The transcripts in `fixtures`, which the real client wrote, and helpers to copy folders.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The main transcripts below this folder of `fixtures` (`2.1.330/sub`, or `""` for all), sorted by path.
pub fn transcripts(folder: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    search(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder), &mut found)?;
    found.sort();
    Ok(found)
}

/// Copies a folder with all its contents.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if path.is_dir() {
            // Files there belong to a main transcript.
            if name != "subagents" {
                search(&path, found)?;
            }
        } else if path.extension() == Some(OsStr::new("jsonl")) && !name.starts_with("agent-") {
            found.push(path);
        }
    }
    Ok(())
}
