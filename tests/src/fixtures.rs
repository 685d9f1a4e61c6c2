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

/// Puts the session with this main transcript into two folders: the first half of its lines into one, the rest and its
/// sub-agents into the other. Returns the two main transcripts.
pub fn in_two_folders(main: &Path, folders: [&Path; 2]) -> io::Result<[PathBuf; 2]> {
    let name = main.file_name().unwrap_or_default();
    let text = fs::read_to_string(main)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    for (folder, lines) in folders.iter().zip([first, second]) {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(name), lines.concat())?;
    }
    let [one, two] = folders.map(|folder| folder.join(name));
    let folder = main.with_extension("");
    if folder.is_dir() {
        copy(&folder, &two.with_extension(""))?;
    }
    Ok([one, two])
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
