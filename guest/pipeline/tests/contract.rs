//! Every row and every rule of the contract between transcripts and events, each with a test that fails without it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "`json!` makes values")]

mod conversion;
mod rows;
