//! A corporate proxy, with a map from names to loopback addresses in place of DNS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{StatusCode, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lock;
use posthog_llma_local_posthog::loopback::Loopback;

/// Maximum bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long, and how many bytes, to read of a refused request, so that its response isn't lost when the connection
/// closes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const DRAIN_LIMIT: u64 = 64 * 1024 * 1024;

/// How the proxy behaves. By default, it connects to any port of loopback, and to nothing else.
#[derive(Debug, Clone, Default)]
pub struct ProxyConfig {
    /// Addresses for `host:port`: `("us.i.posthog.com:443", terminator.address())`. A target that is neither here nor
    /// on loopback gets a 502: no test ever reaches the network.
    pub routes: Vec<(String, SocketAddr)>,
    /// The value that `Proxy-Authorization` must have, or the proxy responds with 407: `Basic dXNlcjpwYXNz`.
    pub required_authorization: Option<String>,
    /// Respond to everything with this status: 407, 502.
    pub answer: Option<u16>,
}

/// One request to the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRequest {
    /// `CONNECT`, or the method of a plain request.
    pub method: String,
    /// `host:port`.
    pub target: String,
    /// `Proxy-Authorization` as it was sent.
    pub authorization: Option<String>,
    /// The proxy's own response to a CONNECT; also 200 for a plain request that it forwarded.
    pub status: u16,
}

/// A running proxy for `CONNECT` and plain `http://` requests, one per connection.
pub struct Proxy {
    loopback: Loopback,
    requests: Arc<Mutex<Vec<ProxyRequest>>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(config: ProxyConfig) -> io::Result<Self> {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let loopback = Loopback::start("proxy", {
            let requests = Arc::clone(&requests);
            let config = Arc::new(config);
            move |stream| {
                let config = Arc::clone(&config);
                let requests = Arc::clone(&requests);
                async move {
                    // Ignore connection errors: they only concern the client, which sees the connection close.
                    let _ = pass(stream, &config, &requests).await;
                }
            }
        })?;
        Ok(Self { loopback, requests })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.loopback.address()
    }

    /// For `HTTPS_PROXY`: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The same with `user:password@`; the caller percent-encodes them if needed.
    pub fn url_with_credentials(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.address())
    }

    /// Every request whose head could be read.
    pub fn requests(&self) -> Vec<ProxyRequest> {
        lock(&self.requests).clone()
    }
}

