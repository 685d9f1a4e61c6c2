//! A stranger decides nothing: an untrusted repository tries every way it has to influence the program, and every
//! command runs in it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod decisions;
mod privacy;
mod sessions;
mod stage;
mod table;
