//! The conversion options of an owed session. The hook of another project may have started the process that delivers
//! it, so each session carries its own conversion settings, in the form of their variables, but never the key.

use posthog_llma_pipeline::options::{
    ConversionOptions, PARENT_SPAN_ID, PARENT_TRACE_ID, PRIVACY_MODE, REDACT_PATTERNS,
};
use serde_json::{Map, Value};

/// Not stored: the current contents of the user's file of patterns count.
const NOT_KEPT: &str = REDACT_PATTERNS;

/// Settings for one run of the client: another process's values do not apply to this session.
const OF_THE_RUN: [&str; 2] = [PARENT_TRACE_ID, PARENT_SPAN_ID];

/// The settings of a session's project when it was last seen, as text for the record.
pub fn to_text(options: &ConversionOptions) -> String {
    let kept = options.texts().into_iter().filter(|(variable, _)| *variable != NOT_KEPT);
    let members = kept.map(|(variable, text)| (variable.to_owned(), text.into()));
    Value::Object(members.collect()).to_string()
}

/// The session's settings, but never less private than this process's: a user who turns on privacy mode does not expect
/// waiting sessions to leak. A setting missing from the text, which another version of this program may have written,
/// is taken from this process.
pub fn read(text: &str, current: ConversionOptions) -> ConversionOptions {
    let stored: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let now = current.texts();
    let of_now = |variable: &str| now.iter().find(|(name, _)| *name == variable)?.1.clone();
    let of_session = |variable: &str| match stored.get(variable) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) => None,
        _ if OF_THE_RUN.contains(&variable) => None,
        _ => of_now(variable),
    };
    let Ok(mut options) = ConversionOptions::parse(of_session) else {
        return ConversionOptions { parent_trace_id: None, parent_span_id: None, ..current };
    };
    options.project_name = current.project_name;
    options.restrict(|variable| of_now(variable).map(Some));
    options
}

/// Attaches a session to the trace it was attached to when the text was written, unless the options name another one.
pub fn attach(text: &str, options: &mut ConversionOptions) {
    if options.parent_trace_id.is_some() {
        return;
    }
    let stored: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let of_run = |variable: &str| {
        let text = OF_THE_RUN.contains(&variable).then(|| stored.get(variable))??;
        text.as_str().map(str::to_owned)
    };
    // An invalid ID attaches nothing.
    if let Ok(ConversionOptions { parent_trace_id, parent_span_id, .. }) = ConversionOptions::parse(of_run) {
        (options.parent_trace_id, options.parent_span_id) = (parent_trace_id, parent_span_id);
    }
}

/// Makes options as strict as those in a text. A text that cannot be parsed may have said anything, so it counts as
/// private, unless it is empty.
pub fn make_stricter(text: &str, options: &mut ConversionOptions) {
    if text.is_empty() {
        return;
    }
    let stored: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    options.restrict(|variable| match stored.get(variable) {
        Some(Value::Null) => None,
        Some(value) => Some(value.as_str().map(str::to_owned)),
        None => (variable == PRIVACY_MODE).then_some(None),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthog_llma_pipeline::options::TraceGrouping;

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
        let current = ConversionOptions { purpose: Some("other".into()), ..ConversionOptions::default() };
        assert_eq!(read(&to_text(&options()), current.clone()), options());
        assert_eq!(read(&to_text(&ConversionOptions::default()), options()), ConversionOptions::default());
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
            let read = read(&to_text(stored), current.clone());
            assert!(read.privacy_mode && read.redact_secrets);
            assert_eq!(read.max_attribute_length, 5);
        }
    }

    #[test]
    fn what_another_version_has_not_written_is_as_in_this_process() {
        for text in ["", "null", "{}", "{\"privacy_mode\":1}", "{\"POSTHOG_LLMA_PRIVACY_MODE\":1}"] {
            assert_eq!(read(text, options()), options(), "{text}");
        }
        let text = format!("{{\"{PRIVACY_MODE}\":\"true\",\"POSTHOG_LLMA_NEWER\":\"x\"}}");
        assert_eq!(read(&text, options()), ConversionOptions { privacy_mode: true, ..options() });
    }

    #[test]
    fn the_trace_that_a_session_is_attached_to_is_that_of_its_own_run() {
        let attached = |trace: &str, span: &str| ConversionOptions {
            parent_trace_id: Some(trace.into()),
            parent_span_id: Some(span.into()),
            ..options()
        };
        assert_eq!(read(&to_text(&attached("job", "step")), attached("other", "s")), attached("job", "step"));
        assert_eq!(read(&to_text(&options()), attached("other", "s")), options());
        // A text from an older version.
        assert_eq!(read("{}", attached("other", "s")), options());
        let attach_to = |text: &str, mut options: ConversionOptions| {
            attach(text, &mut options);
            options
        };
        assert_eq!(attach_to(&to_text(&attached("job", "step")), options()), attached("job", "step"));
        assert_eq!(attach_to(&to_text(&attached("job", "step")), attached("now", "s")), attached("now", "s"));
        for text in ["", "{}", "null", "{", &to_text(&options()), "{\"POSTHOG_LLMA_PARENT_TRACE_ID\":\"a b\"}"] {
            assert_eq!(attach_to(text, options()), options(), "{text}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_counts_as_private() {
        let stricter = |text: &str| {
            let mut options = options();
            make_stricter(text, &mut options);
            options
        };
        for text in ["{", "null", "[]", "{}", "{\"POSTHOG_LLMA_PRIVACY_MODE\":\"maybe\"}", "{\"privacy_mode\":false}"] {
            assert_eq!(stricter(text), ConversionOptions { privacy_mode: true, ..options() }, "{text}");
        }
        assert_eq!(stricter(""), options());
        let other = ConversionOptions { max_attribute_length: 5, ..ConversionOptions::default() };
        assert_eq!(stricter(&to_text(&other)), ConversionOptions { max_attribute_length: 5, ..options() });
    }
}
