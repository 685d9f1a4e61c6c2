//! Where each variable of [`posthog_llma_pipeline::options`] comes from. All these sources belong to the person or the
//! machine's administrator; [`project`](super::project) reads what a project says.
//!
//! 1. Claude Code's managed settings, which belong to root
//! 2. the command's flags
//! 3. the environment
//! 4. the `env` block of `settings.json` in `$CLAUDE_CONFIG_DIR` (default `~/.claude`), so that commands work in a
//!    plain terminal, where Claude Code does not set variables
//!
//! Below a client, the file takes precedence over the environment, as in the environments that the client creates. Last
//! come the options of the Claude Code plugin: `pluginConfigs."posthog@…".options` in the same `settings.json`, the key
//! in the client's credential store ([`plugin_options`]), and, in a plain environment, `CLAUDE_PLUGIN_OPTION_<NAME>`.
//! The user gave them once, when installing the plugin. Claude Code 2.1.83 and later passes them to the plugin's hooks
//! under these names (seen in 2.1.112 to 2.1.332). A project could set those, too, so below a client they are read from
//! the files.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use posthog_llma_pipeline::options::{ENABLED, NameVerdict, Options, TRACEPARENT, boolean, judge_name, variables};
use serde_json::{Map, Value};

use super::first_environment::{self, Standing};
use super::plugin_options::{self, is_plugin};
use super::project::{CLAUDE_FOLDER, Demands, is_shared};
pub(crate) use super::source::read_file;
pub use super::source::{SettingsError, Source};
use crate::system::git;

pub mod edit;
mod homes;
#[cfg(test)]
mod tests;

/// The file with an administrator's settings for Claude Code.
const MANAGED: &str = if cfg!(windows) {
    r"C:\Program Files\ClaudeCode\managed-settings.json"
} else if cfg!(target_os = "macos") {
    "/Library/Application Support/ClaudeCode/managed-settings.json"
} else {
    "/etc/claude-code/managed-settings.json"
};
/// The variable with the folder of Claude Code's own files, if it is not `~/.claude`.
const CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";

/// Claude Code's prefix for a plugin option's name in the environment of its hooks.
const PLUGIN_OPTION: &str = "CLAUDE_PLUGIN_OPTION_";

/// What this program takes from the environment: the variables it knows and the home directory.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    /// The command's flags.
    flags: Vec<(&'static str, String)>,
    plugin_options: BTreeMap<&'static str, OsString>,
    /// `TRACEPARENT`: from the client's own environment only, never from a file or a plugin option.
    traceparent: Option<OsString>,
    /// Names that are not ours but might be misspellings of ours.
    doubtful: Vec<DoubtfulName>,
    home: Option<PathBuf>,
    standing: Standing,
    /// Variables that a client gave, see [`first_environment`].
    given: Vec<(String, Option<String>)>,
}