async fn pass(mut client: TcpStream, config: &ProxyConfig, requests: &Mutex<Vec<ProxyRequest>>) -> io::Result<()> {
    let received = tokio::time::timeout(HEAD_TIMEOUT, read_head(&mut client)).await??;
    let Some((head, rest)) = received else {
        return refuse(client, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).await;
    };
    let Some(request) = Request::parse(&head) else {
        return refuse(client, StatusCode::BAD_REQUEST).await;
    };
    let server = connect(config, &request).await;
    lock(requests).push(ProxyRequest {
        method: request.method.to_owned(),
        target: request.target.clone(),
        authorization: request.authorization.map(ToOwned::to_owned),
        status: server.as_ref().err().unwrap_or(&StatusCode::OK).as_u16(),
    });
    let mut server = match server {
        Ok(server) => server,
        Err(status) => return refuse(client, status).await,
    };
    match &request.forwarded {
        None => {
            let answer = b"HTTP/1.1 200 Connection Established\r\n\r\n";
            client.write_all(answer).await?;
        }
        Some(head) => server.write_all(head.as_bytes()).await?,
    }
    server.write_all(&rest).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The head up to its empty line, and the bytes after it; none if the head is too long.
async fn read_head(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut received = Vec::new();
    loop {
        let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if end.unwrap_or(received.len()) > HEAD_LIMIT {
            return Ok(None);
        }
        if let Some(end) = end {
            let rest = received.split_off(end + 4);
            let head = String::from_utf8_lossy(&received).into_owned();
            return Ok(Some((head, rest)));
        }
        if client.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn refuse(mut client: TcpStream, status: StatusCode) -> io::Result<()> {
    let challenge = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        "proxy-authenticate: Basic realm=\"test\"\r\n"
    } else {
        ""
    };
    let answer = format!("HTTP/1.1 {status}\r\n{challenge}content-length: 0\r\nconnection: close\r\n\r\n");
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await?;
    let mut rest = client.take(DRAIN_LIMIT);
    let mut sink = tokio::io::sink();
    let drain = tokio::io::copy(&mut rest, &mut sink);
    tokio::time::timeout(DRAIN_TIMEOUT, drain).await??;
    Ok(())
}

async fn connect(config: &ProxyConfig, request: &Request<'_>) -> Result<TcpStream, StatusCode> {
    if let Some(code) = config.answer {
        return Err(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    }
    if config.required_authorization.is_some() && config.required_authorization.as_deref() != request.authorization {
        return Err(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    }
    if !request.is_supported {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let address = config
        .routes
        .iter()
        .find(|(target, _)| *target == request.target)
        .map(|(_, address)| *address)
        .or_else(|| on_loopback(&request.target))
        .ok_or(StatusCode::BAD_GATEWAY)?;
    TcpStream::connect(address).await.map_err(|_| StatusCode::BAD_GATEWAY)
}

fn on_loopback(target: &str) -> Option<SocketAddr> {
    if let Some(port) = target.strip_prefix("localhost:") {
        return Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into());
    }
    let address: SocketAddr = target.parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

/// The parts of a request's head that a proxy needs.
struct Request<'a> {
    method: &'a str,
    target: String,
    authorization: Option<&'a str>,
    /// For a plain request, the head to send to the server.
    forwarded: Option<String>,
    is_supported: bool,
}

impl<'a> Request<'a> {
    fn parse(head: &'a str) -> Option<Self> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/1.") {
            return None;
        }
        let headers: Vec<(&str, &str)> =
            lines.take_while(|line| !line.is_empty()).map(|line| line.split_once(':')).collect::<Option<_>>()?;
        let authorization = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
            .map(|(_, value)| value.trim());
        if method == "CONNECT" {
            return Some(Self {
                method,
                target: target.to_owned(),
                authorization,
                forwarded: None,
                is_supported: true,
            });
        }
        let uri: Uri = target.parse().ok()?;
        let host = uri.host()?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // One request per connection, so that the next one isn't sent to the wrong server.
        let mut forwarded = format!("{method} {path} {version}\r\nconnection: close\r\n");
        for (name, value) in headers {
            let name_in_lower_case = name.to_ascii_lowercase();
            if name_in_lower_case != "connection" && !name_in_lower_case.starts_with("proxy-") {
                forwarded.push_str(name);
                forwarded.push(':');
                forwarded.push_str(value);
                forwarded.push_str("\r\n");
            }
        }
        forwarded.push_str("\r\n");
        Some(Self {
            method,
            target: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            authorization,
            forwarded: Some(forwarded),
            is_supported: uri.scheme_str() == Some("http"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::{hello_over_tls, shouting_server};
    use crate::tls::{LocalCa, TlsTerminator};

    async fn read_answer(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        String::from_utf8(answer).unwrap()
    }

    /// Sends a CONNECT; returns the connection and the head of the response.
    async fn connect(proxy: &Proxy, target: &str, headers: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        (stream, answer)
    }

    #[tokio::test]
    async fn a_name_leads_through_the_proxy_to_the_tls_terminator() {
        let ca = LocalCa::new().unwrap();
        let server = shouting_server();
        let terminator = TlsTerminator::start(&ca, "us.i.posthog.com", server.address()).unwrap();
        let proxy = Proxy::start(ProxyConfig {
            routes: vec![("us.i.posthog.com:443".to_owned(), terminator.address())],
            ..ProxyConfig::default()
        })
        .unwrap();
        let (stream, answer) = connect(&proxy, "us.i.posthog.com:443", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = hello_over_tls(&ca, "us.i.posthog.com", stream).await;
        assert_eq!(answer.unwrap(), "HELLO");
        assert_eq!(
            proxy.requests(),
            [ProxyRequest {
                method: "CONNECT".to_owned(),
                target: "us.i.posthog.com:443".to_owned(),
                authorization: None,
                status: 200,
            }]
        );
    }

    #[tokio::test]
    async fn a_target_off_loopback_without_a_route_is_a_bad_gateway() {
        let proxy = Proxy::start(ProxyConfig::default()).unwrap();
        for target in ["us.i.posthog.com:443", "192.0.2.1:443", "localhost.example:80"] {
            let (_, answer) = connect(&proxy, target, "").await;
            assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        }
        assert!(proxy.requests().iter().all(|request| request.status == 502));
    }

    #[tokio::test]
    async fn loopback_needs_no_route() {
        let server = shouting_server();
        let proxy = Proxy::start(ProxyConfig::default()).unwrap();
        let port = server.address().port();
        for target in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
            let (mut stream, answer) = connect(&proxy, &target, "").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            stream.write_all(b"hello").await.unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HELLO");
        }
    }

    #[tokio::test]
    async fn wrong_or_missing_credentials_are_asked_for_and_recorded() {
        let server = shouting_server();
        let proxy = Proxy::start(ProxyConfig {
            required_authorization: Some("Basic dXNlcjpwYXNz".to_owned()),
            ..ProxyConfig::default()
        })
        .unwrap();
        let target = server.address().to_string();
        for (headers, status) in [
            ("", 407),
            ("Proxy-Authorization: Basic d3Jvbmc6cGFzcw==\r\n", 407),
            ("proxy-authorization: Basic dXNlcjpwYXNz\r\n", 200),
        ] {
            let (_, answer) = connect(&proxy, &target, headers).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(status == 407, answer.contains("proxy-authenticate: Basic"));
        }
        let seen: Vec<_> = proxy.requests().into_iter().map(|request| request.authorization).collect();
        assert_eq!(seen, [None, Some("Basic d3Jvbmc6cGFzcw==".to_owned()), Some("Basic dXNlcjpwYXNz".to_owned())]);
    }

    #[tokio::test]
    async fn a_proxy_can_refuse_everything() {
        let server = shouting_server();
        for status in [407, 502] {
            let proxy = Proxy::start(ProxyConfig { answer: Some(status), ..ProxyConfig::default() }).unwrap();
            let (_, answer) = connect(&proxy, &server.address().to_string(), "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(proxy.requests()[0].status, status);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_a_bad_gateway() {
        let proxy = Proxy::start(ProxyConfig::default()).unwrap();
        let (_, answer) = connect(&proxy, "127.0.0.1:1", "").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }

    #[tokio::test]
    async fn a_plain_request_is_passed_on_in_the_form_for_servers() {
        let server = shouting_server();
        let proxy = Proxy::start(ProxyConfig {
            routes: vec![("posthog.example:80".to_owned(), server.address())],
            ..ProxyConfig::default()
        })
        .unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream
            .write_all(b"POST http://posthog.example/batch/?a=b HTTP/1.1\r\nHost: posthog.example\r\nProxy-Authorization: Basic a\r\nProxy-Connection: keep-alive\r\nContent-Length: 4\r\n\r\nbody")
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        let mut passed_on = String::new();
        stream.read_to_string(&mut passed_on).await.unwrap();
        assert_eq!(
            passed_on,
            "POST /BATCH/?A=B HTTP/1.1\r\nCONNECTION: CLOSE\r\nHOST: POSTHOG.EXAMPLE\r\nCONTENT-LENGTH: 4\r\n\r\nBODY"
        );
        assert_eq!(proxy.requests()[0].target, "posthog.example:80");
    }

    #[tokio::test]
    async fn what_the_proxy_cannot_pass_on_is_refused() {
        let server = shouting_server();
        let proxy = Proxy::start(ProxyConfig::default()).unwrap();
        let address = server.address();
        let too_long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(HEAD_LIMIT));
        for (request, status) in [
            (format!("GET https://{address}/ HTTP/1.1\r\n\r\n"), 501),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
            ("rubbish\r\n\r\n".to_owned(), 400),
            ("\r\n\r\n".to_owned(), 400),
            ("GET http://a/ HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
            (too_long, 431),
        ] {
            let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_answer(&mut stream).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }

    #[test]
    fn the_url_for_the_environment_may_hold_credentials() {
        let proxy = Proxy::start(ProxyConfig::default()).unwrap();
        let address = proxy.address();
        assert_eq!(proxy.url(), format!("http://{address}"));
        assert_eq!(proxy.url_with_credentials("user", "pass"), format!("http://user:pass@{address}"));
    }
}
