//! Sessions that the real Claude Code wrote, counted a second time in the plainest way, and against the client's own totals.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversion;
mod fixtures;

use conversion::{Converted, Run, convert};
use fixtures::Fixture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const TOKENS: [(&str, &str, &str); 4] = [
    ("input_tokens", "$ai_input_tokens", "inputTokens"),
    ("output_tokens", "$ai_output_tokens", "outputTokens"),
    ("cache_read_input_tokens", "$ai_cache_read_input_tokens", "cacheReadInputTokens"),
    ("cache_creation_input_tokens", "$ai_cache_creation_input_tokens", "cacheCreationInputTokens"),
];

fn converted(fixture: &Fixture) -> Converted {
    convert(&fixture.id, &fixture.files, Run::default())
}

fn lines(fixture: &Fixture) -> Vec<Value> {
    let lines = fixture.files.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n'));
    lines.filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn each_message_and_each_call_of_the_files_is_one_event() {
    for fixture in fixtures::all() {
        let mut messages: BTreeMap<String, Value> = BTreeMap::new();
        let (mut calls, mut results, mut errors) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for line in lines(&fixture) {
            let message = &line["message"];
            let synthetic = message["model"] == "<synthetic>" && line["isApiErrorMessage"] != true;
            if line["type"] == "assistant" && !synthetic {
                messages.insert(message["id"].as_str().unwrap().to_owned(), message["usage"].clone());
            }
            for block in message["content"].as_array().into_iter().flatten() {
                match block["type"].as_str().unwrap() {
                    "tool_use" | "server_tool_use" if line["type"] == "assistant" => {
                        calls.insert(block["id"].as_str().unwrap().to_owned());
                    }
                    "tool_result" if line["type"] == "user" => {
                        let id = block["tool_use_id"].as_str().unwrap().to_owned();
                        // Neither a stop nor a user's "no" is an error.
                        let content = block["content"].to_string();
                        let by_user = content.contains("[Request interrupted by user")
                            || content.contains("The user doesn't want to proceed");
                        if block["is_error"] == true && !by_user {
                            errors.insert(id.clone());
                        }
                        results.insert(id);
                    }
                    _ => {}
                }
            }
        }
        let converted = converted(&fixture);
        let at = format!("{} {}", fixture.case, fixture.id);
        assert_eq!(converted.generations().len(), messages.len(), "{at}");
        assert_eq!(converted.spans().len(), calls.len(), "{at}");
        let with = |name: &str| converted.spans().iter().filter(|span| span[name] == true).count();
        assert_eq!(with("claude_code_no_result"), calls.difference(&results).count(), "{at}");
        assert_eq!(with("$ai_is_error"), calls.intersection(&errors).count(), "{at}");
        for (name, property, _) in TOKENS {
            let sum: u64 = messages.values().filter_map(|usage| usage[name].as_u64()).sum();
            assert_eq!(converted.sum("$ai_generation", property), sum, "{property} of {at}");
            let total = property.replace("$ai_", "$ai_total_");
            assert_eq!(converted.sum("$ai_trace", &total), sum, "{total} of {at}");
        }
        let counts = &converted.counts;
        assert_eq!((counts.bad_lines, &counts.unknown_types), (0, &BTreeMap::new()), "{at}");
    }
}

/// What the client counted and its lines do not say, in the order of [`TOKENS`]: calls that leave no line, or a placeholder.
fn known_difference(fixture: &Fixture) -> Option<[u64; 4]> {
    match fixture.case.as_str() {
        // Two answers without any block.
        "2.1.330/emptytext" => Some([6, 0, 24_453, 400]),
        // The user stopped it: the line has a placeholder.
        "2.1.330/i_mid_cc" => Some([0, 25, 0, 0]),
        "2.1.332/queue" => Some([0, 31, 0, 0]),
        // The call for /compact, and a placeholder.
        "2.1.330/i_rich" if fixture.id.starts_with("573f") => Some([3, 76, 15_945, 200]),
        // After /branch the client counts anew, although it copied the lines.
        "2.1.330/i_resume" if fixture.id.starts_with("c591") => None,
        _ => Some([0; 4]),
    }
}

#[test]
fn the_sums_are_those_that_the_client_kept() {
    let mut compared = 0;
    for fixture in fixtures::all() {
        let state = lines(&fixture).into_iter().rfind(|line| line["type"] == "cost-state");
        let (Some(state), Some(difference)) = (state, known_difference(&fixture)) else { continue };
        let converted = converted(&fixture);
        for ((_, property, name), difference) in TOKENS.into_iter().zip(difference) {
            let models = state["modelUsage"].as_object().unwrap();
            let kept: u64 = models.values().map(|usage| usage[name].as_u64().unwrap()).sum();
            let sum = converted.sum("$ai_generation", property) + difference;
            assert_eq!(sum, kept, "{name} of {} {}", fixture.case, fixture.id);
        }
        compared += 1;
    }
    assert!(compared > 40, "only {compared} sessions have a cost-state");
}
