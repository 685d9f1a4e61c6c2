//! Where each variable of [`posthog_llma_pipeline::options`] comes from.
//!
//! First the environment. Then, so that commands work in a plain terminal, where Claude Code puts nothing into the
//! environment, the `env` blocks of two of its settings files:
//!
//! 1. `.claude/settings.local.json` of the current project, the user's own settings for it
//! 2. `settings.json` in `$CLAUDE_CONFIG_DIR` (default `~/.claude`)
//!
//! Last the options of the Claude Code plugin: `pluginConfigs."posthog@…".options` in the same `settings.json`. Claude Code
//! 2.1.83 and later hands them to the plugin's hooks as `CLAUDE_PLUGIN_OPTION_<NAME>` (seen in 2.1.112 and 2.1.330, which do
//! so whether or not the manifest declares them; 2.0.76 does not). They are what a user said once, at the plugin's
//! installation, so whatever is set for a project or a shell goes before them. (In a hook's environment the `env` blocks
//! stand already, so they win there, too.)
//!
//! The project's checked-in `.claude/settings.json` is left out: whoever wrote a repository that was cloned must not
//! steer where the user's sessions go. Claude Code itself puts its `env` block into the environment of the session and of its
//! hooks; see `repository.rs` for what becomes of that.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use posthog_llma_pipeline::options::{ENABLED, InvalidVariable, Options, VARIABLES, boolean};
use serde_json::{Map, Value};

use crate::system::git;

pub mod edit;
mod repository;
#[cfg(test)]
mod tests;

/// The folder of Claude Code's own files, in a project and in the home directory.
const CLAUDE_FOLDER: &str = ".claude";
/// Real settings files have a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Names the folder of Claude Code's own files where it is not `~/.claude`.
const CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";

/// What Claude Code puts before the name of a plugin's option in the environment of its hooks.
const PLUGIN_OPTION: &str = "CLAUDE_PLUGIN_OPTION_";
/// What the plugin's name in `pluginConfigs` begins with; the marketplace's name follows.
const PLUGIN: &str = "posthog@";

/// What this program takes from the environment: the variables it knows, and the home directory.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    plugin_options: BTreeMap<&'static str, OsString>,
    /// The project of the session that this process belongs to.
    project: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// Takes the known variables from `lookup`. Empty ones count as not set.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let known = VARIABLES.iter().copied();
        let variables = known.clone().chain([CONFIG_DIR]).filter_map(|name| Some((name, set(name)?))).collect();
        let plugin_options = known.filter_map(|name| Some((name, set(&format!("{PLUGIN_OPTION}{name}"))?))).collect();
        // Hooks get the one, commands within a session the other.
        let project = set("CLAUDE_PROJECT_DIR").map(PathBuf::from);
        let project = project.or_else(|| set("CLAUDECODE").and_then(|_| project_of_process()));
        Self { variables, plugin_options, project, home: home.filter(|home| !home.as_os_str().is_empty()) }
    }

    /// Claude Code's folder: `$CLAUDE_CONFIG_DIR`, else `~/.claude`; none without a home directory.
    pub fn config_dir(&self) -> Option<PathBuf> {
        match self.get(CONFIG_DIR) {
            Some(directory) => Some(PathBuf::from(directory)),
            None => self.home.as_ref().map(|home| home.join(CLAUDE_FOLDER)),
        }
    }

    /// Has the user, or somebody, turned sending on, or tried to? Off is what most machines are: this costs nothing.
    pub fn is_off(&self) -> bool {
        let enabled = self.get(ENABLED).or_else(|| self.plugin_options.get(ENABLED).map(OsString::as_os_str));
        // What cannot be read is no off, but a mistake to be told.
        enabled.is_none_or(|value| value.to_str().and_then(boolean) == Some(false))
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// The nearest directory above that of this process that has a `.claude` folder.
fn project_of_process() -> Option<PathBuf> {
    let directory = std::env::current_dir().ok()?;
    directory.ancestors().find(|directory| directory.join(CLAUDE_FOLDER).is_dir()).map(Path::to_owned)
}

/// A settings file that is the user's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// ~/.claude/settings.json: all projects
    User,
    /// .claude/settings.local.json of the current project: this one
    ProjectLocal,
}

