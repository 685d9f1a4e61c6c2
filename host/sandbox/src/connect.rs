//! Connections to a destination: direct or through a proxy, with TLS if the scheme requires it.

use super::policy::{Origin, Scheme};
use super::proxy::{Proxy, ProxySettings};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use wasmtime_wasi_http::Error;

/// A connection that can carry HTTP.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// If a host has several addresses, each gets at least this long, so that a slow network isn't mistaken for a dead one.
const LEAST_TIME_PER_ADDRESS: Duration = Duration::from_secs(2);

/// Makes connections. Loads the system's root certificates once, when a connection first needs TLS.
#[derive(Debug, Default)]
pub(super) struct Connector {
    proxies: ProxySettings,
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Connector {
    pub(super) fn new(proxies: ProxySettings) -> Self {
        Self { proxies, tls: OnceLock::new() }
    }

    /// Connects to `origin` within `patience`.
    pub(super) async fn connect(&self, origin: &Origin, patience: Duration) -> Result<Box<dyn Connection>, Error> {
        let connecting = async {
            let proxy = self.proxies.choose(origin).map_err(|error| internal(error.to_string()))?;
            let connection = match proxy {
                None => tcp(origin.host(), origin.port(), patience, allowed(origin.scheme())).await?,
                Some(proxy) => self.tunnel(&proxy, origin, patience).await?,
            };
            match origin.scheme() {
                Scheme::Http => Ok(connection),
                Scheme::Https => self.encrypt(connection, origin.host()).await,
            }
        };
        timeout(patience, connecting).await.map_err(|_| Error::ConnectionTimeout)?
    }

    /// Asks the proxy for a tunnel to `origin` (`CONNECT`, RFC 9110, 9.3.6).
    async fn tunnel(&self, proxy: &Proxy, origin: &Origin, patience: Duration) -> Result<Box<dyn Connection>, Error> {
        let failed = |reason: String| internal(format!("the proxy {proxy}: {reason}"));
        let any = |_: &SocketAddr| true;
        let mut connection =
            tcp(&proxy.host, proxy.port, patience, any).await.map_err(|error| failed(error.to_string()))?;
        if proxy.scheme == Scheme::Https {
            connection = self.encrypt(connection, &proxy.host).await.map_err(|error| failed(error.to_string()))?;
        }
        let (mut sender, exchange) =
            http1::handshake(TokioIo::new(connection)).await.map_err(|error| failed(error.to_string()))?;
        let _driver = wasmtime_wasi::runtime::spawn(async move {
            // If this fails, the request's own result says so.
            let _ = exchange.with_upgrades().await;
        });
        let request =
            connect_request(origin, proxy.authorization.clone()).map_err(|error| failed(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                return Err(failed("it asks for credentials (407)".to_owned()));
            }
            status => return Err(failed(format!("it refused the tunnel ({status})"))),
        }
        let tunnel = hyper::upgrade::on(response).await.map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(TokioIo::new(tunnel)))
    }

    async fn encrypt(&self, connection: Box<dyn Connection>, host: &str) -> Result<Box<dyn Connection>, Error> {
        let config = self.tls.get_or_init(tls_config).clone().map_err(internal)?;
        let name = ServerName::try_from(without_brackets(host).to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
        let encrypted =
            TlsConnector::from(config).connect(name, connection).await.map_err(|error| tls_error(&error))?;
        Ok(Box::new(encrypted))
    }
}

fn connect_request(origin: &Origin, authorization: Option<HeaderValue>) -> Result<Request<Empty<Bytes>>, http::Error> {
    let target = format!("{}:{}", origin.host(), origin.port());
    let mut request = Request::connect(&target).header(header::HOST, &target);
    if let Some(authorization) = authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    request.body(Empty::new())
}

/// Which addresses to allow. Unencrypted connections stay on this machine, no matter what a name resolves to.
fn allowed(scheme: Scheme) -> impl Fn(&SocketAddr) -> bool {
    move |address| scheme == Scheme::Https || address.ip().to_canonical().is_loopback()
}

/// Connects to the host at one of its addresses. Refuses all of them if one isn't allowed.
async fn tcp(
    host: &str,
    port: u16,
    patience: Duration,
    allowed: impl Fn(&SocketAddr) -> bool,
) -> Result<Box<dyn Connection>, Error> {
    let addresses: Vec<_> =
        tokio::net::lookup_host((without_brackets(host), port)).await.map_err(|_| unknown_host())?.collect();
    if let Some(address) = addresses.iter().find(|address| !allowed(address)) {
        let address = address.ip();
        return Err(internal(format!(
            "{host} is {address}, which is not this machine: without TLS nothing is sent there"
        )));
    }
    if addresses.is_empty() {
        return Err(unknown_host());
    }
    Ok(Box::new(dial(host, port, addresses, patience).await?))
}

/// Tries the addresses of the first family that the system returns and, after a short delay, those of the other in
/// parallel: an address that never answers, often IPv6, costs only that delay (RFC 8305).
async fn dial(host: &str, port: u16, addresses: Vec<SocketAddr>, patience: Duration) -> Result<TcpStream, Error> {
    let destination = Uri::builder().scheme("tcp").authority(format!("{host}:{port}")).path_and_query("/").build();
    let destination = destination.map_err(|_| Error::HttpRequestUriInvalid)?;
    // The connector divides it by the number of addresses.
    let patience = patience.max(LEAST_TIME_PER_ADDRESS * addresses.len() as u32);
    let mut connector = HttpConnector::new_with_resolver(Resolved(addresses));
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(patience));
    // Requests are written in large pieces: waiting to fill a packet would only delay them.
    connector.set_nodelay(true);
    match connector.call(destination).await {
        Ok(connection) => Ok(connection.into_inner()),
        Err(error) => Err(connect_error(&error)),
    }
}

