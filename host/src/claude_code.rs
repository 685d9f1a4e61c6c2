//! What Claude Code keeps on disk, and its process.

pub mod client;
pub mod sessions;
pub mod settings;
