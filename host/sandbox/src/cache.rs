//! Compiled code on disk, so that only the first run on a machine compiles.
//!
//! A file is mapped into memory and not copied: of wasmtime's own cache, each start would decompress and copy megabytes,
//! which took about half of the time of a whole small conversion.

use crate::private_directory::make_private;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Ending of the files' names.
const EXTENSION: &str = "cwasm";

/// Files that are kept: several versions of this program may take turns.
const MOST_FILES: usize = 8;

/// A private directory with compiled code.
#[derive(Debug)]
pub(super) struct CodeCache {
    directory: PathBuf,
}

/// A component, and how it was come by.
pub(super) struct Compiled {
    pub(super) component: Component,
    /// It was there.
    pub(super) hit: bool,
    /// Why it will not be there the next time.
    pub(super) warning: Option<String>,
}

impl CodeCache {
    /// Uses this directory, which is made with mode 0700.
    pub(super) fn open(directory: &Path) -> Result<Self, String> {
        let unusable = |reason: &str| format!("the cache directory {} cannot be used: {reason}", directory.display());
        if !directory.is_absolute() {
            return Err(unusable("it is not absolute"));
        }
        // What lies in it is executed.
        make_private(directory).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The component, from its compiled code if that is there.
    pub(super) fn component(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Compiled> {
        let path = self.directory.join(format!("{:016x}.{EXTENSION}", key(engine, wasm)));
        if let Some(component) = load(engine, &path) {
            return Ok(Compiled { component, hit: true, warning: None });
        }
        let component = Component::new(engine, wasm)?;
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.keep(&path, &code));
        let warning =
            kept.err().map(|error| format!("compiled code cannot be kept in {}: {error}", self.directory.display()));
        Ok(Compiled { component, hit: false, warning })
    }

    /// Writes a file whole or not at all: others may be reading.
    fn keep(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
        file.write_all(code)?;
        file.persist(path).map_err(|error| error.error)?;
        self.remove_old();
        Ok(())
    }

    /// Files of versions that are no longer used. That one cannot be removed does no harm.
    fn remove_old(&self) {
        let files = fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
        let files = files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == EXTENSION));
        let mut files: Vec<_> = files.filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path))).collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(MOST_FILES) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The compiled code of a component on this engine: that is wasmtime's version, its settings and the processor. It tells
/// our own files apart; it is no defence, which is the directory's mode.
fn key(engine: &Engine, wasm: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    if std::ptr::eq(wasm, super::COMPONENT) {
        // Its bytes were hashed when the program was built: to do it again was a tenth of a start.
        env!("POSTHOG_LLMA_COMPONENT_HASH").hash(&mut hasher);
    } else {
        wasm.hash(&mut hasher);
    }
    hasher.finish()
}

fn load(engine: &Engine, path: &Path) -> Option<Component> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    #[expect(unsafe_code, reason = "compiled code is trusted, as a program's own file is")]
    // SAFETY: the file's contents become machine code, so they must be what wasmtime wrote. The directory is ours alone
    // (mode 0700, set anew at every start), files get into it whole by a rename, and none is changed afterwards. wasmtime
    // checks that version, settings and processor fit; a file that is damaged is refused as far as its headers tell.
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        Engine::default()
    }

    #[test]
    fn compiled_code_is_found_the_second_time() {
        let directory = tempfile::tempdir().unwrap();
        let wasm = super::super::COMPONENT;
        let cache = CodeCache::open(directory.path()).unwrap();
        assert!(!cache.component(&engine(), wasm).unwrap().hit);
        assert!(cache.component(&engine(), wasm).unwrap().hit);
    }

    #[test]
    fn code_of_other_settings_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path()).unwrap();
        let wasm = super::super::COMPONENT;
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert!(!cache.component(&engine(), wasm).unwrap().hit);
        assert!(!cache.component(&other, wasm).unwrap().hit);
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path()).unwrap();
        let wasm = super::super::COMPONENT;
        let path = directory.path().join(format!("{:016x}.{EXTENSION}", key(&engine(), wasm)));
        for damaged in [&b""[..], b"not compiled code"] {
            fs::write(&path, damaged).unwrap();
            assert!(!cache.component(&engine(), wasm).unwrap().hit);
            assert!(cache.component(&engine(), wasm).unwrap().hit);
        }
    }

    #[test]
    fn old_files_are_removed_and_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path()).unwrap();
        fs::write(directory.path().join("note.txt"), "").unwrap();
        for i in 0..MOST_FILES + 3 {
            cache.keep(&directory.path().join(format!("{i}.{EXTENSION}")), b"code").unwrap();
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), MOST_FILES + 1);
    }

    #[test]
    #[cfg(unix)]
    fn the_cache_directory_is_made_private_even_if_it_was_not() {
        use std::os::unix::fs::PermissionsExt;
        let outer = tempfile::tempdir().unwrap();
        let directory = outer.path().join("a/b");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        CodeCache::open(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        CodeCache::open(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for directory in [file.path().join("x"), PathBuf::new()] {
            let error = CodeCache::open(&directory).unwrap_err();
            assert!(error.contains("cannot be used"), "{error}");
        }
    }
}
