//! Any bytes as a settings file, the person's and a project's: no panic, and a project never gets what only a person may set.

#![no_main]

use libfuzzer_sys::fuzz_target;
use posthog_llma::claude_code::project::Demands;
use posthog_llma::claude_code::settings::{Scope, Settings};
use posthog_llma_pipeline::options::Options;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

static PROJECT: LazyLock<PathBuf> = LazyLock::new(|| {
    let project = std::env::temp_dir().join(format!("posthog-llma-fuzz-{}", std::process::id()));
    fs::create_dir_all(project.join(".claude")).expect("the temporary directory can be written");
    project
});

fuzz_target!(|bytes: &[u8]| {
    let path = PROJECT.join(".claude/settings.json");
    fs::write(&path, bytes).expect("the temporary directory can be written");
    let _ = Settings::of_file(&path, Scope::User).and_then(|settings| settings.options());
    let before = Options::default();
    let mut options = before.clone();
    Demands::of_directory(&PROJECT, None, None).make_stricter(&mut options);
    assert_eq!(options.origin.to_string(), before.origin.to_string());
    assert!(options.api_key.is_none() && !options.enabled && !options.allow_custom_host);
    assert_eq!(options.conversion.distinct_id, before.conversion.distinct_id);
    assert_eq!(options.conversion.custom_properties, before.conversion.custom_properties);
    assert!(options.conversion.redact_secrets);
});
