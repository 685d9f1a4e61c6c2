//! What the components export. One source, three worlds of `wit/`, by target and feature.
//!
//! On WASI it is `exporter`. On `wasm32-unknown-unknown`, whose standard library has no system under it and imports
//! nothing, it is `converter`; with the feature `server`, the world of this name, which imports what it uses and no more.

#![cfg(target_family = "wasm")]

#[cfg(all(feature = "server", target_os = "wasi"))]
compile_error!("the server is built for wasm32-unknown-unknown");

#[cfg(target_os = "wasi")]
mod command;
#[cfg(not(feature = "server"))]
mod conversion;
#[cfg(target_os = "wasi")]
mod delivery;
#[cfg(any(target_os = "wasi", feature = "server"))]
mod environment;
#[cfg(any(target_os = "wasi", feature = "server"))]
mod http;
#[cfg(feature = "server")]
mod upload;

#[cfg_attr(target_os = "wasi", path = "exporter.rs")]
#[cfg_attr(feature = "server", path = "server.rs")]
#[cfg_attr(not(any(target_os = "wasi", feature = "server")), path = "converter.rs")]
mod world;

#[cfg(not(feature = "server"))]
use world::{bindings, types};

struct Component;
