//! From events to requests: files are read, events packed in batches, answers judged.

mod batch;
pub mod deliver;
pub mod lane;
pub mod reading;
pub mod transport;
mod verdict;
