//! Finds out whether Claude Code calls our hooks and whether another tool sends the same sessions, from its settings
//! and its list of plugins.

use super::local_plugin;
use super::project::{CLAUDE_FOLDER, FILES};
use crate::system::regular;
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// This project's marketplaces: the published one and the one that `plugin install` creates.
const MARKETPLACES: [&str; 2] = ["posthog-llma", local_plugin::MARKETPLACE];

/// Appears in the command of each of our hooks.
const COMMAND: &str = "posthog-llma";

/// What calls this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ours {
    /// Hooks in the user's settings.
    Settings,
    /// This plugin.
    Plugin(String),
    /// This plugin, but the user has disabled it.
    Disabled(String),
    /// This plugin, but the folder it is read from is gone.
    Moved(String, PathBuf),
    /// Nothing.
    Nobody,
}

/// What Claude Code's settings say about hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// What calls this program.
    pub ours: Ours,
    /// Since when, in milliseconds since 1970, if known.
    pub since: Option<i64>,
    /// `disableAllHooks` is set.
    pub all_disabled: bool,
    /// Other tools that send the same sessions to PostHog: the name a user would know, and what to do.
    pub others: Vec<(String, String)>,
}

impl Hooks {
    /// Reads the hooks from all of Claude Code's folders and from the settings of these projects: another tool may send
    /// the same sessions from any of them. For our own hooks, the first folder that has some counts.
    pub fn of_all(homes: &[PathBuf], projects: &[PathBuf]) -> Self {
        let mut all = Self { ours: Ours::Nobody, since: None, all_disabled: false, others: Vec::new() };
        for home in homes {
            let of_home = Self::of(home);
            if all.ours == Ours::Nobody {
                (all.ours, all.since) = (of_home.ours, of_home.since);
            }
            all.all_disabled |= of_home.all_disabled;
            let place =
                |other: (String, String)| if homes.len() > 1 { (in_home(&other.0, home), other.1) } else { other };
            all.others.extend(of_home.others.into_iter().map(place));
        }
        for folder in
            projects.iter().map(|project| project.join(CLAUDE_FOLDER)).filter(|folder| !homes.contains(folder))
        {
            for path in FILES.map(|file| folder.join(file)) {
                all.others.extend(foreign(&read_json(&path), &path));
            }
        }
        let mut seen = HashSet::new();
        all.others.retain(|other| seen.insert(other.clone()));
        all
    }

    /// Reads the hooks from one of Claude Code's folders.
    pub fn of(config: &Path) -> Self {
        let path = config.join("settings.json");
        let settings = read_json(&path);
        let plugins = config.join("plugins");
        let installed = read_json(&plugins.join("installed_plugins.json"));
        let marketplaces = read_json(&plugins.join("known_marketplaces.json"));
        let installed = installed["plugins"].as_object();
        let enabled = |name: &str| settings["enabledPlugins"][name] != false;
        let (mut ours, mut since, mut others) = (Ours::Nobody, None, Vec::new());
        if commands(&settings["hooks"]).iter().any(|command| command.contains(COMMAND)) {
            ours = Ours::Settings;
            since = modified(&path);
        }
        for (name, places) in installed.into_iter().flatten() {
            let Some((plugin, marketplace)) = name.split_once('@') else { continue };
            let place = places.get(0).and_then(|place| place["installPath"].as_str()).map(PathBuf::from);
            if is_ours(marketplace, place.as_deref()) {
                if matches!(ours, Ours::Settings | Ours::Plugin(_)) {
                    continue;
                }
                let installed_at = places.get(0).and_then(|place| place["installedAt"].as_str());
                since = installed_at.and_then(posthog_llma_pipeline::time::parse);
                ours = match gone(&marketplaces[marketplace], place) {
                    _ if !enabled(name) => Ours::Disabled(name.clone()),
                    Some(path) => Ours::Moved(name.clone(), path),
                    None => Ours::Plugin(name.clone()),
                };
            } else if matches!(plugin, "posthog" | "posthog-telemetry") && enabled(name) {
                let advice =
                    format!("Keep only one of the two: run `claude plugin disable {name}`, or disable this plugin");
                others.push((format!("the plugin {name}"), advice));
            }
        }
        others.extend(foreign(&settings, &path));
        others.dedup();
        Self { ours, since, all_disabled: settings["disableAllHooks"] == true, others }
    }

