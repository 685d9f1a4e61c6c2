//! What the capture API accepts and what it refuses, as a pure function of one request.
//!
//! The rules are those of `PostHog`'s capture service for `/i/v1/ai/events`, `/i/v0/ai/batch/` and `/batch/`. Here, a
//! batch is accepted or refused as a whole; tests script the per-event results of the first route in the server.
//! Conventions that are only documented (the chat format, the alphabet of IDs) are rules here, too.

use std::collections::HashSet;
use std::io::Read;

use flate2::bufread::GzDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::envelope::{self, Route};
use super::headers;
use super::json::{Object, array, shown};
use super::key::check_key;
pub use super::limits::{AI_EVENT_LIMIT, AI_PATH, BATCH_EVENT_LIMIT, BATCH_PATH, BODY_LIMIT, EVENTS_PATH, KEY_LIMIT};
pub use super::refusal::Refusal;

/// The outcome of a request.
pub type Verdict = Result<Accepted, Refusal>;

/// A batch with only valid events.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The events, in the order of the batch.
    pub events: Vec<Value>,
    /// Bytes of the body after decompression.
    pub raw_bytes: u64,
}

/// Checks one request. `path` may have a query; `body` is as received.
pub fn check(method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let route = match path {
        EVENTS_PATH => Route::Events,
        AI_PATH => Route::Ai,
        BATCH_PATH => Route::Batch,
        _ => {
            let here = format!("nothing here but {EVENTS_PATH}, {AI_PATH} and {BATCH_PATH}");
            return Err(Refusal::new(StatusCode::NOT_FOUND, here));
        }
    };
    if method != Method::POST {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is allowed here"));
    }
    if body.len() > BODY_LIMIT {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over {BODY_LIMIT} bytes")));
    }
    if route == Route::Events {
        headers::check(headers)?;
    }
    let decompressed;
    let text = if is_gzip(query, headers, body)? {
        decompressed = decompress(body)?;
        &decompressed
    } else {
        body
    };
    let text =
        std::str::from_utf8(text).map_err(|error| Refusal::bad_request(format!("the body is not UTF-8: {error}")))?;
    Ok(Accepted { events: check_batch(route, text)?, raw_bytes: text.len() as u64 })
}

/// Is the body compressed, by its header, by `?compression=gzip`, or by its first two bytes?
fn is_gzip(query: &str, headers: &HeaderMap, body: &[u8]) -> Result<bool, Refusal> {
    let mut gzip = body.starts_with(&[0x1f, 0x8b]);
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("compression", "gzip")) => gzip = true,
            Some(("compression", other)) => {
                return Err(Refusal::bad_request(format!(
                    "the compression `{}` is not known, only gzip",
                    shown(other)
                )));
            }
            _ => {}
        }
    }
    for encoding in headers.get_all(CONTENT_ENCODING) {
        if encoding.as_bytes().eq_ignore_ascii_case(b"gzip") {
            gzip = true;
        } else if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "the content encoding `{}` is not known, only gzip",
                    shown(&String::from_utf8_lossy(encoding.as_bytes()))
                ),
            ));
        }
    }
    Ok(gzip)
}

/// Decompresses one gzip member, producing at most one byte more than [`BODY_LIMIT`].
fn decompress(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut decoder = GzDecoder::new(body);
    let mut text = Vec::new();
    (&mut decoder)
        .take(BODY_LIMIT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| Refusal::bad_request(format!("the body is not good gzip: {error}")))?;
    if text.len() > BODY_LIMIT {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is over {BODY_LIMIT} bytes after decompression"),
        ));
    }
    if !decoder.into_inner().is_empty() {
        return Err(Refusal::bad_request("there are bytes behind the end of the gzip data"));
    }
    Ok(text)
}

fn check_batch(route: Route, text: &str) -> Result<Vec<Value>, Refusal> {
    let body = Object::parse(text).map_err(|problem| Refusal::bad_request(format!("the body {problem}")))?;
    if body.get("sent_at").is_some() {
        return Err(Refusal::bad_request(
            "`sent_at` is set: the server shifts every timestamp by the difference to its own clock, so that a retry changes them",
        ));
    }
    // `created_at` on the newest route, where a header has the key; the key elsewhere.
    let first = if route == Route::Events { "created_at" } else { "api_key" };
    if let Some(name) = body.other_than(&[first, "batch"]) {
        return Err(Refusal::bad_request(format!("the body has the unknown member `{}`", shown(name))));
    }
    let value = body.get(first).map(|raw| serde_json::from_str::<Value>(raw.get()));
    let value = match &value {
        Some(Ok(Value::String(text))) => Some(text.as_str()),
        _ => None,
    };
    if route != Route::Events {
        check_key(value).map_err(|problem| Refusal::new(StatusCode::UNAUTHORIZED, problem))?;
    } else if !value.is_some_and(envelope::is_utc_timestamp) {
        return Err(Refusal::bad_request("`created_at` is not RFC 3339 in UTC"));
    }

    let batch = body.get("batch").ok_or_else(|| Refusal::bad_request("`batch` is missing"))?;
    let batch = array(batch.get()).map_err(|problem| Refusal::bad_request(format!("`batch` {problem}")))?;
    if batch.is_empty() {
        return Err(Refusal::bad_request("`batch` is empty"));
    }
    let mut uuids = HashSet::new();
    let mut events = Vec::new();
    for (index, raw) in batch.iter().enumerate() {
        let event = envelope::check(route, raw.get()).map_err(|refusal| {
            let reason = format!("event {} of {}{}", index + 1, batch.len(), refusal.reason);
            Refusal { reason, ..refusal }
        })?;
        if let Some(uuid) = event.get("uuid").and_then(Value::as_str)
            && !uuids.insert(uuid.to_owned())
        {
            return Err(Refusal::bad_request(format!(
                "event {} of {}: its `uuid` {} is that of an earlier event in the batch",
                index + 1,
                batch.len(),
                shown(uuid)
            ))
            .tagged("duplicate_event_uuid"));
        }
        events.push(event);
    }
    Ok(events)
}
