//! A destination in flags: giving it to a command is a decision to use it.

use super::*;

/// A command with a destination in flags, and the key in an environment variable of another name.
fn given(home: &Home, command: &str, posthog: &LocalPostHog) -> Program {
    let origin = posthog.origin();
    home.program([command, "--host", &origin, "--key-env", "MY_KEY"]).env("MY_KEY", KEY)
}

#[test]
fn a_session_goes_where_the_flags_say_whatever_is_set() {
    let (home, posthog, other) = (Home::new(), posthog(), super::posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let elsewhere = [("POSTHOG_HOST", other.origin()), ("POSTHOG_API_KEY", "phc_another0123456789abcdef".to_owned())];
    for command in ["send", "ingest"] {
        let run = elsewhere.iter().fold(given(&home, command, &posthog), |run, (name, value)| run.env(name, value));
        run.arg(&session).run().exits_with(0);
    }
    assert_eq!((posthog.requests().len(), other.requests().len()), (1, 0));
}

#[test]
fn the_key_can_come_from_standard_input() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let origin = posthog.origin();
    let run = home.program(["send", "--key-stdin", "--host", &origin]).arg(&session).input(format!("{KEY}\n"));
    run.run().exits_with(0);
    assert_eq!(posthog.requests().len(), 1);
}

#[test]
fn what_a_project_asks_for_does_not_hold_up_a_command_that_was_given_a_destination() {
    let (home, posthog, stranger) = (Home::new(), posthog(), super::posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let asks = serde_json::json!({"env": {"POSTHOG_HOST": stranger.origin(), "POSTHOG_API_KEY": KEY}}).to_string();
    home.write("work/.claude/settings.json", asks);
    home.send(&posthog, &session).run().exits_with(2).says(&["posthog-llma trust"]);
    given(&home, "send", &posthog).arg(&session).run().exits_with(0);
    assert_eq!((posthog.requests().len(), stranger.requests().len()), (1, 0));
}

#[test]
fn flags_that_cannot_be_used_send_nothing() {
    let (home, posthog) = (Home::new(), posthog());
    let session = home.session(Transcript::new().turns(1).text());
    let origin = posthog.origin();
    let run =
        |arguments: &[&str]| home.program(["send"]).args(arguments).arg(&session).env("MY_KEY", "phx_personal").run();
    run(&["--host", "https://example.com", "--key-env", "MY_KEY"]).exits_with(2);
    run(&["--host", &origin, "--key-env", "MY_KEY"]).exits_with(2).says(&["MY_KEY", "personal API key"]);
    run(&["--host", &origin, "--key-env", "UNSET"]).exits_with(2).says(&["UNSET: this variable is not set"]);
    run(&["--host", "https://example.com"]).exits_with(2).says(&["--allow-custom-host"]);
    assert!(posthog.requests().is_empty());
}
