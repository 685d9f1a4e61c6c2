//! A runtime that runs components one at a time on the current thread.

use crate::SandboxError;
use crate::exchange::Kept;
use std::sync::Arc;

tokio::task_local! {
    /// The kept connection of the current runtime, which drives it.
    static KEPT: Arc<Kept>;
}

/// The slot for the connection that the last run on this runtime left open, if any.
pub(crate) fn kept() -> Arc<Kept> {
    KEPT.try_with(Arc::clone).unwrap_or_default()
}

/// A single-threaded runtime. Successive runs on it share a connection to the destination, as long as the server keeps
/// it open.
#[derive(Debug)]
pub struct Runtime {
    /// Always present until this is dropped.
    tokio: Option<tokio::runtime::Runtime>,
    kept: Arc<Kept>,
}

impl Runtime {
    /// Creates a runtime with I/O and time enabled.
    pub fn new() -> Result<Self, SandboxError> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SandboxError::Setup(error.to_string()))?;
        Ok(Self { tokio: Some(tokio), kept: Arc::default() })
    }

    /// Runs a future to completion.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let Some(tokio) = &self.tokio else { unreachable!("a runtime is there until it is dropped") };
        tokio.block_on(KEPT.scope(Arc::clone(&self.kept), future))
    }
}

impl Drop for Runtime {
    /// Doesn't wait for leftover tasks, such as a name lookup that never returns.
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

/// Runs a future on its own runtime.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, SandboxError> {
    Ok(Runtime::new()?.block_on(future))
}
