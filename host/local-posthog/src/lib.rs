//! A `PostHog` on loopback that keeps what it receives. The demo and every end-to-end test send to it.
//!
//! It is stricter than the real one. Where `PostHog` quietly repairs or drops something (it replaces an unreadable
//! timestamp with "now", cuts a long `distinct_id`, loses a `$ai_error` that is not a string), this server refuses the
//! batch and says why, so that the mistake shows up here.
//!
//! It does not apply two rules of the real server: it doesn't clamp a timestamp more than 23 hours in the future,
//! because [`rules`] has no clock, and it doesn't distinguish an unknown but well-formed key from a known one.

pub mod loopback;
pub mod rules;
pub mod server;

mod chat;
mod envelope;
mod headers;
mod json;
mod key;
mod limits;
mod properties;
mod refusal;

#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod server_tests;

pub use server::{AcceptedBytes, Answer, Config, EventResult, JudgeEvent, LocalPostHog, Received, RejectEvent};
