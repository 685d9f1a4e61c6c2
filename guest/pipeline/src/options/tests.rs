use super::*;

const KEY: &str = "phc_0123456789abcdefghijklmnopqrstuvwxyzABCD";

fn parse(variables: &[(&str, &str)]) -> Result<Options, InvalidVariable> {
    Options::parse(|name| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
    })
}

#[track_caller]
fn error(name: &str, value: &str) -> String {
    let error = parse(&[(name, value)]).expect_err(value);
    assert_eq!(error.variable, name);
    let message = error.to_string();
    assert!(message.starts_with(name), "{message}");
    message
}

#[test]
fn without_variables_there_are_the_defaults() {
    let options = parse(&[]).unwrap();
    assert_eq!(options, Options::default());
    assert_eq!(options.api_key, None);
    assert!(!options.enabled);
    assert_eq!(options.origin.to_string(), "https://us.i.posthog.com");
    assert!(!options.conversion.privacy_mode);
    assert_eq!(options.conversion.distinct_id, None);
    assert_eq!(options.conversion.trace_grouping, TraceGrouping::Session);
    assert_eq!(options.conversion.max_attribute_length, 12_000);
    assert_eq!(options.conversion.custom_properties, None);
    assert!(options.conversion.redact_secrets);
    assert_eq!(options.conversion.purpose, None);
}

