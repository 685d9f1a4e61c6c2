//! The native host of the component: what to read, where it may go, what was delivered.
//!
//! `system → claude_code, outbox → program → delivery → view → commands`: each imports only from those before it;
//! `tests/tests/layers.rs` holds that.

pub mod claude_code;
pub mod commands;
pub mod delivery;
pub mod outbox;
pub mod program;
pub mod system;
pub mod view;
