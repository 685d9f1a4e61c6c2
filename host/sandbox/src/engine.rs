//! The compiler and its cache of compiled code.

use super::SandboxError;
use super::cache::{CacheKey, CodeCache, Compiled};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wasmtime::Config;
use wasmtime::component::Component;

/// The compiler and its cache of compiled code.
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
    /// Keeps compiled code in the cache's directory, which it creates with mode 0700, and loads from there only files
    /// with the key's mark. If it can't create or use the directory, the engine works without it; see
    /// [`cache_warning`](Self::cache_warning).
    pub fn new(cache: Option<(&Path, &CacheKey)>) -> Result<Self, SandboxError> {
        let (cache, warning) = match cache.map(|(directory, key)| CodeCache::open(directory, key)).transpose() {
            Ok(cache) => (cache, None),
            Err(reason) => (None, Some(reason)),
        };
        let mut config = Config::new();
        config.wasm_component_model(true);
        config.epoch_interruption(true);
        // Data for debuggers and unwinders only makes the compiled code larger and each start slower.
        config.generate_address_map(false);
        // Only Windows requires it: exceptions there are unwound through compiled code.
        config.native_unwind_info(cfg!(windows));
        config.wasm_backtrace_max_frames(None);
        let compiler = wasmtime::Engine::new(&config).map_err(SandboxError::setup)?;
        Ok(Self { compiler, cache, state: Mutex::new(CacheState { warning, hits: 0 }) })
    }

    /// Why compiled code is not kept, if it should be.
    pub fn cache_warning(&self) -> Option<String> {
        self.state().warning.clone()
    }

    /// The number of components whose compiled code was found on disk.
    pub fn cache_hits(&self) -> usize {
        self.state().hits
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        // A panic while the lock was held leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.compiler
    }

    /// Compiles a component, or loads its compiled code from the cache.
    pub(super) fn component(&self, wasm: &[u8]) -> wasmtime::Result<Component> {
        let Some(cache) = &self.cache else { return Component::new(&self.compiler, wasm) };
        let Compiled { component, hit, warning } = cache.component(&self.compiler, wasm)?;
        let mut state = self.state();
        state.hits += usize::from(hit);
        state.warning = warning.or(state.warning.take());
        Ok(component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_cache_directory_is_a_warning_and_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let engine = Engine::new(Some((&file.path().join("x"), &[1; 32]))).unwrap();
        let warning = engine.cache_warning().unwrap();
        assert!(warning.contains("cannot be used"), "{warning}");
    }

    #[test]
    fn compiled_code_is_found_the_second_time() {
        let directory = tempfile::tempdir().unwrap();
        let compile = || {
            let engine = Engine::new(Some((directory.path(), &[1; 32]))).unwrap();
            engine.component(super::super::COMPONENT).unwrap();
            engine.cache_hits()
        };
        assert_eq!(compile(), 0);
        assert_eq!(compile(), 1);
    }
}
