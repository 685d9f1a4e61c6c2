//! The server around [`rules`]: on loopback, on its own thread, with responses that a test can script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::loopback::Loopback;
use super::rules::{self, AI_PATH, Accepted, EVENTS_PATH, Refusal};

/// Maximum bytes of a body to read. Higher than the rules' own limit, so that the server sees and records what exceeds
/// that.
const READ_LIMIT: usize = 64 * 1024 * 1024;
/// Maximum bytes of all recorded requests and their events; beyond that, the server responds to every request with 503.
const KEEP_LIMIT: usize = 1024 * 1024 * 1024;
/// The timeout from one request's head to the next one's, and from a head to the end of its body.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// The number of pieces that a trickling response is split into.
const PIECES: usize = 128;

/// Refuses an event that the rules would accept, with this status (400, 413 …) and text.
pub type RejectEvent = Arc<dyn Fn(&Value) -> Option<(u16, String)> + Send + Sync>;

/// The result of one event on the newest route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventResult {
    /// `ok`, `warning`, `retry` or `drop`; or an unknown word.
    pub result: String,
    /// The reason.
    pub details: Option<String>,
}

impl EventResult {
    /// A result with its details; empty details are left out.
    pub fn new(result: &str, details: &str) -> Self {
        Self { result: result.to_owned(), details: (!details.is_empty()).then(|| details.to_owned()) }
    }

    /// Does the server keep the event?
    fn is_accepted(&self) -> bool {
        matches!(self.result.as_str(), "ok" | "warning")
    }
}

/// The result of an event in an otherwise valid batch. `None` leaves the event out of the response, and the server
/// doesn't keep it.
pub type JudgeEvent = Arc<dyn Fn(&Value) -> Option<EventResult> + Send + Sync>;

/// What the server does in addition to the rules; by default, nothing.
#[derive(Clone, Default)]
pub struct Config {
    /// The responses to the first requests, one each, regardless of the request. After that, only the rules decide.
    pub script: Vec<Answer>,
    /// Respond with this status (404 or 405) on the newest route, like a server that doesn't have it.
    pub missing_events_path: Option<u16>,
    /// Respond with this status (404 or 405) on both routes for AI events.
    pub missing_ai_path: Option<u16>,
    /// Called for the result of every event on the newest route. Without it, all are `ok`.
    pub judge_event: Option<JudgeEvent>,
    /// Called for every event of an otherwise valid batch; one refused event refuses the batch.
    pub reject_event: Option<RejectEvent>,
    /// List these as over quota in every 200 of the older routes. The server keeps the events anyway.
    pub quota_limited: Vec<String>,
}

/// How to respond to one request, after its body was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Respond as the rules say.
    Normal,
    /// Respond with this, without looking at the batch. Headers that HTTP doesn't allow are left out.
    Status {
        /// From 200 to 999; any other becomes 500.
        code: u16,
        /// Names and values: `("retry-after", "1")`.
        headers: Vec<(String, String)>,
        /// The response's body.
        body: String,
    },
    /// Close the connection without a response.
    CloseBeforeAnswer,
    /// Respond as the rules say, but close the connection in the middle of the body. A valid batch counts as accepted.
    CloseHalfWay,
    /// Respond as the rules say, from the status line on, in [`PIECES`] pieces. A valid batch counts as accepted.
    Trickle {
        /// The pause before each piece.
        every: Duration,
    },
    /// No response; the connection stays open.
    Silence,
    /// 200 with an HTML page, like a captive portal.
    Rubbish,
    /// 302 to this location.
    Redirect(String),
    /// Bytes that are not HTTP at all.
    NotHttp,
}

/// One request as received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Path and query as in the request line.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as received, compressed or not. Empty if it could not be read in full.
    pub body: Bytes,
    /// The status of the response; none if no proper response was started.
    pub status: Option<u16>,
    /// When its head arrived.
    pub at: Instant,
}

/// Total bytes of all accepted bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptedBytes {
    /// After decompression.
    pub raw: u64,
    /// As received.
    pub sent: u64,
}

/// A running server. Dropping it ends the server.
pub struct LocalPostHog {
    loopback: Loopback,
    state: Arc<State>,
}

impl LocalPostHog {
    /// Listens on a free port of 127.0.0.1, on its own thread and runtime: callers may be async or not.
    pub fn start(config: Config) -> io::Result<Self> {
        let state = Arc::new(State {
            record: Mutex::new(Record { script: config.script.iter().cloned().collect(), ..Record::default() }),
            config,
        });
        let loopback = Loopback::start("local-posthog", {
            let state = Arc::clone(&state);
            move |stream| {
                state.record().connections += 1;
                connection(stream, Arc::clone(&state))
            }
        })?;
        Ok(Self { loopback, state })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address it listens on, for something between it and a client: a proxy or a TLS terminator.
    pub fn address(&self) -> SocketAddr {
        self.loopback.address()
    }

    /// Every request so far, in the order in which their bodies were complete.
    pub fn requests(&self) -> Vec<Received> {
        self.state.record().requests.clone()
    }

    /// Every event of every accepted batch, in order. An event that was sent twice is listed twice.
    pub fn events(&self) -> Vec<Value> {
        self.state.record().events.clone()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.state.record().connections
    }

    /// Uses up the room for requests.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.state.record().kept = KEEP_LIMIT;
    }

