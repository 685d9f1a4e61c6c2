//! The server around [`rules`]: on loopback, on a thread of its own, with answers that a test can script.

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

/// Bytes of a body that are read at all. Above the rules' own limit, so that what is over it is seen and recorded.
const READ_LIMIT: usize = 64 * 1024 * 1024;
/// Bytes of all recorded requests and of the events in them; from there on every request is answered with 503.
const KEEP_LIMIT: usize = 1024 * 1024 * 1024;
/// From one request's head to the next one's, and from a head to the end of its body.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Pieces of an answer that trickles.
const PIECES: usize = 128;

/// Refuses an event that the rules would take: the status (400, 413 …) and the text to answer with.
pub type RejectEvent = Arc<dyn Fn(&Value) -> Option<(u16, String)> + Send + Sync>;

/// The result of one event on the newest route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventResult {
    /// `ok`, `warning`, `retry`, `drop`; or a word that nobody knows.
    pub result: String,
    /// Why.
    pub details: Option<String>,
}

impl EventResult {
    /// A result with its details; empty ones are left out.
    pub fn new(result: &str, details: &str) -> Self {
        Self { result: result.to_owned(), details: (!details.is_empty()).then(|| details.to_owned()) }
    }

    /// Is the event kept?
    fn is_accepted(&self) -> bool {
        matches!(self.result.as_str(), "ok" | "warning")
    }
}

/// The result of an event of a batch that is otherwise good; `None` leaves the event out of the answer, and it is not kept.
pub type JudgeEvent = Arc<dyn Fn(&Value) -> Option<EventResult> + Send + Sync>;

/// What the server does beside the rules. By default nothing.
#[derive(Clone, Default)]
pub struct Config {
    /// Answers to the first requests, one each, whatever they ask for. After them the rules alone decide.
    pub script: Vec<Answer>,
    /// Answer this status (404 or 405) on the newest route, as a server does that does not know it.
    pub missing_events_path: Option<u16>,
    /// Answer this status (404 or 405) on both routes for AI events.
    pub missing_ai_path: Option<u16>,
    /// Asked for the result of every event on the newest route. Without it all are `ok`.
    pub judge_event: Option<JudgeEvent>,
    /// Asked about every event of a batch that is otherwise good; one refused event refuses the batch.
    pub reject_event: Option<RejectEvent>,
    /// Say so in every 200 of the older routes. The events are kept here nevertheless.
    pub quota_limited: Vec<String>,
}

/// What is answered to one request, after its body was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What the rules say.
    Normal,
    /// This, with no look at the batch. A header that HTTP does not allow is left out.
    Status {
        /// From 200 to 999; 500 in place of any other.
        code: u16,
        /// Names and values: `("retry-after", "1")`.
        headers: Vec<(String, String)>,
        /// The text to answer with.
        body: String,
    },
    /// Nothing: the connection ends.
    CloseBeforeAnswer,
    /// What the rules say, cut in the middle of the body, then the end of the connection. A good batch counts as accepted.
    CloseHalfWay,
    /// What the rules say, from the status line on, in [`PIECES`] pieces. A good batch counts as accepted.
    Trickle {
        /// Wait before each piece.
        every: Duration,
    },
    /// Nothing: the connection stays open.
    Silence,
    /// 200 with a page of HTML, as a captive portal gives.
    Rubbish,
    /// 302 to this place.
    Redirect(String),
    /// Bytes that are not HTTP at all.
    NotHttp,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Path and query as they stood in the request line.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as it came over the wire, compressed or not. Empty if it could not be read whole.
    pub body: Bytes,
    /// The status that was answered; none where no good answer was begun.
    pub status: Option<u16>,
    /// When its head had arrived.
    pub at: Instant,
}

/// Bytes of all accepted bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcceptedBytes {
    /// After decompression.
    pub raw: u64,
    /// As they came over the wire.
    pub sent: u64,
}

/// A running server; it ends when this is dropped.
pub struct LocalPostHog {
    loopback: Loopback,
    state: Arc<State>,
}

impl LocalPostHog {
    /// Listens on a free port of 127.0.0.1, on a thread and a runtime of its own: callers may be async or not.
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

    /// Where it listens, for what stands between it and a client: a proxy, a TLS terminator.
    pub fn address(&self) -> SocketAddr {
        self.loopback.address()
    }

    /// Every request so far, in the order in which their bodies were complete.
    pub fn requests(&self) -> Vec<Received> {
        self.state.record().requests.clone()
    }

    /// Every event of every accepted batch, in order. One that was sent twice stands here twice.
    pub fn events(&self) -> Vec<Value> {
        self.state.record().events.clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.state.record().connections
    }

    /// Leaves no room for another request.
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

/// An answer of HTTP, small enough to be held whole.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// How the bytes of an answer leave.
enum Manner {
    /// By hyper, as HTTP says.
    Proper(Reply),
    /// Past hyper, piece by piece with a wait before each; then the connection ends.
    Raw { bytes: Vec<u8>, every: Option<Duration> },
    /// Not at all.
    Silence,
}

/// Serves one connection until it ends or until an answer has to leave past hyper.
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
                    // The connection is taken from hyper before this could ever be answered.
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
            // Else several pieces wait for each other in the kernel.
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

    /// Applies the rules and the permanent modes, and keeps the events of a batch that is taken.
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

    /// The newest route's answer: what becomes of each event. Those that are accepted are kept.
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

/// As the newest route refuses: with a tag, as JSON.
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

/// 1xx is not a final answer, and hyper refuses to send it as one.
fn status_or_500(code: u16) -> StatusCode {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The whole answer, as hyper would write it.
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

/// A panic while the lock was held leaves nothing half-done that matters here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
