//! End-to-end tests: the real program, the real component, a strict local `PostHog`.
//!
//! This library has what they need: the program in a clean environment, transcripts, and the parts between a program
//! and a server: a certificate authority with a TLS terminator, and a proxy. Everything listens on loopback, and
//! connects only to loopback.

pub mod browser;
pub mod claude_code;
pub mod components;
pub mod corpus;
pub mod examples;
pub mod fixtures;
pub mod program;
pub mod proxy;
pub mod server;
pub mod sink;
pub mod tls;
pub mod transcript;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ignores poisoning: a panic while the lock was held leaves nothing half-done that matters here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
