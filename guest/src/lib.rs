//! Turns Claude Code sessions into `PostHog` AI events.

pub mod options;
pub mod origin;
