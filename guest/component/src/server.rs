//! The `server` world: a client posts a session, and the server returns or delivers its events.
//!
//! Each request gets its own instance, and nothing is kept: the server doesn't know what was delivered before.

use super::Component;
use super::environment::{options, variable};
use super::http::{Timeouts, WasiTransport};
use super::upload::{self, LARGEST, Upload, UploadError};
use bindings::exports::wasi::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};
use posthog_llma_pipeline::delivery::deliver::{Access, Delivery, Retries};
use posthog_llma_pipeline::delivery::reading::Reading;
use posthog_llma_pipeline::options::Options;
use posthog_llma_pipeline::session::{ConversionOptions, Session};
use serde_json::json;
use wasi::http::types::{Fields, IncomingBody, Method, OutgoingBody, OutgoingResponse};
use wasi::io::streams::{OutputStream, StreamError};

pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "server",
        with: {
            "wasi:cli/environment@0.2.12": wasi::cli::environment,
            "wasi:clocks/monotonic-clock@0.2.12": wasi::clocks::monotonic_clock,
            "wasi:clocks/wall-clock@0.2.12": wasi::clocks::wall_clock,
            "wasi:http/outgoing-handler@0.2.12": wasi::http::outgoing_handler,
            "wasi:http/types@0.2.12": wasi::http::types,
            "wasi:io/error@0.2.12": wasi::io::error,
            "wasi:io/poll@0.2.12": wasi::io::poll,
            "wasi:io/streams@0.2.12": wasi::io::streams,
            "wasi:random/random@0.2.12": wasi::random::random,
        },
        export_macro_name: "export_server",
        pub_export_macro: true,
    });
}

#[expect(unsafe_code, reason = "generated code")]
mod export {
    use super::{Component, bindings};
    bindings::export_server!(Component with_types_in bindings);
}

const USAGE: &str = "\
POST /convert   a session; answers with its events, one JSON object a line
POST /deliver   a session; sends it to POSTHOG_HOST with POSTHOG_API_KEY and answers with what arrived

The body is a tar archive of the transcript and its folder (content-type: application/x-tar)
  tar -C PROJECT -cf - SESSION.jsonl SESSION | curl -H content-type:application/x-tar --data-binary @- URL/convert
or the transcript alone, with its session's id (posthog-session-id: SESSION). It may be compressed (content-encoding: gzip).
A session whose directory changed has a transcript in each project's folder; all of them go into one archive:
  (cd ~/.claude/projects && tar -cf - */SESSION*) | curl -H content-type:application/x-tar --data-binary @- URL/convert
posthog-distinct-id and posthog-git-repo say whose the session is. Settings are the POSTHOG_… variables that the host passes;
with POSTHOG_LLMA_SERVER_TOKEN, requests need it (authorization: Bearer TOKEN).
";

/// If set, every request must send it.
const TOKEN: &str = posthog_llma_pipeline::options::SERVER_TOKEN;

const JSON: &str = "application/json";

/// A header that HTTP requires with some statuses.
type Header = Option<(&'static str, &'static str)>;

/// An error response.
struct Refusal {
    status: u16,
    message: String,
    header: Header,
}

fn refusal(status: u16, message: impl Into<String>) -> Refusal {
    Refusal { status, message: message.into(), header: None }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        let status = if matches!(error, UploadError::TooLarge) { 413 } else { 400 };
        refusal(status, error.to_string())
    }
}

impl Guest for Component {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let answered = match (request.method(), path) {
            (Method::Get | Method::Head, "/") => {
                respond(out, 200, "text/plain; charset=utf-8", None, USAGE.as_bytes());
                return;
            }
            (Method::Post, "/convert" | "/deliver") => accept(&request),
            (_, "/" | "/convert" | "/deliver") => {
                let allow = if path == "/" { "GET, HEAD" } else { "POST" };
                let refusal = refusal(405, "only GET /, POST /convert and POST /deliver");
                Err(Refusal { header: Some(("allow", allow)), ..refusal })
            }
            _ => Err(refusal(404, "there is only /, /convert and /deliver")),
        };
        let refused = match answered {
            Ok((upload, _, conversion)) if path == "/convert" => convert(upload, conversion, out),
            Ok((upload, options, conversion)) => deliver(upload, conversion, &options, out),
            Err(refusal) => Err((refusal, out)),
        };
        if let Err((Refusal { status, message, header }, out)) = refused {
            respond(out, status, JSON, header, json!({ "error": message }).to_string().as_bytes());
        }
    }
}