impl Environment {
    /// The environment of this process: the person's own.
    pub fn of_process() -> Self {
        let start = first_environment::start();
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
            .with_names(std::env::vars_os().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name))
            .below(start.standing, &start.given)
    }

    /// Adds a command's flags, which override what the person has set but not what an administrator has set.
    #[must_use]
    pub fn with_flags(self, flags: Vec<(&'static str, String)>) -> Self {
        Self { flags, ..self }
    }

    /// Adds the names of all set variables, to find those that nearly match one of ours.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = OsString>) -> Self {
        for name in names.into_iter().filter_map(|name| name.into_string().ok()) {
            // On Windows, `path` is `PATH`.
            let name = if cfg!(windows) { name.to_uppercase() } else { name };
            let (name, source) = match name.strip_prefix(PLUGIN_OPTION) {
                Some(option) => (option.to_owned(), Source::PluginOption),
                None => (name, Source::Environment),
            };
            self.doubtful.extend(DoubtfulName::judge(&name, &source));
        }
        self
    }

    /// Takes the known variables from `lookup`. Empty ones count as not set.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let known = variables();
        let variables = known.clone().chain([CONFIG_DIR]).filter_map(|name| Some((name, set(name)?))).collect();
        let plugin_options = known.filter_map(|name| Some((name, set(&format!("{PLUGIN_OPTION}{name}"))?))).collect();
        let home = home.filter(|home| !home.as_os_str().is_empty());
        Self { variables, plugin_options, traceparent: set(TRACEPARENT), home, ..Self::default() }
    }

    /// For a process at this position relative to a client, with these given variables.
    #[must_use]
    pub fn below(self, standing: Standing, given: &[(String, Option<String>)]) -> Self {
        Self { standing, given: given.to_vec(), ..self }
    }

    /// The project of the session that this process belongs to, if the client names one.
    pub fn project(&self) -> Option<PathBuf> {
        let (_, project) = self.given.iter().find(|(name, _)| name == "CLAUDE_PROJECT_DIR")?;
        project.as_ref().map(PathBuf::from)
    }

    /// What a directory's project says in its files and through the client's environment. `own` is the person's
    /// settings.
    pub fn demands(&self, directory: &Path, own: &Settings) -> Demands {
        let demands = self.demands_of_files(directory);
        demands.with_given(&self.given, |name| own.all.get(name).cloned().unwrap_or_default())
    }

    /// What the files of a directory's project say.
    pub fn demands_of_files(&self, directory: &Path) -> Demands {
        Demands::of_directory(directory, self.home.as_deref(), self.config_dir().as_deref())
    }

    /// Claude Code's folder: `$CLAUDE_CONFIG_DIR` (the first one of a list), else `~/.claude`; `None` without a home
    /// directory.
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.homes().into_iter().next()
    }

    /// All of Claude Code's folders: `$CLAUDE_CONFIG_DIR` may be a list, but below a client it is the folder which that
    /// client uses.
    pub fn homes(&self) -> Vec<PathBuf> {
        match self.get(CONFIG_DIR) {
            Some(directory) if self.standing == Standing::Plain => homes::listed(directory),
            Some(directory) => vec![PathBuf::from(directory)],
            None => self.home.iter().map(|home| home.join(CLAUDE_FOLDER)).collect(),
        }
    }

    /// Has nobody turned sending on, or tried to? Sending is off on most machines, so this check is cheap. Below a
    /// client it looks at the given variables, which include those of the person's settings file.
    pub fn is_off(&self) -> bool {
        if self.standing != Standing::Plain {
            let names = [ENABLED.to_owned(), format!("{PLUGIN_OPTION}{ENABLED}")];
            let set =
                |name: &String| self.given.iter().find(|(given, value)| given == name && *value != Some(String::new()));
            let enabled = names.iter().find_map(set);
            return enabled.is_none_or(|(_, value)| value.as_deref().and_then(boolean) == Some(false));
        }
        let enabled = self.get(ENABLED).or_else(|| self.plugin_options.get(ENABLED).map(OsString::as_os_str));
        // A value that cannot be parsed is not "off" but a mistake to report.
        enabled.is_none_or(|value| value.to_str().and_then(boolean) == Some(false))
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// A name that is not ours but has our prefix or nearly matches one of ours.
#[derive(Debug, Clone)]
struct DoubtfulName {
    name: String,
    source: Source,
    /// The name that was probably meant, if any.
    meant: Option<&'static str>,
}

impl DoubtfulName {
    fn judge(name: &str, source: &Source) -> Option<Self> {
        let meant = match judge_name(name) {
            NameVerdict::Known | NameVerdict::Foreign => return None,
            NameVerdict::Unknown => None,
            NameVerdict::NearMiss(meant) => Some(meant),
        };
        Some(Self { name: name.to_owned(), source: source.clone(), meant })
    }
}

/// One of the user's own settings files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// ~/.claude/settings.json: all projects
    User,
    /// .claude/settings.local.json of the current project: this one
    ProjectLocal,
}

/// The set variables, each with its source.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
    /// The values from all sources, including those that another source overrides.
    all: BTreeMap<&'static str, Vec<String>>,
    traceparent: Option<String>,
    warnings: Vec<String>,
}

impl fmt::Debug for Settings {
    /// Prints names and sources only; a value may be the API key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.values.iter().map(|(name, (_, source))| (name, source));
        formatter.debug_map().entries(sources).finish()
    }
}

impl Settings {
    /// Loads all of the person's sources. `cwd` is a directory of the current project: if the user's own file for that
    /// project cannot be read, that is an error, although nothing is taken from the file.
    pub fn load(environment: &Environment, cwd: &Path) -> Result<Self, SettingsError> {
        let of_project = project_settings(cwd, environment.home.as_deref()).map(|path| read(&path)).transpose()?;
        let mut settings = Self::own(environment)?;
        settings.doubt(&of_project.unwrap_or_default().doubtful)?;
        Ok(settings)
    }

