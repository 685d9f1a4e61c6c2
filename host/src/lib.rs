//! The component's native host: it decides what to read and where to send it, and records what was delivered.
//!
//! `system → claude_code, outbox → program → delivery → view → commands`: each module imports only from those before
//! it; `tests/tests/layers.rs` enforces that.

pub mod claude_code;
pub mod commands;
pub mod delivery;
pub mod outbox;
pub mod program;
pub mod system;
pub mod view;
