//! The host's state for one run, and what it grants.

use super::connect::Connector;
use super::exchange::{Kept, WaitLimits, exchange};
use super::files::{Granted, SessionFile};
use super::limits::{Ceiling, Limits};
use super::policy::{HttpPolicy, RequestLog};
use super::runtime;
use http::uri;
use http_body_util::{BodyExt, Full};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime::component::Resource;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// Maximum handles that the component can hold besides those of its files: streams, requests, responses, timeouts.
/// Each may use up to 1 MiB of the host's memory.
const MAX_HANDLES: usize = 256;

/// The number of bytes to keep of the component's error stream.
const MAX_STDERR_BYTES: usize = 4096;

/// Maximum random bytes that the component may request at once. Rust requests 16, to seed its hash maps.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// The store's data. `wasi:http` and the rest of WASI keep their state here.
pub struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    granted: Granted,
    network: Network,
    stderr: Stderr,
    pub(super) ceiling: Ceiling,
}

impl State {
    pub(super) fn new(limits: Limits, policy: HttpPolicy, connector: Arc<Connector>) -> Self {
        let stderr = Stderr::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            wasi: nothing_granted(stderr.clone()),
            http: WasiHttpCtx::new(),
            table,
            granted: Granted::default(),
            network: Network { policy, connector, kept: runtime::kept(), log: RequestLog::default() },
            stderr,
            ceiling: Ceiling::new(limits),
        }
    }

    /// Gives the component read access to a file, with no way to reach its directory.
    pub fn grant(&mut self, file: SessionFile) -> wasmtime::Result<Resource<Descriptor>> {
        self.table.set_max_capacity(self.table.max_capacity().saturating_add(1));
        let file = self.table.push(file)?;
        Ok(Resource::new_own(file.rep()))
    }

    /// The component's files, and the table with their handles.
    pub(super) fn files(&mut self) -> (&mut Granted, &mut ResourceTable) {
        (&mut self.granted, &mut self.table)
    }

    /// Requests so far.
    pub fn requests(&self) -> &RequestLog {
        &self.network.log
    }

    pub(super) fn into_requests(self) -> RequestLog {
        self.network.log
    }

    /// The first 4 KiB that the component wrote to its error stream: a panic's message.
    pub(super) fn stderr(&self) -> String {
        let bytes = self.stderr.lock();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Grants no directories, environment, arguments or input, discards output, and allows no sockets and no name lookup.
/// Most of this is the default; it is spelled out because it is the point.
fn nothing_granted(stderr: Stderr) -> WasiCtx {
    WasiCtx::builder()
        .stderr(stderr)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .socket_addr_check(|_, _| Box::pin(async { false }))
        .allow_blocking_current_thread(true)
        .max_random_size(MAX_RANDOM_BYTES)
        .build()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.network }
    }
}

/// The component's only way out.
struct Network {
    policy: HttpPolicy,
    connector: Arc<Connector>,
    kept: Arc<Kept>,
    log: RequestLog,
}

/// What `wasi:http` expects: the response, and the rest of the connection's work.
type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Network {
    /// Lets every scheme reach `send_request`, so that the refusal is logged.
    fn is_supported_scheme(&mut self, _scheme: &uri::Scheme) -> bool {
        true
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _body_result: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let verdict = self.policy.check(request.method(), request.uri());
        if let Ok(allowed) = &verdict
            && self.policy.is_missing(allowed.path)
        {
            return Box::new(async { Ok(not_found()) });
        }
        self.log.push(request.method(), request.uri(), verdict.as_ref().err().copied());
        let Ok(allowed) = verdict else {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        };
        let (connector, kept) = (Arc::clone(&self.connector), Arc::clone(&self.kept));
        Box::new(async move {
            let patience = WaitLimits::of(options);
            let response = exchange(&connector, &kept, &allowed, request, patience).await?;
            let response = response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
            let nothing_left: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, nothing_left))
        })
    }
}

/// The response for a path that the server doesn't have.
fn not_found() -> Sent {
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::new(body);
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    (response, Box::new(async { Ok(()) }))
}

/// Keeps the beginning of what is written to it and discards the rest.
#[derive(Clone, Default)]
struct Stderr(Arc<Mutex<Vec<u8>>>);

impl Stderr {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Stderr {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let mut kept = self.lock();
        let room = MAX_STDERR_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
