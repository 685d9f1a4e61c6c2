//! What every command needs: the settings, the session's files, the sandbox.

use crate::cli::LimitArguments;
use crate::git;
use crate::sandbox::bindings::exports::posthog::llm_analytics::delivery as wit_delivery;
use crate::sandbox::bindings::posthog::llm_analytics::types as wit;
use crate::sandbox::engine::{self, Engine};
use crate::sandbox::files::SessionFile;
use crate::sandbox::proxy::ProxySettings;
use crate::sandbox::{COMPONENT, Limits, Sandbox, SandboxError, State};
use crate::sessions::{self, SessionFiles};
use crate::settings::{Environment, Settings, SettingsError};
use memchr::memmem;
use posthog_llma_guest::options::{Options, TraceGrouping};
use posthog_llma_guest::session::ConversionOptions;
use serde::Deserialize;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};
use wasmtime::Store;

/// Bytes of a transcript that are read to learn where its session worked.
const MAX_HEAD: u64 = 1024 * 1024;

/// A session that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no home directory to look for sessions in.
    #[error("there is no home directory, so no session can be found by its id: set CLAUDE_CONFIG_DIR or give a path")]
    NoConfigDirectory,
    /// There is no such session.
    #[error(transparent)]
    Find(#[from] sessions::FindError),
    /// The path is no session's transcript.
    #[error(transparent)]
    Transcript(#[from] sessions::TranscriptError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The current directory is gone.
    #[error("the current directory cannot be used: {0}")]
    CurrentDirectory(#[source] io::Error),
}

/// The settings, where they were read.
pub struct Program {
    environment: Environment,
    directory: PathBuf,
    /// The settings' meaning.
    pub options: Options,
}

impl Program {
    /// Reads the settings of this process and of the current directory's project.
    pub fn load() -> Result<Self, ProgramError> {
        let environment = Environment::of_process();
        let directory = std::env::current_dir().map_err(ProgramError::CurrentDirectory)?;
        let options = Settings::load(&environment, &directory)?.options()?;
        Ok(Self { environment, directory, options })
    }

    /// The files of a session: a path, an id, or the beginning of one.
    pub fn session(&self, query: &OsStr) -> Result<Session, ProgramError> {
        // A path needs no folder of Claude Code's.
        let config = self.environment.config_dir();
        if config.is_none() && !Path::new(query).exists() {
            return Err(ProgramError::NoConfigDirectory);
        }
        let path = sessions::find(&config.unwrap_or_default(), query)?;
        // The user may name a transcript by a link; below it nothing may lead elsewhere.
        let path = path.canonicalize().unwrap_or(path);
        let files = SessionFiles::of_transcript(&path)?;
        let directory = working_directory(&path).filter(|directory| directory.is_dir());
        Ok(Session { files, directory })
    }

    /// The sandbox, and how the session is converted. git is asked while the sandbox is made ready.
    pub fn prepare(&self, session: &Session, limits: Limits) -> Result<(Ready, wit::ConversionOptions), SandboxError> {
        thread::scope(|scope| {
            let options = scope.spawn(|| self.conversion_options(session));
            let ready = sandbox(limits);
            let options = options.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((ready?, options))
        })
    }

    /// How a session is converted, with what git says of the folder that it worked in.
    pub fn conversion_options(&self, session: &Session) -> wit::ConversionOptions {
        let directory = session.directory.as_deref();
        let options = &self.options;
        let email = || git::user_email(directory.unwrap_or(&self.directory));
        let (distinct_id, git_repo) = thread::scope(|scope| {
            // Both take some milliseconds, most of which is the start of git.
            let repository = directory.map(|directory| scope.spawn(|| git::repository(directory)));
            let distinct_id = options.distinct_id.clone().or_else(email);
            let join = |asked: ScopedJoinHandle<'_, _>| asked.join().unwrap_or_else(|panic| resume_unwind(panic));
            (distinct_id, repository.and_then(join))
        });
        wit::ConversionOptions {
            distinct_id: distinct_id.filter(|id| id.chars().count() <= 200),
            git_repo,
            ..conversion_options(options)
        }
    }
}

/// The settings, as the component takes them; nothing of git.
pub fn conversion_options(options: &Options) -> wit::ConversionOptions {
    let options = ConversionOptions::from(options);
    wit::ConversionOptions {
        distinct_id: options.distinct_id,
        git_repo: options.git_repo,
        purpose: options.purpose,
        trace_grouping: match options.trace_grouping {
            TraceGrouping::Session => wit::TraceGrouping::Session,
            TraceGrouping::Message => wit::TraceGrouping::Message,
        },
        privacy_mode: options.privacy_mode,
        redact_secrets: options.redact_secrets,
        max_attribute_length: options.max_attribute_length,
        custom_properties: options.custom_properties,
    }
}

/// A file of a session, open, and what it is.
pub type OpenFile = (SessionFile, wit::FileRole);

/// A session's files.
#[derive(Debug)]
pub struct Session {
    /// Its transcripts.
    pub files: SessionFiles,
    /// Where it worked, if that folder is still there.
    pub directory: Option<PathBuf>,
}

impl Session {
    /// Its transcripts in the component's order, each with its role.
    pub fn transcripts(&self) -> impl Iterator<Item = (&Path, wit::FileRole)> {
        let main = (self.files.main.as_path(), wit::FileRole::Main);
        std::iter::once(main).chain(self.files.agents.iter().map(|agent| {
            let role = wit::FileRole::Agent(wit::AgentFile {
                agent_id: agent.agent_id.clone(),
                metadata: agent.metadata.clone(),
                workflow_run: agent.workflow_run.clone(),
            });
            (agent.path.as_path(), role)
        }))
    }

    /// Its files, open. A sub-agent's that cannot be opened is left out, and said; the main one must be there.
    pub fn open(&self) -> io::Result<(Vec<OpenFile>, Vec<String>)> {
        let mut open = Vec::new();
        let mut warnings: Vec<String> = self.files.unreadable.iter().map(ToString::to_string).collect();
        for (path, role) in self.transcripts() {
            match SessionFile::open(path) {
                Ok(file) => open.push((file, role)),
                Err(error) if matches!(role, wit::FileRole::Main) => return Err(io::Error::other(error)),
                Err(error) => warnings.push(format!("a sub-agent is left out: {error}")),
            }
        }
        Ok((open, warnings))
    }
}

/// Hands open files to the component.
pub fn grant(store: &mut Store<State>, files: Vec<OpenFile>) -> wasmtime::Result<Vec<wit_delivery::SessionFile>> {
    files
        .into_iter()
        .map(|(file, role)| Ok(wit_delivery::SessionFile { role, contents: store.data_mut().grant(file)? }))
        .collect()
}

/// The sandbox; and why its compiled code is not cached, if so.
pub type Ready = (Sandbox, Option<String>);

/// The sandbox, with its compiled code from the cache.
pub fn sandbox(limits: Limits) -> Result<Ready, SandboxError> {
    let cache = engine::cache_directory(|name| std::env::var_os(name));
    let engine = Engine::new(cache.as_deref())?;
    let proxies = ProxySettings::from_variables(|name| std::env::var(name).ok());
    let sandbox = Sandbox::new(&engine, COMPONENT, limits, proxies)?;
    Ok((sandbox, engine.cache_warning()))
}

impl From<&LimitArguments> for Limits {
    fn from(arguments: &LimitArguments) -> Self {
        Self { memory: arguments.max_memory as usize * 1024 * 1024, time: arguments.max_time }
    }
}

/// The first working directory in a transcript. (The name of its folder is not to be turned back into one.)
fn working_directory(transcript: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Line {
        cwd: PathBuf,
    }
    let lines = BufReader::new(File::open(transcript).ok()?.take(MAX_HEAD)).split(b'\n');
    // A line without one is not worth reading: git waits for this, and everything for git.
    let mut lines = lines.map_while(Result::ok).filter(|line| memmem::find(line, b"\"cwd\"").is_some());
    lines.find_map(|line| Some(serde_json::from_slice::<Line>(&line).ok()?.cwd))
}
