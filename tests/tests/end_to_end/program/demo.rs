//! The demo: the main task without an account, a network or any settings.

use super::*;
use serde_json::json;

#[test]
fn the_demo_shows_the_trace_what_arrived_and_what_was_refused() {
    let outcome = Home::new().program(["demo"]).run().exits_with(0).says_nothing();
    let outcome = outcome.prints(&[
        "Why does the checkout test fail? Fix it.",
        "events    18: 9 generations, 8 spans, 1 trace",
        "tokens    42 in, 1,996 out, 91,079 cache read, 26,424 cache written",
        "API Error: 529 Overloaded",
        "What the sandbox allowed",
        "What it refused",
        "https://posthog.invalid/i/v1/ai/events",
    ]);
    // Where the connecting lines end is how deep a line stands.
    let depth = |line: &str| line.chars().take_while(|c| " │├└─".contains(*c)).count();
    let lines: Vec<_> = outcome.stdout.lines().collect();
    let call = lines.iter().position(|line| line.contains("─ Agent ")).unwrap();
    let next = lines[call + 1];
    assert!(next.contains("[Explore]"), "{next}");
    assert_eq!(depth(next), depth(lines[call]) + 3, "{}", outcome.stdout);
    let explorers = lines.iter().filter(|line| line.contains("[Explore]"));
    assert_eq!(explorers.map(|line| depth(line)).collect::<Vec<_>>(), [depth(next); 2]);
}

#[test]
fn the_demo_for_scripts_is_one_json_object() {
    let demo = Home::new().program(["demo", "--json"]).run().exits_with(0).says_nothing().json();
    assert_eq!(demo["events"].as_array().unwrap().len(), 18);
    assert_eq!(demo["report"]["complete"], true);
    assert_eq!(demo["report"]["rejected"], json!([]));
    assert_eq!(demo["sandbox"]["files"].as_array().unwrap().len(), 2);
    assert_eq!(demo["sandbox"]["allowed"], 1);
    let refused = demo["sandbox"]["refused"].as_array().unwrap();
    assert_eq!(refused[0]["url"], "https://posthog.invalid/i/v1/ai/events");
    assert!(!refused[0]["reason"].as_str().unwrap().is_empty());
}

#[test]
fn the_demo_needs_no_environment_at_all() {
    let outcome = Home::new().program(["demo"]).without_environment().run().exits_with(0);
    outcome.prints(&["events    18: 9 generations, 8 spans, 1 trace"]);
}

#[test]
fn the_demo_shows_the_same_tree_every_time() {
    let tree = || {
        let outcome = Home::new().program(["demo"]).run().exits_with(0);
        outcome.stdout.split_once("\n\n").unwrap().0.to_owned()
    };
    assert_eq!(tree(), tree());
}
