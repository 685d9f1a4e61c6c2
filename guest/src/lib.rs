//! Turns Claude Code sessions into `PostHog` AI events.

mod batch;
mod chat;
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
pub mod session;
pub mod shorten;
mod span;
mod text;
mod threads;
pub mod time;
mod trace;
mod turns;