/// Where a variable's value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The environment.
    Environment,
    /// The `env` block of this settings file.
    File(PathBuf),
    /// An option of the Claude Code plugin.
    PluginOption,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => formatter.write_str("the environment"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::PluginOption => formatter.write_str("the plugin's options"),
        }
    }
}

/// The variables that are set, each with its source.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl fmt::Debug for Settings {
    /// Names and sources; a value may be the API key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.values.iter().map(|(name, (_, source))| (name, source));
        formatter.debug_map().entries(sources).finish()
    }
}

impl Settings {
    /// Looks in the environment and in the settings files. `cwd` is a directory of the current project.
    ///
    /// The project is the first directory from `cwd` upwards that has a `.claude` folder, below the home directory if
    /// `cwd` is.
    pub fn load(environment: &Environment, cwd: &Path) -> Result<Self, SettingsError> {
        let mut settings = Self::of_environment(environment)?;
        if let Some(path) = project_settings(cwd, environment.home.as_deref()) {
            let variables = read(&path)?.env;
            // By its name this file is the user's own, but a repository can hold one all the same.
            if !variables.is_empty() && git::is_tracked(&path) {
                return Err(SettingsError::CheckedIn { path });
            }
            settings.add_file(path, variables);
        }
        let mut plugin_options = Vec::new();
        if let Some(directory) = environment.config_dir() {
            let path = directory.join("settings.json");
            let file = read(&path)?;
            settings.add_file(path, file.env);
            plugin_options = file.plugin_options;
        }
        for (name, value) in plugin_options {
            settings.add(name, value, &Source::PluginOption);
        }
        Ok(settings)
    }