#[test]
fn every_variable_is_read() {
    let options = parse(&[
        (API_KEY, KEY),
        (ENABLED, "true"),
        (HOST, "https://posthog.example.org"),
        (ALLOW_CUSTOM_HOST, "true"),
        (PRIVACY_MODE, "true"),
        (DISTINCT_ID, "ada@example.org"),
        (TRACE_GROUPING, "message"),
        (TOOL_SPANS, "errors"),
        (MAX_ATTRIBUTE_LENGTH, "0"),
        (CUSTOM_PROPERTIES, r#"{"team": "search", "n": 1}"#),
        (REDACT_SECRETS, "false"),
        (PURPOSE, "coding"),
    ])
    .unwrap();
    assert_eq!(options.api_key.unwrap().expose(), KEY);
    assert!(options.enabled);
    assert_eq!(options.origin.to_string(), "https://posthog.example.org");
    assert!(options.conversion.privacy_mode);
    assert_eq!(options.conversion.distinct_id.as_deref(), Some("ada@example.org"));
    assert_eq!(options.conversion.trace_grouping, TraceGrouping::Message);
    assert_eq!(options.conversion.max_attribute_length, 0);
    assert_eq!(options.conversion.custom_properties.as_deref(), Some(r#"{"n":1,"team":"search"}"#));
    assert!(!options.conversion.redact_secrets);
    assert_eq!(options.conversion.purpose.as_deref(), Some("coding"));
}

#[test]
fn the_list_of_variables_holds_exactly_those_that_are_looked_up() {
    let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
    Options::parse(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    let listed: std::collections::BTreeSet<String> = variables().map(str::to_owned).collect();
    assert_eq!(asked.into_inner(), listed);
    assert_eq!(listed.len(), variables().count());
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let all: Vec<(&str, &str)> = variables().map(|name| (name, "")).collect();
    assert_eq!(parse(&all), Ok(Options::default()));
}

#[test]
fn a_boolean_is_read_in_any_case() {
    for yes in ["true", "1", "yes", "on", "TRUE", "Yes", "oN"] {
        assert!(parse(&[(ENABLED, yes)]).unwrap().enabled, "{yes}");
        assert!(parse(&[(PRIVACY_MODE, yes)]).unwrap().conversion.privacy_mode, "{yes}");
    }
    for no in ["false", "0", "no", "off", "FALSE", "No", "oFF"] {
        assert!(!parse(&[(ENABLED, no)]).unwrap().enabled, "{no}");
        assert!(!parse(&[(REDACT_SECRETS, no)]).unwrap().conversion.redact_secrets, "{no}");
    }
}

#[test]
fn anything_else_is_no_boolean() {
    for name in [ENABLED, ALLOW_CUSTOM_HOST, PRIVACY_MODE, REDACT_SECRETS] {
        for value in ["ture", "y", "2", " true", "true ", "enabled", "\u{130}", "null"] {
            error(name, value);
        }
    }
    assert_eq!(
        error(PRIVACY_MODE, "ture"),
        "POSTHOG_LLMA_PRIVACY_MODE is not valid: \"ture\" is neither true, 1, yes or on, nor false, 0, no or off"
    );
}

#[test]
fn a_custom_host_needs_permission() {
    let host = (HOST, "https://posthog.example.org");
    let message = parse(&[host]).unwrap_err().to_string();
    assert!(message.contains("\"https://posthog.example.org\""), "{message}");
    assert!(message.contains(ALLOW_CUSTOM_HOST), "{message}");
    assert!(parse(&[host, (ALLOW_CUSTOM_HOST, "false")]).is_err());
    assert!(parse(&[host, (ALLOW_CUSTOM_HOST, "true")]).is_ok());
}

#[test]
fn a_distinct_id_has_at_most_200_characters() {
    let longest = "é".repeat(200);
    let options = parse(&[(DISTINCT_ID, &longest)]).unwrap();
    assert_eq!(options.conversion.distinct_id, Some(longest.clone()));
    let message = error(DISTINCT_ID, &format!("{longest}é"));
    assert!(message.contains("201 characters"), "{message}");
}

#[test]
fn a_blank_distinct_id_is_refused() {
    error(DISTINCT_ID, "  ");
}

#[test]
fn a_distinct_id_with_a_control_character_is_refused() {
    error(DISTINCT_ID, "ada\0");
    error(DISTINCT_ID, "ada\nb");
}

#[test]
fn a_distinct_id_that_stands_for_nobody_is_refused() {
    for nobody in ["anonymous", "Anonymous", "NULL", "email", "0", " user "] {
        let message = error(DISTINCT_ID, nobody);
        assert!(message.contains("identifies nobody"), "{message}");
    }
}

#[test]
fn an_unknown_trace_grouping_is_refused() {
    error(TRACE_GROUPING, "turn");
    error(TRACE_GROUPING, "session ");
    assert_eq!(parse(&[(TRACE_GROUPING, "Message")]).unwrap().conversion.trace_grouping, TraceGrouping::Message);
}

#[test]
fn an_attribute_length_is_a_plain_number() {
    for value in ["-1", "+5", "1e3", "12 000", "4294967296", "12k", " 5", "0x10", "1.5"] {
        error(MAX_ATTRIBUTE_LENGTH, value);
    }
    let options = parse(&[(MAX_ATTRIBUTE_LENGTH, "4294967295")]).unwrap();
    assert_eq!(options.conversion.max_attribute_length, u32::MAX);
}

#[test]
fn custom_properties_must_be_a_json_object() {
    for value in ["[1]", "\"x\"", "1", "null", "{", "{\"a\":1} x", "team=search", "{a: 1}"] {
        error(CUSTOM_PROPERTIES, value);
    }
    let message = error(CUSTOM_PROPERTIES, "{\"a\": }");
    assert!(message.contains("line 1 column 7"), "{message}");
}

#[test]
fn deeply_nested_custom_properties_are_refused() {
    let nested = format!("{{\"a\":{}", "[".repeat(1_000_000));
    let message = error(CUSTOM_PROPERTIES, &nested);
    assert!(message.len() < 400, "{}", message.len());
}

#[test]
fn a_log_s_path_is_absolute() {
    for path in ["/var/log/llma", "~/llma.log", r"C:\llma.log", "d:/llma.log", r"\\server\share\llma.log"] {
        assert_eq!(parse(&[(LOG, path)]).unwrap().log.as_deref(), Some(path));
    }
    for path in ["llma.log", "./llma.log", "~llma", "C:llma.log", " /x", "true", "debug"] {
        error(LOG, path);
    }
}

#[test]
fn a_key_is_trimmed() {
    assert_eq!(ApiKey::parse(" phc_x\r\n").unwrap().expose(), "phc_x");
}

#[test]
fn a_blank_key_is_refused() {
    assert_eq!(ApiKey::parse(" \t\n"), Err(InvalidApiKey::Blank));
    error(API_KEY, " ");
}

#[test]
fn a_key_has_at_most_64_bytes() {
    assert!(ApiKey::parse(&"a".repeat(64)).is_ok());
    assert_eq!(ApiKey::parse(&"a".repeat(65)), Err(InvalidApiKey::TooLong));
}

#[test]
fn a_key_with_other_than_plain_characters_is_refused() {
    for text in ["phc_é", "phc_a\nb", "phc_\0", "phc_\u{7f}", "ｐhc_a", "phc_\u{200b}"] {
        assert_eq!(ApiKey::parse(text), Err(InvalidApiKey::Characters), "{text:?}");
    }
}

#[test]
fn a_personal_key_is_refused_with_the_reason() {
    let message = error(API_KEY, "phx_secretsecretsecretsecret");
    assert!(message.contains("personal API key"), "{message}");
    assert!(message.contains("phc_"), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn only_a_key_with_the_usual_start_looks_like_a_project_key() {
    assert!(ApiKey::parse(KEY).unwrap().looks_like_project_key());
    for text in ["PHC_x", "pha_x", "xphc_x"] {
        assert!(!ApiKey::parse(text).unwrap().looks_like_project_key(), "{text}");
    }
}

#[test]
fn a_key_is_shown_masked() {
    let show = |text: &str| {
        let key = ApiKey::parse(text).unwrap();
        (key.to_string(), format!("{key:?}"))
    };
    let masked = |text: &str| (text.to_owned(), format!("ApiKey({text})"));
    assert_eq!(show(KEY), masked("phc_…ABCD"));
    assert_eq!(show("phc_short"), masked("phc_…"));
    assert_eq!(show("0123456789012345678"), masked("…"));
    assert_eq!(show("01234567890123456789"), masked("…6789"));
    assert_eq!(show("x"), masked("…"));
}

#[test]
fn options_are_shown_without_the_key() {
    let options = parse(&[(API_KEY, KEY)]).unwrap();
    assert!(!format!("{options:?}").contains("0123456789"));
}

#[test]
fn no_error_shows_a_key() {
    for key in [
        KEY,
        "phx_0123456789abcdefghijklmnopqrstuvwxyz",
        "0123456789abcdef",
        "0123456789\u{1}",
        "é0123456789",
        &"0123456789".repeat(7),
    ] {
        for name in variables() {
            for value in [key.to_owned(), format!("https://{key}"), format!("{key} x")] {
                let variables: &[(&str, &str)] =
                    if name == API_KEY { &[(API_KEY, &value)] } else { &[(API_KEY, key), (name, &value)] };
                if let Err(error) = parse(variables) {
                    let message = format!("{error} {error:?}");
                    assert!(!message.contains("0123456789"), "{name}: {message}");
                }
            }
        }
    }
}

#[test]
fn a_piece_of_the_key_in_the_wrong_variable_is_not_shown() {
    let key = "phc_0123456789abcdefghijklmnop";
    for name in variables().filter(|name| *name != API_KEY) {
        for value in [&key[1..], &key[..20], &key[8..], "x 0123456789abcdefghij"] {
            if let Err(error) = parse(&[(API_KEY, key), (name, value)]) {
                assert!(!error.to_string().contains("456789"), "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_key_in_the_wrong_variable_is_not_shown() {
    for key in ["phc_0123456789", "phx_0123456789"] {
        for name in variables() {
            if let Err(error) = parse(&[(name, key)]) {
                assert!(!error.to_string().contains("0123456789"), "{name}: {error}");
            }
        }
    }
}

#[test]
fn an_error_shows_a_value_short_and_escaped() {
    let message = error(ENABLED, &format!("\u{1b}[31m{}", "x".repeat(10_000)));
    assert!(message.len() < 300, "{}", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
}

#[test]
fn a_project_can_only_make_things_stricter() {
    let own = || parse(&[(API_KEY, KEY), (ENABLED, "true"), (MAX_ATTRIBUTE_LENGTH, "500"), (PURPOSE, "mine")]).unwrap();
    let restricted = |project: &[(&str, &str)]| {
        let mut options = own();
        options.restrict(|name| project.iter().find(|(n, _)| *n == name).map(|(_, value)| Some((*value).to_owned())));
        options
    };
    assert_eq!(restricted(&[]), own());
    let stricter =
        restricted(&[(ENABLED, "false"), (PRIVACY_MODE, "true"), (MAX_ATTRIBUTE_LENGTH, "20"), (REDACT_SECRETS, "1")]);
    assert!(!stricter.enabled && stricter.conversion.privacy_mode && stricter.conversion.redact_secrets);
    assert_eq!(stricter.conversion.max_attribute_length, 20);
    // Nothing else has an effect.
    for (name, value) in [
        (API_KEY, "phc_theirs"),
        (API_KEY, "phx_personal"),
        (ENABLED, "true"),
        (ALLOW_CUSTOM_HOST, "true"),
        (HOST, "https://eu.i.posthog.com"),
        (PRIVACY_MODE, "false"),
        (DISTINCT_ID, "them"),
        (TRACE_GROUPING, "message"),
        (MAX_ATTRIBUTE_LENGTH, "501"),
        (CUSTOM_PROPERTIES, "{\"a\":1}"),
        (REDACT_SECRETS, "false"),
        (PURPOSE, "theirs"),
        (PARENT_TRACE_ID, "theirs"),
        (PARENT_TRACE_ID, "traceparent"),
        (PARENT_SPAN_ID, "theirs"),
        (LOG, "/theirs"),
    ] {
        assert_eq!(restricted(&[(name, value)]), own(), "{name}");
    }
    // A value that cannot be read may have said anything.
    assert!(restricted(&[(PRIVACY_MODE, "maybe")]).conversion.privacy_mode);
    assert!(!restricted(&[(ENABLED, "maybe")]).enabled);
    let mut options = own();
    options.restrict(|_| Some(None));
    assert!(options.conversion.privacy_mode && !options.enabled && options.api_key == own().api_key);
}

#[test]
fn an_option_is_closed_to_projects_unless_its_entry_opens_it() {
    let open: Vec<_> = table().filter(|entry| entry.project == Project::StricterOnly).map(|e| e.variable).collect();
    assert_eq!(open, [ENABLED, LIVE, PRIVACY_MODE, TOOL_SPANS, MAX_ATTRIBUTE_LENGTH, REDACT_SECRETS]);
}

#[test]
fn a_project_can_send_fewer_tool_calls_and_never_more() {
    let spans = [("all", ToolSpans::All), ("errors", ToolSpans::Errors), ("none", ToolSpans::None)];
    for (own, mine) in spans {
        for (said, theirs) in spans {
            let mut options = parse(&[(TOOL_SPANS, own)]).unwrap();
            assert_eq!(options.conversion.tool_spans, mine);
            options.restrict(|name| (name == TOOL_SPANS).then(|| Some(said.to_uppercase())));
            assert_eq!(options.conversion.tool_spans, mine.max(theirs), "{own}, {said}");
        }
        let mut options = parse(&[(TOOL_SPANS, own)]).unwrap();
        options.restrict(|name| (name == TOOL_SPANS).then(|| Some("some".to_owned())));
        assert_eq!(options.conversion.tool_spans, ToolSpans::None, "what cannot be read may have said none");
    }
    let error = parse(&[(TOOL_SPANS, "failed")]).unwrap_err().to_string();
    assert_eq!(error, "POSTHOG_LLMA_TOOL_SPANS is not valid: \"failed\" is not all, errors or none");
}

#[test]
fn the_texts_of_options_are_read_as_the_same_options() {
    let options = parse(&[
        (PRIVACY_MODE, "true"),
        (DISTINCT_ID, "ada@example.org"),
        (TRACE_GROUPING, "message"),
        (MAX_ATTRIBUTE_LENGTH, "0"),
        (CUSTOM_PROPERTIES, r#"{"team": "search"}"#),
        (REDACT_SECRETS, "false"),
        (PURPOSE, "coding"),
        (PARENT_TRACE_ID, "job"),
        (PARENT_SPAN_ID, "step"),
    ]);
    for options in [Options::default().conversion, options.unwrap().conversion] {
        let texts = options.texts();
        assert_eq!(texts.len(), ConversionOptions::ENTRIES.len());
        let lookup = |name: &str| texts.iter().find(|(n, _)| *n == name)?.1.clone();
        assert_eq!(ConversionOptions::parse(lookup), Ok(options));
    }
}

#[test]
fn a_sensitive_value_is_never_shown() {
    let sensitive: Vec<_> = table().filter(|entry| entry.sensitive).map(|entry| entry.variable).collect();
    assert_eq!(sensitive, [API_KEY]);
    assert_eq!(entry(API_KEY).unwrap().shown(KEY), "phc_…ABCD");
    assert_eq!(entry(API_KEY).unwrap().shown("phx_0123456789"), "(not a project token)");
    assert!(!format!("{:?}", parse(&[(API_KEY, KEY)]).unwrap().texts()).contains("0123456789"));
}

/// The component takes the options that the conversion uses: its interface has a field for each, and for the repository
/// and the project.
#[test]
fn the_interface_has_the_conversion_s_options() {
    let wit = include_str!("../../../../wit/types.wit");
    let (_, record) = wit.split_once("record conversion-options {").unwrap();
    let (record, _) = record.split_once("\n    }").unwrap();
    let fields = record.lines().map(str::trim).filter(|line| !line.starts_with("///"));
    let mut fields: Vec<_> = fields.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    let options = ConversionOptions::ENTRIES.iter().map(|entry| entry.field.replace('_', "-"));
    let others = ["git-repo", "hold-after", "hold-calls", "project-name", "since"].map(str::to_owned);
    let mut expected: Vec<_> = options.chain(others).collect();
    fields.sort();
    expected.sort();
    assert_eq!(fields, expected);
}
