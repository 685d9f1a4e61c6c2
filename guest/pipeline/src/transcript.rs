//! From bytes to entries: splits lines, reads what is in them, and prepares their texts.

pub mod context;
pub mod elide;
pub mod entry;
pub mod fingerprint;
pub mod lenient;
pub mod lines;
pub mod prompt;
pub mod raw;
pub mod reader;
mod scan;
pub mod shape;
mod strict;
pub mod text;
pub mod verdict;
