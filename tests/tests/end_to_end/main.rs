//! End to end: the real program, the components, the examples and the documentation.
//!
//! One program, because each one contains all of wasmtime, and because its tests run side by side: most of them wait. The real
//! client has one of its own (`claude_code.rs`): on a machine that is busy with builds, 2.1.139 can write an answer before its prompt.

mod command;
mod cost;
mod docs;
mod examples;
mod imports;
mod ingest;
mod outbox;
mod program;
mod sandbox;
mod server;
mod trust;
