//! Takes a session from its files to delivery: converting, sending, and deciding which process does that and when.

pub mod conversion;
pub mod cost;
pub mod counted;
pub mod courier;
pub mod extent;
pub mod hook;
pub mod ingest;
pub mod outcome;
pub mod python_plugin;
pub mod record;
pub mod report;
pub mod send;
pub mod status_file;