    /// Loads all of the person's sources.
    pub fn own(environment: &Environment) -> Result<Self, SettingsError> {
        let traceparent = environment.traceparent.as_ref().map(|text| text.to_string_lossy().into_owned());
        let mut settings = Self { traceparent, ..Self::default() };
        let managed = Path::new(MANAGED);
        if is_roots(managed) {
            let file = read(managed)?;
            settings.add_file(managed.to_owned(), file.env);
            settings.doubt(&file.doubtful)?;
        }
        for (name, value) in &environment.flags {
            settings.refuse_if_managed(name, value)?;
            settings.add(name, value.clone(), &Source::Flag);
        }
        let path = environment.config_dir().map(|directory| directory.join("settings.json"));
        let mut file = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut of_file = path.map(|path| (path, std::mem::take(&mut file.env)));
        if environment.standing != Standing::Plain
            && let Some((path, variables)) = of_file.take()
        {
            settings.add_file(path, variables);
        }
        settings.add_environment(environment)?;
        if let Some((path, variables)) = of_file {
            settings.add_file(path, variables);
        }
        for (&name, value) in &environment.plugin_options {
            let value = value.to_str().ok_or(SettingsError::NotUtf8 { name })?;
            settings.add(name, value.to_owned(), &Source::PluginOption);
        }
        let credentials = environment.config_dir().map(|directory| directory.join(plugin_options::CREDENTIALS));
        let credentials = credentials.and_then(|path| read_file(&path).ok().flatten());
        let sensitive = credentials.map(|text| plugin_options::sensitive(&text));
        for (name, value) in file.plugin_options.into_iter().chain(sensitive.unwrap_or_default()) {
            settings.add(name, value, &Source::PluginOption);
        }
        settings.doubt(&environment.doubtful)?;
        settings.doubt(&file.doubtful)?;
        Ok(settings)
    }

    /// An administrator's setting is final: a contradicting flag is an error and is not silently ignored.
    fn refuse_if_managed(&self, name: &'static str, value: &str) -> Result<(), SettingsError> {
        match self.get(name) {
            Some((managed, Source::File(path))) if managed != value => {
                Err(SettingsError::Managed { name, path: path.clone() })
            }
            _ => Ok(()),
        }
    }

    fn add_environment(&mut self, environment: &Environment) -> Result<(), SettingsError> {
        for name in variables() {
            if let Some(value) = environment.get(name) {
                let value = value.to_str().ok_or(SettingsError::NotUtf8 { name })?;
                self.add(name, value.to_owned(), &Source::Environment);
            }
        }
        Ok(())
    }

    /// The user's settings file, or the user's own file for the project that contains `cwd`; if that project has none
    /// yet, the file for `cwd`. `None` without a home directory.
    pub fn file(environment: &Environment, scope: Scope, cwd: &Path) -> Option<PathBuf> {
        match scope {
            Scope::User => environment.config_dir().map(|directory| directory.join("settings.json")),
            Scope::ProjectLocal => Some(
                project_settings(cwd, environment.home.as_deref())
                    .unwrap_or_else(|| cwd.join(CLAUDE_FOLDER).join("settings.local.json")),
            ),
        }
    }

    /// Reads the `env` block of one file. A project's local file must not be checked in.
    pub fn of_file(path: &Path, scope: Scope) -> Result<Self, SettingsError> {
        if scope == Scope::ProjectLocal && git::is_tracked(path) == git::Tracked::Yes {
            return Err(SettingsError::CheckedIn { path: path.to_owned() });
        }
        let mut settings = Self::default();
        settings.add_file(path.to_owned(), read(path)?.env);
        Ok(settings)
    }

    /// A variable's value and its source. The value is never empty.
    pub fn get(&self, name: &str) -> Option<(&str, &Source)> {
        self.values.get(name).map(|(value, source)| (value.as_str(), source))
    }

    /// Warnings about settings that can be used nonetheless.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Refuses a name that nearly matches one of ours, because its value would have no effect. Warns about other names
    /// with our prefix.
    fn doubt(&mut self, names: &[DoubtfulName]) -> Result<(), SettingsError> {
        for DoubtfulName { name, source, meant } in names {
            if let Some(meant) = meant {
                return Err(SettingsError::Misspelt { name: name.clone(), source_of_name: source.clone(), meant });
            }
            self.warnings.push(format!("{name:?} is not a setting that this version knows (set in {source})"));
        }
        Ok(())
    }

