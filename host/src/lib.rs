//! The native host of the component: what to read, where it may go, what was delivered.

pub mod atomic;
pub mod cli;
pub mod client;
pub mod commands;
pub mod conversion;
pub mod courier;
pub mod delivery;
pub mod demo;
pub mod detach;
pub mod directories;
pub mod git;
pub mod hook;
pub mod ingest;
pub mod local_posthog;
pub mod outbox;
pub mod program;
pub mod report;
pub mod sandbox;
pub mod sessions;
pub mod settings;
pub mod status_file;
pub mod stored_options;
pub mod terminal;
pub mod tree;
pub mod view;
