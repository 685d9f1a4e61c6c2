//! What every event has.

use super::lines::*;
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{ConversionOptions, FileRole, Session};
use serde_json::{Value, json};

/// One event of each kind.
fn one_of_each() -> Case {
    let lines = [user(0, "go"), reply(1000, "m", json!([call("t")])), result(3000, "t", "done")];
    session(lines.map(|line| line.with(json!({"gitBranch": "main", "entrypoint": "cli"}))))
}

#[test]
fn an_event_has_exactly_these_members() {
    let converted = one_of_each().run();
    assert_eq!(converted.events.len(), 3);
    for event in converted.events {
        let mut members: Vec<_> = event.as_object().unwrap().keys().cloned().collect();
        members.sort();
        assert_eq!(members, ["distinct_id", "event", "properties", "timestamp", "uuid"]);
    }
}

#[test]
fn the_three_names() {
    let names: Vec<_> = one_of_each().run().events.iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["$ai_generation", "$ai_span", "$ai_trace"]);
}

#[test]
fn ids_come_from_what_the_client_identifies_and_not_from_the_session() {
    let case = one_of_each();
    let other = crate::conversion::convert("another-session", &case.files, case.run.clone());
    let here = case.run();
    let ids = |c: &crate::conversion::Converted| c.events.iter().map(|e| e["uuid"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&here)[..2], ids(&other)[..2]);
    assert_eq!(ids(&here)[..2], [json!(generation_id("m")), json!(span_id("t"))]);
    assert_ne!(ids(&here)[2], ids(&other)[2]);
    assert_eq!(ids(&here)[2], EventId::trace(SESSION, EventId::generation(&message_id("m"))).to_string());
}

#[test]
fn ids_are_version_5_uuids() {
    for event in one_of_each().run().events {
        let uuid = event["uuid"].as_str().unwrap();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "5"), "{uuid}");
    }
}

#[test]
fn without_a_message_id_the_line_s_own_uuid_gives_the_id() {
    let line = || reply(1000, "", json!([text("a")]));
    let id = EventId::generation_of_line("a1000").to_string();
    assert_eq!(session([line()]).run().events[0]["uuid"], id);
    assert_eq!(session([line().without("/message/id")]).run().events[0]["uuid"], id);
}

#[test]
fn a_response_without_any_id_has_the_same_one_in_every_file_that_copies_it() {
    let line = reply(1000, "", json!([text("a")])).without("/uuid");
    let here = session([user(0, "go"), line.clone()]).run();
    let there = session([user(500, "other"), user(600, "and"), line]).run();
    assert_eq!(here.events[0]["event"], "$ai_generation");
    assert_eq!(here.events[0]["uuid"], there.events[0]["uuid"]);
}

#[test]
fn two_responses_without_any_id_are_two() {
    let line = |time| reply(time, "", json!([text("a")])).without("/uuid");
    let converted = session([line(1000), line(2000)]).run();
    assert_eq!(converted.generations().len(), 2);
    assert_ne!(converted.events[0]["uuid"], converted.events[1]["uuid"]);
}

#[test]
fn the_timestamp_is_the_end_of_the_operation_in_utc_with_milliseconds() {
    let events = one_of_each().run().events;
    let timestamps: Vec<_> = events.iter().map(|e| e["timestamp"].as_str().unwrap()).collect();
    assert_eq!(timestamps, ["2026-01-01T00:00:01.000Z", "2026-01-01T00:00:03.000Z", "2026-01-01T00:00:03.000Z"]);
}

#[test]
fn a_timestamp_with_another_offset_becomes_utc() {
    let line = reply(0, "m", json!([])).with(json!({"timestamp": "2026-01-01T02:00:01.5+02:00"}));
    assert_eq!(session([line]).run().events[0]["timestamp"], "2026-01-01T00:00:01.500Z");
}

