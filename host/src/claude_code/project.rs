//! What a project says through its settings files, and through the environment that the client derives from them.
//!
//! The author of a cloned repository must not decide anything that the person would mind. So a project can only make
//! things stricter ([`Demands::make_stricter`]). If it *asks* for a destination or for sending to be on, the person is
//! told and may approve it ([`Ask`]). Any part of a project's settings that cannot be read counts as the strictest
//! possible value.

use super::source::{Source, read_file};
use posthog_llma_pipeline::options::{
    API_KEY, ApiKey, ENABLED, HOST, NameVerdict, Options, Privacy, boolean, entry, judge_name, variables,
};
use posthog_llma_pipeline::origin::Origin;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The folder of Claude Code's own files, in a project and in the home directory.
pub const CLAUDE_FOLDER: &str = ".claude";

/// The settings files in a project's folder: one is meant to be checked in; the other is not, but a repository can
/// contain it all the same.
pub(super) const FILES: [&str; 2] = ["settings.local.json", "settings.json"];

/// One variable that a project sets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    name: &'static str,
    /// `None` if it cannot be read.
    value: Option<String>,
    source: Source,
    project: PathBuf,
}

/// Everything that a project says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    said: Vec<Said>,
    /// Files that could not be read, with the reason.
    unreadable: Vec<(PathBuf, String)>,
}

/// A project's request for a destination, or for sending to be on, that differs from the person's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The project.
    pub project: PathBuf,
    /// The destination that would be used, or why it cannot be.
    pub pair: Result<(Origin, ApiKey), String>,
    /// The project asks for a destination other than the person's.
    pub redirects: bool,
    /// The project asks for sending to be on.
    pub enables: bool,
    /// Where the request was found.
    pub source: Source,
}

impl Ask {
    /// The request as a sentence.
    pub fn question(&self) -> String {
        let project = self.project.display();
        match &self.pair {
            Ok((origin, key)) if self.redirects => format!(
                "the project {project} asks for its sessions to be sent to {origin} with the key {key} (in {}); nothing is sent \
                 before you decide",
                self.source
            ),
            Ok(_) => format!(
                "the project {project} asks for its sessions to be sent automatically (in {}); they are not, before you decide",
                self.source
            ),
            Err(error) => format!(
                "the project {project} asks for a destination that cannot be used ({error}, in {}); nothing is sent",
                self.source
            ),
        }
    }
}

impl Demands {
    /// Reads the settings files in a directory and in those above it, up to the person's home directory or one that all
    /// users share.
    pub fn of_directory(directory: &Path, home: Option<&Path>, config: Option<&Path>) -> Self {
        let mut demands = Self::default();
        let resolved = directory.canonicalize().ok();
        let home = home.map(|home| home.canonicalize().unwrap_or_else(|_| home.to_owned()));
        let config = config.map(|config| config.canonicalize().unwrap_or_else(|_| config.to_owned()));
        let mut seen = Vec::new();
        for start in resolved.iter().map(PathBuf::as_path).chain([directory]) {
            let above = start.ancestors().take_while(|folder| Some(*folder) != home.as_deref() && !is_shared(folder));
            for project in above {
                let folder = project.join(CLAUDE_FOLDER);
                let resolved = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                if seen.contains(&resolved) || Some(&resolved) == config.as_ref() {
                    continue;
                }
                for file in FILES {
                    demands.add_file(&folder.join(file), project);
                }
                seen.push(resolved);
            }
        }
        demands
    }

