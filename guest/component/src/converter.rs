//! The `converter` world: `conversion` alone. It exports `types` as well, because a type that an export uses and the
//! world doesn't export would become an import.

use super::Component;
pub(crate) use bindings::exports::posthog::llm_analytics::types;

#[expect(clippy::same_length_and_capacity, reason = "generated code")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "converter",
        export_macro_name: "export_converter",
        pub_export_macro: true,
    });
}

#[expect(unsafe_code, reason = "generated code")]
mod export {
    use super::{Component, bindings};
    bindings::export_converter!(Component with_types_in bindings);
}

/// Nothing to do: this world has no output to report a panic to.
pub(crate) fn tell_panics() {}