#[test]
fn a_line_without_a_time_has_the_one_before_it() {
    for timestamp in [json!(null), json!("yesterday"), json!(5), json!("-004000-01-01T00:00:00Z")] {
        let line = reply(9000, "m", json!([])).with(json!({"timestamp": timestamp}));
        assert_eq!(session([user(4000, "go"), line]).run().events[0]["timestamp"], at(4000));
    }
}

#[test]
fn the_distinct_id_is_the_option_s() {
    for event in one_of_each().options(|o| o.distinct_id = Some("dev@example.com".into())).run().events {
        assert_eq!(event["distinct_id"], "dev@example.com");
        assert_eq!(event["properties"].get("$process_person_profile"), None);
    }
}

#[test]
fn without_one_it_is_the_session_s_and_no_person() {
    for id in [None, Some(String::new())] {
        for event in one_of_each().options(|o| o.distinct_id = id).run().events {
            assert_eq!(event["distinct_id"], format!("claude-code:{SESSION}"));
            assert_eq!(event["properties"]["$process_person_profile"], false);
        }
    }
}

#[test]
fn a_distinct_id_that_posthog_would_cut_is_refused() {
    let open = |length| {
        let options = ConversionOptions { distinct_id: Some("é".repeat(length)), ..ConversionOptions::default() };
        Session::open(SESSION, &[FileRole::Main], options)
    };
    assert!(open(200).is_ok());
    assert_eq!(open(201).unwrap_err().name, "distinct-id");
}

#[test]
fn the_session_s_distinct_id_fits_too() {
    let case = one_of_each();
    let converted = crate::conversion::convert(&"x".repeat(200), &case.files, case.run);
    assert!(converted.events[0]["distinct_id"].as_str().unwrap().len() <= 200);
}

#[test]
fn a_session_id_that_posthog_would_refuse_is_replaced_by_one_derived_from_it() {
    let case = one_of_each();
    let converted = crate::conversion::convert("my session/1", &case.files, case.run);
    let id = EventId::other("session", "my session/1").to_string();
    for event in converted.events {
        assert_eq!(event["properties"]["$ai_session_id"], id);
        assert_eq!(event["properties"]["$ai_trace_id"], id);
    }
}

fn all_have(case: Case, name: &str, value: impl Into<Value>) {
    let value = value.into();
    for event in case.run().events {
        assert_eq!(event["properties"].get(name).unwrap_or(&Value::Null), &value, "{name} of {event:#}");
    }
}

#[test]
fn all_name_their_trace_and_session() {
    all_have(one_of_each(), "$ai_trace_id", SESSION);
    all_have(one_of_each(), "$ai_session_id", SESSION);
    // For web sessions.
    all_have(one_of_each(), "$session_id", Value::Null);
}

#[test]
fn all_name_the_library_and_the_framework() {
    for (name, value) in [
        ("$ai_lib", "posthog-llma"),
        ("$lib", "posthog-llma"),
        ("$ai_lib_version", env!("CARGO_PKG_VERSION")),
        ("$lib_version", env!("CARGO_PKG_VERSION")),
        ("$ai_framework", "claude-code"),
    ] {
        all_have(one_of_each(), name, value);
    }
}

#[test]
fn all_name_the_client() {
    all_have(one_of_each(), "claude_code_version", "2.1.330");
    all_have(one_of_each(), "claude_code_entrypoint", "cli");
    let line = reply(0, "m", json!([])).without("/version");
    all_have(session([line.clone()]), "claude_code_version", Value::Null);
    all_have(session([line]), "claude_code_entrypoint", Value::Null);
}

#[test]
fn the_project_is_the_last_part_of_the_working_directory() {
    for (cwd, project) in [
        (json!("/home/dev/shop"), json!("shop")),
        (json!("/home/dev/shop/"), json!("shop")),
        (json!(r"C:\Users\dev\shop"), json!("shop")),
        (json!(r"\\server\share\shop"), json!("shop")),
        (json!(r"/home/dev/a\b"), json!(r"a\b")),
        (json!("/"), json!(null)),
        (json!(null), json!(null)),
    ] {
        let lines = [user(0, "go"), reply(1, "m", json!([]))].map(|line| line.with(json!({"cwd": cwd})));
        all_have(session(lines), "$ai_project_name", project);
    }
}

