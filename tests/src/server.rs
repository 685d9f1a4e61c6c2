//! The `server` component behind a real HTTP server on loopback, run as `wasmtime serve` does: with an instance for
//! each request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::components::component;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::thread;
use tokio::sync::oneshot;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store, format_err};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// Compiled once, because that takes seconds in a test profile.
static COMPILED: LazyLock<(Engine, Component)> = LazyLock::new(|| {
    let engine = Engine::default();
    let component = Component::from_file(&engine, component("server")).unwrap();
    (engine, component)
});

/// A server that listens on 127.0.0.1 until the process ends.
#[derive(Debug)]
pub struct Server {
    /// The address it listens on.
    pub address: SocketAddr,
}

/// What an instance gets: variables, clocks, random numbers, and requests to this machine. No files or directories.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: LoopbackAlone,
}

struct LoopbackAlone;

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for LoopbackAlone {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _body_result: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(send(request))
    }
}

async fn send(request: Request<WasiBody>) -> Result<Sent, Error> {
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    if !authority.starts_with("127.0.0.1:") {
        return Err(Error::HttpRequestDenied);
    }
    let connection = tokio::net::TcpStream::connect(authority).await.map_err(|_| Error::ConnectionRefused)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, driver) = handshake.map_err(|_| Error::HttpProtocolError)?;
    tokio::spawn(driver);
    let response = sender.send_request(request).await.map_err(|_| Error::ConnectionTerminated)?;
    let response = response.map(|body| body.map_err(|_| Error::HttpProtocolError).boxed_unsync());
    Ok((response, Box::new(async { Ok(()) })))
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// The component, compiled and linked.
struct Service {
    pre: ProxyPre<State>,
    variables: Vec<(String, String)>,
}

impl Server {
    /// Starts this many threads, each of which accepts connections. The component gets only these variables.
    pub fn start(workers: usize, variables: &[(&str, &str)]) -> Self {
        let (engine, component) = &*COMPILED;
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        let pre = ProxyPre::new(linker.instantiate_pre(component).unwrap()).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let service = Arc::new(Service { pre, variables });

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..workers {
            let (service, listener) = (Arc::clone(&service), listener.try_clone().unwrap());
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(take_connections(&service, listener));
            });
        }
        Self { address }
    }

    /// A server in another process.
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Sends a request with this body on its own connection; returns the response's status and body.
    pub fn request(&self, head: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut connection = TcpStream::connect(self.address)?;
        write!(connection, "{head} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address)?;
        write!(connection, "content-length: {}\r\n", body.len())?;
        for (name, value) in headers {
            write!(connection, "{name}: {value}\r\n")?;
        }
        write!(connection, "\r\n")?;
        // A server that refuses the request may close the connection before it has read everything.
        let _ = connection.write_all(body);
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| io::Error::other(String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// The status and body of a response, which hyper sends chunked or with a length.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut rest = &answer[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return Some((status, rest.to_vec()));
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = &rest[line + 2..];
        if length == 0 {
            return Some((status, body));
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

async fn take_connections(service: &Arc<Service>, listener: TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let service = Arc::clone(service);
        tokio::spawn(async move {
            let handle = service_fn(|request| Arc::clone(&service).handle(request));
            // A client that breaks off the connection knows why.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), handle).await;
        });
    }
}

impl Service {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> wasmtime::Result<Response<WasiBody>> {
        let wasi = WasiCtx::builder().envs(&self.variables).build();
        let state = State { wasi, http: WasiHttpCtx::new(), table: ResourceTable::new(), hooks: LoopbackAlone };
        let mut store = Store::new(self.pre.engine(), state);
        let (sender, receiver) = oneshot::channel();
        let request = request.map(|body| body.map_err(|_| Error::HttpProtocolError));
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let out = store.data_mut().http().new_response_outparam(sender)?;
        // The component keeps running after the response's head.
        let running = tokio::spawn(async move {
            let proxy = self.pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        });
        match receiver.await {
            Ok(response) => Ok(response?),
            Err(_) => Err(running.await?.err().unwrap_or_else(|| format_err!("there was no response"))),
        }
    }
}
