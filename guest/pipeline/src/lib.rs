//! Turns Claude Code sessions into PostHog AI events.
//!
//! `transcript → events → session → delivery`: each folder imports only from those before it and from the modules at
//! the root, which import nothing from the folders; `tests/layers.rs` enforces that. Everything up to the events is
//! pure: no files, clock, randomness or environment. Start at [`session::Session`] for the conversion, at
//! [`delivery::deliver::Delivery`] for the sending.

pub mod delivery;
pub mod events;
pub mod identity;
pub mod options;
pub mod origin;
mod place;
pub mod redact;
pub mod session;
pub mod time;
mod transcript;
