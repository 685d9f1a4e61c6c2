//! What runs components one after the other in a thread.

use crate::SandboxError;
use crate::exchange::Kept;
use std::sync::Arc;

tokio::task_local! {
    /// The connection that belongs to the runtime that drives it.
    static KEPT: Arc<Kept>;
}

/// The connection that the last run on this runtime left open, and a place for the next one.
pub(crate) fn kept() -> Arc<Kept> {
    KEPT.try_with(Arc::clone).unwrap_or_default()
}

/// A runtime of one thread. What runs on it one after the other shares a connection to the destination, as long as the
/// server keeps it open.
#[derive(Debug)]
pub struct Runtime {
    /// There until it is dropped.
    tokio: Option<tokio::runtime::Runtime>,
    kept: Arc<Kept>,
}

impl Runtime {
    /// One with I/O and time.
    pub fn new() -> Result<Self, SandboxError> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SandboxError::Setup(error.to_string()))?;
        Ok(Self { tokio: Some(tokio), kept: Arc::default() })
    }

    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let Some(tokio) = &self.tokio else { unreachable!("a runtime is there until it is dropped") };
        tokio.block_on(KEPT.scope(Arc::clone(&self.kept), future))
    }
}

impl Drop for Runtime {
    /// Does not wait for what is left over, such as the lookup of a name that never answers.
    fn drop(&mut self) {
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

/// Runs a future on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, SandboxError> {
    Ok(Runtime::new()?.block_on(future))
}
