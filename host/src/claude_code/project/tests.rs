use super::*;
use posthog_llma_pipeline::options::{self, LIVE, MAX_ATTRIBUTE_LENGTH, PRIVACY_MODE, REDACT_SECRETS, TOOL_SPANS};
use serde_json::json;
use std::fs;
use tempfile::TempDir;

/// A home directory with a project in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("code/project/src/deep")).unwrap();
        Self(home)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    fn write(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn says(self, variables: &serde_json::Value) -> Self {
        self.write("code/project/.claude/settings.json", json!({"env": variables}).to_string())
    }

    fn demands(&self) -> Demands {
        self.demands_in("code/project")
    }

    fn demands_in(&self, directory: &str) -> Demands {
        Demands::of_directory(&self.path(directory), Some(&self.path("")), Some(&self.path(".claude")))
    }
}

fn own() -> Options {
    Options { api_key: Some(ApiKey::parse("phc_mine").unwrap()), enabled: true, ..Options::default() }
}

fn stricter(demands: &Demands, mut options: Options) -> Options {
    demands.make_stricter(&mut options);
    options
}

#[test]
fn a_project_can_make_things_stricter() {
    let place = Place::new().says(&json!({
        "POSTHOG_LLMA_PRIVACY_MODE": true, "POSTHOG_LLMA_REDACT_SECRETS": "1", "POSTHOG_LLMA_CC_ENABLED": "off",
        "POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH": 100,
    }));
    let mut loose = own();
    loose.conversion.redact_secrets = false;
    let strict = stricter(&place.demands(), loose);
    assert!(strict.conversion.privacy_mode && strict.conversion.redact_secrets && !strict.enabled);
    assert_eq!(strict.conversion.max_attribute_length, 100);
    assert!(place.demands().is_off().is_some());
}

#[test]
fn a_project_cannot_make_anything_less_strict_or_different() {
    let place = Place::new().says(&json!({
        "POSTHOG_LLMA_PRIVACY_MODE": "false", "POSTHOG_LLMA_REDACT_SECRETS": "0", "POSTHOG_LLMA_CC_ENABLED": "true",
        "POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH": "4000000000", "POSTHOG_LLMA_DISTINCT_ID": "eve", "POSTHOG_AI_PURPOSE": "theirs",
        "POSTHOG_LLMA_CUSTOM_PROPERTIES": "{\"a\": 1}", "POSTHOG_LLMA_TRACE_GROUPING": "message",
        "POSTHOG_LLMA_ALLOW_CUSTOM_HOST": "true",
    }));
    let mut strict = own();
    strict.conversion.privacy_mode = true;
    strict.conversion.max_attribute_length = 50;
    assert_eq!(stricter(&place.demands(), strict.clone()), strict);
    assert_eq!(place.demands().asks(&strict), None);
}

