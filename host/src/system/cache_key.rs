//! The key that authenticates compiled code as written by this program. It is kept in the configuration directory
//! rather than next to the code, so that someone who chooses or can write the cache directory cannot forge the mark.

use super::directories::make_private;
use crate::system::regular;
use posthog_llma_sandbox::CacheKey;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Name of the file in the configuration directory.
const FILE_NAME: &str = "code.key";

/// Reads the key in this directory, or creates it if there is none.
pub fn of(directory: &Path) -> io::Result<CacheKey> {
    let path = directory.join(FILE_NAME);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    make_private(directory)?;
    let key = posthog_llma_sandbox::new_cache_key()?;
    let mut file = tempfile::Builder::new().prefix(".posthog-llma-").tempfile_in(directory)?;
    file.write_all(&key)?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(key),
        // Another process created it first.
        Err(error) => read(&path)?.ok_or(error.error),
    }
}

/// The key in a file; `None` if the file is missing or does not hold a key.
fn read(path: &Path) -> io::Result<Option<CacheKey>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(io::Error::other(format!("{} is not a regular file", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let key = regular::read_start(path, 1024)?;
    if let Ok(key) = key.try_into() {
        return Ok(Some(key));
    }
    fs::remove_file(path)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_key_and_it_stays() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let key = of(&state).unwrap();
        assert_eq!(of(&state).unwrap(), key);
        assert_ne!(of(&directory.path().join("other")).unwrap(), key);
        fs::write(state.join(FILE_NAME), "short").unwrap();
        assert_ne!(of(&state).unwrap(), key);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_its_owners_alone_and_a_link_is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        of(directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        fs::rename(&path, directory.path().join("moved")).unwrap();
        std::os::unix::fs::symlink("moved", &path).unwrap();
        of(directory.path()).unwrap_err();
    }
}
