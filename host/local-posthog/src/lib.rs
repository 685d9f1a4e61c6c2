//! A `PostHog` on loopback that keeps what it is sent: the demo's receiver and every end-to-end test's.
//!
//! It is stricter than the real one. Where `PostHog` quietly repairs or drops something (an unreadable timestamp becomes
//! "now", a long `distinct_id` is cut, a `$ai_error` that is not a string is lost), this one refuses the batch and says why, so
//! that a mistake is seen on this side.
//!
//! Two rules of the real server are not applied: a timestamp more than 23 hours in the future is not clamped, because
//! [`rules`] knows no clock, and an unknown but well-formed key is not told from a known one.

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
