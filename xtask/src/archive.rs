//! Archives whose bytes depend only on the files in them.

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// A file's SHA-256 in hexadecimal.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    let mut hasher = Hasher(Sha256::new());
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    io::copy(&mut BufReader::with_capacity(1 << 20, file), &mut hasher)?;
    let mut text = String::new();
    for byte in hasher.0.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// `sha2` implements `io::Write` only with its `std` feature, and enabling that would rebuild all of wasmtime.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All files below a folder, as paths relative to it, sorted.
pub fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir()? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path.strip_prefix(folder)?.to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// All files below a folder, by their names in archives and lists of checksums.
pub fn file_names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let name =
        |file: PathBuf| file.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
    Ok(files(folder)?.into_iter().map(name).collect())
}

/// The time of all files in the archive: <https://reproducible-builds.org/specs/source-date-epoch/>, or the beginning
/// of 2000, because some programs treat 1970 as an error.
pub fn mtime() -> anyhow::Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().with_context(|| format!("SOURCE_DATE_EPOCH is not a number of seconds: {text:?}")),
        Err(_) => Ok(946_684_800),
    }
}

/// Packs a folder with all its files into a `.tar.gz`, below the folder's own name. `executables` (relative paths) get
/// mode 755, the others 644; owner and group are 0, and every time is `mtime`, in seconds since 1970.
pub fn pack(folder: &Path, executables: &[&str], mtime: u64, level: u32, archive: &Path) -> anyhow::Result<()> {
    let root = Path::new(folder.file_name().context("the folder has no name")?);
    let out = BufWriter::new(File::create(archive).with_context(|| format!("cannot write {}", archive.display()))?);
    // No name and no time in the gzip header.
    let mut tar = tar::Builder::new(GzBuilder::new().mtime(0).write(out, Compression::new(level)));
    for file in files(folder)? {
        let is_executable = executables.iter().any(|executable| Path::new(executable) == file);
        let path = folder.join(&file);
        let contents = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if is_executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(contents.metadata()?.len());
        tar.append_data(&mut header, root.join(&file), BufReader::with_capacity(1 << 20, contents))?;
    }
    tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn the_same_files_make_the_same_archive_whenever_and_in_whatever_order_they_were_written() {
        let packed = |order: [&str; 3], at: u64| {
            let out = TempDir::new().unwrap();
            let folder = out.path().join("name");
            fs::create_dir_all(folder.join("a")).unwrap();
            for name in order {
                fs::write(folder.join(name), name.repeat(1000)).unwrap();
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
                File::options().write(true).open(folder.join(name)).unwrap().set_modified(time).unwrap();
            }
            pack(&folder, &["b"], 946_684_800, 9, &out.path().join("packed")).unwrap();
            fs::read(out.path().join("packed")).unwrap()
        };
        let first = packed(["a/x", "b", "c"], 1_000_000_000);
        assert_eq!(packed(["c", "b", "a/x"], 1_700_000_000), first);
    }

    #[test]
    fn a_checksum_is_that_of_the_contents() {
        let out = TempDir::new().unwrap();
        fs::write(out.path().join("f"), "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&out.path().join("f")).unwrap(), expected);
    }
}
