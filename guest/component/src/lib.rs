//! What the components export. One source for four worlds of `wit/`, selected by target and feature.
//!
//! On WASI, it is `command`: there, Rust's standard library imports variables, streams and directories no matter what a
//! program does. On `wasm32-unknown-unknown`, where the standard library has no system underneath, a component imports
//! only what it uses: the features `exporter` and `server` select the worlds of the same names; with neither, it is
//! `converter`.

#![cfg(target_family = "wasm")]

#[cfg(all(any(feature = "exporter", feature = "server"), target_os = "wasi"))]
compile_error!("the exporter and the server are built for wasm32-unknown-unknown");
#[cfg(all(feature = "exporter", feature = "server"))]
compile_error!("the exporter and the server are two components");

#[cfg(not(any(feature = "server", target_os = "wasi")))]
mod conversion;
#[cfg(feature = "exporter")]
mod delivery;
#[cfg(any(target_os = "wasi", feature = "server"))]
mod environment;
#[cfg(any(target_os = "wasi", feature = "exporter", feature = "server"))]
mod http;
#[cfg(feature = "server")]
mod upload;

#[cfg_attr(target_os = "wasi", path = "command.rs")]
#[cfg_attr(feature = "exporter", path = "exporter.rs")]
#[cfg_attr(feature = "server", path = "server.rs")]
#[cfg_attr(not(any(target_os = "wasi", feature = "exporter", feature = "server")), path = "converter.rs")]
mod world;

#[cfg(not(any(feature = "server", target_os = "wasi")))]
use world::{bindings, types};

struct Component;
