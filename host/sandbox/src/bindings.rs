//! Bindings of the `exporter` world, made from `wit/`. Its imports are the ones of `wasmtime-wasi` and
//! `wasmtime-wasi-http`; the exports are called asynchronously.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated code; `wit/` has the documentation")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "exporter",
    with: {
        "wasi": wasmtime_wasi::p2::bindings,
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
    },
    imports: { default: async | trappable },
    exports: { default: async },
});
