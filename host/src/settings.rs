//! Where each variable of [`posthog_llma_guest::options`] comes from.
//!
//! First the environment. Then, so that commands work in a plain terminal, where Claude Code puts nothing into the
//! environment, the `env` blocks of two of its settings files:
//!
//! 1. `.claude/settings.local.json` of the current project, the user's own settings for it
//! 2. `settings.json` in `$CLAUDE_CONFIG_DIR` (default `~/.claude`)
//!
//! The project's checked-in `.claude/settings.json` is left out: whoever wrote a repository that was cloned must not
//! steer where the user's sessions go. This holds for what is read here. Claude Code itself puts the `env` block of the
//! checked-in file into the environment of the session and of its hooks, once the user has trusted the folder, and there
//! it cannot be told from what the user set: `POSTHOG_HOST` together with `POSTHOG_LLMA_ALLOW_CUSTOM_HOST` set there
//! sends data to a host of the repository's choice.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use posthog_llma_guest::options::{InvalidVariable, Options, VARIABLES};
use serde_json::Value;

use crate::git;

#[cfg(test)]
mod tests;

/// The folder of Claude Code's own files, in a project and in the home directory.
const CLAUDE_FOLDER: &str = ".claude";
/// Real settings files have a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Names the folder of Claude Code's own files where it is not `~/.claude`.
const CONFIG_DIR: &str = "CLAUDE_CONFIG_DIR";

/// What this program takes from the environment: the variables it knows, and the home directory.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// Takes the known variables from `lookup`. Empty ones count as not set.
    pub fn new(lookup: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let variables = VARIABLES
            .iter()
            .copied()
            .chain([CONFIG_DIR])
            .filter_map(|name| Some((name, lookup(name).filter(|value| !value.is_empty())?)))
            .collect();
        Self { variables, home: home.filter(|home| !home.as_os_str().is_empty()) }
    }

    /// Claude Code's folder: `$CLAUDE_CONFIG_DIR`, else `~/.claude`; none without a home directory.
    pub fn config_dir(&self) -> Option<PathBuf> {
        match self.get(CONFIG_DIR) {
            Some(directory) => Some(PathBuf::from(directory)),
            None => self.home.as_ref().map(|home| home.join(CLAUDE_FOLDER)),
        }
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }
}

/// Where a variable's value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The environment.
    Environment,
    /// The `env` block of this settings file.
    File(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => formatter.write_str("the environment"),
            Self::File(path) => write!(formatter, "{}", path.display()),
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
            let variables = read_env_block(&path)?;
            // By its name this file is the user's own, but a repository can hold one all the same.
            if !variables.is_empty() && git::is_tracked(&path) {
                return Err(SettingsError::CheckedIn { path });
            }
            settings.add_file(path, variables);
        }
        if let Some(directory) = environment.config_dir() {
            let path = directory.join("settings.json");
            let variables = read_env_block(&path)?;
            settings.add_file(path, variables);
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

/// The known variables in a settings file's `env` block; none if there is no such file.
fn read_env_block(path: &Path) -> Result<Vec<(&'static str, String)>, SettingsError> {
    let Some(text) = read_file(path)? else {
        return Ok(Vec::new());
    };
    // Some editors on Windows put a byte order mark before the text.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let settings: Value =
        serde_json::from_slice(text).map_err(|error| SettingsError::Json { path: path.to_owned(), error })?;
    let wrong = |what: &str| SettingsError::Shape { path: path.to_owned(), what: what.to_owned() };
    let settings = settings.as_object().ok_or_else(|| wrong("the file is no JSON object"))?;
    let Some(block) = settings.get("env") else {
        return Ok(Vec::new());
    };
    let block = block.as_object().ok_or_else(|| wrong("`env` is no JSON object"))?;
    let mut variables = Vec::new();
    for name in VARIABLES.iter().copied() {
        match block.get(name) {
            None => {}
            Some(Value::String(value)) => variables.push((name, value.clone())),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                variables.push((name, value.to_string()));
            }
            Some(_) => return Err(wrong(&format!("`{name}` in `env` is no string"))),
        }
    }
    Ok(variables)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, SettingsError> {
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
    /// A variable's value cannot be used.
    #[error("{error} (set in {source_of_value})")]
    Invalid {
        /// Where the value was found.
        source_of_value: Source,
        /// The variable and what is wrong with it.
        error: InvalidVariable,
    },
}
