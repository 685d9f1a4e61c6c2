//! How an owed session is to be converted. The process that delivers it may have been started by the hook of another project,
//! so each session carries its own settings; never the key.

use posthog_llma_pipeline::options::TraceGrouping;
use posthog_llma_pipeline::session::ConversionOptions;
use serde::{Deserialize, Serialize};

/// The settings of a session's project when it was seen last, without the key and the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOptions {
    distinct_id: Option<String>,
    purpose: Option<String>,
    by_message: bool,
    privacy_mode: bool,
    redact_secrets: bool,
    max_attribute_length: u32,
    custom_properties: Option<String>,
}

impl StoredOptions {
    /// Takes what is to be kept of the settings.
    pub fn of(options: &ConversionOptions) -> Self {
        Self {
            distinct_id: options.distinct_id.clone(),
            purpose: options.purpose.clone(),
            by_message: options.trace_grouping == TraceGrouping::Message,
            privacy_mode: options.privacy_mode,
            redact_secrets: options.redact_secrets,
            max_attribute_length: options.max_attribute_length,
            custom_properties: options.custom_properties.clone(),
        }
    }

    /// As text, for the record.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Makes options as strict as those in a text. A text that cannot be read, but not an empty one, may have said anything:
    /// it counts as private.
    pub fn make_stricter(text: &str, options: &mut ConversionOptions) {
        match serde_json::from_str::<Self>(text) {
            Ok(stored) => {
                options.privacy_mode |= stored.privacy_mode;
                options.redact_secrets |= stored.redact_secrets;
                options.max_attribute_length = options.max_attribute_length.min(stored.max_attribute_length);
            }
            Err(_) if text.is_empty() => {}
            Err(_) => options.privacy_mode = true,
        }
    }

    /// The session's settings, but never less private than those of this process: who turns privacy mode on does not expect
    /// that what is still owed leaks. A text of another version of this program gives the settings of this process.
    pub fn read(text: &str, current: ConversionOptions) -> ConversionOptions {
        let Ok(stored) = serde_json::from_str::<Self>(text) else { return current };
        ConversionOptions {
            distinct_id: stored.distinct_id,
            git_repo: None,
            purpose: stored.purpose,
            trace_grouping: if stored.by_message { TraceGrouping::Message } else { TraceGrouping::Session },
            privacy_mode: stored.privacy_mode || current.privacy_mode,
            redact_secrets: stored.redact_secrets || current.redact_secrets,
            max_attribute_length: stored.max_attribute_length.min(current.max_attribute_length),
            custom_properties: stored.custom_properties,
            // The user's own, never a project's.
            redact_patterns: current.redact_patterns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ConversionOptions {
        ConversionOptions {
            distinct_id: Some("me@example.com".into()),
            purpose: Some("work".into()),
            trace_grouping: TraceGrouping::Message,
            custom_properties: Some(r#"{"team":"search"}"#.into()),
            ..ConversionOptions::default()
        }
    }

    #[test]
    fn a_session_keeps_its_own_settings() {
        let text = StoredOptions::of(&options()).to_text();
        let read = StoredOptions::read(&text, ConversionOptions::default());
        assert_eq!(StoredOptions::of(&read), StoredOptions::of(&options()));
        assert_eq!(read.trace_grouping, TraceGrouping::Message);
    }

    #[test]
    fn the_more_private_of_both_settings_counts() {
        let private = ConversionOptions {
            privacy_mode: true,
            redact_secrets: true,
            max_attribute_length: 5,
            ..ConversionOptions::default()
        };
        let open = ConversionOptions { redact_secrets: false, ..ConversionOptions::default() };
        for (stored, current) in [(&private, &open), (&open, &private)] {
            let read = StoredOptions::read(&StoredOptions::of(stored).to_text(), current.clone());
            assert!(read.privacy_mode && read.redact_secrets);
            assert_eq!(read.max_attribute_length, 5);
        }
    }

    #[test]
    fn settings_of_another_version_give_way_to_the_current_ones() {
        for text in ["", "null", "{}", "{\"privacy_mode\":1}"] {
            let read = StoredOptions::read(text, options());
            assert_eq!(read.distinct_id.as_deref(), Some("me@example.com"), "{text}");
        }
    }
}
