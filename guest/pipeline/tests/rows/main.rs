//! Every row and every rule of the contract between transcripts and events, each with a test that fails without it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]

#[path = "../conversion/mod.rs"]
mod conversion;
mod lines;

mod agents;
mod bad_lines;
mod calls;
mod chat;
mod copies;
mod cost;
mod envelope;
mod failures;
mod generation;
mod grouping;
mod interrupted;
mod privacy;
mod reading;
mod redaction;
mod resumed;
mod span;
mod tokens;
mod trace;
