//! Requests through `wasi:http`, each with its own timeouts.

use posthog_llma_pipeline::delivery::lane::Request;
use posthog_llma_pipeline::delivery::transport::{Answer, Transport, TransportError};
use posthog_llma_pipeline::origin::{Origin, Scheme};
use std::time::Duration;
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::http::outgoing_handler;
use wasi::http::types::{self as http, ErrorCode, Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions};
use wasi::io::poll::{self, Pollable};
use wasi::io::streams::StreamError;
use wasi::random::random;

/// The most bytes of a response to read. PostHog's are below 1 KiB.
const LARGEST_ANSWER: usize = 64 * 1024;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    /// From the request's last byte to the response's first.
    pub(crate) first_byte: Duration,
    /// From the start of a request to the end of its response.
    pub(crate) request: Duration,
}

impl Default for Timeouts {
    /// For worlds in which no caller sets them.
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), first_byte: Duration::from_secs(30), request: Duration::from_mins(1) }
    }
}

/// The transport to the only destination.
#[derive(Debug)]
pub(crate) struct WasiTransport {
    origin: Origin,
    timeouts: Timeouts,
}

/// The deadline of a request.
struct Deadline {
    pollable: Pollable,
    time: Duration,
}

impl Deadline {
    /// Waits for `ready`; fails if the deadline comes first.
    fn wait_for(&self, ready: &Pollable, what: &str) -> Result<(), TransportError> {
        if poll::poll(&[ready, &self.pollable]).contains(&0) {
            return Ok(());
        }
        let message = format!("{what} after {:.1} s, the time of a whole request", self.time.as_secs_f64());
        Err(TransportError::TimedOut(message))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The error codes of `wasi:http` in words.
fn failed(error: &ErrorCode) -> TransportError {
    let words = match error {
        ErrorCode::HttpRequestDenied | ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            return TransportError::Denied("the sandbox refused the request".to_owned());
        }
        ErrorCode::ConnectionTimeout => return TransportError::TimedOut("no connection in time".to_owned()),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            return TransportError::TimedOut("no answer in time".to_owned());
        }
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => "the host name has no address",
        ErrorCode::ConnectionRefused => "the connection was refused",
        ErrorCode::ConnectionTerminated => "the connection was closed",
        ErrorCode::HttpResponseIncomplete => "the answer broke off",
        ErrorCode::TlsCertificateError => "its certificate is not trusted (SSL_CERT_FILE names other authorities)",
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => "no TLS connection could be made",
        ErrorCode::HttpProtocolError => "it does not speak HTTP",
        ErrorCode::HttpResponseBodySize(_) => "its answer is too large",
        ErrorCode::InternalError(Some(reason)) => reason,
        other => return TransportError::Unreachable(other.to_string()),
    };
    TransportError::Unreachable(words.to_owned())
}

fn unexpected<E>(_: E) -> TransportError {
    TransportError::Unreachable("the host does not take the request".to_owned())
}

impl WasiTransport {
    pub(crate) fn new(origin: Origin, timeouts: Timeouts) -> Self {
        Self { origin, timeouts }
    }

    fn outgoing(&self, request: &Request<'_>) -> Result<OutgoingRequest, TransportError> {
        let headers = Fields::new();
        for (name, value) in request.headers() {
            headers.set(name, &[value.into_bytes()]).map_err(unexpected)?;
        }
        let scheme = match self.origin.scheme() {
            Scheme::Http => http::Scheme::Http,
            Scheme::Https => http::Scheme::Https,
        };
        let outgoing = OutgoingRequest::new(headers);
        outgoing.set_method(&Method::Post).map_err(unexpected)?;
        outgoing.set_scheme(Some(&scheme)).map_err(unexpected)?;
        outgoing.set_authority(Some(&self.origin.authority())).map_err(unexpected)?;
        outgoing.set_path_with_query(Some(request.lane.path())).map_err(unexpected)?;
        Ok(outgoing)
    }