    /// Parses the variables. The error names the invalid variable and its source.
    pub fn options(&self) -> Result<Options, SettingsError> {
        let lookup = |name: &str| match name {
            TRACEPARENT => self.traceparent.clone(),
            _ => self.get(name).map(|(value, _)| value.to_owned()),
        };
        Options::parse(lookup).map_err(|error| {
            let source = self.get(error.variable);
            SettingsError::Invalid {
                source_of_value: source.map_or(Source::Environment, |(_, source)| source.clone()),
                error,
            }
        })
    }

    fn add(&mut self, name: &'static str, value: String, source: &Source) {
        if !value.is_empty() {
            self.all.entry(name).or_default().push(value.clone());
            self.values.entry(name).or_insert_with(|| (value, source.clone()));
        }
    }

    fn add_file(&mut self, path: PathBuf, variables: Vec<(&'static str, String)>) {
        let source = Source::File(path);
        for (name, value) in variables {
            self.add(name, value, &source);
        }
    }
}

/// `.claude/settings.local.json` of the project that contains `cwd`.
fn project_settings(cwd: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let cwd = cwd.canonicalize().ok()?;
    let home = home.and_then(|home| home.canonicalize().ok());
    let project = cwd
        .ancestors()
        .take_while(|directory| Some(*directory) != home.as_deref())
        .take_while(|directory| !is_shared(directory))
        .find(|directory| directory.join(CLAUDE_FOLDER).is_dir())?;
    Some(project.join(CLAUDE_FOLDER).join("settings.local.json"))
}

/// Is this the administrator's file: owned by root, and writable by nobody else?
#[cfg(unix)]
fn is_roots(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().is_ok_and(|metadata| metadata.uid() == 0 && metadata.mode() & 0o022 == 0)
}

/// Only administrators can write below the program folder.
#[cfg(not(unix))]
fn is_roots(path: &Path) -> bool {
    path.exists()
}

/// The known variables in a settings file.
#[derive(Debug, Default)]
struct SettingsFile {
    /// The variables in the `env` block.
    env: Vec<(&'static str, String)>,
    /// The variables among the plugin's options.
    plugin_options: Vec<(&'static str, String)>,
    /// Names in both that are not ours but might be misspellings of ours.
    doubtful: Vec<DoubtfulName>,
}

/// Reads a settings file; a missing file counts as empty.
fn read(path: &Path) -> Result<SettingsFile, SettingsError> {
    let Some(text) = read_file(path)? else {
        return Ok(SettingsFile::default());
    };
    // Some editors on Windows put a byte order mark before the text.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let settings: Value =
        serde_json::from_slice(text).map_err(|error| SettingsError::Json { path: path.to_owned(), error })?;
    let wrong = |what: &str| SettingsError::Shape { path: path.to_owned(), what: what.to_owned() };
    let settings = settings.as_object().ok_or_else(|| wrong("the file is not a JSON object"))?;
    let mut file = SettingsFile::default();
    if let Some(block) = settings.get("env") {
        let block = block.as_object().ok_or_else(|| wrong("`env` is not a JSON object"))?;
        file.env = known_variables(block).map_err(|name| wrong(&format!("`{name}` in `env` is not a string")))?;
        file.doubtful.extend(doubtful_names(block, &Source::File(path.to_owned())));
    }
    // The rest belongs to Claude Code and other plugins: ignore entries with other shapes.
    let plugins = settings.get("pluginConfigs").and_then(Value::as_object).into_iter().flatten();
    let options = plugins.filter(|(name, _)| is_plugin(name)).find_map(|(_, plugin)| plugin["options"].as_object());
    if let Some(options) = options {
        file.plugin_options = known_variables(options)
            .map_err(|name| wrong(&format!("`{name}` in the plugin's options is not a string")))?;
        file.doubtful.extend(doubtful_names(options, &Source::PluginOption));
    }
    Ok(file)
}

/// The known variables in a JSON object; the error is the name of a variable that is not a string.
fn known_variables(block: &Map<String, Value>) -> Result<Vec<(&'static str, String)>, &'static str> {
    let mut known = Vec::new();
    for name in variables() {
        match block.get(name) {
            None => {}
            Some(Value::String(value)) => known.push((name, value.clone())),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                known.push((name, value.to_string()));
            }
            Some(_) => return Err(name),
        }
    }
    Ok(known)
}

/// The names in a JSON object that are not ours but might be misspellings of ours. Empty values count as not set.
fn doubtful_names(block: &Map<String, Value>, source: &Source) -> Vec<DoubtfulName> {
    let set = block.iter().filter(|(_, value)| value.as_str() != Some("") && !value.is_null());
    set.filter_map(|(name, _)| DoubtfulName::judge(name, source)).collect()
}