    /// Bytes of the accepted batches.
    pub fn accepted_bytes(&self) -> AcceptedBytes {
        self.state.record().accepted
    }
}

struct State {
    config: Config,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    script: VecDeque<Answer>,
    connections: usize,
    requests: Vec<Received>,
    kept: usize,
    events: Vec<Value>,
    accepted: AcceptedBytes,
}

/// An HTTP response, small enough to hold in memory.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// How a response is sent.
enum Manner {
    /// By hyper, as proper HTTP.
    Proper(Reply),
    /// Bypassing hyper, in pieces with a pause before each; then the connection is closed.
    Raw { bytes: Vec<u8>, every: Option<Duration> },
    /// Not at all.
    Silence,
}

/// Serves one connection until it ends or a response has to bypass hyper.
async fn connection(stream: TcpStream, state: Arc<State>) {
    let (take_over, taken) = oneshot::channel();
    let take_over = Arc::new(Mutex::new(Some(take_over)));
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        let take_over = Arc::clone(&take_over);
        async move {
            let reply = match state.answer(request).await {
                Manner::Proper(reply) => reply,
                manner => {
                    if let Some(take_over) = lock(&take_over).take() {
                        let _ = take_over.send(manner);
                    }
                    // `connection` takes the stream from hyper before hyper could ever send this.
                    std::future::pending().await
                }
            };
            let mut response = Response::new(Full::new(reply.body));
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let manner = tokio::select! {
        _ = &mut http => return,
        manner = taken => manner,
    };
    let mut stream = http.into_parts().io.into_inner();
    match manner {
        Ok(Manner::Raw { bytes, every: None }) => {
            let _ = stream.write_all(&bytes).await;
        }
        Ok(Manner::Raw { bytes, every: Some(every) }) => {
            // Otherwise, the kernel could hold pieces back and send several at once.
            let _ = stream.set_nodelay(true);
            for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
                tokio::time::sleep(every).await;
                if stream.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
        Ok(Manner::Silence) => std::future::pending().await,
        Ok(Manner::Proper(_)) | Err(_) => {}
    }
}

impl State {
    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    async fn answer(&self, request: http::Request<Incoming>) -> Manner {
        let at = Instant::now();
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let body = Limited::new(body, READ_LIMIT).collect();
        let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
            Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over {READ_LIMIT} bytes")))
            }
            Ok(Err(_)) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body is not complete")),
            Ok(Ok(body)) => Ok(body.to_bytes()),
        };

        let mut record = self.record();
        let answer = record.script.pop_front().unwrap_or(Answer::Normal);
        let kept = body.as_ref().map_or(0, Bytes::len) + head_bytes(&path, &head.headers);
        if record.kept + kept > KEEP_LIMIT {
            return Manner::Proper(reply(StatusCode::SERVICE_UNAVAILABLE, "no more room"));
        }
        record.kept += kept;
        let mut by_rules = || match &body {
            Ok(body) => self.by_rules(&mut record, &head.method, &path, &head.headers, body),
            Err(refusal) => refused(refusal),
        };
        let (status, manner) = match answer {
            Answer::Normal => proper(by_rules()),
            Answer::Status { code, headers, body } => proper(scripted(code, &headers, body)),
            Answer::Rubbish => proper(scripted(
                200,
                &[("content-type".to_owned(), "text/html".to_owned())],
                "<html><body>Welcome to the hotel's network</body></html>".to_owned(),
            )),
            Answer::Redirect(to) => proper(scripted(302, &[("location".to_owned(), to)], String::new())),
            Answer::CloseHalfWay => {
                let reply = by_rules();
                let mut bytes = on_the_wire(&reply);
                bytes.truncate(bytes.len() - reply.body.len().div_ceil(2));
                (Some(reply.status), Manner::Raw { bytes, every: None })
            }
            Answer::Trickle { every } => {
                let reply = by_rules();
                let bytes = on_the_wire(&reply);
                let every = Some(every);
                (Some(reply.status), Manner::Raw { bytes, every })
            }
            Answer::CloseBeforeAnswer => (None, Manner::Raw { bytes: Vec::new(), every: None }),
            Answer::NotHttp => {
                (None, Manner::Raw { bytes: b"220 mail.example.com ESMTP ready\r\n".to_vec(), every: None })
            }
            Answer::Silence => (None, Manner::Silence),
        };
        record.requests.push(Received {
            method: head.method,
            path,
            headers: head.headers,
            body: body.unwrap_or_default(),
            status: status.map(|status| status.as_u16()),
            at,
        });
        manner
    }

    /// Applies the rules and the permanent modes, and keeps the events of an accepted batch.
    fn by_rules(&self, record: &mut Record, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Reply {
        let route = path.split('?').next().unwrap_or_default();
        let missing = match route {
            EVENTS_PATH => self.config.missing_events_path.or(self.config.missing_ai_path),
            AI_PATH => self.config.missing_ai_path,
            _ => None,
        };
        if let Some(code) = missing {
            return scripted(code, &[], "this server does not know the path".to_owned());
        }
        let accepted = rules::check(method, path, headers, body).and_then(|accepted| match self.rejection(&accepted) {
            Some((code, reason)) => Err(Refusal::new(status_or_500(code), reason)),
            None => Ok(accepted),
        });
        match accepted {
            Err(refusal) if route == EVENTS_PATH => refused_with_tag(&refusal),
            Err(refusal) => refused(&refusal),
            Ok(accepted) if route == EVENTS_PATH => self.results(record, headers, body, accepted),
            Ok(accepted) => {
                record.events.extend(accepted.events);
                record.kept += accepted.raw_bytes as usize;
                record.accepted.raw += accepted.raw_bytes;
                record.accepted.sent += body.len() as u64;
                let mut answer = json!({"status": "Ok"});
                if !self.config.quota_limited.is_empty() {
                    answer["quota_limited"] = json!(self.config.quota_limited);
                }
                let mut reply = reply(StatusCode::OK, answer.to_string());
                let json = HeaderValue::from_static("application/json");
                reply.headers.insert(CONTENT_TYPE, json);
                reply
            }
        }
    }

    /// The newest route's response: a result for each event. Keeps the accepted events.
    fn results(&self, record: &mut Record, headers: &HeaderMap, body: &Bytes, accepted: Accepted) -> Reply {
        let mut results = serde_json::Map::new();
        let mut again = false;
        record.kept += accepted.raw_bytes as usize;
        let before = record.events.len();
        for event in accepted.events {
            let ok = || Some(EventResult::new("ok", ""));
            let Some(result) = self.config.judge_event.as_ref().map_or_else(ok, |judge| judge(&event)) else {
                continue;
            };
            again |= result.result == "retry";
            let uuid = event.get("uuid").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut said = json!({"result": result.result});
            if let Some(details) = &result.details {
                said["details"] = json!(details);
            }
            results.insert(uuid, said);
            if result.is_accepted() {
                record.events.push(event);
            }
        }
        if record.events.len() > before {
            record.accepted.raw += accepted.raw_bytes;
            record.accepted.sent += body.len() as u64;
        }
        let mut reply = reply(StatusCode::OK, json!({"results": results}).to_string());
        reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if again {
            reply.headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(id) = headers.get("posthog-request-id") {
            reply.headers.insert("posthog-request-id", id.clone());
        }
        reply
    }

    fn rejection(&self, accepted: &Accepted) -> Option<(u16, String)> {
        let reject = self.config.reject_event.as_ref()?;
        accepted.events.iter().find_map(|event| reject(event))
    }
}

fn head_bytes(path: &str, headers: &HeaderMap) -> usize {
    let headers = headers.iter();
    path.len() + headers.map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

fn proper(reply: Reply) -> (Option<StatusCode>, Manner) {
    (Some(reply.status), Manner::Proper(reply))
}

fn refused(refusal: &Refusal) -> Reply {
    let mut reply = reply(refusal.status, refusal.reason.clone());
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        let post = HeaderValue::from_static("POST");
        reply.headers.insert(ALLOW, post);
    }
    reply
}

/// A refusal in the newest route's form: JSON with a tag.
fn refused_with_tag(refusal: &Refusal) -> Reply {
    let said = json!({
        "error": refusal.tag,
        "error_description": refusal.reason,
        "error_uri": "https://posthog.com/docs/api",
    });
    let mut reply = refused(&Refusal { reason: said.to_string(), ..refusal.clone() });
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut headers = HeaderMap::new();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    Reply { status, headers, body: body.into() }
}

fn scripted(code: u16, headers: &[(String, String)], body: String) -> Reply {
    let mut reply = reply(status_or_500(code), body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            reply.headers.insert(name, value);
        }
    }
    reply
}

/// 1xx is not a final status, and hyper refuses to send it as one.
fn status_or_500(code: u16) -> StatusCode {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The whole response, as hyper would write it.
fn on_the_wire(reply: &Reply) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let length = reply.body.len();
    let end = format!("content-length: {length}\r\nconnection: close\r\n\r\n");
    bytes.extend_from_slice(end.as_bytes());
    bytes.extend_from_slice(&reply.body);
    bytes
}

/// Ignores poisoning: a panic while the lock was held leaves nothing half-done that matters here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
