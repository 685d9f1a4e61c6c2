//! The native host of the component: what to read, where it may go, what was delivered.

pub mod git;
pub mod local_posthog;
pub mod sandbox;
pub mod sessions;
pub mod settings;
