//! Bindings for the `exporter` world, generated from `wit/`. Its imports are those of `wasmtime-wasi` and
//! `wasmtime-wasi-http`; calls to its exports are async.

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

mod options {
    use super::posthog::llm_analytics::types as wit;
    use posthog_llma_pipeline::copy_conversion_options;
    use posthog_llma_pipeline::options::{ConversionOptions, ToolSpans, TraceGrouping};

    impl From<ConversionOptions> for wit::ConversionOptions {
        fn from(options: ConversionOptions) -> Self {
            copy_conversion_options!(options => wit::ConversionOptions)
        }
    }

    impl From<ToolSpans> for wit::ToolSpans {
        fn from(spans: ToolSpans) -> Self {
            match spans {
                ToolSpans::All => Self::All,
                ToolSpans::Errors => Self::Errors,
                ToolSpans::None => Self::None,
            }
        }
    }

    impl From<TraceGrouping> for wit::TraceGrouping {
        fn from(grouping: TraceGrouping) -> Self {
            match grouping {
                TraceGrouping::Session => Self::Session,
                TraceGrouping::Message => Self::Message,
            }
        }
    }
}
