//! The sources of settings, and reading a settings file.

use crate::system::regular;
use posthog_llma_pipeline::options::InvalidVariable;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Real settings files have a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Where a variable's value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag on the command line.
    Flag,
    /// The environment.
    Environment,
    /// The `env` block of this settings file.
    File(PathBuf),
    /// An option of the Claude Code plugin.
    PluginOption,
    /// The environment that the client gave: the person's, as modified by a project's settings.
    Given,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("the command line"),
            Self::Environment => formatter.write_str("the environment"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::PluginOption => formatter.write_str("the plugin's options"),
            Self::Given => formatter.write_str("the environment that the project's settings make"),
        }
    }
}

/// A file's bytes, if the file exists.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, SettingsError> {
    match regular::read(path, MAX_FILE_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if regular::is_absent(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(SettingsError::TooLarge { path: path.to_owned() })
        }
        Err(error) => Err(SettingsError::Unreadable { path: path.to_owned(), error }),
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A variable in the environment is not valid text.
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
        /// The reason.
        error: io::Error,
    },
    /// A settings file is larger than 1 MiB.
    #[error("the settings in {} exceed 1 MiB; shorten the file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A settings file is not JSON.
    #[error("the settings in {} are not valid JSON: {error}; correct the file", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The problem, with line and column.
        error: serde_json::Error,
    },
    /// A settings file is JSON, but not in Claude Code's format.
    #[error("the settings in {} are not valid: {what}; correct the file", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The problem.
        what: String,
    },
    /// The project's local settings are part of its repository.
    #[error(
        "{} is checked in to the repository, and the token in it would be too; run `git rm --cached` on the file first, or use \
         your own settings (`--scope user`)",
        path.display()
    )]
    CheckedIn {
        /// The file.
        path: PathBuf,
    },
    /// A name that nearly matches a variable's.
    #[error("{name:?} is not a setting; did you mean {meant}? (set in {source_of_name})")]
    Misspelt {
        /// The name as it was set.
        name: String,
        /// Where it was set.
        source_of_name: Source,
        /// The variable that was probably meant.
        meant: &'static str,
    },
    /// A flag contradicts the administrator's setting.
    #[error("{name} is set in {}, which only an administrator can change; leave the flag out", path.display())]
    Managed {
        /// The variable.
        name: &'static str,
        /// The managed settings.
        path: PathBuf,
    },
    /// A variable's value cannot be used.
    #[error("{error} (set in {source_of_value})")]
    Invalid {
        /// The source of the value.
        source_of_value: Source,
        /// The variable and the problem with it.
        error: InvalidVariable,
    },
}
