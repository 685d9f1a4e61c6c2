//! What the component exports. One source, two worlds of `wit/`, by the target: `exporter` on WASI; `converter`, which
//! imports nothing, on `wasm32-unknown-unknown`, whose standard library has no system under it.

#[cfg(target_os = "wasi")]
mod command;
mod conversion;
#[cfg(target_os = "wasi")]
mod delivery;
#[cfg(target_os = "wasi")]
mod http;

#[cfg_attr(target_os = "wasi", path = "component/exporter.rs")]
#[cfg_attr(not(target_os = "wasi"), path = "component/converter.rs")]
mod world;

use world::{bindings, types};

struct Component;
