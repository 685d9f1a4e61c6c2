//! The connection to the server as the delivery needs it: requests, answers, and time.

use crate::delivery::lane::Request;
use std::time::Duration;
use thiserror::Error;

/// The connection to the server, and time.
pub trait Transport {
    /// POSTs a compressed JSON body to the lane's path of the destination, with the request's headers.
    fn post(&mut self, request: &Request<'_>) -> Result<Answer, TransportError>;
    /// Waits.
    fn wait(&mut self, time: Duration);
    /// Random bits.
    fn random(&mut self) -> u64;
    /// The current time, in milliseconds since 1970.
    fn now(&mut self) -> i64;
}

/// A server's answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<u32>,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Error)]
pub enum TransportError {
    /// No connection, or it was interrupted.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// The sandbox forbids the request. Another attempt would not change that.
    #[error("{0}")]
    Denied(String),
}
