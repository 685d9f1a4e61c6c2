//! End-to-end tests: the real program, the real component, a strict local `PostHog`.
//!
//! This library is what stands between the two: a certificate authority with a TLS terminator, and a proxy. Everything
//! listens on loopback and connects to loopback alone.

pub mod proxy;
pub mod tls;

mod loopback;
