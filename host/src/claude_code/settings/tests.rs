use std::fs;

use posthog_llma_pipeline::options;
use tempfile::TempDir;

use super::*;

/// A home directory with a project in it.
struct Place {
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("code/project/src/deep")).unwrap();
        Self { home }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the user's own settings for the project.
    fn local(&self, text: &str) {
        self.write("code/project/.claude/settings.local.json", text);
    }

    /// Writes the user's settings for all projects.
    fn user(&self, text: &str) {
        self.write(".claude/settings.json", text);
    }

    fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        let lookup = |name: &str| {
            let (_, value) = variables.iter().find(|(variable, _)| *variable == name)?;
            Some(OsString::from(value))
        };
        Environment::new(lookup, Some(self.home.path().to_owned()))
    }

    fn load_in(&self, cwd: &str, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::load(&self.environment(variables), &self.path(cwd))
    }

    fn load(&self) -> Result<Settings, SettingsError> {
        self.load_in("code/project", &[])
    }
}

fn purpose(settings: &Settings) -> Option<&str> {
    settings.get(options::PURPOSE).map(|(value, _)| value)
}

fn with_purpose(purpose: &str) -> String {
    format!(r#"{{"model": "x", "env": {{"OTHER": [], "POSTHOG_AI_PURPOSE": "{purpose}"}}}}"#)
}

#[test]
fn without_settings_there_are_the_defaults() {
    let settings = Place::new().load().unwrap();
    assert_eq!(settings.options().unwrap(), Options::default());
}

#[test]
fn the_environment_goes_before_the_file_but_not_below_a_client() {
    let place = Place::new();
    place.user(&with_purpose("user"));
    let user = Source::File(place.path(".claude/settings.json"));
    assert_eq!(place.load().unwrap().get(options::PURPOSE), Some(("user", &user)));
    let environment = place.environment(&[(options::PURPOSE, "env")]);
    let plain = Settings::own(&environment).unwrap();
    assert_eq!(plain.get(options::PURPOSE), Some(("env", &Source::Environment)));
    let below = Settings::own(&environment.clone().below(Standing::Below, &[])).unwrap();
    assert_eq!(below.get(options::PURPOSE), Some(("user", &user)));
    place.user(&with_purpose(""));
    let below = Settings::own(&environment.below(Standing::Below, &[])).unwrap();
    assert_eq!(below.get(options::PURPOSE), Some(("env", &Source::Environment)));
}

#[test]
fn nothing_is_taken_from_a_projects_files() {
    let place = Place::new();
    place.local(&with_purpose("local"));
    place.write("code/project/.claude/settings.json", with_purpose("repository"));
    assert_eq!(place.load().unwrap().options().unwrap(), Options::default());
    place.local(r#"{"pluginConfigs": {"posthog@x": {"options": {"POSTHOG_AI_PURPOSE": "local"}}}}"#);
    assert_eq!(purpose(&place.load().unwrap()), None);
}

#[test]
fn the_configuration_directory_can_be_named() {
    let place = Place::new();
    place.user(&with_purpose("home"));
    place.write("elsewhere/settings.json", with_purpose("named"));
    let named = place.path("elsewhere");
    let variables = [("CLAUDE_CONFIG_DIR", named.to_str().unwrap())];
    assert_eq!(place.environment(&variables).config_dir(), Some(named.clone()));
    let settings = place.load_in("code/project", &variables).unwrap();
    assert_eq!(purpose(&settings), Some("named"));
}

#[test]
fn without_a_home_directory_there_is_only_the_environment() {
    let place = Place::new();
    let environment = Environment::new(|_| None, None);
    assert_eq!(environment.config_dir(), None);
    assert!(Settings::load(&environment, &place.path("code/project")).is_ok());
    assert_eq!(Environment::new(|_| None, Some(PathBuf::new())).config_dir(), None);
}

#[test]
fn a_missing_working_directory_is_no_error() {
    let place = Place::new();
    place.user(&with_purpose("user"));
    let settings = place.load_in("no/such/directory", &[]).unwrap();
    assert_eq!(purpose(&settings), Some("user"));
}

#[test]
fn numbers_and_booleans_are_taken_as_their_text() {
    let place = Place::new();
    place.user(r#"{"env": {"POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH": 500, "POSTHOG_LLMA_PRIVACY_MODE": true}}"#);
    let options = place.load().unwrap().options().unwrap();
    assert_eq!(options.conversion.max_attribute_length, 500);
    assert!(options.conversion.privacy_mode);
}

#[test]
fn any_other_value_is_an_error_that_names_file_and_variable() {
    for value in ["null", "[]", "{}", "[\"true\"]"] {
        let place = Place::new();
        place.user(&format!(r#"{{"env": {{"POSTHOG_LLMA_PRIVACY_MODE": {value}}}}}"#));
        let message = place.load().unwrap_err().to_string();
        assert!(message.contains("settings.json"), "{message}");
        assert!(message.contains("`POSTHOG_LLMA_PRIVACY_MODE`"), "{message}");
    }
}

#[test]
fn json_that_does_not_parse_is_an_error_with_file_and_place() {
    for (text, place_in_text) in [
        ("{\n  \"env\": {\n    \"A\": \"b\",\n  }\n}", "line 4 column 3"),
        ("", "line 1 column 0"),
        ("{\"env\": {}} x", "line 1 column 13"),
        ("{\"a\": \"\\ud800\"}", "line 1 column"),
    ] {
        let place = Place::new();
        place.local(text);
        let message = place.load().unwrap_err().to_string();
        assert!(message.contains("settings.local.json"), "{message}");
        assert!(message.contains(place_in_text), "{message}");
    }
}

#[test]
fn settings_of_another_shape_are_an_error() {
    for text in ["[]", "null", "1", "\"x\"", "{\"env\": []}", "{\"env\": null}", "{\"env\": \"x\"}"] {
        let place = Place::new();
        place.user(text);
        let error = place.load().unwrap_err();
        assert!(matches!(error, SettingsError::Shape { .. }), "{text}: {error}");
        assert!(error.to_string().contains("settings.json"), "{error}");
    }
}

#[test]
fn settings_that_are_not_utf8_or_nested_too_deep_are_an_error() {
    let place = Place::new();
    place.write(".claude/settings.json", b"{\"env\": {\"A\": \"\xff\"}}");
    assert!(matches!(place.load(), Err(SettingsError::Json { .. })));
    place.write(".claude/settings.json", "[".repeat(500_000));
    assert!(matches!(place.load(), Err(SettingsError::Json { .. })));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let place = Place::new();
    place.user(&format!("\u{feff}{}", with_purpose("user")));
    assert_eq!(purpose(&place.load().unwrap()), Some("user"));
}

#[test]
fn settings_without_an_env_block_are_fine() {
    let place = Place::new();
    place.user("{\"model\": \"opus\"}");
    assert!(place.load().is_ok());
}

#[test]
fn a_file_over_one_mebibyte_is_an_error() {
    let place = Place::new();
    let largest = format!("{{{}}}", " ".repeat(1024 * 1024 - 2));
    place.user(&largest);
    assert!(place.load().is_ok());
    place.user(&format!("{largest} "));
    let message = place.load().unwrap_err().to_string();
    assert!(message.contains("settings.json"), "{message}");
    assert!(message.contains("1 MiB"), "{message}");
}

#[test]
fn a_directory_in_place_of_the_file_is_an_error() {
    let place = Place::new();
    fs::create_dir_all(place.path(".claude/settings.json")).unwrap();
    let error = place.load().unwrap_err();
    assert!(matches!(error, SettingsError::Unreadable { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_the_file_is_an_error_and_does_not_block() {
    let place = Place::new();
    place.user("");
    let path = place.path(".claude/settings.json");
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    assert!(matches!(place.load(), Err(SettingsError::Unreadable { .. })));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_an_error() {
    use std::os::unix::ffi::OsStringExt;
    let lookup = |name: &str| (name == options::HOST).then(|| OsString::from_vec(vec![0xff]));
    let environment = Environment::new(lookup, None);
    let message = Settings::load(&environment, Path::new("/")).unwrap_err().to_string();
    assert_eq!(message, "POSTHOG_HOST in the environment is not UTF-8");
}

#[test]
fn a_value_that_cannot_be_used_is_an_error_with_variable_and_source() {
    let place = Place::new();
    place.user(r#"{"env": {"POSTHOG_LLMA_PRIVACY_MODE": "ture"}}"#);
    let message = place.load().unwrap().options().unwrap_err().to_string();
    assert!(message.starts_with("POSTHOG_LLMA_PRIVACY_MODE is not valid: \"ture\""), "{message}");
    assert!(message.ends_with("settings.json)"), "{message}");

    let settings = place.load_in("code/project", &[(options::HOST, "http://example.org")]).unwrap();
    let message = settings.options().unwrap_err().to_string();
    assert!(message.starts_with("POSTHOG_HOST is not valid"), "{message}");
    assert!(message.ends_with("(set in the environment)"), "{message}");
}

#[test]
fn settings_are_shown_without_values() {
    let place = Place::new();
    place.user(r#"{"env": {"POSTHOG_API_KEY": "phc_secret"}}"#);
    let shown = format!("{:?}", place.load().unwrap());
    assert!(shown.contains("POSTHOG_API_KEY"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn the_plugins_options_come_last() {
    let place = Place::new();
    let purpose_of = |variables: &[(&str, &str)]| {
        let settings = place.load_in("code/project", variables).unwrap();
        settings.get(options::PURPOSE).map(|(value, source)| (value.to_owned(), source.clone()))
    };
    let option = ("CLAUDE_PLUGIN_OPTION_POSTHOG_AI_PURPOSE", "of the hook");
    assert_eq!(purpose_of(&[option]), Some(("of the hook".to_owned(), Source::PluginOption)));
    assert_eq!(purpose_of(&[(options::PURPOSE, "of the shell"), option]).unwrap().0, "of the shell");

    let plugin = r#""pluginConfigs": {"other@x": {"options": {"POSTHOG_AI_PURPOSE": "other"}},
        "posthog@posthog-llma": {"options": {"POSTHOG_AI_PURPOSE": "in the file", "POSTHOG_LLMA_PRIVACY_MODE": true}}}"#;
    place.user(&format!("{{{plugin}}}"));
    assert_eq!(purpose_of(&[]), Some(("in the file".to_owned(), Source::PluginOption)));
    assert!(place.load().unwrap().options().unwrap().conversion.privacy_mode);
    place.user(&format!(r#"{{{plugin}, "env": {{"POSTHOG_AI_PURPOSE": "in env"}}}}"#));
    assert_eq!(purpose_of(&[]).unwrap().0, "in env");
}

#[test]
fn plugin_configs_of_another_shape_are_none_of_our_business() {
    for configs in ["[]", "1", r#"{"posthog@x": 1}"#, r#"{"posthog@x": {"options": []}}"#, r#"{"posthog@x": {}}"#] {
        let place = Place::new();
        place.user(&format!(r#"{{"pluginConfigs": {configs}}}"#));
        assert_eq!(place.load().unwrap().options().unwrap(), Options::default(), "{configs}");
    }
}

#[test]
fn a_plugin_option_that_cannot_be_used_is_named_with_its_source() {
    let place = Place::new();
    place.user(r#"{"pluginConfigs": {"posthog@x": {"options": {"POSTHOG_LLMA_PRIVACY_MODE": "perhaps"}}}}"#);
    let error = place.load().unwrap().options().unwrap_err().to_string();
    assert!(error.contains("POSTHOG_LLMA_PRIVACY_MODE") && error.ends_with("(set in the plugin's options)"), "{error}");
    place.user(r#"{"pluginConfigs": {"posthog@x": {"options": {"POSTHOG_LLMA_PRIVACY_MODE": []}}}}"#);
    place.load().unwrap_err();
}

#[test]
fn the_key_that_the_client_keeps_for_the_plugin_is_the_users_own_and_comes_last() {
    let place = Place::new();
    place.user("{}");
    let credentials = r#"{"pluginSecrets": {"posthog@posthog-llma": {"POSTHOG_API_KEY": "phc_kept"}}}"#;
    place.write(".claude/.credentials.json", credentials);
    let key = || {
        let settings = place.load().unwrap();
        settings.get(options::API_KEY).map(|(value, source)| (value.to_owned(), source.clone()))
    };
    assert_eq!(key(), Some(("phc_kept".to_owned(), Source::PluginOption)));
    place.user(r#"{"env": {"POSTHOG_API_KEY": "phc_set"}}"#);
    assert_eq!(key().unwrap().0, "phc_set");
}
