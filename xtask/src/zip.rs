//! Zip archives with the same bytes for the same files, for Claude Code's `archive` sources.
//!
//! The format is PKWARE's APPNOTE 6.3: a local header and the data for each file, then the directory, then its end
//! record. Files here are small, so neither 64-bit extension is needed; anything too large for the fields is an error.

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::Crc;
use flate2::write::DeflateEncoder;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// 1980-01-01 00:00, the earliest time in the format.
const TIME_AND_DATE: [u8; 4] = [0, 0, 0x21, 0];
/// Version 2.0 of the format, with UTF-8 names and deflate.
const NEEDED: [u8; 6] = [20, 0, 0, 0x08, 8, 0];
/// Made on Unix, so that the modes apply.
const MADE_BY: [u8; 2] = [20, 3];

/// Packs files below a folder, named relative to it. `executables` get mode 755, the others 644.
pub fn pack(folder: &Path, files: &[String], executables: &[&str]) -> Result<Vec<u8>> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for name in files {
        let contents = fs::read(folder.join(name)).with_context(|| format!("cannot read {name} to pack it"))?;
        let mut crc = Crc::new();
        crc.update(&contents);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&contents)?;
        let data = encoder.finish()?;

        let offset = size(archive.len())?;
        let mut common = Vec::from(NEEDED);
        common.extend(TIME_AND_DATE);
        common.extend(crc.sum().to_le_bytes());
        common.extend(size(data.len())?);
        common.extend(size(contents.len())?);
        common.extend(u16::try_from(name.len())?.to_le_bytes());
        // No extra field.
        common.extend([0, 0]);

        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(data);

        let mode: u32 = if executables.contains(&name.as_str()) { 0o100_755 } else { 0o100_644 };
        directory.extend(b"PK\x01\x02");
        directory.extend(MADE_BY);
        directory.extend(&common);
        // No comment, the first disk, no internal attributes.
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset);
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(files.len())?.to_le_bytes();
    let (offset, length) = (size(archive.len())?, size(directory.len())?);
    archive.extend(directory);
    archive.extend(b"PK\x05\x06");
    // One disk.
    archive.extend([0; 4]);
    archive.extend(count);
    archive.extend(count);
    archive.extend(length);
    archive.extend(offset);
    // No comment.
    archive.extend([0; 2]);
    Ok(archive)
}

fn size(bytes: usize) -> Result<[u8; 4]> {
    Ok(u32::try_from(bytes).context("too large for a zip archive")?.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use tempfile::TempDir;

    #[test]
    fn unzip_finds_the_files_with_their_contents_and_modes() {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        let names = ["a/run".to_owned(), "näme".to_owned()];
        for name in &names {
            fs::write(folder.path().join(name), name.repeat(1000)).unwrap();
        }
        let archive = pack(folder.path(), &names, &["a/run"]).unwrap();
        assert_eq!(archive, pack(folder.path(), &names, &["a/run"]).unwrap());
        fs::write(folder.path().join("x.zip"), archive).unwrap();
        // Python is on every system that CI runs on; unzip is not.
        let script = "import zipfile; z = zipfile.ZipFile('x.zip'); assert z.testzip() is None\n\
                      for i in z.infolist(): print(i.filename, len(z.read(i)), oct(i.external_attr >> 16), i.date_time[0])";
        let output = Command::new("python3").args(["-c", script]).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, "a/run 5000 0o100755 1980\nnäme 5000 0o100644 1980\n", "{output:?}");
    }
}
