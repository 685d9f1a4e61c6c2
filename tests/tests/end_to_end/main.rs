//! End to end: the real program, the components, the examples and the documentation.
//!
//! One program, because each one contains all of wasmtime, and because its tests run side by side: most of them wait.

mod claude_code;
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