#[test]
fn each_option_that_is_not_in_the_list_above_is_one_that_a_project_has_no_say_in() {
    for name in variables() {
        if [PRIVACY_MODE, REDACT_SECRETS, ENABLED, LIVE, MAX_ATTRIBUTE_LENGTH, TOOL_SPANS].contains(&name) {
            continue;
        }
        for value in [json!("x"), json!("true"), json!("{\"a\": 1}"), json!(1), json!([]), json!(null)] {
            let place = Place::new().says(&json!({name: value}));
            assert_eq!(stricter(&place.demands(), own()), own(), "{name} {value}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_the_strictest_that_it_can_be() {
    let odd = [
        json!("perhaps"),
        json!([]),
        json!(["false"]),
        json!(null),
        json!({}),
        json!(0.0),
        json!(2),
        json!("fal\u{0}se"),
    ];
    for value in odd {
        let place = Place::new().says(&json!({"POSTHOG_LLMA_PRIVACY_MODE": value}));
        assert!(stricter(&place.demands(), own()).conversion.privacy_mode, "{value}");
    }
    for value in [json!("false"), json!(false), json!(0), json!(" no "), json!("")] {
        let place = Place::new().says(&json!({"POSTHOG_LLMA_PRIVACY_MODE": value}));
        assert!(!stricter(&place.demands(), own()).conversion.privacy_mode, "{value}");
    }
}

#[test]
fn a_file_that_cannot_be_read_makes_the_session_private() {
    let deep = format!("{{\"env\": {{\"A\": {}", "[".repeat(100_000));
    let large = format!("{{\"env\": {{}}, \"x\": \"{}\"}}", "x".repeat(1024 * 1024));
    let texts: [&[u8]; 8] = [
        b"",
        b"{",
        b"{\"env\": {}} x",
        b"{\"a\": \"\\ud800\"}",
        b"{\"a\": \"\xff\"}",
        b"{}\0",
        deep.as_bytes(),
        large.as_bytes(),
    ];
    for text in texts {
        for file in ["settings.json", "settings.local.json"] {
            let place = Place::new().write(&format!("code/project/.claude/{file}"), text);
            let shown = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
            assert!(stricter(&place.demands(), own()).conversion.privacy_mode, "{shown}");
            assert!(place.demands().unreadable().any(|reason| reason.contains(file)), "{shown}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_folder_in_place_of_the_file_makes_the_session_private() {
    let place = Place::new();
    fs::create_dir_all(place.path("code/project/.claude/settings.json")).unwrap();
    assert!(stricter(&place.demands(), own()).conversion.privacy_mode);
    let place = Place::new();
    fs::create_dir_all(place.path("code/project/.claude")).unwrap();
    let pipe =
        std::process::Command::new("mkfifo").arg(place.path("code/project/.claude/settings.local.json")).status();
    assert!(pipe.unwrap().success());
    assert!(stricter(&place.demands(), own()).conversion.privacy_mode);
}

#[test]
fn files_of_another_shape_and_harmless_ones_say_nothing() {
    for text in
        ["{}", "[]", "null", "{\"env\": []}", "{\"env\": {}}", "{\"permissions\": {\"allow\": []}}", "\u{feff}{}"]
    {
        let place = Place::new().write("code/project/.claude/settings.json", text);
        assert_eq!(place.demands(), Demands::default(), "{text}");
    }
}

#[test]
fn all_folders_above_count_up_to_the_home_directory() {
    let private = json!({"env": {"POSTHOG_LLMA_PRIVACY_MODE": "true"}}).to_string();
    for file in [
        "code/project/.claude/settings.json",
        "code/.claude/settings.local.json",
        "code/project/src/.claude/settings.json",
    ] {
        let place = Place::new().write(file, &private);
        assert!(stricter(&place.demands_in("code/project/src/deep"), own()).conversion.privacy_mode, "{file}");
    }
    // These files are the person's own.
    for file in [".claude/settings.json", ".claude/settings.local.json"] {
        let place = Place::new().write(file, &private);
        assert_eq!(place.demands_in("code/project"), Demands::default(), "{file}");
        assert_eq!(place.demands_in(""), Demands::default(), "{file}");
    }
    // A deleted folder still has existing folders above it.
    let place = Place::new().says(&json!({"POSTHOG_LLMA_PRIVACY_MODE": "true"}));
    assert!(stricter(&place.demands_in("code/project/gone/deep"), own()).conversion.privacy_mode);
}

#[test]
fn a_destination_that_any_part_of_is_the_projects_is_asked_for() {
    let eve = "https://eve.example";
    for (says, origin, key) in [
        (json!({"POSTHOG_HOST": eve}), eve, "phc_mine"),
        (json!({"POSTHOG_API_KEY": "phc_eve"}), "https://us.i.posthog.com", "phc_eve"),
        (json!({"POSTHOG_HOST": eve, "POSTHOG_API_KEY": "phc_eve"}), eve, "phc_eve"),
        (json!({"posthog_host": eve}), eve, "phc_mine"),
    ] {
        let place = Place::new().says(&says);
        let ask = place.demands().asks(&own()).unwrap();
        let (asked_origin, asked_key) = ask.pair.unwrap();
        assert_eq!((asked_origin.to_string().as_str(), asked_key.expose()), (origin, key), "{says}");
        assert!(ask.redirects && !ask.enables);
        assert_eq!(ask.project, place.path("code/project"));
        assert_eq!(stricter(&place.demands(), own()), own());
    }
}

#[test]
fn the_same_as_the_persons_own_is_not_asked_for_and_an_empty_value_says_nothing() {
    for says in [
        json!({"POSTHOG_HOST": "https://us.i.posthog.com/", "POSTHOG_API_KEY": "phc_mine", "POSTHOG_LLMA_CC_ENABLED": "true"}),
        json!({"POSTHOG_HOST": "", "POSTHOG_API_KEY": ""}),
        json!({}),
    ] {
        assert_eq!(Place::new().says(&says).demands().asks(&own()), None, "{says}");
    }
}

#[test]
fn what_cannot_be_a_destination_is_told() {
    for says in
        [json!({"POSTHOG_HOST": "http://x.example"}), json!({"POSTHOG_HOST": []}), json!({"POSTHOG_API_KEY": "phx_x"})]
    {
        let ask = Place::new().says(&says).demands().asks(&own()).unwrap();
        assert!(ask.pair.is_err() && ask.question().contains("cannot be used"), "{says}");
    }
}

#[test]
fn sending_is_not_turned_on_by_a_project() {
    let place = Place::new().says(&json!({"POSTHOG_LLMA_CC_ENABLED": "true"}));
    let off = Options { enabled: false, ..own() };
    let ask = place.demands().asks(&off).unwrap();
    assert!(ask.enables && !ask.redirects);
    assert!(!stricter(&place.demands(), off).enabled);
}

#[test]
fn what_the_client_gave_counts_as_the_projects_unless_it_is_the_persons() {
    let given = |name: &str, value: &str| vec![(name.to_owned(), Some(value.to_owned()))];
    let none = |_: &str| Vec::new();
    let mine = |name: &str| if name == options::HOST { vec!["https://mine.example".to_owned()] } else { Vec::new() };
    let eve = given(options::HOST, "https://eve.example");
    assert!(Demands::default().with_given(&eve, none).asks(&own()).unwrap().redirects);
    let own_host = given(options::HOST, "https://mine.example");
    assert_eq!(Demands::default().with_given(&own_host, mine), Demands::default());
    assert_eq!(Demands::default().with_given(&given(options::HOST, ""), none), Demands::default());
    let option = given("CLAUDE_PLUGIN_OPTION_POSTHOG_HOST", "https://eve.example");
    assert!(Demands::default().with_given(&option, none).asks(&own()).unwrap().redirects);
    let private = given(PRIVACY_MODE, "true");
    assert!(stricter(&Demands::default().with_given(&private, none), own()).conversion.privacy_mode);
    let not_text = vec![(PRIVACY_MODE.to_owned(), None)];
    assert!(stricter(&Demands::default().with_given(&not_text, none), own()).conversion.privacy_mode);
}
