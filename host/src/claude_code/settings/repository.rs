//! Settings that came with a repository.
//!
//! Claude Code puts the `env` block of a project's checked-in `.claude/settings.json` into the environment of a session and of
//! its hooks. So whoever wrote a repository that was cloned could turn sending on, with their own key, or turn privacy off.
//! In the environment such a value cannot be told from the user's, but the file can be looked at: what it sets counts only
//! if the user has set the same.

use super::{CLAUDE_FOLDER, Environment, SettingsError, read};
use crate::system::git;
use posthog_llma_pipeline::options::{
    ALLOW_CUSTOM_HOST, API_KEY, ENABLED, HOST, PRIVACY_MODE, REDACT_SECRETS, boolean,
};
use std::path::Path;

/// Variables that decide whether, where and how privately a session is sent. Others a repository may set: `$ai_purpose`, say.
const STEERING: [&str; 6] = [API_KEY, ENABLED, HOST, ALLOW_CUSTOM_HOST, PRIVACY_MODE, REDACT_SECRETS];

/// Refuses an environment in which a steering variable has the value that the checked-in settings of `project` give it, and
/// the user's own settings do not.
pub(super) fn refuse(environment: &Environment, project: &Path) -> Result<(), SettingsError> {
    let own = environment.config_dir().map(|directory| directory.join("settings.json"));
    let path = project.join(CLAUDE_FOLDER).join("settings.json");
    // The home directory is a project, too, and its file is the user's.
    if own.as_ref().is_some_and(|own| is_same(own, &path)) {
        return Ok(());
    }
    // A file that cannot be read sets nothing: the client could not read it either.
    let Ok(checked_in) = read(&path) else { return Ok(()) };
    let steering = checked_in.env.into_iter().filter(|(name, value)| {
        let in_force = environment.get(name).is_some_and(|set| set.to_str() == Some(value));
        in_force && STEERING.contains(name) && !is_private(name, value)
    });
    let steering: Vec<_> = steering.collect();
    if steering.is_empty() {
        return Ok(());
    }
    let local = project.join(CLAUDE_FOLDER).join("settings.local.json");
    let local = Some(local).filter(|local| local.exists() && !git::is_tracked(local));
    let users: Vec<_> =
        [own, local].into_iter().flatten().filter_map(|path| Some(read(&path).ok()?.env)).flatten().collect();
    match steering.into_iter().find(|setting| !users.contains(setting)) {
        None => Ok(()),
        Some((name, _)) => Err(SettingsError::Repository { path, name }),
    }
}

/// More privacy is nobody's harm.
fn is_private(name: &str, value: &str) -> bool {
    [PRIVACY_MODE, REDACT_SECRETS].contains(&name) && boolean(value.trim()) == Some(true)
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude_code::settings::Settings;
    use serde_json::json;
    use std::ffi::OsString;
    use std::fs;
    use tempfile::TempDir;

    /// A home with a project in it, and the environment that Claude Code makes of their settings.
    struct Case {
        home: TempDir,
        set: Vec<(&'static str, &'static str)>,
    }

    impl Case {
        fn new(set: &[(&'static str, &'static str)]) -> Self {
            Self { home: tempfile::tempdir().unwrap(), set: set.to_vec() }
        }

        fn file(self, path: &str, variables: &[(&str, &str)]) -> Self {
            let path = self.home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let env: serde_json::Map<_, _> = variables.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
            fs::write(path, json!({"env": env}).to_string()).unwrap();
            self
        }

        fn refused(&self) -> Option<String> {
            let project = self.home.path().join("project");
            let environment = Environment::new(
                |name| match name {
                    "CLAUDE_PROJECT_DIR" => Some(project.clone().into()),
                    _ => self.set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value)),
                },
                Some(self.home.path().to_owned()),
            );
            let by_hook = Settings::of_environment(&environment).err().map(|error| error.to_string());
            let by_command = Settings::load(&environment, self.home.path()).err().map(|error| error.to_string());
            assert_eq!(by_hook, by_command);
            by_hook
        }
    }

    const PROJECT: &str = "project/.claude/settings.json";
    const KEY: (&str, &str) = (API_KEY, "phc_theirs");

    #[test]
    fn a_repository_cannot_say_whether_or_where_sessions_are_sent() {
        for setting in [
            KEY,
            (ENABLED, "true"),
            (HOST, "https://eu.i.posthog.com"),
            (ALLOW_CUSTOM_HOST, "true"),
            (PRIVACY_MODE, "false"),
            (REDACT_SECRETS, "0"),
        ] {
            let error = Case::new(&[setting]).file(PROJECT, &[setting]).refused().unwrap();
            assert!(error.contains(setting.0) && error.contains("settings.json"), "{error}");
            assert!(!error.contains("theirs"), "{error}");
        }
    }

    #[test]
    fn what_the_user_has_set_to_the_same_counts() {
        for own in [".claude/settings.json", "project/.claude/settings.local.json"] {
            let case = Case::new(&[KEY]).file(PROJECT, &[KEY]);
            assert_eq!(case.file(own, &[KEY]).refused(), None, "{own}");
            let case = Case::new(&[KEY]).file(PROJECT, &[KEY]);
            assert!(case.file(own, &[(API_KEY, "phc_mine")]).refused().is_some(), "{own}");
        }
    }

    #[test]
    fn what_does_not_steer_or_is_not_in_force_is_let_be() {
        let purpose = (posthog_llma_pipeline::options::PURPOSE, "work");
        assert_eq!(Case::new(&[purpose]).file(PROJECT, &[purpose]).refused(), None);
        let private = (PRIVACY_MODE, "true");
        assert_eq!(Case::new(&[private]).file(PROJECT, &[private]).refused(), None);
        assert_eq!(Case::new(&[(API_KEY, "phc_mine")]).file(PROJECT, &[KEY]).refused(), None);
        assert_eq!(Case::new(&[KEY]).refused(), None);
    }

    #[test]
    fn the_home_directory_s_own_settings_are_the_user_s() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".claude")).unwrap();
        fs::write(home.path().join(".claude/settings.json"), json!({"env": {API_KEY: "phc_mine"}}).to_string())
            .unwrap();
        let project = home.path().to_owned();
        let environment = Environment::new(
            |name| match name {
                "CLAUDE_PROJECT_DIR" => Some(project.clone().into()),
                API_KEY => Some("phc_mine".into()),
                _ => None,
            },
            Some(home.path().to_owned()),
        );
        assert!(Settings::of_environment(&environment).is_ok());
    }
}
