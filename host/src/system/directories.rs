//! Where this program keeps its own files, such as the record of deliveries.

pub use posthog_llma_pipeline::options::STATE_DIR;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Name of this program's directory inside the platform's shared ones.
const DIRECTORY_NAME: &str = "posthog-llma";

/// The platform's directory convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Platform {
    Unix,
    MacOs,
    Windows,
}

impl Platform {
    fn current() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Unix
        }
    }
}

/// The directory for what can be made again: `$XDG_CACHE_HOME/posthog-llma`, `~/.cache/posthog-llma` (macOS:
/// `~/Library/Caches/posthog-llma`), on Windows `%LOCALAPPDATA%\posthog-llma\cache`. `None` if the environment does not
/// determine it.
pub fn cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    on(Platform::current(), &CACHE, variable)
}

/// The directory for the outbox: `$POSTHOG_LLMA_STATE_DIR`, else `$XDG_STATE_HOME/posthog-llma`,
/// `~/.local/state/posthog-llma` (macOS: `~/Library/Application Support/posthog-llma`), on Windows
/// `%LOCALAPPDATA%\posthog-llma\state`. `None` if the environment does not determine it.
pub fn state(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    match variable(STATE_DIR).filter(|value| !value.is_empty()) {
        Some(directory) => Some(PathBuf::from(directory)),
        None => on(Platform::current(), &STATE, variable),
    }
}

/// The directory for files that other programs read: `$XDG_DATA_HOME/posthog-llma`, `~/.local/share/posthog-llma`
/// (macOS: `~/Library/Application Support/posthog-llma`), on Windows `%LOCALAPPDATA%\posthog-llma\data`. `None` if the
/// environment does not determine it.
pub fn data(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    on(Platform::current(), &DATA, variable)
}

/// Where one kind of directory is on each platform.
struct Places {
    xdg: &'static str,
    unix: &'static str,
    mac_os: &'static str,
    windows: &'static str,
}

const CACHE: Places = Places { xdg: "XDG_CACHE_HOME", unix: ".cache", mac_os: "Library/Caches", windows: "cache" };
const DATA: Places =
    Places { xdg: "XDG_DATA_HOME", unix: ".local/share", mac_os: "Library/Application Support", windows: "data" };
const STATE: Places =
    Places { xdg: "XDG_STATE_HOME", unix: ".local/state", mac_os: "Library/Application Support", windows: "state" };

fn on(platform: Platform, places: &Places, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if platform == Platform::Windows {
        let local = PathBuf::from(set("LOCALAPPDATA")?);
        return Some(local.join(DIRECTORY_NAME).join(places.windows));
    }
    // "All paths set in these environment variables must be absolute. If an implementation encounters a relative path
    // […] it should consider the path invalid and ignore it." XDG Base Directory Specification 0.8.
    let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(directory) = absolute(places.xdg) {
        return Some(directory.join(DIRECTORY_NAME));
    }
    let below_home = if platform == Platform::MacOs { places.mac_os } else { places.unix };
    Some(absolute("HOME")?.join(below_home).join(DIRECTORY_NAME))
}

/// Makes a directory private to this user, with mode 0700, even if it already exists. Checks the owner as well, because
/// root could change the mode of another user's directory.
#[cfg(unix)]
pub fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if fs::metadata(directory)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}

/// A directory below the user's profile inherits its permissions, so it is private.
#[cfg(not(unix))]
pub fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(platform: Platform, places: &Places, variables: &[(&str, &str)]) -> Option<PathBuf> {
        on(platform, places, |name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    #[cfg(unix)]
    fn each_platform_has_its_own_place() {
        let home = [("HOME", "/home/me")];
        for (platform, cache, state) in [
            (Platform::Unix, "/home/me/.cache/posthog-llma", "/home/me/.local/state/posthog-llma"),
            (
                Platform::MacOs,
                "/home/me/Library/Caches/posthog-llma",
                "/home/me/Library/Application Support/posthog-llma",
            ),
        ] {
            assert_eq!(directory(platform, &CACHE, &home), Some(cache.into()));
            assert_eq!(directory(platform, &STATE, &home), Some(state.into()));
        }
        let local = [("LOCALAPPDATA", "/local")];
        assert_eq!(directory(Platform::Windows, &CACHE, &local), Some("/local/posthog-llma/cache".into()));
        assert_eq!(directory(Platform::Windows, &STATE, &local), Some("/local/posthog-llma/state".into()));
    }

    #[test]
    #[cfg(unix)]
    fn the_xdg_variable_comes_first() {
        let variables = [("HOME", "/home/me"), ("XDG_CACHE_HOME", "/caches"), ("XDG_STATE_HOME", "/states")];
        for platform in [Platform::Unix, Platform::MacOs] {
            assert_eq!(directory(platform, &CACHE, &variables), Some("/caches/posthog-llma".into()));
            assert_eq!(directory(platform, &STATE, &variables), Some("/states/posthog-llma".into()));
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_relative_or_empty_xdg_variable_is_ignored() {
        for value in ["caches", "", "./caches"] {
            let variables = [("HOME", "/home/me"), ("XDG_CACHE_HOME", value)];
            assert_eq!(directory(Platform::Unix, &CACHE, &variables), Some("/home/me/.cache/posthog-llma".into()));
        }
    }

    #[test]
    fn without_any_variable_there_is_no_place() {
        for platform in [Platform::Unix, Platform::MacOs, Platform::Windows] {
            assert_eq!(directory(platform, &CACHE, &[]), None);
            assert_eq!(directory(platform, &STATE, &[("HOME", "relative")]), None);
        }
    }

    #[test]
    fn the_state_directory_s_own_variable_comes_first() {
        let found = state(|name| (name == STATE_DIR).then(|| OsString::from("here")));
        assert_eq!(found, Some("here".into()));
    }
}
