//! Limits on what a run may use, and how it is stopped.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wasmtime::{Engine, ResourceLimiter};

/// Limits for one run of the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its memories combined.
    pub memory: usize,
    /// From the start of the run to its end, whether the component is computing or waiting.
    pub time: Duration,
}

impl Default for Limits {
    /// 256 MiB and ten minutes.
    fn default() -> Self {
        Self { memory: 256 * 1024 * 1024, time: Duration::from_mins(10) }
    }
}

/// The run's memory would have grown beyond its limit.
#[derive(Debug, thiserror::Error)]
#[error("memory over the limit")]
pub(super) struct MemoryExhausted;

/// The run's time ran out while the component was computing.
#[derive(Debug, thiserror::Error)]
#[error("time over the limit")]
pub(super) struct TimeExhausted;

/// Maximum elements of a table (functions that can be called indirectly). A Rust component has a few hundred.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// Maximum core instances, tables and memories, each. A component built by rustc has about five of each.
const MAX_PARTS: usize = 32;

/// Refuses growth beyond the limits.
#[derive(Debug)]
pub(super) struct Ceiling {
    memory_left: usize,
}

impl Ceiling {
    pub(super) fn new(limits: Limits) -> Self {
        Self { memory_left: limits.memory }
    }
}

impl ResourceLimiter for Ceiling {
    /// Over the limit, returns an error rather than `false`: with `false`, the component would only see a failed
    /// allocation, and abort with a trap that doesn't say why.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        self.memory_left = self.memory_left.checked_sub(growth).ok_or(MemoryExhausted)?;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}

/// Advances the engine's epoch when the time is up. Uses a thread, because a component that computes blocks the
/// runtime's only one. The thread ends when this is dropped.
pub(super) struct Watchdog {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(super) fn start(engine: Engine, deadline: Instant) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match stopped.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                        engine.increment_epoch();
                        return;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = thread::Builder::new().name("time limit".to_owned()).spawn(watch)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic, and there is nothing to do if it did.
            let _ = thread.join();
        }
    }
}
