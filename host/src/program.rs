//! What every command needs: the settings, the session's files, the sandbox.

use crate::claude_code::hooks::Hooks;
use crate::claude_code::patterns::{self, PatternsError};
use crate::claude_code::project::{Ask, Demands};
use crate::claude_code::sessions::{self, SessionFiles, SiblingIndex, Siblings};
use crate::claude_code::settings::{Environment, Settings, SettingsError, Source};
use crate::outbox::decisions::{Asked, Decisions, Pair, Verdict};
use crate::outbox::stored_options;
use crate::outbox::{self, OutboxError, Stored};
use crate::system::directories;
use crate::system::git;
use crate::system::{cache_key, regular};
use memchr::memmem;
use posthog_llma_pipeline::identity::{EventId, distinct_id_problem};
use posthog_llma_pipeline::options::{API_KEY, ConversionOptions, HOST, Options};
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery as wit_delivery;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types as wit;
use posthog_llma_sandbox::engine::Engine;
use posthog_llma_sandbox::files::SessionFile;
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{COMPONENT, Limits, Sandbox, SandboxError, State};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Write as _;
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
    #[error("no home directory found, so sessions cannot be looked up by ID: set CLAUDE_CONFIG_DIR, or give a path")]
    NoConfigDirectory,
    /// There is no such session.
    #[error(transparent)]
    Find(#[from] sessions::FindError),
    /// The path is not a session's transcript.
    #[error(transparent)]
    Transcript(#[from] sessions::TranscriptError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The patterns for secrets cannot be used.
    #[error(transparent)]
    Patterns(#[from] PatternsError),
    /// What the person has decided cannot be read.
    #[error(transparent)]
    Decisions(#[from] OutboxError),
    /// The current directory is gone.
    #[error("cannot use the current directory: {0}")]
    CurrentDirectory(#[source] io::Error),
}

/// What git's files say of a folder.
#[derive(Debug, Clone, Default)]
struct GitAnswer {
    email: Option<String>,
    repository: Option<String>,
    project: Option<String>,
}

/// What git's files say of each folder that was asked about, and how.
type GitAnswers = HashMap<(PathBuf, bool, bool), GitAnswer>;

/// The settings, where they were read.
pub struct Program {
    environment: Environment,
    directory: PathBuf,
    /// What git said, see [`git`](Self::git).
    git: Mutex<GitAnswers>,
    /// What sessions share, see [`indexed`](Self::indexed).
    index: Option<SiblingIndex>,
    /// The settings' meaning, as strict as the project wants it.
    pub options: Options,
    /// What the project asks for, as long as nobody has decided.
    pub ask: Option<Ask>,
    /// The project whose own destination this is, by the person's approval: only its sessions go there.
    pub destination_of: Option<PathBuf>,
    /// What the person has decided.
    pub decisions: Decisions,
    /// The project wants nothing to be sent by itself.
    project_is_off: bool,
    /// What the person should know of the project's files and of the settings.
    pub warnings: Vec<String>,
}

impl Program {
    /// Reads the settings of this process and of the current directory's project. `flags`: what its command was given, in
    /// variables and their values.
    pub fn load(flags: Vec<(&'static str, String)>) -> Result<Self, ProgramError> {
        let environment = Environment::of_process().with_flags(flags);
        let directory = std::env::current_dir().map_err(ProgramError::CurrentDirectory)?;
        let settings = Settings::load(&environment, &directory)?;
        Self::new(environment, directory, &settings)
    }

    /// The settings for a hook, whose project the client says.
    pub fn of_hook() -> Result<Self, ProgramError> {
        let environment = Environment::of_process();
        let settings = Settings::own(&environment)?;
        // Where a hook is started is not where its session worked; where that is gone, its files are, too.
        let directory = environment.project().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        Self::new(environment, directory, &settings)
    }

    fn new(environment: Environment, directory: PathBuf, settings: &Settings) -> Result<Self, ProgramError> {
        let mut options = settings.options()?;
        options.conversion.redact_patterns =
            options.conversion.redact_patterns.as_deref().map(patterns::read).transpose()?;
        let demands = environment.demands(&directory, settings);
        // Who gives a destination to a command has decided on it.
        let is_given = [API_KEY, HOST].iter().any(|name| matches!(settings.get(name), Some((_, Source::Flag))));
        let decisions = match outbox::directory() {
            Ok(state) => Decisions::load(&state)?,
            // An account without a place for it has decided nothing.
            Err(_) => Decisions::default(),
        };
        let mut ask = demands.asks(&options).filter(|_| !is_given);
        let mut destination_of = None;
        match ask.as_ref().map(|ask| verdict(&decisions, ask)) {
            None | Some(Verdict::Open) => {}
            Some(Verdict::Refused) => ask = None,
            Some(Verdict::Approved) => {
                if let Some(Ask { project, pair: Ok((origin, key)), redirects, enables, .. }) = ask.take() {
                    destination_of = redirects.then_some(project);
                    options.origin = origin;
                    options.api_key = Some(key);
                    options.enabled |= enables;
                }
            }
        }
        demands.make_stricter(&mut options);
        Ok(Self {
            environment,
            directory,
            git: Mutex::default(),
            index: None,
            options,
            ask,
            destination_of,
            decisions,
            project_is_off: demands.is_off().is_some(),
            warnings: settings.warnings().iter().cloned().chain(demands.unreadable()).collect(),
        })
    }

    /// What the project of a session says, or each of its projects: by its files now, and by the settings that were written down with the session.
    pub fn demands(&self, session: &LocalSession) -> Demands {
        let folders = session.worked_in();
        folders
            .iter()
            .fold(Demands::default(), |demands, folder| demands.and(self.environment.demands_of_files(folder)))
    }

    /// The settings of this process, as strict as the session's own project wants them, and as strict as they were when a
    /// hook saw it (`stored`: what was written down then). Every way to send or to show a session goes through this.
    pub fn options_for(&self, session: &LocalSession, stored: &Stored) -> ConversionOptions {
        let mut options = self.options.clone();
        self.demands(session).make_stricter(&mut options);
        let mut options = options.conversion;
        for text in &stored.options {
            stored_options::make_stricter(text, &mut options);
            stored_options::attach(text, &mut options);
        }
        options.project_name.clone_from(&stored.project);
        options
    }

    /// Is the session, or its project, on the list of what is never sent?
    pub fn never_sends(&self, transcript: &Path) -> bool {
        self.decisions.never([self.directory.as_path(), transcript]).is_some()
    }

    /// The name of the project that a session of this hook's belongs to, if its repository says one; else empty. It began where
    /// its transcript says; one that has none yet begins in this folder.
    pub fn project_of(&self, transcript: &Path) -> String {
        let began_in = working_directory(transcript).unwrap_or_else(|| self.directory.clone());
        git::project(&began_in).unwrap_or_default()
    }

    /// The file that the person wants a log in.
    pub fn log(&self) -> Option<PathBuf> {
        log_path(self.options.log.as_deref()?)
    }

    /// Has the project turned sending off?
    pub fn project_is_off(&self) -> bool {
        self.project_is_off
    }

    /// Is nothing to be sent now? Somebody may say so while this runs; what cannot be read may say so, too.
    pub fn is_paused(&self) -> bool {
        match outbox::directory() {
            Ok(state) => Decisions::load(&state).map_or(true, |decisions| decisions.paused().is_some()),
            Err(_) => self.decisions.paused().is_some(),
        }
    }

    /// Why a session is not to be sent, if so. `named`: the user asked for this very session.
    pub fn withholds(&self, session: &LocalSession, named: bool) -> Option<Withheld> {
        let folders = session.worked_in();
        let places = folders.iter().map(PathBuf::as_path).chain(session.files.mains());
        if let Some(entry) = self.decisions.never(places) {
            return Some(Withheld::Never(entry.to_owned()));
        }
        if let Some(project) = &self.destination_of
            && (folders.is_empty() || !folders.iter().all(|folder| is_in(folder, project)))
        {
            return Some(Withheld::OtherProject(project.clone()));
        }
        if named {
            return None;
        }
        if session.files.mains().any(|transcript| self.decisions.ran_while_paused(transcript)) {
            return Some(Withheld::Paused);
        }
        self.demands(session).is_off().map(|source| Withheld::Off(source.clone()))
    }

    /// Claude Code's folder, if there is a home directory.
    pub fn config_dir(&self) -> Option<PathBuf> {
        self.environment.config_dir()
    }

    /// Who calls us in these folders and in this directory's project, and who else sends the same.
    pub fn hooks(&self) -> Hooks {
        Hooks::of_all(&self.homes(), std::slice::from_ref(&self.directory))
    }

    /// All folders of Claude Code's in which sessions are looked for.
    pub fn homes(&self) -> Vec<PathBuf> {
        self.environment.homes()
    }

    /// A text that changes whenever one of the session's files does, see [`LocalSession::state`].
    pub fn session_state(&self, transcript: &Path) -> Result<String, sessions::TranscriptError> {
        let files = self.files_of(transcript)?;
        Ok(LocalSession { files, directory: None, ends: BTreeMap::new() }.state())
    }

    /// The session whose main transcript this is, with what other projects' folders have of it.
    pub fn session_of(&self, transcript: &Path) -> Result<LocalSession, sessions::TranscriptError> {
        Ok(LocalSession::of_files(self.files_of(transcript)?))
    }

    fn files_of(&self, transcript: &Path) -> Result<SessionFiles, sessions::TranscriptError> {
        match &self.index {
            Some(index) => SessionFiles::of_transcript_in(transcript, Siblings::Indexed(index)),
            None => SessionFiles::of_transcript_in(transcript, Siblings::In(&self.homes())),
        }
    }

    /// For a run over many sessions: what other projects' folders have of each is found once, for all.
    #[must_use]
    pub fn indexed(self) -> Self {
        Self { index: Some(SiblingIndex::of(&self.homes())), ..self }
    }

    /// The files of a session: a path, an id, or the beginning of one. A path is looked up as an id is: what stands under its
    /// name in other projects' folders belongs to it.
    pub fn session(&self, query: &OsStr) -> Result<LocalSession, ProgramError> {
        // A path needs no folder of Claude Code's.
        let homes = self.homes();
        if homes.is_empty() && !Path::new(query).exists() {
            return Err(ProgramError::NoConfigDirectory);
        }
        let path = sessions::find(&homes, query)?;
        // The user may name a transcript by a link; below it nothing may lead elsewhere.
        let path = path.canonicalize().unwrap_or(path);
        Ok(self.session_of(&path)?)
    }

    /// The sandbox, and how the session is converted. git's settings are read while the sandbox is made ready.
    pub fn prepare(
        &self,
        session: &LocalSession,
        limits: Limits,
    ) -> Result<(Ready, wit::ConversionOptions), SandboxError> {
        thread::scope(|scope| {
            let options = scope.spawn(|| self.conversion_options(session, self.options_for(session, &stored(session))));
            let ready = sandbox(limits);
            let options = options.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((ready?, options))
        })
    }

    /// How a session is converted, with what git says of the folder that it worked in.
    pub fn conversion_options(&self, session: &LocalSession, own: ConversionOptions) -> wit::ConversionOptions {
        let directory = session.directory.as_deref();
        let GitAnswer { email, repository, project } = self.git(directory, own.distinct_id.is_none());
        let distinct_id = own.distinct_id.or(email).filter(|id| distinct_id_problem(id).is_none());
        let project_name = own.project_name.or(project);
        ConversionOptions { distinct_id, git_repo: repository, project_name, ..own }.into()
    }

    /// What git says of a session's folder; of this process's, the user's e-mail address alone. It is asked once for each.
    fn git(&self, session: Option<&Path>, wants_email: bool) -> GitAnswer {
        let directory = session.unwrap_or(&self.directory);
        let question = (directory.to_owned(), session.is_some(), wants_email);
        let known = || self.git.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = known().get(&question) {
            return answers.clone();
        }
        let answers = thread::scope(|scope| {
            // Each takes as long as the disk does.
            let repository = session.map(|session| scope.spawn(|| git::repository(session)));
            let email = if wants_email { git::user_email(directory) } else { None };
            let join = |asked: ScopedJoinHandle<'_, _>| asked.join().unwrap_or_else(|panic| resume_unwind(panic));
            let project = session.and_then(git::project);
            GitAnswer { email, repository: repository.and_then(join), project }
        });
        known().insert(question, answers.clone());
        answers
    }
}

fn is_in(folder: &Path, project: &Path) -> bool {
    folder.starts_with(project) || folder.canonicalize().is_ok_and(|folder| folder.starts_with(project))
}

/// A log's file, where `~/` is the person's home directory.
pub fn log_path(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        Some(rest) => Some(std::env::home_dir()?.join(rest)),
        None => Some(PathBuf::from(text)),
    }
}

/// Why a session is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The person wants nothing of it to be sent.
    #[error("{0} is on the list of what is never sent (`posthog-llma never --remove` removes it)")]
    Never(String),
    /// The destination is another project's.
    #[error("the destination was approved only for {}", .0.display())]
    OtherProject(PathBuf),
    /// It ran while nothing was to be sent.
    #[error("it ran while sending was paused (name the session to send it)")]
    Paused,
    /// Its project wants no sending.
    #[error("its project turned sending off in {0} (name the session to send it)")]
    Off(Source),
}

/// What was decided of what a project asks for.
fn verdict(decisions: &Decisions, ask: &Ask) -> Verdict {
    match &ask.pair {
        Ok((origin, key)) => decisions.verdict(&Pair::new(&ask.project, origin, key)),
        Err(_) => Verdict::Open,
    }
}

/// What a project asks for, as it is written down.
pub fn asked(ask: &Ask) -> Asked {
    let pair = match &ask.pair {
        Ok((origin, key)) => Pair::new(&ask.project, origin, key),
        // Nobody can approve it, but it is to be told.
        Err(error) => {
            let project = ask.project.to_string_lossy().into_owned();
            Pair { project, origin: error.clone(), key_hash: String::new(), key: String::new() }
        }
    };
    Asked { pair, source: ask.source.to_string(), redirects: ask.redirects, at: outbox::now() }
}

/// What was written down when hooks saw the session.
pub fn stored(session: &LocalSession) -> Stored {
    let transcript = std::path::absolute(&session.files.main).unwrap_or_else(|_| session.files.main.clone());
    let outbox = outbox::directory().and_then(|directory| outbox::Outbox::open_to_read(&directory));
    let stored = outbox.and_then(|outbox| outbox.map_or(Ok(Stored::default()), |outbox| outbox.stored(&transcript)));
    // Who sends says what is wrong with the record.
    stored.unwrap_or_default()
}

/// A file of a session, open, what it is, and how much of it is read at most.
pub type OpenFile = (SessionFile, wit::FileRole, Option<u64>);

/// A session's files.
#[derive(Debug)]
pub struct LocalSession {
    /// Its transcripts.
    pub files: SessionFiles,
    /// Where it worked, if that folder is still there.
    pub directory: Option<PathBuf>,
    /// Bytes of each file that are read at most, by its path: what a delivery covers that was begun.
    pub ends: BTreeMap<String, u64>,
}

impl LocalSession {
    /// The session whose main transcript this is.
    pub fn of_transcript(path: &Path) -> Result<Self, sessions::TranscriptError> {
        Ok(Self::of_files(SessionFiles::of_transcript(path)?))
    }

    fn of_files(files: SessionFiles) -> Self {
        let directory = files.mains().find_map(working_directory).filter(|directory| directory.is_dir());
        Self { files, directory, ends: BTreeMap::new() }
    }

    /// Where it began and, if it has several main transcripts, where each of them did, whether or not these folders are still
    /// there.
    pub fn worked_in(&self) -> Vec<PathBuf> {
        let mut folders: Vec<_> = self.directory.iter().cloned().collect();
        for folder in self.files.mains().filter_map(working_directory) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    /// The name of its project, if its repository says one; empty if it does not.
    pub fn project(&self) -> String {
        self.directory.as_deref().and_then(git::project).unwrap_or_default()
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
        self.files.mains().map(|main| (main, wit::FileRole::Main)).chain(self.files.agents.iter().map(|agent| {
            let role = wit::FileRole::Agent(wit::AgentFile {
                agent_id: agent.agent_id.clone(),
                metadata: agent.metadata.clone(),
                workflow_run: agent.workflow_run.clone(),
            });
            (agent.path.as_path(), role)
        }))
    }

    /// Its files, open. A sub-agent's that cannot be opened is left out, and said; the main one must be there. That no more
    /// files can be open is this session's failure: it must not be taken for one that lacks its sub-agents.
    pub fn open(&self) -> io::Result<(Vec<OpenFile>, LeftOut)> {
        let mut open = Vec::new();
        let mut left_out = LeftOut::of(self);
        for (path, role) in self.transcripts() {
            match SessionFile::open(path) {
                Ok(file) => open.push((file, role, self.ends.get(path.to_string_lossy().as_ref()).copied())),
                Err(error) if matches!(role, wit::FileRole::Main) || error.is_exhaustion() => {
                    return Err(io::Error::other(error));
                }
                Err(error) => left_out.add(&error),
            }
        }
        Ok((open, left_out))
    }
}

/// Files of a session that could not be read. There can be thousands, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    count: usize,
    /// Those of them that may have held something.
    dropped: usize,
    first: Option<String>,
}

impl LeftOut {
    /// Those that were found to be unreadable when the session's files were looked for.
    pub fn of(session: &LocalSession) -> Self {
        /// `ELOOP`, on Linux and on macOS.
        const LOOP: [i32; 2] = [40, 62];
        let mut left_out = Self::default();
        for unreadable in &session.files.unreadable {
            left_out.add(unreadable);
            // A link that leads in a circle has nothing at its end.
            let is_empty = cfg!(unix) && unreadable.error.raw_os_error().is_some_and(|code| LOOP.contains(&code));
            left_out.dropped -= usize::from(is_empty);
        }
        left_out
    }

    /// Another one.
    pub fn add(&mut self, error: &impl std::fmt::Display) {
        self.count += 1;
        self.dropped += 1;
        self.first.get_or_insert_with(|| error.to_string());
    }

    /// How many may have held something.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// One warning for all.
    pub fn warning(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(match self.count {
            1 => format!("skipped a file of the session: {first}"),
            count => format!("skipped {count} files of the session; the first: {first}"),
        })
    }
}

/// Hands open files to the component.
pub fn grant(store: &mut Store<State>, files: Vec<OpenFile>) -> wasmtime::Result<Vec<wit_delivery::SessionFile>> {
    files
        .into_iter()
        .map(|(file, role, end)| Ok(wit_delivery::SessionFile { role, contents: store.data_mut().grant(file)?, end }))
        .collect()
}

/// The sandbox; and why its compiled code is not cached, if so.
pub type Ready = (Sandbox, Option<String>);

/// The sandbox, with its compiled code from the cache.
pub fn sandbox(limits: Limits) -> Result<Ready, SandboxError> {
    let cache = directories::cache(|name| std::env::var_os(name));
    let key = cache.as_ref().map(|_| {
        directories::config(|name| std::env::var_os(name))
            .map_or_else(|| Err(io::Error::other("no home directory found")), |directory| cache_key::of(&directory))
    });
    let (key, key_warning) = match key.transpose() {
        Ok(key) => (key, None),
        Err(error) => (None, Some(format!("compiled code is not cached, because its MAC key cannot be used: {error}"))),
    };
    let engine = Engine::new(cache.as_deref().zip(key.as_ref()))?;
    let proxies = ProxySettings::from_variables(|name| std::env::var(name).ok());
    let sandbox = Sandbox::new(&engine, COMPONENT, limits, proxies)?;
    Ok((sandbox, engine.cache_warning().or(key_warning)))
}

/// The first working directory in a transcript. (The name of its folder is not to be turned back into one.)
fn working_directory(transcript: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Line {
        cwd: PathBuf,
    }
    let lines = BufReader::new(regular::open(transcript).ok()?.take(MAX_HEAD)).split(b'\n');
    // A line without one is not worth reading: git waits for this, and everything for git.
    let mut lines = lines.map_while(Result::ok).filter(|line| memmem::find(line, b"\"cwd\"").is_some());
    lines.find_map(|line| Some(serde_json::from_slice::<Line>(&line).ok()?.cwd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_files_that_cannot_be_read_are_one_warning() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.warning(), None);
        left_out.add(&"a: no permission");
        assert_eq!(left_out.warning().unwrap(), "skipped a file of the session: a: no permission");
        for _ in 1..20_000 {
            left_out.add(&"b: no permission");
        }
        let warning = left_out.warning().unwrap();
        assert_eq!(warning, "skipped 20000 files of the session; the first: a: no permission");
    }
}
