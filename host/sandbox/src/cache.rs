//! Compiled code on disk, so that only the first run on a machine compiles.
//!
//! Files are stored uncompressed; with wasmtime's own cache, each start would decompress megabytes. Because the files
//! contain code that will run, each has a mark that only the holder of a key can make (AES-256-GCM over the whole file,
//! used as a MAC; processors compute it at gigabytes per second). The key is kept elsewhere. An attacker who can write
//! to the directory, or choose it, gains nothing.

use crate::private_directory::make_private;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Extension of the files.
const EXTENSION: &str = "cwasm";

/// The number of files to keep: several versions of this program may be in use.
const MOST_FILES: usize = 8;

/// Marks files as ours. Must be secret, and stored away from the files.
pub type CacheKey = [u8; 32];

/// Generates a new key.
pub fn new_cache_key() -> io::Result<CacheKey> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(key)
}

/// Bytes before the code: the mark and its nonce.
const HEAD: usize = 16 + NONCE_LEN;

/// A private directory with compiled code.
pub(super) struct CodeCache {
    directory: PathBuf,
    key: LessSafeKey,
}

impl std::fmt::Debug for CodeCache {
    /// Leaves out the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CodeCache").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A component and where its code came from.
pub(super) struct Compiled {
    pub(super) component: Component,
    /// The compiled code was in the cache.
    pub(super) hit: bool,
    /// Why it won't be there next time.
    pub(super) warning: Option<String>,
}

impl CodeCache {
    /// Uses this directory, creating it with mode 0700.
    pub(super) fn open(directory: &Path, key: &CacheKey) -> Result<Self, String> {
        let unusable = |reason: &str| format!("the cache directory {} cannot be used: {reason}", directory.display());
        if !directory.is_absolute() {
            return Err(unusable("it is not absolute"));
        }
        // Its contents get executed.
        make_private(directory).map_err(|error| unusable(&error.to_string()))?;
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|error| unusable(&error.to_string()))?;
        Ok(Self { directory: directory.to_owned(), key: LessSafeKey::new(key) })
    }

    /// Loads the component's compiled code if it is in the cache; otherwise, compiles the component.
    pub(super) fn component(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Compiled> {
        let path = self.directory.join(format!("{:016x}.{EXTENSION}", key(engine, wasm)));
        if let Some(component) = self.load(engine, &path) {
            return Ok(Compiled { component, hit: true, warning: None });
        }
        let component = Component::new(engine, wasm)?;
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| self.keep(&path, &code));
        let warning =
            kept.err().map(|error| format!("compiled code cannot be kept in {}: {error}", self.directory.display()));
        Ok(Compiled { component, hit: false, warning })
    }

    /// Writes the file atomically, because other processes may be reading it.
    fn keep(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let refused = |_| io::Error::other("the system gives no random numbers");
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(refused)?;
        let unique = Nonce::assume_unique_for_key(nonce);
        let mark = self.key.seal_in_place_separate_tag(unique, Aad::from(code), &mut []).map_err(refused)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
        file.write_all(mark.as_ref())?;
        file.write_all(&nonce)?;
        file.write_all(code)?;
        file.persist(path).map_err(|error| error.error)?;
        self.remove_old();
        Ok(())
    }

    /// The code in a file, if the file has our mark.
    fn load(&self, engine: &Engine, path: &Path) -> Option<Component> {
        if !fs::symlink_metadata(path).ok()?.is_file() {
            return None;
        }
        // Read, not mapped: what runs must be what was checked, even if someone changes the file in the meantime.
        #[expect(clippy::disallowed_methods, reason = "it was checked to be a regular file")]
        let bytes = fs::read(path).ok()?;
        let (head, code) = bytes.split_at_checked(HEAD)?;
        let (mark, nonce) = head.split_at(16);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut mark = <[u8; 16]>::try_from(mark).ok()?;
        self.key.open_in_place(nonce, Aad::from(code), &mut mark).ok()?;
        #[expect(unsafe_code, reason = "compiled code is trusted, as a program's own file is")]
        // SAFETY: these bytes become machine code, so they must be what wasmtime wrote. The mark shows that someone
        // with the key wrote them, and only this program has it. They are in memory, so nothing can change them after
        // the check. wasmtime checks that the version, the settings and the processor match.
        let component = unsafe { Component::deserialize(engine, code) };
        component.ok()
    }

    /// Removes files of versions that are no longer used. Failing to remove one does no harm.
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

/// Identifies a component's compiled code on this engine, which stands for wasmtime's version, its settings and the
/// processor. It distinguishes our own files; it is not a defense. The mark is.
fn key(engine: &Engine, wasm: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    if std::ptr::eq(wasm, super::COMPONENT) {
        // Its bytes were hashed when the program was built; hashing them again took a tenth of the startup time.
        env!("POSTHOG_LLMA_COMPONENT_HASH").hash(&mut hasher);
    } else {
        wasm.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

    use super::*;

    const KEY: CacheKey = [1; 32];

    fn engine() -> Engine {
        Engine::default()
    }

    #[test]
    fn compiled_code_is_found_the_second_time() {
        let directory = tempfile::tempdir().unwrap();
        let wasm = super::super::COMPONENT;
        let cache = CodeCache::open(directory.path(), &KEY).unwrap();
        assert!(!cache.component(&engine(), wasm).unwrap().hit);
        assert!(cache.component(&engine(), wasm).unwrap().hit);
    }

    #[test]
    fn code_of_other_settings_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path(), &KEY).unwrap();
        let wasm = super::super::COMPONENT;
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert!(!cache.component(&engine(), wasm).unwrap().hit);
        assert!(!cache.component(&other, wasm).unwrap().hit);
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path(), &KEY).unwrap();
        let wasm = super::super::COMPONENT;
        let path = directory.path().join(format!("{:016x}.{EXTENSION}", key(&engine(), wasm)));
        for damaged in [&b""[..], b"not compiled code"] {
            fs::write(&path, damaged).unwrap();
            assert!(!cache.component(&engine(), wasm).unwrap().hit);
            assert!(cache.component(&engine(), wasm).unwrap().hit);
        }
    }

    #[test]
    fn code_that_somebody_else_wrote_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let wasm = super::super::COMPONENT;
        let ours = CodeCache::open(directory.path(), &KEY).unwrap();
        let path = directory.path().join(format!("{:016x}.{EXTENSION}", key(&engine(), wasm)));
        // Meets all of wasmtime's requirements, but doesn't have our mark.
        let code = Component::new(&engine(), wasm).unwrap().serialize().unwrap();
        let theirs = CodeCache::open(directory.path(), &[2; 32]).unwrap();
        theirs.keep(&path, &code).unwrap();
        assert!(ours.load(&engine(), &path).is_none());
        fs::write(&path, &code).unwrap();
        assert!(ours.load(&engine(), &path).is_none());
        ours.keep(&path, &code).unwrap();
        assert!(ours.load(&engine(), &path).is_some());
        let mut changed = fs::read(&path).unwrap();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(ours.load(&engine(), &path).is_none());
    }

    #[test]
    fn old_files_are_removed_and_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path(), &KEY).unwrap();
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
        CodeCache::open(&directory, &KEY).unwrap();
        assert_eq!(mode(&directory), 0o700);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        CodeCache::open(&directory, &KEY).unwrap();
        assert_eq!(mode(&directory), 0o700);
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for directory in [file.path().join("x"), PathBuf::new()] {
            let error = CodeCache::open(&directory, &KEY).unwrap_err();
            assert!(error.contains("cannot be used"), "{error}");
        }
    }
}