/// Checks a request and reads its session and settings.
fn accept(request: &IncomingRequest) -> Result<(Upload, Options, ConversionOptions), Refusal> {
    let headers = request.headers();
    let header = |name: &str| {
        let value = headers.get(name).into_iter().next()?;
        String::from_utf8(value).ok().filter(|value| !value.is_empty())
    };
    if let Some(token) = variable(TOKEN).filter(|token| !token.is_empty()) {
        let given = header("authorization").unwrap_or_default();
        if !same(given.strip_prefix("Bearer ").unwrap_or_default().as_bytes(), token.as_bytes()) {
            let refusal = refusal(401, "the header authorization must be: Bearer TOKEN");
            return Err(Refusal { header: Some(("www-authenticate", "Bearer")), ..refusal });
        }
    }
    let options = options().map_err(|error| refusal(500, error))?;
    let gzip = match header("content-encoding").as_deref() {
        None | Some("identity") => false,
        Some("gzip") => true,
        Some(other) => return Err(refusal(415, format!("content-encoding {other}: only gzip"))),
    };
    let kind = header("content-type").unwrap_or_default();
    let archive = matches!(kind.split(';').next().unwrap_or_default().trim(), "application/x-tar" | "application/tar");
    let upload = upload::read(&body(request)?, gzip, archive, header("posthog-session-id"))?;

    let mut conversion = options.conversion.clone();
    conversion.distinct_id = header("posthog-distinct-id").or(conversion.distinct_id);
    conversion.git_repo = header("posthog-git-repo");
    Ok((upload, options, conversion))
}

/// Compares two secrets in a time that doesn't reveal where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn body(request: &IncomingRequest) -> Result<Vec<u8>, Refusal> {
    let broken = || refusal(400, "the body broke off");
    let body = request.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
        }
        if bytes.len() > LARGEST {
            return Err(UploadError::TooLarge.into());
        }
    }
    drop(stream);
    IncomingBody::finish(body);
    Ok(bytes)
}

/// Streams the events to the client as they become complete.
fn convert(
    upload: Upload,
    conversion: ConversionOptions,
    out: ResponseOutparam,
) -> Result<(), (Refusal, ResponseOutparam)> {
    let mut session = match Session::open(&upload.id, &upload.roles, conversion) {
        Ok(session) => session,
        Err(invalid) => return Err((refusal(400, invalid.to_string()), out)),
    };
    let Ok(mut reading) = Reading::first(&mut session, upload.files, upload.roles.len());
    let (body, stream) = begin(out, 200, "application/x-ndjson", None);
    loop {
        let Ok(more) = reading.second(&mut session);
        // The client has disconnected.
        if write(&stream, &session.take_events(usize::MAX)).is_err() {
            return Ok(());
        }
        if !more {
            break;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

fn deliver(
    upload: Upload,
    conversion: ConversionOptions,
    options: &Options,
    out: ResponseOutparam,
) -> Result<(), (Refusal, ResponseOutparam)> {
    let Some(api_key) = &options.api_key else { return Err((refusal(500, "POSTHOG_API_KEY is not set"), out)) };
    let transport = WasiTransport::new(options.origin.clone(), Timeouts::default());
    let access = Access::new(api_key.expose().to_owned());
    let Upload { id, roles, files } = upload;
    let started = Delivery::start(&id, &roles, conversion, files, transport, access, Retries::default());
    let mut delivery = match started {
        Ok(delivery) => delivery,
        Err(error) => return Err((refusal(400, error.to_string()), out)),
    };
    let (mut accepted, mut rejected, mut error) = (0, Vec::new(), None);
    loop {
        match delivery.next_batch() {
            Ok(Some(batch)) => {
                accepted += batch.accepted.len();
                rejected.extend(batch.rejected.into_iter().map(|event| {
                    json!({ "uuid": event.id.to_string(), "event": event.kind.name(), "status": event.status,
                            "message": event.message })
                }));
            }
            Ok(None) => break,
            Err(failed) => {
                error = Some(failed.to_string());
                break;
            }
        }
    }
    let status = if error.is_none() { 200 } else { 502 };
    let report = json!({ "session": id, "accepted": accepted, "rejected": rejected, "error": error });
    respond(out, status, JSON, None, report.to_string().as_bytes());
    Ok(())
}

fn begin(out: ResponseOutparam, status: u16, kind: &'static str, header: Header) -> (OutgoingBody, OutputStream) {
    let headers = Fields::new();
    for (name, value) in [("content-type", kind)].into_iter().chain(header) {
        let _ = headers.set(name, &[value.as_bytes().to_vec()]);
    }
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    // Can't fail: each can be taken once, and both are new.
    let body = response.body().expect("a body");
    let stream = body.write().expect("a stream");
    ResponseOutparam::set(out, Ok(response));
    (body, stream)
}

fn respond(out: ResponseOutparam, status: u16, kind: &'static str, header: Header, text: &[u8]) {
    let (body, stream) = begin(out, status, kind, header);
    let written = write(&stream, text);
    drop(stream);
    if written.is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Writes in the largest pieces that the host accepts. (`blocking_write_and_flush` accepts 4 KiB.)
fn write(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    let ready = stream.subscribe();
    while !bytes.is_empty() {
        ready.block();
        let room = stream.check_write()? as usize;
        let (piece, rest) = bytes.split_at(room.min(bytes.len()));
        stream.write(piece)?;
        bytes = rest;
    }
    stream.blocking_flush()
}
