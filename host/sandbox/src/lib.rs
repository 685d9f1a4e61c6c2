//! Runs the component in a sandbox: everything between wasmtime and the component's exports.
//!
//! The component can read the files passed to it, make the requests that [`policy::HttpPolicy`] allows, and ask for the
//! time and for random bytes. It has no directories, environment, arguments, input, sockets or name lookup, and its
//! memory and time are limited. Whatever it does, a run ends with a value or a [`SandboxError`].
//!
//! ```no_run
//! use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, FileRole};
//! use posthog_llma_sandbox::policy::HttpPolicy;
//! use posthog_llma_sandbox::proxy::ProxySettings;
//! use posthog_llma_sandbox::{Limits, Sandbox, block_on};
//!
//! # fn run(options: &ConversionOptions) -> Result<(), posthog_llma_sandbox::SandboxError> {
//! let sandbox = Sandbox::new(Limits::default(), ProxySettings::default())?;
//! let run = block_on(sandbox.run(HttpPolicy::Deny, async |exporter, store| {
//!     let sessions = exporter.posthog_llm_analytics_conversion().session();
//!     sessions.call_open(store, "my-session", &[FileRole::Main], options).await
//! }))?;
//! println!("{}, {} requests refused", run.result?.is_ok(), run.requests.refused());
//! # Ok(())
//! # }
//! ```

pub mod bindings;
mod connect;
pub mod engine;
mod error;
mod exchange;
pub mod files;
mod handles;
mod limits;
pub mod policy;
pub mod probe;
pub mod proxy;
mod reports;
mod runtime;
mod state;

pub use error::SandboxError;
pub use exchange::MAX_RESPONSE_BYTES;
pub use limits::Limits;
pub use runtime::{Runtime, block_on};
pub use state::State;

use bindings::{Exporter, ExporterPre};
use connect::Connector;
use limits::{TimeExhausted, Watchdog};
use policy::{HttpPolicy, RequestLog};
use proxy::ProxySettings;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Linker};
use wasmtime::{Store, UpdateDeadline};

/// The component whose machine code this program contains.
pub static COMPONENT: &[u8] = include_bytes!(env!("POSTHOG_LLMA_COMPONENT"));

/// The SHA-256 digest of [`COMPONENT`] in hexadecimal. The component itself is not part of the program.
pub const COMPONENT_SHA256: &str = env!("POSTHOG_LLMA_COMPONENT_SHA256");

/// A component that is ready to run, any number of times.
pub struct Sandbox {
    component: ExporterPre<State>,
    limits: Limits,
    connector: Arc<Connector>,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Run<T> {
    /// The value that the run returned, or the error that ended it early.
    pub result: Result<T, SandboxError>,
    /// Requests that were allowed or refused, even if the run failed.
    pub requests: RequestLog,
}

impl Sandbox {
    /// Loads and links this program's component. Fails on a processor that lacks what its code uses.
    pub fn new(limits: Limits, proxies: ProxySettings) -> Result<Self, SandboxError> {
        Self::of(engine::component()?, limits, proxies)
    }

    /// Links a component. Fails if it is not one of the `exporter` world.
    pub fn of(component: &Component, limits: Limits, proxies: ProxySettings) -> Result<Self, SandboxError> {
        let linker = linker(component.engine()).map_err(SandboxError::setup)?;
        let component = linker.instantiate_pre(component).and_then(ExporterPre::new).map_err(SandboxError::setup)?;
        Ok(Self { component, limits, connector: Arc::new(Connector::new(proxies)) })
    }

    /// Runs `calls` on a new instance of the component, within the limits. Afterwards, drops the instance and
    /// everything that it holds. Needs a tokio runtime with I/O and time enabled, such as [`block_on`] creates.
    ///
    /// An error that `calls` returns counts as the component's; return the host's own errors as part of the value.
    pub async fn run<T>(
        &self,
        policy: HttpPolicy,
        calls: impl AsyncFnOnce(&Exporter, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Run<T> {
        let state = State::new(self.limits, policy, Arc::clone(&self.connector));
        let mut store = Store::new(self.component.engine(), state);
        store.limiter(|state| &mut state.ceiling);
        let result = self.run_in(&mut store, calls).await;
        Run { result, requests: store.into_data().into_requests() }
    }

    async fn run_in<T>(
        &self,
        store: &mut Store<State>,
        calls: impl AsyncFnOnce(&Exporter, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, SandboxError> {
        let start = Instant::now();
        // If the limit overflows, a year is long enough.
        let deadline = start.checked_add(self.limits.time).unwrap_or(start + Duration::from_hours(365 * 24));
        // Another run on the same engine may advance the epoch, so check the clock before giving up.
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if Instant::now() >= deadline {
                return Err(TimeExhausted.into());
            }
            Ok(UpdateDeadline::Continue(1))
        });
        let _watchdog = Watchdog::start(self.component.engine(), deadline)
            .map_err(|error| SandboxError::Setup(error.to_string()))?;
        // The watchdog stops a component that computes; this stops one that waits.
        let outcome = tokio::time::timeout_at(deadline.into(), async {
            let exporter = self.component.instantiate_async(&mut *store).await?;
            calls(&exporter, store).await
        })
        .await;
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let stderr = store.data().stderr();
                Err(SandboxError::of_call(&error, self.limits, &stderr))
            }
            Err(_) => Err(SandboxError::TimeLimit(self.limits.time)),
        }
    }
}

/// Links all of `wasi:cli` and `wasi:http`, more than our component imports: another component's imports are there,
/// too, but [`State`] and `handles` configure them to refuse.
fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    handles::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Ok(linker)
}
