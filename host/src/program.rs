//! What every command needs: the settings, the session's files, the sandbox.

use crate::claude_code::sessions::{self, SessionFiles};
use crate::claude_code::settings::{Environment, Settings, SettingsError};
use crate::system::directories;
use crate::system::git;
use memchr::memmem;
use posthog_llma_pipeline::identity::{EventId, distinct_id_problem};
use posthog_llma_pipeline::options::{Options, TraceGrouping};
use posthog_llma_pipeline::session::ConversionOptions;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery as wit_delivery;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types as wit;
use posthog_llma_sandbox::engine::Engine;
use posthog_llma_sandbox::files::SessionFile;
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{COMPONENT, Limits, Sandbox, SandboxError, State};
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::UNIX_EPOCH;
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

/// The user's e-mail address and the repository, for each folder that was asked about, and how.
type GitAnswers = HashMap<(PathBuf, bool, bool), (Option<String>, Option<String>)>;

/// The settings, where they were read.
pub struct Program {
    environment: Environment,
    directory: PathBuf,
    /// What git said, see [`git`](Self::git).
    git: Mutex<GitAnswers>,
    /// The settings' meaning.
    pub options: Options,
}

impl Program {
    /// Reads the settings of this process and of the current directory's project.
    pub fn load() -> Result<Self, ProgramError> {
        let environment = Environment::of_process();
        let directory = std::env::current_dir().map_err(ProgramError::CurrentDirectory)?;
        let options = Settings::load(&environment, &directory)?.options()?;
        Ok(Self { environment, directory, git: Mutex::default(), options })
    }

    /// The settings of this process alone, as the client gives them to a hook.
    pub fn of_environment() -> Result<Self, ProgramError> {
        let environment = Environment::of_process();
        let options = Settings::of_environment(&environment)?.options()?;
        // Where a hook is started is not where its session worked.
        let directory = environment.config_dir().unwrap_or_default();
        Ok(Self { environment, directory, git: Mutex::default(), options })
    }

    /// Claude Code's folder, if there is a home directory.
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.environment.config_dir()
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
        Ok(Session::of_transcript(&path)?)
    }

    /// The sandbox, and how the session is converted. git is asked while the sandbox is made ready.
    pub fn prepare(&self, session: &Session, limits: Limits) -> Result<(Ready, wit::ConversionOptions), SandboxError> {
        thread::scope(|scope| {
            let own = ConversionOptions::from(&self.options);
            let options = scope.spawn(|| self.conversion_options(session, own));
            let ready = sandbox(limits);
            let options = options.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((ready?, options))
        })
    }

    /// How a session is converted, with what git says of the folder that it worked in.
    pub fn conversion_options(&self, session: &Session, own: ConversionOptions) -> wit::ConversionOptions {
        let directory = session.directory.as_deref();
        let (email, repository) = self.git(directory, own.distinct_id.is_none());
        conversion_options(ConversionOptions {
            distinct_id: own.distinct_id.or(email).filter(|id| distinct_id_problem(id).is_none()),
            git_repo: repository,
            ..own
        })
    }

    /// What git says of a session's folder; of this process's, the user's e-mail address alone. It is asked once for each.
    fn git(&self, session: Option<&Path>, wants_email: bool) -> (Option<String>, Option<String>) {
        let directory = session.unwrap_or(&self.directory);
        let question = (directory.to_owned(), session.is_some(), wants_email);
        let known = || self.git.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = known().get(&question) {
            return answers.clone();
        }
        let answers = thread::scope(|scope| {
            // Both take some milliseconds, most of which is the start of git.
            let repository = session.map(|session| scope.spawn(|| git::repository(session)));
            let email = if wants_email { git::user_email(directory) } else { None };
            let join = |asked: ScopedJoinHandle<'_, _>| asked.join().unwrap_or_else(|panic| resume_unwind(panic));
            (email, repository.and_then(join))
        });
        known().insert(question, answers.clone());
        answers
    }
}

/// The settings, as the component takes them.
pub fn conversion_options(options: ConversionOptions) -> wit::ConversionOptions {
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
    /// The session whose main transcript this is.
    pub fn of_transcript(path: &Path) -> Result<Self, sessions::TranscriptError> {
        let files = SessionFiles::of_transcript(path)?;
        let directory = working_directory(path).filter(|directory| directory.is_dir());
        Ok(Self { files, directory })
    }

    /// A text that changes whenever one of its files does: sizes and times of modification.
    pub fn state(&self) -> String {
        let mut state = String::new();
        for (path, _) in self.transcripts() {
            let metadata = path.metadata().ok();
            let modified = metadata.as_ref().and_then(|m| m.modified().ok()?.duration_since(UNIX_EPOCH).ok());
            let _ = write!(state, "{:?} {modified:?};", metadata.map(|m| m.len()));
        }
        EventId::other("files", &state).to_string()
    }

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
    let cache = directories::cache(|name| std::env::var_os(name));
    let engine = Engine::new(cache.as_deref())?;
    let proxies = ProxySettings::from_variables(|name| std::env::var(name).ok());
    let sandbox = Sandbox::new(&engine, COMPONENT, limits, proxies)?;
    Ok((sandbox, engine.cache_warning()))
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
