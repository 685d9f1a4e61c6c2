//! How the component becomes machine code.
//!
//! It is compiled when the program is built, and the program itself contains no compiler. Both sides must use the same
//! settings: wasmtime refuses code that was compiled with others.

use wasmtime::Config;

/// What every x86-64 processor since 2009 has (level v2 of the architecture). Without it, conversion takes a third
/// longer, because WebAssembly's vector instructions have no counterpart; with AVX2, it is no faster.
#[cfg(feature = "compiler")]
const X86_64_FEATURES: [&str; 5] = ["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt"];

/// The settings for code that runs on Windows, or on another system.
pub fn settings(windows: bool) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    // Data for debuggers and unwinders only makes the code larger.
    config.generate_address_map(false);
    // Only Windows requires it: exceptions there are unwound through compiled code.
    config.native_unwind_info(windows);
    config.wasm_backtrace_max_frames(None);
    config
}

/// Compiles a component for a target, such as `x86_64-unknown-linux-gnu`. The result is an ELF file that wasmtime loads.
#[cfg(feature = "compiler")]
pub fn compile(component: &[u8], target: &str) -> wasmtime::Result<Vec<u8>> {
    let mut config = settings(target.contains("windows"));
    config.target(target)?;
    if target.starts_with("x86_64") {
        for feature in X86_64_FEATURES {
            #[expect(unsafe_code, reason = "code for one processor could crash on another")]
            // SAFETY: wasmtime keeps the features with the code, and loads it only where the processor has them.
            unsafe {
                config.cranelift_flag_enable(feature);
            }
        }
    }
    wasmtime::Engine::new(&config)?.precompile_component(component)
}