#[test]
fn the_branch_is_the_line_s_own() {
    let converted = session([
        user(0, "go").with(json!({"gitBranch": "main"})),
        reply(1, "m1", json!([call("t")])).with(json!({"gitBranch": "main"})),
        result(2, "t", "switched").with(json!({"gitBranch": "fix"})),
        reply(3, "m2", json!([])).with(json!({"gitBranch": "fix", "cwd": "/home/dev/shop/api"})),
    ])
    .run();
    let branches: Vec<_> = converted.events.iter().map(|e| e["properties"]["$ai_git_branch"].clone()).collect();
    assert_eq!(branches, ["main", "main", "fix", "fix"]);
    assert_eq!(converted.generations()[1]["$ai_project_name"], "shop");
}

#[test]
fn outside_of_a_repository_there_is_no_branch() {
    for branch in [json!(""), json!("HEAD"), json!(null)] {
        all_have(session([reply(0, "m", json!([])).with(json!({"gitBranch": branch}))]), "$ai_git_branch", Value::Null);
    }
}

#[test]
fn repository_and_purpose_are_options() {
    let case = || one_of_each().options(|o| (o.git_repo, o.purpose) = (Some("acme/shop".into()), Some("ci".into())));
    all_have(case(), "$ai_git_repo", "acme/shop");
    all_have(case(), "$ai_purpose", "ci");
    all_have(one_of_each(), "$ai_git_repo", Value::Null);
    all_have(one_of_each(), "$ai_purpose", Value::Null);
}

#[test]
fn custom_properties_are_on_every_event() {
    let case = || one_of_each().options(|o| o.custom_properties = Some(r#"{"team":"a","n":{"x":[1]}}"#.into()));
    all_have(case(), "team", "a");
    all_have(case(), "n", json!({"x": [1]}));
}

#[test]
fn custom_properties_never_override_one_of_ours() {
    let custom = r#"{"$ai_model":"mine","$lib":"mine","$anything":1,"claude_code_version":"mine","team":"a"}"#;
    let converted = one_of_each().options(|o| o.custom_properties = Some(custom.into())).run();
    assert_eq!(converted.ignored_properties, ["$ai_model", "$anything", "$lib", "claude_code_version"]);
    let properties = converted.generations()[0].clone();
    assert_eq!((&properties["$ai_model"], &properties["$lib"]), (&json!("claude-x"), &json!("posthog-llma")));
    assert_eq!((&properties["claude_code_version"], &properties["team"]), (&json!("2.1.330"), &json!("a")));
    assert_eq!(properties.get("$anything"), None);
}

#[test]
fn custom_properties_that_are_no_object_are_refused() {
    for custom in ["[1]", "{", "5", "\"a\""] {
        let options = ConversionOptions { custom_properties: Some(custom.into()), ..ConversionOptions::default() };
        let refused = Session::open(SESSION, &[FileRole::Main], options).unwrap_err();
        assert_eq!(refused.name, "custom-properties");
    }
}

#[test]
fn names_from_a_transcript_are_short() {
    let long = "x".repeat(100_000);
    let line = reply(0, "m", json!([call_of(&long, "t", json!({}))])).with(json!({
        "cwd": long, "gitBranch": long, "version": long, "entrypoint": long, "effort": long, "attributionSkill": long,
        "message": {"model": long, "stop_reason": long, "usage": {"service_tier": long, "speed": long}},
    }));
    for event in session([line]).run().events {
        assert!(event.to_string().len() < 6000, "{event}");
    }
}

#[test]
fn the_same_files_give_the_same_bytes() {
    assert_eq!(one_of_each().run(), one_of_each().run());
}
