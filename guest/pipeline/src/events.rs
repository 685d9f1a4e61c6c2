//! The parts of events, by kind.

pub(crate) mod chat;
pub mod event;
pub(crate) mod generation;
pub mod outcome;
pub(crate) mod provider;
mod shape;
pub mod shorten;
pub(crate) mod span;
pub(crate) mod trace;
pub(crate) mod usage;
