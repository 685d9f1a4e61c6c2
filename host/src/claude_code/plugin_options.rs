//! The plugin options that the user gave Claude Code, at installation or through `/plugin configure`.
//!
//! Claude Code keeps them in the user's `settings.json`, under `pluginConfigs`, but sensitive ones in its credential
//! store. Where the store is a file (Linux, Windows), this module reads it, so that a command in a terminal has the
//! key, too, and a hook can tell the user's own key from one that a project's settings put in its place: in a hook's
//! environment, the user's option wins, but a project can set an option that the user has not set (measured with
//! 2.1.332). Only this plugin's values are read from the store. On macOS, the store is the keychain, which is not read.

use posthog_llma_pipeline::options::variables;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The plugin's names, up to the marketplace's name.
const PLUGINS: [&str; 2] = ["posthog@", "posthog-standalone@"];

/// The credential store in Claude Code's folder.
pub const CREDENTIALS: &str = ".credentials.json";

/// Is this our plugin, from any marketplace?
pub fn is_plugin(name: &str) -> bool {
    PLUGINS.iter().any(|plugin| name.starts_with(plugin))
}

/// The options in the text of the credential store. Text that cannot be parsed has none: the file is Claude Code's own.
pub fn sensitive(credentials: &[u8]) -> Vec<(&'static str, String)> {
    #[derive(Deserialize)]
    struct Credentials {
        #[serde(default, rename = "pluginSecrets")]
        plugins: BTreeMap<String, BTreeMap<String, Value>>,
    }
    let Ok(credentials) = serde_json::from_slice::<Credentials>(credentials) else { return Vec::new() };
    let Some((_, options)) = credentials.plugins.into_iter().find(|(name, _)| is_plugin(name)) else {
        return Vec::new();
    };
    let known = variables();
    known.filter_map(|name| Some((name, options.get(name)?.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthog_llma_pipeline::options::API_KEY;

    fn sensitive_in(credentials: &str) -> Vec<(&'static str, String)> {
        sensitive(credentials.as_bytes())
    }

    #[test]
    fn the_key_of_either_plugin_is_found_and_no_other_plugins() {
        for plugin in ["posthog@posthog-llma", "posthog-standalone@posthog-llma", "posthog@a-fork"] {
            let text = format!(
                r#"{{"claudeAiOauth": {{"accessToken": "x"}}, "pluginSecrets": {{"other@x": {{"POSTHOG_API_KEY": "phc_other"}},
                    "{plugin}": {{"POSTHOG_API_KEY": "phc_own", "UNKNOWN": "x"}}}}}}"#
            );
            assert_eq!(sensitive_in(&text), [(API_KEY, "phc_own".to_owned())], "{plugin}");
        }
        let text = r#"{"pluginSecrets": {"posthog-telemetry@x": {"POSTHOG_API_KEY": "phc_other"}}}"#;
        assert!(sensitive_in(text).is_empty());
    }

    #[test]
    fn a_store_of_another_shape_has_no_options() {
        for text in ["", "[]", "{}", r#"{"pluginSecrets": 1}"#, r#"{"pluginSecrets": {"posthog@x": []}}"#, "\u{0}"] {
            assert!(sensitive_in(text).is_empty(), "{text:?}");
        }
        let text = r#"{"pluginSecrets": {"posthog@x": {"POSTHOG_API_KEY": 1}}}"#;
        assert!(sensitive_in(text).is_empty());
    }
}
