//! Any text as a setting: no panic, and no error shows a key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma_pipeline::options::{API_KEY, Options, variables};
use posthog_llma_pipeline::origin::Origin;

const KEY: &str = "phc_0123456789abcdefghijklmnop";

fuzz_target!(|input: (u8, &str, bool)| {
    let (variable, value, custom) = input;
    let variable = variables().nth(usize::from(variable) % variables().count()).expect("it is one of them");
    let lookup = |name: &str| match name {
        _ if name == variable => Some(value.to_owned()),
        API_KEY => Some(KEY.to_owned()),
        _ => None,
    };
    if let Err(error) = Options::parse(lookup) {
        let shown = error.to_string();
        // Longer than what is found in the value: an escaped character before a piece can look like another byte of the key.
        let piece =
            KEY.as_bytes().windows(16).find(|piece| shown.as_bytes().windows(16).any(|window| window == *piece));
        assert!(piece.is_none(), "{shown}");
    }
    if let Ok(origin) = Origin::parse(value, custom) {
        // What was read is in its normal form.
        let again = Origin::parse(&origin.to_string(), true).expect("an origin is one");
        assert_eq!(again.to_string(), origin.to_string());
    }
});