    fn options(&self) -> RequestOptions {
        let options = RequestOptions::new();
        // A host that doesn't support these uses its own; the deadline of the whole request applies anyway.
        let _ = options.set_connect_timeout(Some(nanoseconds(self.timeouts.connect)));
        let _ = options.set_first_byte_timeout(Some(nanoseconds(self.timeouts.first_byte)));
        let _ = options.set_between_bytes_timeout(Some(nanoseconds(self.timeouts.first_byte)));
        options
    }
}

impl Transport for WasiTransport {
    fn post(&mut self, request: &Request<'_>) -> Result<Answer, TransportError> {
        let deadline = Deadline {
            pollable: monotonic_clock::subscribe_duration(nanoseconds(self.timeouts.request)),
            time: self.timeouts.request,
        };
        let (outgoing, body) = (self.outgoing(request)?, request.body);
        let stream = outgoing.body().map_err(unexpected)?;
        let response = outgoing_handler::handle(outgoing, Some(self.options())).map_err(|error| failed(&error))?;
        // If the host refuses, the first sign can be a closed body; the reason is in the response.
        let written = write(stream, body, &deadline);
        if let Err(timed_out @ TransportError::TimedOut(_)) = written {
            return Err(timed_out);
        }
        deadline.wait_for(&response.subscribe(), "no answer")?;
        let response = match response.get() {
            Some(Ok(Ok(response))) => response,
            Some(Ok(Err(error))) => return Err(failed(&error)),
            _ => return Err(unexpected(())),
        };
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.first().and_then(|v| std::str::from_utf8(v).ok()?.trim().parse().ok());
        let status = response.status();
        let body = read(&response, &deadline)?;
        Ok(Answer { status, retry_after, body })
    }

    fn wait(&mut self, time: Duration) {
        monotonic_clock::subscribe_duration(nanoseconds(time)).block();
    }

    fn random(&mut self) -> u64 {
        random::get_random_u64()
    }

    fn now(&mut self) -> i64 {
        let now = wall_clock::now();
        i64::try_from(now.seconds).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
            + i64::from(now.nanoseconds / 1_000_000)
    }
}

/// Writes a request's body in the largest pieces that the host accepts. (`blocking_write_and_flush` accepts 4 KiB.)
fn write(outgoing: OutgoingBody, mut body: &[u8], deadline: &Deadline) -> Result<(), TransportError> {
    let closed = |_: StreamError| TransportError::Unreachable("the connection was closed".to_owned());
    let stream = outgoing.write().map_err(unexpected)?;
    let ready = stream.subscribe();
    while !body.is_empty() {
        deadline.wait_for(&ready, "the server took only a part of the request")?;
        let room = stream.check_write().map_err(closed)? as usize;
        let (piece, rest) = body.split_at(room.min(body.len()));
        stream.write(piece).map_err(closed)?;
        body = rest;
    }
    stream.flush().map_err(closed)?;
    deadline.wait_for(&ready, "the server took only a part of the request")?;
    stream.check_write().map_err(closed)?;
    drop(ready);
    drop(stream);
    OutgoingBody::finish(outgoing, None).map_err(|error| failed(&error))
}

fn read(response: &http::IncomingResponse, deadline: &Deadline) -> Result<Vec<u8>, TransportError> {
    let body = response.consume().map_err(unexpected)?;
    let stream = body.stream().map_err(unexpected)?;
    let ready = stream.subscribe();
    let mut bytes = Vec::new();
    while bytes.len() < LARGEST_ANSWER {
        deadline.wait_for(&ready, "only a part of the answer came")?;
        match stream.read((LARGEST_ANSWER - bytes.len()) as u64) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(http::http_error_code(&error).map_or_else(
                    || TransportError::Unreachable("the answer broke off".to_owned()),
                    |error| failed(&error),
                ));
            }
        }
    }
    Ok(bytes)
}
