//! From events to requests: reads files, packs events into batches, judges answers.

mod batch;
pub mod deliver;
pub mod lane;
pub mod reading;
pub mod transport;
mod verdict;
