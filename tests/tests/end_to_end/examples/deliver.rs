//! Delivery from other hosts, each with its own allow-list.

use super::*;

/// The delivery script of each available host.
fn hosts() -> Vec<(&'static str, Command)> {
    let mut hosts = Vec::new();
    if let Some(folder) = node() {
        hosts.push(("Node.js", node_script(folder, "deliver.mjs")));
    }
    if let Some(python) = python() {
        hosts.push(("Python", python_script(python, "deliver.py", "converter")));
    }
    hosts
}

fn deliver(command: &mut Command, origin: &str) -> (bool, String) {
    let output = command.arg(transcript()).env("POSTHOG_HOST", origin).env("POSTHOG_API_KEY", KEY).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn other_hosts_deliver_what_the_strict_server_accepts() {
    for (host, mut command) in hosts() {
        let posthog = LocalPostHog::start(Config::default()).unwrap();
        let (succeeded, text) = deliver(&mut command, &posthog.origin());
        assert!(succeeded, "{host}: {text}");
        assert!(text.contains("10 events accepted by"), "{host}: {text}");
        assert_eq!(posthog.events().len(), 10, "{host}");
    }
}

#[test]
fn other_hosts_refuse_another_origin_than_theirs() {
    for (host, mut command) in hosts() {
        let posthog = LocalPostHog::start(Config::default()).unwrap();
        let (succeeded, text) = deliver(command.env("ALLOWED_ORIGIN", "https://eu.i.posthog.com"), &posthog.origin());
        assert!(!succeeded, "{host}: {text}");
        assert!(
            text.contains("the sandbox refused the request") || text.contains("NotAllowed: POST"),
            "{host}: {text}"
        );
        assert!(posthog.requests().is_empty(), "{host}");
    }
}

#[test]
fn other_hosts_say_that_nobody_answers() {
    for (host, mut command) in hosts() {
        // Nobody listens there any more.
        let origin = LocalPostHog::start(Config::default()).unwrap().origin();
        let (succeeded, text) = deliver(command.env("MAX_RETRIES", "0"), &origin);
        assert!(!succeeded, "{host}: {text}");
        assert!(text.contains("refused"), "{host}: {text}");
    }
}
