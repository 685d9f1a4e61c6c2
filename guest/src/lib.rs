//! Turns Claude Code sessions into PostHog AI events.
//!
//! `lines → entries → session tree → events → batches → requests`, one direction. Everything up to the events is pure: no
//! file, no clock, no chance, no environment. It compiles natively too, and is what the component's `conversion`
//! interface exports. Start at [`session::Session`] for the conversion, at [`deliver::Delivery`] for the sending.

mod batch;
mod chat;
#[cfg(target_family = "wasm")]
mod component;
mod context;
mod convert;
pub mod deliver;
mod elide;
mod entry;
pub mod event;
mod generation;
pub mod identity;
mod index;
mod lenient;
mod lines;
pub mod options;
pub mod origin;
mod prompt;
pub mod reading;
pub mod session;
pub mod shorten;
mod span;
mod text;
mod threads;
pub mod time;
mod trace;
mod turns;