    /// Adds what another project says: a session can work in several.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        self.said.append(&mut other.said);
        self.unreadable.append(&mut other.unreadable);
        self
    }

    /// Adds the variables that the client gave, except for the person's own, which `own` identifies.
    #[must_use]
    pub fn with_given(mut self, given: &[(String, Option<String>)], own: impl Fn(&str) -> Vec<String>) -> Self {
        let project = given.iter().find(|(name, _)| name == "CLAUDE_PROJECT_DIR").and_then(|(_, value)| value.clone());
        let project = project.map_or_else(|| std::env::current_dir().unwrap_or_default(), PathBuf::from);
        let project = project.canonicalize().unwrap_or(project);
        let mut said = Vec::new();
        for (name, value) in given {
            let name = name.strip_prefix("CLAUDE_PLUGIN_OPTION_").unwrap_or(name);
            let Some(name) = variables().find(|known| *known == name) else { continue };
            let is_own = value.as_ref().is_some_and(|value| value.is_empty() || own(name).contains(value));
            let of_file = self.said.iter().any(|said| said.name == name && said.value == *value);
            if !is_own && !of_file {
                said.push(Said { name, value: value.clone(), source: Source::Given, project: project.clone() });
            }
        }
        // The client has already decided between the files.
        said.append(&mut self.said);
        self.said = said;
        self
    }

    fn add_file(&mut self, path: &Path, project: &Path) {
        let mut unreadable = |reason: String| self.unreadable.push((path.to_owned(), reason));
        let bytes = match read_file(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => return unreadable(error.to_string()),
        };
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let settings: Value = match serde_json::from_slice(text) {
            Ok(settings) => settings,
            Err(error) => return unreadable(format!("{} is not JSON: {error}", path.display())),
        };
        // The client ignores other shapes, too.
        let Some(block) = settings.get("env").and_then(Value::as_object) else { return };
        for (name, value) in block {
            // Names are case-insensitive on Windows.
            let Some(name) = variables().find(|known| known.eq_ignore_ascii_case(name)) else {
                let is_content = |meant| entry(meant).is_some_and(|entry| entry.privacy == Privacy::Content);
                if let NameVerdict::NearMiss(meant) = judge_name(name)
                    && is_content(meant)
                {
                    self.unreadable.push((path.to_owned(), format!("{name:?} in {} must be {meant}", path.display())));
                }
                continue;
            };
            let value = match value {
                Value::String(value) => Some(value.clone()),
                Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                _ => None,
            };
            if value.as_deref() != Some("") {
                let source = Source::File(path.to_owned());
                self.said.push(Said { name, value, source, project: project.to_owned() });
            }
        }
    }

    /// Files that could not be read, each with the reason. They count as asking for the strictest settings.
    pub fn unreadable(&self) -> impl Iterator<Item = String> {
        self.unreadable.iter().map(|(_, reason)| format!("{reason}; its sessions are treated as private"))
    }

    fn said(&self, name: &str) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(move |said| said.name == name)
    }

    /// Makes the options as strict as the project wants, and never less strict than they were.
    pub fn make_stricter(&self, options: &mut Options) {
        for said in &self.said {
            options.restrict(|name| (name == said.name).then(|| said.value.clone()));
        }
        if !self.unreadable.is_empty() {
            let is_content = |name: &str| entry(name).is_some_and(|entry| entry.privacy == Privacy::Content);
            options.restrict(|name| is_content(name).then_some(None));
        }
    }

    /// The file that turns automatic sending off, if there is one.
    pub fn is_off(&self) -> Option<&Source> {
        let says_no = |said: &&Said| said.value.as_deref().is_none_or(|value| boolean(value.trim()) != Some(true));
        self.said(ENABLED).find(says_no).map(|said| &said.source)
    }

    /// What the project asks for beyond the person's own settings.
    pub fn asks(&self, own: &Options) -> Option<Ask> {
        let host = self.said(HOST).next();
        let key = self.said(API_KEY).next();
        let origin = match host {
            None => Ok(own.origin.clone()),
            Some(Said { value: None, .. }) => Err(format!("{HOST} is not a string")),
            // Accept any host: the person approves the host as part of the request.
            Some(Said { value: Some(host), .. }) => {
                Origin::parse(host.trim(), true).map_err(|error| format!("{HOST} {}", error.problem()))
            }
        };
        let api_key = match key {
            None => own.api_key.clone().map(Ok),
            Some(Said { value: None, .. }) => Some(Err(format!("{API_KEY} is not a string"))),
            Some(Said { value: Some(key), .. }) => {
                Some(ApiKey::parse(key).map_err(|error| format!("{API_KEY}: {error}")))
            }
        };
        let pair = match (origin, api_key?) {
            (Ok(origin), Ok(key)) => Ok((origin, key)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        let redirects = match (&pair, &own.api_key) {
            (Ok((origin, key)), Some(own_key)) => *origin != own.origin || key != own_key,
            _ => true,
        };
        let on = self.said(ENABLED).next().filter(|said| said.value.as_deref().and_then(boolean) == Some(true));
        let enables = on.is_some() && !own.enabled;
        let first = key.or(host).filter(|_| redirects).or(on.filter(|_| enables))?;
        Some(Ask { project: first.project.clone(), pair, redirects, enables, source: first.source.clone() })
    }
}

/// Whether all users of the machine may put files in this directory, as in `/tmp`. The sticky bit distinguishes such a
/// directory from those on file systems without permissions, where every directory is open to everyone.
#[cfg(unix)]
pub(super) fn is_shared(directory: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    directory.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o1002 == 0o1002)
}

/// Whether any user of the machine can create a `.claude` folder there, as in the root of a drive.
#[cfg(not(unix))]
pub(super) fn is_shared(directory: &Path) -> bool {
    directory.parent().is_none()
}
