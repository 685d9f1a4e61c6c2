//! Limits on what a run may use, and how it is stopped.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
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

/// Advances the engine's epoch when a run's time is up, until this is dropped. Uses a thread, because a component that
/// computes blocks the runtime's only one. All runs share it: starting one takes a tenth of the time of a small session.
pub(super) struct Watchdog {
    entry: (Instant, u64),
}

/// What the thread waits for.
static WATCHED: Mutex<Watched> = Mutex::new(Watched { deadlines: BTreeSet::new(), started: 0, is_running: false });

/// Wakes the thread up when there is an earlier deadline.
static EARLIER: Condvar = Condvar::new();

struct Watched {
    /// Of the current runs, with their numbers.
    deadlines: BTreeSet<(Instant, u64)>,
    /// How many runs there were.
    started: u64,
    is_running: bool,
}

fn watched() -> MutexGuard<'static, Watched> {
    // Nothing panics while it holds the lock.
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watchdog {
    /// Starts to watch a run on the process's engine.
    pub(super) fn start(engine: &Engine, deadline: Instant) -> std::io::Result<Self> {
        let mut watched = watched();
        if !watched.is_running {
            let engine = engine.clone();
            thread::Builder::new().name("time limit".to_owned()).spawn(move || watch(&engine))?;
            watched.is_running = true;
        }
        watched.started += 1;
        let entry = (deadline, watched.started);
        watched.deadlines.insert(entry);
        if watched.deadlines.first() == Some(&entry) {
            EARLIER.notify_one();
        }
        Ok(Self { entry })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        watched().deadlines.remove(&self.entry);
    }
}

/// The thread: it runs as long as the process.
fn watch(engine: &Engine) {
    let mut watched = watched();
    loop {
        let now = Instant::now();
        while watched.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now) {
            watched.deadlines.pop_first();
            engine.increment_epoch();
        }
        watched = match watched.deadlines.first() {
            None => EARLIER.wait(watched).unwrap_or_else(PoisonError::into_inner),
            Some((deadline, _)) => {
                let left = deadline.saturating_duration_since(now);
                EARLIER.wait_timeout(watched, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}
