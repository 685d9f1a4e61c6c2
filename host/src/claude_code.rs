//! Claude Code's files on disk and its process.

pub mod clean_start;
pub mod client;
pub mod first_environment;
pub mod hooks;
pub mod local_plugin;
pub mod patterns;
pub mod plugin_options;
pub mod project;
pub mod sessions;
pub mod settings;
mod source;