/// The addresses that were looked up and checked, so that no name is looked up again before the connection is made.
#[derive(Debug, Clone)]
struct Resolved(Vec<SocketAddr>);

impl Service<Name> for Resolved {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Trusts the system's root certificates, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn tls_config() -> Result<Arc<ClientConfig>, String> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let place = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(|name| {
            let path = std::env::var_os(name)?;
            Some(format!(" in {}, which {name} names", Path::new(&path).display()))
        });
        let place = place.unwrap_or_default();
        let reason = loaded.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!("no trusted root certificates found{place}{reason}"));
    }
    // Passed explicitly: choosing the default of the whole process is up to the program, not this module.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn internal(text: String) -> Error {
    Error::InternalError(Some(text))
}

fn unknown_host() -> Error {
    Error::DnsError { rcode: Some("the host name has no address".to_owned()), info_code: None }
}

/// The system's error for the address that failed, after the connector's own description.
fn connect_error(error: &(dyn std::error::Error + 'static)) -> Error {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let Some(cause) = causes.into_iter().find_map(|error| error.downcast_ref::<io::Error>()) else {
        return internal(error.to_string());
    };
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationUnavailable,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        kind => Error::Connect(io::Error::new(kind, cause.to_string())),
    }
}

fn tls_error(error: &io::Error) -> Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(scheme: Scheme, host: &str, port: u16) -> Origin {
        Origin::parse(&format!("{scheme}://{host}:{port}"), true).unwrap()
    }

    fn connect(origin: &Origin, proxies: ProxySettings) -> Result<(), Error> {
        super::super::block_on(async {
            Connector::new(proxies).connect(origin, Duration::from_secs(5)).await.map(drop)
        })
        .unwrap()
    }

    fn closed_port() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn a_closed_port_is_a_refused_connection() {
        let origin = origin(Scheme::Http, "127.0.0.1", closed_port());
        let result = connect(&origin, ProxySettings::default());
        assert!(matches!(result, Err(Error::ConnectionRefused)), "{result:?}");
    }

    #[test]
    fn without_tls_only_a_loopback_address_is_connected_to() {
        for (address, loopback) in [
            ("127.0.0.1:80", true),
            ("127.8.9.10:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("[::ffff:192.0.2.1]:80", false),
            ("192.0.2.1:80", false),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("[fe80::1]:80", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(allowed(Scheme::Http)(&address), loopback, "{address}");
            assert!(allowed(Scheme::Https)(&address), "{address}");
        }
        // Regardless of the name used.
        let result =
            super::super::block_on(tcp("192.0.2.1", 80, Duration::from_secs(5), allowed(Scheme::Http))).unwrap();
        let error = result.map(drop).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("not this machine"), "{error}");
    }

    #[test]
    fn a_name_without_an_address_is_a_dns_error() {
        // Too long for a DNS label, so it fails without a query to a resolver. No origin can be this long.
        let result = super::super::block_on(tcp(&"x".repeat(70), 80, Duration::from_secs(5), |_| true)).unwrap();
        assert!(matches!(result.map(drop), Err(Error::DnsError { .. })));
    }

    /// The kernel drops the first packets to a listener whose connection queue is full: an address that never answers.
    #[cfg(target_os = "linux")]
    #[test]
    #[expect(clippy::disallowed_macros, reason = "a test that is skipped says so")]
    fn an_address_that_never_answers_does_not_use_up_the_time_of_the_others() {
        let Ok(live) = std::net::TcpListener::bind("127.0.0.1:0") else { panic!("no IPv4") };
        let port = live.local_addr().unwrap().port();
        super::super::block_on(async {
            let dead = tokio::net::TcpSocket::new_v6().and_then(|socket| {
                socket.bind(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)))?;
                socket.listen(1)
            });
            let Ok(dead) = dead else { return eprintln!("skipped: this machine has no IPv6") };
            let dead = dead.local_addr().unwrap();
            let mut queue = Vec::new();
            while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(dead)).await {
                queue.push(stream);
            }
            // The time that the dead one alone may take.
            let patience = LEAST_TIME_PER_ADDRESS;
            let addresses = vec![dead, live.local_addr().unwrap()];
            let connection = timeout(patience, dial("localhost", port, addresses, patience)).await.unwrap().unwrap();
            assert_eq!(connection.peer_addr().unwrap(), live.local_addr().unwrap());
        })
        .unwrap();
    }

    /// On Linux, all of 127.0.0.0/8 is loopback.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_that_refuses_is_followed_by_the_next() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let live = listener.local_addr().unwrap();
        let refusing = SocketAddr::from(([127, 0, 0, 2], live.port()));
        let connection =
            super::super::block_on(dial("localhost", live.port(), vec![refusing, live], Duration::from_secs(5)));
        assert_eq!(connection.unwrap().unwrap().peer_addr().unwrap(), live);
    }

    #[test]
    fn a_proxy_that_cannot_be_reached_is_named_without_its_credentials() {
        let port = closed_port();
        let proxies = ProxySettings::from_variables(|name| {
            (name == "HTTPS_PROXY").then(|| format!("http://me:secret@127.0.0.1:{port}"))
        });
        let result = connect(&origin(Scheme::Https, "us.i.posthog.com", 443), proxies);
        let text = result.unwrap_err().to_string();
        assert_eq!(text, format!("internal error: the proxy 127.0.0.1:{port}: connection refused"));
    }

    /// A proxy for one connection: reports the head that it received, responds with `answer`, and sends back what comes
    /// through the tunnel.
    fn proxy(answer: &'static str) -> (ProxySettings, std::sync::mpsc::Receiver<String>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, heads) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            sender.send(String::from_utf8(head).unwrap()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            while stream.read(&mut byte).is_ok_and(|length| length == 1) {
                stream.write_all(&byte).unwrap();
            }
        });
        let settings = ProxySettings::from_variables(|name| {
            (name == "HTTPS_PROXY").then(|| format!("http://me:secret@127.0.0.1:{port}"))
        });
        (settings, heads)
    }

    #[test]
    fn a_tunnel_through_a_proxy_carries_bytes_both_ways() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (settings, heads) = proxy("HTTP/1.1 200 Connection established\r\n\r\n");
        let destination = origin(Scheme::Https, "posthog.invalid", 443);
        let echoed = super::super::block_on(async {
            let proxy = settings.choose(&destination).unwrap().unwrap();
            // Skips the TLS that `connect` would speak through the tunnel.
            let mut connection =
                Connector::default().tunnel(&proxy, &destination, Duration::from_secs(5)).await.ok().unwrap();
            connection.write_all(b"hello").await.unwrap();
            let mut echoed = [0; 5];
            connection.read_exact(&mut echoed).await.unwrap();
            echoed
        })
        .unwrap();
        assert_eq!(&echoed, b"hello");
        let head = heads.recv().unwrap().to_lowercase();
        assert!(head.starts_with("connect posthog.invalid:443 http/1.1\r\n"), "{head}");
        assert!(head.contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"), "{head}");
    }

    #[test]
    fn a_proxy_that_refuses_is_named_with_its_reason() {
        for (answer, reason) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
                "it asks for credentials (407)",
            ),
            ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "it refused the tunnel (403 Forbidden)"),
        ] {
            let (settings, _heads) = proxy(answer);
            let result = connect(&origin(Scheme::Https, "posthog.invalid", 443), settings);
            let text = result.unwrap_err().to_string();
            assert!(text.ends_with(reason), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_request_for_a_tunnel_names_host_and_port_even_if_it_is_the_default() {
        let request = connect_request(&origin(Scheme::Https, "us.i.posthog.com", 443), None);
        let request = request.unwrap();
        assert_eq!(request.uri(), "us.i.posthog.com:443");
        assert_eq!(request.headers()[header::HOST], "us.i.posthog.com:443");
        assert!(!request.headers().contains_key(header::PROXY_AUTHORIZATION));
    }

    #[test]
    fn a_connection_that_ends_during_the_handshake_is_not_a_certificate_error() {
        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(matches!(tls_error(&error), Error::ConnectionTerminated));
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = io::Error::new(io::ErrorKind::InvalidData, bad);
        assert!(matches!(tls_error(&error), Error::TlsCertificateError));
    }
}
