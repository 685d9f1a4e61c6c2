//! The native host of the component: what to read, where it may go, what was delivered.

pub mod atomic;
pub mod cli;
pub mod conversion;
pub mod delivery;
pub mod demo;
pub mod git;
pub mod local_posthog;
pub mod program;
pub mod report;
pub mod sandbox;
pub mod sessions;
pub mod settings;
pub mod tree;
pub mod view;
