//! Any text as the options that were stored with a session: no panic, and never less private than what is set now.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma::outbox::stored_options::{make_stricter, read};
use posthog_llma_pipeline::options::ConversionOptions;

fuzz_target!(|input: (&str, bool, u16)| {
    let (text, private, length) = input;
    let now = ConversionOptions {
        privacy_mode: private,
        max_attribute_length: length.into(),
        ..ConversionOptions::default()
    };
    let mut strict = now.clone();
    make_stricter(text, &mut strict);
    for options in [read(text, now.clone()), strict] {
        assert!(options.privacy_mode || !now.privacy_mode);
        assert!(options.redact_secrets || !now.redact_secrets);
        assert!(options.max_attribute_length <= now.max_attribute_length);
    }
});
