//! The compiler, and where its results are kept.

use super::SandboxError;
use super::cache::{CodeCache, Compiled};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wasmtime::Config;
use wasmtime::component::Component;

/// Name of our directory among those of other programs.
const DIRECTORY_NAME: &str = "posthog-llma";

/// The compiler and its cache.
#[derive(Debug)]
pub struct Engine {
    compiler: wasmtime::Engine,
    cache: Option<CodeCache>,
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    warning: Option<String>,
    hits: usize,
}

impl Engine {
    /// Compiled code is kept in `cache_directory`, which is made with mode 0700. If it cannot be made or used, the engine
    /// works without; see [`cache_warning`](Self::cache_warning).
    pub fn new(cache_directory: Option<&Path>) -> Result<Self, SandboxError> {
        let (cache, warning) = match cache_directory.map(CodeCache::open).transpose() {
            Ok(cache) => (cache, None),
            Err(reason) => (None, Some(reason)),
        };
        let mut config = Config::new();
        config.wasm_component_model(true);
        config.epoch_interruption(true);
        // What only a debugger or an unwinder reads makes the compiled code larger, and each start slower.
        config.generate_address_map(false);
        config.native_unwind_info(false);
        config.wasm_backtrace_max_frames(None);
        let compiler = wasmtime::Engine::new(&config).map_err(SandboxError::setup)?;
        Ok(Self { compiler, cache, state: Mutex::new(CacheState { warning, hits: 0 }) })
    }

    /// Why compiled code is not kept, if it was meant to be.
    pub fn cache_warning(&self) -> Option<String> {
        self.state().warning.clone()
    }

    /// Components whose compiled code was found on disk.
    pub fn cache_hits(&self) -> usize {
        self.state().hits
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        // Whoever panicked with it left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.compiler
    }

    /// Compiles a component, or takes its compiled code from the cache.
    pub(super) fn component(&self, wasm: &[u8]) -> wasmtime::Result<Component> {
        let Some(cache) = &self.cache else { return Component::new(&self.compiler, wasm) };
        let Compiled { component, hit, warning } = cache.component(&self.compiler, wasm)?;
        let mut state = self.state();
        state.hits += usize::from(hit);
        state.warning = warning.or(state.warning.take());
        Ok(component)
    }
}

/// How a platform names its cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Platform {
    Unix,
    MacOs,
    Windows,
}

/// Where compiled code is kept: `$XDG_CACHE_HOME/posthog-llma`, `~/.cache/posthog-llma` (macOS:
/// `~/Library/Caches/posthog-llma`), on Windows `%LOCALAPPDATA%\posthog-llma\cache`. None if the environment does not say.
pub fn cache_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let platform = if cfg!(windows) {
        Platform::Windows
    } else if cfg!(target_os = "macos") {
        Platform::MacOs
    } else {
        Platform::Unix
    };
    cache_directory_on(platform, variable)
}

fn cache_directory_on(platform: Platform, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if platform == Platform::Windows {
        let local = PathBuf::from(set("LOCALAPPDATA")?);
        return Some(local.join(DIRECTORY_NAME).join("cache"));
    }
    // "All paths set in these environment variables must be absolute. If an implementation encounters a relative path
    // […] it should consider the path invalid and ignore it." XDG Base Directory Specification 0.8.
    let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(caches) = absolute("XDG_CACHE_HOME") {
        return Some(caches.join(DIRECTORY_NAME));
    }
    let home = absolute("HOME")?;
    let caches = match platform {
        Platform::MacOs => home.join("Library/Caches"),
        _ => home.join(".cache"),
    };
    Some(caches.join(DIRECTORY_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(platform: Platform, variables: &[(&str, &str)]) -> Option<PathBuf> {
        cache_directory_on(platform, |name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    #[cfg(unix)]
    fn each_platform_has_its_own_place() {
        let home = [("HOME", "/home/me")];
        assert_eq!(directory(Platform::Unix, &home), Some("/home/me/.cache/posthog-llma".into()));
        assert_eq!(directory(Platform::MacOs, &home), Some("/home/me/Library/Caches/posthog-llma".into()));
        assert_eq!(
            directory(Platform::Windows, &[("LOCALAPPDATA", "/local")]),
            Some("/local/posthog-llma/cache".into())
        );
    }

    #[test]
    #[cfg(unix)]
    fn xdg_cache_home_comes_first() {
        let variables = [("HOME", "/home/me"), ("XDG_CACHE_HOME", "/caches")];
        for platform in [Platform::Unix, Platform::MacOs] {
            assert_eq!(directory(platform, &variables), Some("/caches/posthog-llma".into()));
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_relative_or_empty_xdg_cache_home_is_ignored() {
        for value in ["caches", "", "./caches"] {
            let variables = [("HOME", "/home/me"), ("XDG_CACHE_HOME", value)];
            assert_eq!(directory(Platform::Unix, &variables), Some("/home/me/.cache/posthog-llma".into()));
        }
    }

    #[test]
    fn without_any_variable_there_is_no_place() {
        for platform in [Platform::Unix, Platform::MacOs, Platform::Windows] {
            assert_eq!(directory(platform, &[]), None);
            assert_eq!(directory(platform, &[("HOME", "relative")]), None);
        }
    }

    #[test]
    fn an_unusable_cache_directory_is_a_warning_and_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let engine = Engine::new(Some(&file.path().join("x"))).unwrap();
        let warning = engine.cache_warning().unwrap();
        assert!(warning.contains("cannot be used"), "{warning}");
    }

    #[test]
    fn compiled_code_is_found_the_second_time() {
        let directory = tempfile::tempdir().unwrap();
        let compile = || {
            let engine = Engine::new(Some(directory.path())).unwrap();
            engine.component(super::super::COMPONENT).unwrap();
            engine.cache_hits()
        };
        assert_eq!(compile(), 0);
        assert_eq!(compile(), 1);
    }
}
