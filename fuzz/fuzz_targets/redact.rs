//! Any text: what was found is gone, redacting twice is redacting once, JSON stays JSON, a look that says no is right.
//!
//! `.ci/fuzz 60 redact`

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma_pipeline::redact::{MARK, MOST_EVERYWHERE, Redactor};

fuzz_target!(|text: &str| {
    let redactor = Redactor::new();
    let found = redactor.find(text);
    let json = serde_json::to_string(text).expect("a string is JSON");
    let Some(clean) = redactor.redact(text) else {
        assert!(found.is_empty(), "what was found is replaced");
        return;
    };
    assert!(redactor.may_hold_secret(&json[1..json.len() - 1]), "the look at the JSON saw nothing");
    // A mark names its rule: `horization` is a value like any other, and a part of `[redacted:authorization]`. What stands in
    // its place is not in the text, so that it cannot complete another value.
    let gap = ('\u{e000}'..).find(|gap| !text.contains(*gap)).expect("a text of thousands of characters").to_string();
    let without_marks =
        (redactor.take_counts().keys()).fold(clean.clone(), |text, rule| text.replace(&format!("{MARK}{rule}]"), &gap));
    for secret in found.iter().take(MOST_EVERYWHERE) {
        let value = &text[secret.start..secret.end];
        assert!(!(8..=512).contains(&value.len()) || !without_marks.contains(value), "{value} is still there");
    }
    assert_eq!(redactor.redact(&clean), None, "a second time");
    let clean = redactor.redact_json(&json).unwrap_or(json);
    assert!(serde_json::from_str::<String>(&clean).is_ok(), "JSON stays JSON: {clean}");
    // Cut anywhere.
    let cut = text.floor_char_boundary(text.len() / 2);
    redactor.redact_within(text, cut);
});
