//! Any bytes as a hook's input: no panic, and what is taken of it names one transcript by an absolute path.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma::delivery::hook::HookInput;

fuzz_target!(|bytes: &[u8]| {
    if let Some(input) = HookInput::read(bytes) {
        assert!(input.transcript.is_absolute() && !input.session_id.is_empty());
    }
});
