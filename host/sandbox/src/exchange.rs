//! One HTTP/1.1 request and its whole response, with each step bounded in time and size.

use super::connect::Connector;
use super::policy::{AllowedRequest, Origin};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// Maximum bytes of a response body. `PostHog` responds with a few hundred.
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// How long the host waits, no matter what the component asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaitLimits {
    /// Name lookup, TCP, proxy and TLS combined.
    pub(super) connect: Duration,
    /// From the request's last byte to the response's head.
    pub(super) first_byte: Duration,
    /// Between two pieces of the response's body.
    pub(super) between_bytes: Duration,
    /// The whole exchange.
    pub(super) total: Duration,
}

impl WaitLimits {
    /// The upper limits.
    pub(super) const MOST: Self = Self {
        connect: Duration::from_secs(30),
        first_byte: Duration::from_mins(2),
        between_bytes: Duration::from_mins(1),
        total: Duration::from_mins(5),
    };

    /// What the component asked for, capped at [`MOST`](Self::MOST).
    pub(super) fn of(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        let clamp = |asked: Option<Duration>, most: Duration| asked.map_or(most, |t| t.min(most));
        Self {
            connect: clamp(options.connect_timeout, Self::MOST.connect),
            first_byte: clamp(options.first_byte_timeout, Self::MOST.first_byte),
            between_bytes: clamp(options.between_bytes_timeout, Self::MOST.between_bytes),
            total: Self::MOST.total,
        }
    }
}

/// The last request's connection, if it can be reused: all batches of a session share one, and so do later sessions on
/// the same [runtime](crate::Runtime).
#[derive(Default)]
pub(super) struct Kept(Mutex<Option<Open>>);

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Kept").field(&self.lock().as_ref().map(|open| &open.origin)).finish()
    }
}

struct Open {
    origin: Origin,
    sender: http1::SendRequest<WatchedBody>,
    /// Drives the connection; aborted when this is dropped.
    _driver: AbortOnDropJoinHandle<()>,
}

impl Kept {
    /// The connection, unless the server has closed it in the meantime.
    async fn take(&self, origin: &Origin) -> Option<Open> {
        let mut open = self.lock().take().filter(|open| open.origin == *origin)?;
        // Between two runs, nothing polled the connection: the first yield reads what arrived, the second acts on it.
        yield_now().await;
        yield_now().await;
        open.sender.ready().await.is_ok().then_some(open)
    }

