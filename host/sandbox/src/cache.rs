//! Compiled code on disk, so that only the first run on a machine compiles.
//!
//! Files are stored uncompressed; with wasmtime's own cache, each start would decompress megabytes. Because the files
//! contain code that will run, each has a mark that only the holder of a key can make (keyed BLAKE3 over the whole file;
//! processors compute it at gigabytes per second). The key is kept elsewhere. An attacker who can write to the directory,
//! or choose it, gains nothing.

use crate::private_directory::make_private;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read as _, Seek as _, Write};
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

/// Bytes before the code: the mark.
const HEAD: usize = blake3::OUT_LEN;

/// Bytes of a file that are checked at a time. A larger buffer's memory would take longer to get than the check takes.
const PIECE: usize = 64 * 1024;

/// A private directory with compiled code.
pub(super) struct CodeCache {
    directory: PathBuf,
    key: CacheKey,
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
        Ok(Self { directory: directory.to_owned(), key: *key })
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
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.directory)?;
        file.write_all(blake3::keyed_hash(&self.key, code).as_bytes())?;
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
        #[expect(clippy::disallowed_methods, reason = "it was checked to be a regular file")]
        let mut file = File::open(path).ok()?;
        // What runs must be what was checked, even if someone changes the file in the meantime: so never the file itself.
        #[cfg(target_os = "linux")]
        if let Some(component) = self.load_sealed(engine, &mut file) {
            return Some(component);
        }
        file.rewind().ok()?;
        let mut code = Vec::new();
        self.check(&mut file, &mut code)?;
        #[expect(unsafe_code, reason = "compiled code is trusted, as a program's own file is")]
        // SAFETY: these bytes become machine code, so they must be what wasmtime wrote. The mark shows that someone
        // with the key wrote them, and only this program has it. They are in memory, so nothing can change them after
        // the check. wasmtime checks that the version, the settings and the processor match.
        let component = unsafe { Component::deserialize(engine, code) };
        component.ok()
    }

    /// Loads the code from memory that nothing can write to any more, of which only the pages that are used are mapped.
    /// Copying all of it took longer than everything else at a start. `None` if the file lacks our mark, or if the system
    /// has no such memory.
    #[cfg(target_os = "linux")]
    fn load_sealed(&self, engine: &Engine, file: &mut File) -> Option<Component> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        use std::os::fd::AsRawFd as _;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut memory = File::from(memfd_create("posthog-llma compiled code", flags).ok()?);
        self.check(file, &mut memory)?;
        fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL).ok()?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        #[expect(unsafe_code, reason = "compiled code is trusted, as a program's own file is")]
        // SAFETY: as in `load`: the mark shows who wrote these bytes. They were sealed after they were checked.
        let component = unsafe { Component::deserialize_file(engine, path) };
        component.ok()
    }

    /// Copies a file's code, if the file has our mark.
    fn check(&self, file: &mut File, copy: &mut impl Write) -> Option<()> {
        let mut mark = [0; HEAD];
        file.read_exact(&mut mark).ok()?;
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let mut piece = vec![0; PIECE];
        loop {
            let length = file.read(&mut piece).ok()?;
            if length == 0 {
                break;
            }
            hasher.update(&piece[..length]);
            copy.write_all(&piece[..length]).ok()?;
        }
        // In constant time.
        (hasher.finalize() == mark).then_some(())
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
    #[cfg(target_os = "linux")]
    fn what_is_mapped_is_a_sealed_copy_of_a_file_with_our_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x").with_extension(EXTENSION);
        let ours = CodeCache::open(directory.path(), &KEY).unwrap();
        let theirs = CodeCache::open(directory.path(), &[2; 32]).unwrap();
        let code = Component::new(&engine(), super::super::COMPONENT).unwrap().serialize().unwrap();
        theirs.keep(&path, &code).unwrap();
        assert!(ours.load_sealed(&engine(), &mut File::open(&path).unwrap()).is_none());
        ours.keep(&path, &code).unwrap();
        let component = ours.load_sealed(&engine(), &mut File::open(&path).unwrap()).unwrap();
        // The code is not the file's: it stays as it was checked.
        fs::write(&path, vec![0; code.len()]).unwrap();
        assert_eq!(component.serialize().unwrap(), code);
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