    /// Is this plugin installed, whether or not it is enabled?
    pub fn knows_plugin(config: &Path, name: &str) -> bool {
        read_json(&config.join("plugins/installed_plugins.json"))["plugins"].get(name).is_some()
    }
}

/// Hooks in a settings file that appear to send to PostHog and are not ours.
fn foreign(settings: &Value, path: &Path) -> impl Iterator<Item = (String, String)> {
    let is_foreign = |command: &String| command.contains("posthog") && !command.contains(COMMAND);
    commands(&settings["hooks"]).into_iter().filter(is_foreign).map(|command| {
        let short: String = command.chars().filter(|c| !c.is_control()).take(80).collect();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (format!("the hook `{short}` in {name}"), format!("Remove it from {}, or disable this plugin", path.display()))
    })
}

fn in_home(other: &str, home: &Path) -> String {
    format!("{other} (of {})", home.display())
}

/// Is a plugin ours? Decided by its marketplace, or by its hooks if it was installed another way.
fn is_ours(marketplace: &str, place: Option<&Path>) -> bool {
    let hooks = || read_json(&place?.join("hooks/hooks.json")).to_string().contains(COMMAND).then_some(());
    MARKETPLACES.contains(&marketplace) || hooks().is_some()
}

/// The folder a plugin is read from, if it is gone: its marketplace's folder, which is read in place, or the plugin's
/// copy.
fn gone(marketplace: &Value, place: Option<PathBuf>) -> Option<PathBuf> {
    let source = &marketplace["source"];
    let folder = source["path"].as_str().filter(|_| source["source"] == "directory").map(PathBuf::from);
    folder.into_iter().chain(place).find(|path| !path.exists())
}

/// The commands of all hooks.
fn commands(hooks: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(hooks, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(members) => {
            let word = |value: &Value| value.as_str().map(str::to_owned);
            if let Some(command) = members.get("command").and_then(word) {
                let arguments = members.get("args").and_then(Value::as_array).into_iter().flatten().filter_map(word);
                found.push(std::iter::once(command).chain(arguments).collect::<Vec<_>>().join(" "));
            }
            members.values().for_each(|value| collect(value, found));
        }
        _ => {}
    }
}

fn modified(path: &Path) -> Option<i64> {
    let modified = path.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(modified.as_millis()).ok()
}