    /// Looks in the environment alone. That is enough for a hook: the client puts its settings files' `env` blocks there.
    pub fn of_environment(environment: &Environment) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for name in VARIABLES.iter().copied() {
            if let Some(value) = environment.get(name) {
                let value = value.to_str().ok_or(SettingsError::NotUtf8 { name })?;
                settings.add(name, value.to_owned(), &Source::Environment);
            }
        }
        for (&name, value) in &environment.plugin_options {
            let value = value.to_str().ok_or(SettingsError::NotUtf8 { name })?;
            settings.add(name, value.to_owned(), &Source::PluginOption);
        }
        if let Some(project) = &environment.project {
            repository::refuse(environment, project)?;
        }
        Ok(settings)
    }

    /// The user's settings file, or the user's own for the project that `cwd` is in; where that project has none yet, for
    /// `cwd`. None without a home directory.
    pub fn file(environment: &Environment, scope: Scope, cwd: &Path) -> Option<PathBuf> {
        match scope {
            Scope::User => environment.config_dir().map(|directory| directory.join("settings.json")),
            Scope::ProjectLocal => Some(
                project_settings(cwd, environment.home.as_deref())
                    .unwrap_or_else(|| cwd.join(CLAUDE_FOLDER).join("settings.local.json")),
            ),
        }
    }

    /// What the `env` block of one file says. The project's own must not be checked in.
    pub fn of_file(path: &Path, scope: Scope) -> Result<Self, SettingsError> {
        if scope == Scope::ProjectLocal && git::is_tracked(path) {
            return Err(SettingsError::CheckedIn { path: path.to_owned() });
        }
        let mut settings = Self::default();
        settings.add_file(path.to_owned(), read(path)?.env);
        Ok(settings)
    }

    /// A variable's value and where it was found. Never empty.
    pub fn get(&self, name: &str) -> Option<(&str, &Source)> {
        self.values.get(name).map(|(value, source)| (value.as_str(), source))
    }

    /// The variables' meaning. The error says which variable of which source cannot be used.
    pub fn options(&self) -> Result<Options, SettingsError> {
        Options::parse(|name| self.get(name).map(|(value, _)| value.to_owned())).map_err(|error| {
            let source = self.get(error.variable);
            SettingsError::Invalid {
                source_of_value: source.map_or(Source::Environment, |(_, source)| source.clone()),
                error,
            }
        })
    }

    fn add(&mut self, name: &'static str, value: String, source: &Source) {
        if !value.is_empty() {
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

/// `.claude/settings.local.json` of the project that `cwd` is in.
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

/// Whether any user of the machine is meant to put things there, as in `/tmp`. The sticky bit tells such a directory
/// from those of file systems without permissions, where all are open to everyone.
#[cfg(unix)]
fn is_shared(directory: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    directory.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o1002 == 0o1002)
}

/// Whether any user of the machine can put a `.claude` folder there, as in the root of a drive.
#[cfg(not(unix))]
fn is_shared(directory: &Path) -> bool {
    directory.parent().is_none()
}

/// What a settings file says of the known variables.
#[derive(Debug, Default)]
struct SettingsFile {
    /// Those in the `env` block.
    env: Vec<(&'static str, String)>,
    /// Those among the options of the plugin.
    plugin_options: Vec<(&'static str, String)>,
}

/// Reads a settings file; one that is not there says nothing.
fn read(path: &Path) -> Result<SettingsFile, SettingsError> {
    let Some(text) = read_file(path)? else {
        return Ok(SettingsFile::default());
    };
    // Some editors on Windows put a byte order mark before the text.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let settings: Value =
        serde_json::from_slice(text).map_err(|error| SettingsError::Json { path: path.to_owned(), error })?;
    let wrong = |what: &str| SettingsError::Shape { path: path.to_owned(), what: what.to_owned() };
    let settings = settings.as_object().ok_or_else(|| wrong("the file is no JSON object"))?;
    let mut file = SettingsFile::default();
    if let Some(block) = settings.get("env") {
        let block = block.as_object().ok_or_else(|| wrong("`env` is no JSON object"))?;
        file.env = known_variables(block).map_err(|name| wrong(&format!("`{name}` in `env` is no string")))?;
    }
    // Claude Code's own, and other plugins': what has another shape is none of our business.
    let plugins = settings.get("pluginConfigs").and_then(Value::as_object).into_iter().flatten();
    let options =
        plugins.filter(|(name, _)| name.starts_with(PLUGIN)).find_map(|(_, plugin)| plugin["options"].as_object());
    if let Some(options) = options {
        file.plugin_options = known_variables(options)
            .map_err(|name| wrong(&format!("`{name}` in the plugin's options is no string")))?;
    }
    Ok(file)
}

/// The known variables in a JSON object; the error is the name of one that is no text.
fn known_variables(block: &Map<String, Value>) -> Result<Vec<(&'static str, String)>, &'static str> {
    let mut variables = Vec::new();
    for name in VARIABLES.iter().copied() {
        match block.get(name) {
            None => {}
            Some(Value::String(value)) => variables.push((name, value.clone())),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                variables.push((name, value.to_string()));
            }
            Some(_) => return Err(name),
        }
    }
    Ok(variables)
}

/// A file's bytes, if it is there.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, SettingsError> {
    let failed = |error| SettingsError::Unreadable { path: path.to_owned(), error };
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        // Opening a pipe would wait for someone to write to it.
        Ok(_) => return Err(failed(io::Error::other("it is no regular file"))),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(SettingsError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A variable of the environment is no text.
    #[error("{name} in the environment is not UTF-8")]
    NotUtf8 {
        /// The variable.
        name: &'static str,
    },
    /// A settings file cannot be read.
    #[error("cannot read the settings in {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A settings file has over 1 MiB.
    #[error("the settings in {} are larger than 1 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A settings file is no JSON.
    #[error("the settings in {} are no JSON: {error}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        error: serde_json::Error,
    },
    /// A settings file is JSON, but not as Claude Code has it.
    #[error("the settings in {} cannot be used: {what}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The project's local settings came with its repository.
    #[error(
        "the settings in {} are checked in to the repository, whose authors must not decide where your sessions go: \
         run `git rm --cached` on the file if it is yours, or remove the POSTHOG variables from it",
        path.display()
    )]
    CheckedIn {
        /// The file.
        path: PathBuf,
    },
    /// A variable was set by the repository that the user works in.
    #[error(
        "{name} is set by {}, which is checked in: a repository must not decide whether, where and how privately your sessions          are sent. If that is what you want, set the same in ~/.claude/settings.json or .claude/settings.local.json",
        path.display()
    )]
    Repository {
        /// The project's settings.
        path: PathBuf,
        /// The variable.
        name: &'static str,
    },
    /// A variable's value cannot be used.
    #[error("{error} (set in {source_of_value})")]
    Invalid {
        /// Where the value was found.
        source_of_value: Source,
        /// The variable and what is wrong with it.
        error: InvalidVariable,
    },
}