    fn keep(&self, open: Open) {
        *self.lock() = Some(open);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(connector: &Connector, origin: &Origin, patience: Duration) -> Result<Open, Error> {
    let connection = connector.connect(origin, patience).await?;
    let (sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(http_error)?;
    let driver = wasmtime_wasi::runtime::spawn(async move {
        // If this fails, the request's own result says so.
        let _ = driver.await;
    });
    Ok(Open { origin: origin.clone(), sender, _driver: driver })
}

/// Sends the request over the kept connection, or a new one. Returns the response with its whole body, so that a body
/// that is too long, too slow or cut short becomes an error code of the response: `wasi:http` has no way to get one
/// from a body's stream (wasmtime-wasi-http 48.0.8, `http-error-code`). Doesn't follow redirects.
pub(super) async fn exchange(
    connector: &Connector,
    kept: &Kept,
    allowed: &AllowedRequest,
    request: Request<WasiBody>,
    patience: WaitLimits,
) -> Result<Response<Bytes>, Error> {
    let request = addressed(allowed, request)?;
    let exchange = async {
        let mut connection = match kept.take(&allowed.origin).await {
            Some(connection) => connection,
            None => open(connector, &allowed.origin, patience.connect).await?,
        };
        let (request, sent) = watched(request);
        let late = async {
            // An error means that the body was dropped, which also ends it.
            let _ = sent.await;
            sleep(patience.first_byte).await;
        };
        let response = tokio::select! {
            response = connection.sender.send_request(request) => response.map_err(http_error)?,
            () = late => return Err(Error::ConnectionReadTimeout),
        };
        let (head, body) = response.into_parts();
        let body = read(body, patience.between_bytes).await?;
        kept.keep(connection);
        Ok(Response::from_parts(head, body))
    };
    timeout(patience.total, exchange).await.map_err(|_| Error::HttpResponseTimeout)?
}

/// The request with the policy's own host and path in place of the component's text.
fn addressed(allowed: &AllowedRequest, mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let host = HeaderValue::from_str(&allowed.origin.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
    *request.uri_mut() = Uri::from_static(allowed.path);
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}

/// Reads the whole body.
async fn read(mut body: Incoming, between_bytes: Duration) -> Result<Bytes, Error> {
    let too_long = || Error::HttpResponseBodySize(Some(MAX_RESPONSE_BYTES as u64));
    if body.size_hint().lower() > MAX_RESPONSE_BYTES as u64 {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = timeout(between_bytes, body.frame()).await.map_err(|_| Error::ConnectionReadTimeout)? {
        let Ok(data) = frame.map_err(http_error)?.into_data() else {
            continue; // Ignore trailers.
        };
        if bytes.len() + data.len() > MAX_RESPONSE_BYTES {
            return Err(too_long());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

/// The request, and a signal for when its body ends.
fn watched(request: Request<WasiBody>) -> (Request<WatchedBody>, oneshot::Receiver<()>) {
    let (end, sent) = oneshot::channel();
    let request = request.map(|body| WatchedBody { body, end: Some(end) });
    (request, sent)
}

struct WatchedBody {
    body: WasiBody,
    end: Option<oneshot::Sender<()>>,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.end = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Maps hyper's errors to the codes of `wasi:http`. Without this, nearly all would be `HTTP-protocol-error`.
fn http_error(error: hyper::Error) -> Error {
    let io_kind = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if io_kind.is_some() || error.is_closed() || error.is_canceled() {
        Error::ConnectionTerminated
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_timeout() {
        Error::HttpResponseTimeout
    } else {
        Error::Hyper(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Runtime;
    use http_body_util::Full;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Instant;

    const SHORT: Duration = Duration::from_millis(300);

    /// Serves one connection with `answer`, which gets the stream after the request's head has arrived.
    fn serve(answer: impl FnOnce(&mut TcpStream) + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            answer(&mut stream);
            // Closing with the request's body unread would reset the connection.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        port
    }

    fn post(port: u16, patience: WaitLimits) -> Result<Response<Bytes>, Error> {
        post_on(&Runtime::new().unwrap(), port, patience)
    }

    fn post_on(runtime: &Runtime, port: u16, patience: WaitLimits) -> Result<Response<Bytes>, Error> {
        let allowed = AllowedRequest {
            origin: Origin::parse(&format!("http://127.0.0.1:{port}"), true).unwrap(),
            path: "/batch/",
        };
        let body = Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync();
        let request = Request::post("http://elsewhere.invalid/x").body(body).unwrap();
        runtime.block_on(async {
            let kept = crate::runtime::kept();
            exchange(&Connector::default(), &kept, &allowed, request, patience).await
        })
    }

    #[test]
    fn times_are_clamped_but_shorter_ones_are_kept() {
        assert_eq!(WaitLimits::of(None), WaitLimits::MOST);
        let asked = RequestOptions {
            connect_timeout: Some(Duration::from_secs(1)),
            first_byte_timeout: Some(Duration::from_secs(1000)),
            between_bytes_timeout: None,
        };
        let patience = WaitLimits::of(Some(asked));
        assert_eq!(patience.connect, Duration::from_secs(1));
        assert_eq!(patience.first_byte, Duration::from_mins(2));
        assert_eq!(patience.between_bytes, Duration::from_mins(1));
        assert_eq!(patience.total, Duration::from_mins(5));
    }

    #[test]
    fn the_response_comes_back_whole_and_the_request_goes_to_the_allowed_path() {
        let (sender, heads) = std::sync::mpsc::channel();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1000];
            let length = stream.read(&mut request).unwrap();
            sender.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        });
        let response = post(port, WaitLimits::MOST).unwrap();
        assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"ok"[..]));
        let head = heads.recv().unwrap().to_lowercase();
        assert!(head.starts_with("post /batch/ http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")));
    }

    #[test]
    fn a_redirect_is_an_answer_like_any_other() {
        let port = serve(|stream| {
            let _ =
                stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        });
        assert_eq!(post(port, WaitLimits::MOST).unwrap().status(), 302);
    }

    #[test]
    fn a_server_that_never_answers_is_given_up() {
        let port = serve(|_| std::thread::sleep(Duration::from_secs(5)));
        let patience = WaitLimits { first_byte: SHORT, ..WaitLimits::MOST };
        let start = Instant::now();
        let result = post(port, patience);
        assert!(matches!(result, Err(Error::ConnectionReadTimeout)), "{result:?}");
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_body_that_stops_coming_is_given_up() {
        let port = serve(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok");
            std::thread::sleep(Duration::from_secs(5));
        });
        let patience = WaitLimits { between_bytes: SHORT, ..WaitLimits::MOST };
        let result = post(port, patience);
        assert!(matches!(result, Err(Error::ConnectionReadTimeout)), "{result:?}");
    }

    #[test]
    fn a_body_that_trickles_is_given_up_at_the_end_of_the_total_time() {
        let port = serve(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
            while stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let patience = WaitLimits { total: SHORT, ..WaitLimits::MOST };
        let result = post(port, patience);
        assert!(matches!(result, Err(Error::HttpResponseTimeout)), "{result:?}");
    }

    #[test]
    fn a_body_over_the_cap_is_refused_however_it_is_announced() {
        for head in ["content-length: 2000000\r\n", "connection: close\r\n", "transfer-encoding: chunked\r\n"] {
            let port = serve(move |stream| {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n");
                for _ in 0..200 {
                    let piece = vec![b'x'; 10_000];
                    let chunked = head.starts_with("transfer");
                    let _ = if chunked {
                        write!(stream, "{:x}\r\n", piece.len())
                            .and_then(|()| stream.write_all(&piece))
                            .and_then(|()| stream.write_all(b"\r\n"))
                    } else {
                        stream.write_all(&piece)
                    };
                }
            });
            let result = post(port, WaitLimits::MOST);
            assert!(matches!(result, Err(Error::HttpResponseBodySize(Some(1_048_576)))), "{head}: {result:?}");
        }
    }

    #[test]
    fn a_connection_that_closes_half_way_is_an_incomplete_response() {
        let port = serve(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok");
        });
        let result = post(port, WaitLimits::MOST);
        assert!(matches!(result, Err(Error::HttpResponseIncomplete | Error::ConnectionTerminated)), "{result:?}");
    }

    #[test]
    fn an_answer_that_is_not_http_is_a_protocol_error() {
        let port = serve(|stream| {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n");
        });
        let result = post(port, WaitLimits::MOST);
        assert!(matches!(result, Err(Error::Hyper(_))), "{result:?}");
    }

    /// Responds to `per_connection` requests on each connection, then closes it without notice.
    fn serve_many(per_connection: usize) -> (u16, std::sync::mpsc::Receiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (closed, closings) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for _ in 0..per_connection {
                    let mut request = [0; 1000];
                    if stream.read(&mut request).unwrap() == 0 {
                        break;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                }
                drop(stream);
                closed.send(()).unwrap();
            }
        });
        (port, closings)
    }

    #[test]
    fn a_connection_that_the_server_has_closed_between_two_runs_is_not_used_again() {
        let (port, closings) = serve_many(1);
        let runtime = Runtime::new().unwrap();
        for _ in 0..3 {
            let response = post_on(&runtime, port, WaitLimits::MOST).unwrap();
            assert_eq!(response.status(), 200);
            closings.recv().unwrap();
            // The close takes a moment to arrive on this side.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn runs_on_one_runtime_share_a_connection() {
        let (port, closings) = serve_many(3);
        let runtime = Runtime::new().unwrap();
        for _ in 0..3 {
            assert_eq!(post_on(&runtime, port, WaitLimits::MOST).unwrap().status(), 200);
        }
        closings.recv().unwrap();
        assert!(closings.recv_timeout(SHORT).is_err(), "there was no other connection");
    }
}