/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// A file that cannot be read counts as empty: the client does not read it either.
fn read_json(path: &Path) -> Value {
    regular::read(path, MAX_BYTES).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use tempfile::TempDir;

    fn home(settings: &Value, installed: &Value, marketplaces: &Value) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("plugins")).unwrap();
        for (name, value) in [
            ("settings.json", settings),
            ("plugins/installed_plugins.json", &json!({"version": 2, "plugins": installed})),
            ("plugins/known_marketplaces.json", marketplaces),
        ] {
            fs::write(home.path().join(name), value.to_string()).unwrap();
        }
        home
    }

    #[test]
    fn an_empty_home_calls_nobody() {
        let home = tempfile::tempdir().unwrap();
        let hooks = Hooks::of(home.path());
        assert_eq!(hooks, Hooks { ours: Ours::Nobody, since: None, all_disabled: false, others: Vec::new() });
    }

    #[test]
    fn a_plugin_of_our_marketplace_is_ours_unless_it_is_off_or_gone() {
        let name = "posthog@posthog-llma";
        let here = tempfile::tempdir().unwrap();
        let installed = |path: &Path| json!({name: [{"installPath": path, "installedAt": "2026-11-26T10:00:00.000Z"}]});
        let of = |settings: Value, path: &Path, marketplaces: Value| {
            Hooks::of(home(&settings, &installed(path), &marketplaces).path())
        };
        let hooks = of(json!({}), here.path(), json!({}));
        assert_eq!((hooks.ours, hooks.since), (Ours::Plugin(name.into()), Some(1_795_687_200_000)));
        let off = json!({"enabledPlugins": {name: false}});
        assert_eq!(of(off, here.path(), json!({})).ours, Ours::Disabled(name.into()));
        let gone = here.path().join("gone");
        assert_eq!(of(json!({}), &gone, json!({})).ours, Ours::Moved(name.into(), gone.clone()));
        let marketplaces = json!({"posthog-llma": {"source": {"source": "directory", "path": &gone}}});
        assert_eq!(of(json!({}), here.path(), marketplaces).ours, Ours::Moved(name.into(), gone));
    }

    #[test]
    fn a_plugin_that_calls_our_program_is_ours_whatever_its_name() {
        let here = tempfile::tempdir().unwrap();
        fs::create_dir(here.path().join("hooks")).unwrap();
        let command = json!({"hooks": {"Stop": [{"hooks": [{"command": "${CLAUDE_PLUGIN_ROOT}/bin/posthog-llma"}]}]}});
        fs::write(here.path().join("hooks/hooks.json"), command.to_string()).unwrap();
        let hooks =
            Hooks::of(home(&json!({}), &json!({"posthog@fork": [{"installPath": here.path()}]}), &json!({})).path());
        assert_eq!(hooks.ours, Ours::Plugin("posthog@fork".into()));
        assert!(hooks.others.is_empty());
    }

    #[test]
    fn hooks_in_settings_are_ours_or_somebody_elses() {
        let hook =
            |command: &str| json!({"hooks": {"SessionEnd": [{"hooks": [{"type": "command", "command": command}]}]}});
        let of = |settings: &Value| Hooks::of(home(settings, &json!({}), &json!({})).path());
        assert_eq!(of(&hook("/opt/posthog-llma hook")).ours, Ours::Settings);
        let python = of(&hook("python3 ~/.claude/posthog_hook.py"));
        assert_eq!(python.ours, Ours::Nobody);
        assert!(python.others[0].0.contains("posthog_hook.py"), "{python:?}");
        assert!(of(&hook("prettier --write")).others.is_empty());
        assert!(of(&json!({"disableAllHooks": true})).all_disabled);
    }

    #[test]
    fn another_sender_is_found_in_any_home_and_in_the_project() {
        let (ours, other) = ("posthog@posthog-llma", "posthog-telemetry@anywhere");
        let here = tempfile::tempdir().unwrap();
        let first = home(&json!({}), &json!({}), &json!({}));
        let second = home(
            &json!({"disableAllHooks": true}),
            &json!({ours: [{"installPath": here.path()}], other: [{}]}),
            &json!({}),
        );
        let homes = [first.path().to_owned(), second.path().to_owned()];
        assert!(Hooks::of_all(&homes[..1], &[]).others.is_empty());
        let hooks = Hooks::of_all(&homes, &[]);
        assert_eq!((hooks.ours, hooks.all_disabled), (Ours::Plugin(ours.into()), true));
        assert_eq!(hooks.others.len(), 1);
        let told = &hooks.others[0].0;
        assert!(told.contains(other) && told.contains(second.path().to_str().unwrap()), "{told}");

        let project = tempfile::tempdir().unwrap();
        fs::create_dir(project.path().join(".claude")).unwrap();
        let hook = json!({"hooks": {"Stop": [{"hooks": [{"command": "uvx posthog-hook"}]}]}}).to_string();
        for file in FILES {
            fs::write(project.path().join(".claude").join(file), &hook).unwrap();
        }
        let of_project = Hooks::of_all(&homes[..1], &[project.path().to_owned(), project.path().to_owned()]).others;
        assert_eq!(of_project.len(), 2, "{of_project:?}");
        assert!(of_project[0].1.contains("settings.local.json"));
        // The home directory may itself be a working directory.
        let settings = first.path().join("settings.json");
        fs::write(settings, &hook).unwrap();
        assert_eq!(Hooks::of_all(&homes[..1], &[]).others.len(), 1);
    }

    #[test]
    fn posthogs_other_plugins_send_the_same_unless_they_are_disabled() {
        for name in ["posthog@claude-plugins-official", "posthog-telemetry@anywhere"] {
            let installed = json!({name: [{"installPath": "/nowhere"}]});
            let hooks = Hooks::of(home(&json!({}), &installed, &json!({})).path());
            assert_eq!(hooks.others.len(), 1, "{name}");
            assert!(hooks.others[0].0.contains(name));
            let off = json!({"enabledPlugins": {name: false}});
            assert!(Hooks::of(home(&off, &installed, &json!({})).path()).others.is_empty(), "{name}");
        }
    }

    #[test]
    fn settings_of_any_shape_are_read() {
        for odd in [
            json!(null),
            json!([]),
            json!({"hooks": 1, "enabledPlugins": []}),
            json!({"hooks": {"Stop": [{"hooks": "x"}]}}),
        ] {
            let hooks = Hooks::of(home(&odd, &json!({"odd": 1, "posthog@posthog-llma": 7}), &odd).path());
            assert!(!hooks.all_disabled);
        }
    }
}
