//! The `exporter` world: `conversion` and `delivery`.

use super::Component;
pub(crate) use bindings::posthog::llm_analytics::types;
use std::panic;
use std::sync::Once;
use wasi::cli::stderr;

#[expect(clippy::same_length_and_capacity, reason = "generated code")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "exporter",
        with: {
            "wasi:cli/stderr@0.2.12": wasi::cli::stderr,
            "wasi:clocks/monotonic-clock@0.2.12": wasi::clocks::monotonic_clock,
            "wasi:clocks/wall-clock@0.2.12": wasi::clocks::wall_clock,
            "wasi:filesystem/types@0.2.12": wasi::filesystem::types,
            "wasi:http/outgoing-handler@0.2.12": wasi::http::outgoing_handler,
            "wasi:http/types@0.2.12": wasi::http::types,
            "wasi:io/error@0.2.12": wasi::io::error,
            "wasi:io/poll@0.2.12": wasi::io::poll,
            "wasi:io/streams@0.2.12": wasi::io::streams,
            "wasi:random/random@0.2.12": wasi::random::random,
        },
        export_macro_name: "export_exporter",
        pub_export_macro: true,
    });
}

#[expect(unsafe_code, reason = "generated code")]
mod export {
    use super::{Component, bindings};
    bindings::export_exporter!(Component with_types_in bindings);
}

/// Reports panics to the host. Without a system underneath, the standard library has nowhere to print them.
pub(crate) fn tell_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let message = format!("{info}\n");
            // A stream accepts at most 4,096 bytes per call.
            let _ = stderr::get_stderr().blocking_write_and_flush(&message.as_bytes()[..message.len().min(4096)]);
        }));
    });
}
