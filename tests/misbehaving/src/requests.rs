//! HTTP requests, written directly against `wasi:http` so that no library corrects them.

use crate::wasi::http::outgoing_handler;
use crate::wasi::http::types::{ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme};
use crate::wasi::io::streams::StreamError;

/// A request, split into its parts.
pub struct Request<'a> {
    pub method: Method,
    pub scheme: Scheme,
    pub authority: &'a str,
    pub target: &'a str,
}

impl<'a> Request<'a> {
    /// Parses `METHOD scheme://authority/target` without any checks.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (method, url) = text.split_once(' ')?;
        let (scheme, rest) = url.split_once("://")?;
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some(Self {
            method: match method {
                "GET" => Method::Get,
                "POST" => Method::Post,
                "PUT" => Method::Put,
                "DELETE" => Method::Delete,
                other => Method::Other(other.to_owned()),
            },
            scheme: match scheme {
                "http" => Scheme::Http,
                "https" => Scheme::Https,
                other => Scheme::Other(other.to_owned()),
            },
            authority,
            target,
        })
    }

    /// Sends it with a small body and waits for the response. Returns `200: body`, or the error's name.
    pub fn send(&self) -> String {
        match self.response() {
            Ok(response) => {
                let location = response
                    .headers()
                    .get("location")
                    .first()
                    .map(|value| format!(" to {}", String::from_utf8_lossy(value)))
                    .unwrap_or_default();
                let status = response.status();
                format!("{status}{location}: {}", read(&response))
            }
            Err(Failure::Setter(what)) => format!("{what} is not accepted"),
            Err(Failure::Code(code)) => format!("{code:?}"),
        }
    }

    fn response(&self) -> Result<IncomingResponse, Failure> {
        let request = OutgoingRequest::new(Fields::new());
        let set = |result: Result<(), ()>, what| result.map_err(|()| Failure::Setter(what));
        set(request.set_method(&self.method), "the method")?;
        set(request.set_scheme(Some(&self.scheme)), "the scheme")?;
        set(request.set_authority(Some(self.authority)), "the authority")?;
        set(request.set_path_with_query(Some(self.target)), "the target")?;
        let body = request.body().map_err(|()| Failure::Setter("the body"))?;
        let response = outgoing_handler::handle(request, None).map_err(Failure::Code)?;
        // Both can fail because the request was refused; the response says why.
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(b"{}");
        }
        let _ = OutgoingBody::finish(body, None);
        response.subscribe().block();
        match response.get() {
            Some(Ok(result)) => result.map_err(Failure::Code),
            _ => Err(Failure::Setter("the response")),
        }
    }
}

enum Failure {
    Setter(&'static str),
    Code(ErrorCode),
}

/// The body, or the number of bytes read before an error.
fn read(response: &IncomingResponse) -> String {
    let Ok(body) = response.consume() else {
        return "no body".to_owned();
    };
    let Ok(stream) = body.stream() else {
        return "no stream".to_owned();
    };
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => return String::from_utf8_lossy(&bytes).into_owned(),
            Err(StreamError::LastOperationFailed(error)) => {
                return format!("after {} bytes: {}", bytes.len(), error.to_debug_string());
            }
        }
    }
}
