//! What all commands need: the settings, the session's files, the sandbox.

use crate::claude_code::hooks::Hooks;
use crate::claude_code::patterns::{self, PatternsError};
use crate::claude_code::project::{Ask, Demands};
use crate::claude_code::sessions::{self, SessionFiles, SiblingIndex, Siblings};
use crate::claude_code::settings::{Environment, Settings, SettingsError, Source};
use crate::outbox::decisions::{Asked, Decisions, Pair, Verdict};
use crate::outbox::stored_options;
use crate::outbox::{self, OutboxError, Stored};
use crate::system::{git, regular};
use memchr::memmem;
use posthog_llma_pipeline::identity::{EventId, distinct_id_problem};
use posthog_llma_pipeline::options::{API_KEY, ConversionOptions, HOST, Options};
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery as wit_delivery;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types as wit;
use posthog_llma_sandbox::files::SessionFile;
use posthog_llma_sandbox::proxy::ProxySettings;
use posthog_llma_sandbox::{Limits, Sandbox, SandboxError, State};
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

/// How many bytes of a transcript to search for the session's working directory.
const MAX_HEAD: u64 = 1024 * 1024;

/// Why a session or the program's settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no home directory in which to look for sessions.
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
    /// The patterns for secrets are invalid or cannot be read.
    #[error(transparent)]
    Patterns(#[from] PatternsError),
    /// The person's decisions cannot be read.
    #[error(transparent)]
    Decisions(#[from] OutboxError),
    /// The current directory is gone.
    #[error("cannot use the current directory: {0}")]
    CurrentDirectory(#[source] io::Error),
}

/// What git's files say about a folder.
#[derive(Debug, Clone, Default)]
struct GitAnswer {
    email: Option<String>,
    repository: Option<String>,
    project: Option<String>,
}

/// The cached answers, by folder and by what was asked.
type GitAnswers = HashMap<(PathBuf, bool, bool), GitAnswer>;

/// The settings, and the directory they were read for.
pub struct Program {
    environment: Environment,
    directory: PathBuf,
    /// Cached answers from git's files, see [`git`](Self::git).
    git: Mutex<GitAnswers>,
    /// The index that sessions share, see [`indexed`](Self::indexed).
    index: Option<SiblingIndex>,
    /// The parsed settings, as strict as the project wants them.
    pub options: Options,
    /// What the project asks for, as long as the person has not decided.
    pub ask: Option<Ask>,
    /// The project whose own, approved destination this is: only this project's sessions go there.
    pub destination_of: Option<PathBuf>,
    /// The person's decisions.
    pub decisions: Decisions,
    /// Whether the project has turned automatic sending off.
    project_is_off: bool,
    /// Warnings about the project's files and the settings.
    pub warnings: Vec<String>,
}

impl Program {
    /// Reads the settings of this process and of the current directory's project. `flags` are the command's flags as
    /// variables and their values.
    pub fn load(flags: Vec<(&'static str, String)>) -> Result<Self, ProgramError> {
        let environment = Environment::of_process().with_flags(flags);
        let directory = std::env::current_dir().map_err(ProgramError::CurrentDirectory)?;
        let settings = Settings::load(&environment, &directory)?;
        Self::new(environment, directory, &settings)
    }

    /// Reads the settings for a hook, whose project the client names.
    pub fn of_hook() -> Result<Self, ProgramError> {
        let environment = Environment::of_process();
        let settings = Settings::own(&environment)?;
        // A hook does not start where its session worked. If that folder is gone, so are its settings files.
        let directory = environment.project().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        Self::new(environment, directory, &settings)
    }

    fn new(environment: Environment, directory: PathBuf, settings: &Settings) -> Result<Self, ProgramError> {
        let mut options = settings.options()?;
        options.conversion.redact_patterns =
            options.conversion.redact_patterns.as_deref().map(patterns::read).transpose()?;
        let demands = environment.demands(&directory, settings);
        // A destination given as a flag needs no further decision.
        let is_given = [API_KEY, HOST].iter().any(|name| matches!(settings.get(name), Some((_, Source::Flag))));
        let decisions = match outbox::directory() {
            Ok(state) => Decisions::load(&state)?,
            // An account without a state directory has no decisions.
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

    /// What the session's project, or each of its projects, says: in its files now, and in the settings recorded with
    /// the session.
    pub fn demands(&self, session: &LocalSession) -> Demands {
        let folders = session.worked_in();
        folders
            .iter()
            .fold(Demands::default(), |demands, folder| demands.and(self.environment.demands_of_files(folder)))
    }

    /// The settings of this process, as strict as the session's own project wants them, and as strict as they were when
    /// a hook saw the session (`stored` is what the hook recorded). All code that sends or shows a session calls this.
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

    /// Is the session, or its project, on the never-send list?
    pub fn never_sends(&self, transcript: &Path) -> bool {
        self.decisions.never([self.directory.as_path(), transcript]).is_some()
    }

    /// The name of the project for a session seen by this hook, if its repository has one; else empty. The session
    /// began where its transcript says, or in this folder if there is no transcript yet.
    pub fn project_of(&self, transcript: &Path) -> String {
        let began_in = working_directory(transcript).unwrap_or_else(|| self.directory.clone());
        git::project(&began_in).unwrap_or_default()
    }

    /// The log file that the person has configured.
    pub fn log(&self) -> Option<PathBuf> {
        log_path(self.options.log.as_deref()?)
    }

    /// Has the project turned sending off?
    pub fn project_is_off(&self) -> bool {
        self.project_is_off
    }

    /// Is sending paused now? The person may pause while this process is running. Decisions that cannot be read count
    /// as a pause.
    pub fn is_paused(&self) -> bool {
        match outbox::directory() {
            Ok(state) => Decisions::load(&state).map_or(true, |decisions| decisions.paused().is_some()),
            Err(_) => self.decisions.paused().is_some(),
        }
    }

    /// Why a session must not be sent, if there is a reason. `named` means that the user asked for this particular
    /// session.
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

    /// What calls this program according to these folders and this directory's project, and which other tools send the
    /// same sessions.
    pub fn hooks(&self) -> Hooks {
        Hooks::of_all(&self.homes(), std::slice::from_ref(&self.directory))
    }

    /// All of Claude Code's folders that are searched for sessions.
    pub fn homes(&self) -> Vec<PathBuf> {
        self.environment.homes()
    }

    /// A string that changes whenever one of the session's files does, see [`LocalSession::state`].
    pub fn session_state(&self, transcript: &Path) -> Result<String, sessions::TranscriptError> {
        let files = self.files_of(transcript)?;
        Ok(LocalSession::new(files, None).state())
    }

    /// The session with this main transcript, including its files in other projects' folders.
    pub fn session_of(&self, transcript: &Path) -> Result<LocalSession, sessions::TranscriptError> {
        Ok(LocalSession::of_files(self.files_of(transcript)?))
    }

    fn files_of(&self, transcript: &Path) -> Result<SessionFiles, sessions::TranscriptError> {
        match &self.index {
            Some(index) => SessionFiles::of_transcript_in(transcript, Siblings::Indexed(index)),
            None => SessionFiles::of_transcript_in(transcript, Siblings::In(&self.homes())),
        }
    }

    /// For a run over many sessions: indexes the other projects' folders once for all of them.
    #[must_use]
    pub fn indexed(self) -> Self {
        Self { index: Some(SiblingIndex::of(&self.homes())), ..self }
    }

    /// Finds a session by a path, an ID or the start of an ID. For a path, too, files of the same name in other
    /// projects' folders belong to the session.
    pub fn session(&self, query: &OsStr) -> Result<LocalSession, ProgramError> {
        // A path works without Claude Code's folder.
        let homes = self.homes();
        if homes.is_empty() && !Path::new(query).exists() {
            return Err(ProgramError::NoConfigDirectory);
        }
        let path = sessions::find(&homes, query)?;
        // The user may name a transcript through a link, but nothing below it may lead elsewhere.
        let path = path.canonicalize().unwrap_or(path);
        Ok(self.session_of(&path)?)
    }

    /// The sandbox and the session's conversion options. Reads git's settings while the sandbox gets ready.
    pub fn prepare(
        &self,
        session: &LocalSession,
        limits: Limits,
    ) -> Result<(Sandbox, wit::ConversionOptions), SandboxError> {
        thread::scope(|scope| {
            let options = scope.spawn(|| self.conversion_options(session, self.options_for(session, &stored(session))));
            let ready = sandbox(limits);
            let options = options.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((ready?, options))
        })
    }

    /// The options for converting a session, with what git says about its working directory.
    pub fn conversion_options(&self, session: &LocalSession, own: ConversionOptions) -> wit::ConversionOptions {
        let directory = session.directory.as_deref();
        let GitAnswer { email, repository, project } = self.git(directory, own.distinct_id.is_none());
        let distinct_id = own.distinct_id.or(email).filter(|id| distinct_id_problem(id).is_none());
        let project_name = own.project_name.or(project);
        ConversionOptions { distinct_id, git_repo: repository, project_name, ..own }.into()
    }

    /// What git says about a session's folder; for this process's folder, only the user's email address. Each answer is
    /// cached.
    fn git(&self, session: Option<&Path>, wants_email: bool) -> GitAnswer {
        let directory = session.unwrap_or(&self.directory);
        let question = (directory.to_owned(), session.is_some(), wants_email);
        let known = || self.git.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answers) = known().get(&question) {
            return answers.clone();
        }
        let answers = thread::scope(|scope| {
            // Read both at the same time: each takes as long as the disk does.
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

/// The path of a log file; `~/` is the person's home directory.
pub fn log_path(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        Some(rest) => Some(std::env::home_dir()?.join(rest)),
        None => Some(PathBuf::from(text)),
    }
}

/// Why a session is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The person has put it on the never-send list.
    #[error("{0} is on the list of what is never sent (`posthog-llma never --remove {0:?}` removes it)")]
    Never(String),
    /// The destination belongs to another project.
    #[error("the destination was approved only for {}", .0.display())]
    OtherProject(PathBuf),
    /// It ran while sending was paused.
    #[error("it ran while sending was paused (name the session to send it)")]
    Paused,
    /// Its project turned sending off.
    #[error("its project turned sending off in {0} (name the session to send it)")]
    Off(Source),
}

/// The decision about a project's request.
fn verdict(decisions: &Decisions, ask: &Ask) -> Verdict {
    match &ask.pair {
        Ok((origin, key)) => decisions.verdict(&Pair::new(&ask.project, origin, key)),
        Err(_) => Verdict::Open,
    }
}

/// A project's request, in the form in which it is recorded.
pub fn asked(ask: &Ask) -> Asked {
    let pair = match &ask.pair {
        Ok((origin, key)) => Pair::new(&ask.project, origin, key),
        // Nobody can approve it, but the person should be told.
        Err(error) => {
            let project = ask.project.to_string_lossy().into_owned();
            Pair { project, origin: error.clone(), key_hash: String::new(), key: String::new() }
        }
    };
    Asked { pair, source: ask.source.to_string(), redirects: ask.redirects, at: outbox::now() }
}

/// What hooks recorded when they saw the session.
pub fn stored(session: &LocalSession) -> Stored {
    let transcript = std::path::absolute(&session.files.main).unwrap_or_else(|_| session.files.main.clone());
    let outbox = outbox::directory().and_then(|directory| outbox::Outbox::open_to_read(&directory));
    let stored = outbox.and_then(|outbox| outbox.map_or(Ok(Stored::default()), |outbox| outbox.stored(&transcript)));
    // The code that sends reports problems with the record.
    stored.unwrap_or_default()
}

/// A file of a session that the component may read.
#[derive(Debug)]
pub struct ReadableFile {
    file: SessionFile,
    role: wit::FileRole,
    /// How many bytes of it earlier deliveries have read.
    read_before: u64,
    /// How much of it to read at most.
    end: Option<u64>,
}

/// A session's files.
#[derive(Debug)]
pub struct LocalSession {
    /// The session's transcripts.
    pub files: SessionFiles,
    /// The session's working directory, if that folder still exists.
    pub directory: Option<PathBuf>,
    /// How many bytes of each file to read at most, by path: the extent of an unfinished delivery.
    pub ends: BTreeMap<String, u64>,
    /// How many bytes of each file earlier deliveries have read, by path.
    pub read_before: BTreeMap<String, u64>,
}

impl LocalSession {
    /// The session with this main transcript.
    pub fn of_transcript(path: &Path) -> Result<Self, sessions::TranscriptError> {
        Ok(Self::of_files(SessionFiles::of_transcript(path)?))
    }

    fn of_files(files: SessionFiles) -> Self {
        let directory = files.mains().find_map(working_directory).filter(|directory| directory.is_dir());
        Self::new(files, directory)
    }

    /// The session with these files, of which nothing has been delivered.
    pub fn new(files: SessionFiles, directory: Option<PathBuf>) -> Self {
        Self { files, directory, ends: BTreeMap::new(), read_before: BTreeMap::new() }
    }

    /// How many bytes of a file earlier deliveries have read.
    pub fn read_before(&self, path: &Path) -> u64 {
        self.read_before.get(path.to_string_lossy().as_ref()).copied().unwrap_or(0)
    }

    /// Where each of its main transcripts began, whether or not these folders still exist.
    pub fn worked_in(&self) -> Vec<PathBuf> {
        let mut folders: Vec<_> = self.directory.iter().cloned().collect();
        for folder in self.files.mains().filter_map(working_directory) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }

    /// The name of its project, if its repository has one; else empty.
    pub fn project(&self) -> String {
        self.directory.as_deref().and_then(git::project).unwrap_or_default()
    }

    /// A string that changes whenever one of its files does: sizes and modification times.
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

    /// Its files for the component. A subagent's file that cannot be opened is left out and reported; the main one must
    /// exist. If no more files can be opened, the session fails: it must not look like one without its subagents.
    pub fn readable(&self) -> io::Result<(Vec<ReadableFile>, LeftOut)> {
        let mut readable = Vec::new();
        let mut left_out = LeftOut::of(self);
        for (path, role) in self.transcripts() {
            match SessionFile::find(path) {
                Ok(file) => readable.push(ReadableFile {
                    file,
                    role,
                    read_before: self.read_before(path),
                    end: self.ends.get(path.to_string_lossy().as_ref()).copied(),
                }),
                Err(error) if matches!(role, wit::FileRole::Main) || error.is_exhaustion() => {
                    return Err(io::Error::other(error));
                }
                Err(error) => left_out.add(&error),
            }
        }
        Ok((readable, left_out))
    }
}

/// Files of a session that could not be read. There can be thousands with the same cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    count: usize,
    /// How many of them may have had content.
    dropped: usize,
    first: Option<String>,
}

impl LeftOut {
    /// The files that were found unreadable when searching for the session's files.
    pub fn of(session: &LocalSession) -> Self {
        /// `ELOOP`, on Linux and on macOS.
        const LOOP: [i32; 2] = [40, 62];
        let mut left_out = Self::default();
        for unreadable in &session.files.unreadable {
            left_out.add(unreadable);
            // A circular link has no content.
            let is_empty = cfg!(unix) && unreadable.error.raw_os_error().is_some_and(|code| LOOP.contains(&code));
            left_out.dropped -= usize::from(is_empty);
        }
        left_out
    }

    /// Adds another file.
    pub fn add(&mut self, error: &impl std::fmt::Display) {
        self.count += 1;
        self.dropped += 1;
        self.first.get_or_insert_with(|| error.to_string());
    }

    /// How many files may have had content.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// One warning for all files.
    pub fn warning(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(match self.count {
            1 => format!("skipped a file of the session: {first}"),
            count => format!("skipped {count} files of the session; the first: {first}"),
        })
    }
}

/// Hands files to the component.
pub fn grant(store: &mut Store<State>, files: Vec<ReadableFile>) -> wasmtime::Result<Vec<wit_delivery::SessionFile>> {
    let mut grant = |ReadableFile { file, role, read_before, end }: ReadableFile| {
        let contents = store.data_mut().grant(file)?;
        Ok(wit_delivery::SessionFile { role, contents, read_before, end })
    };
    files.into_iter().map(&mut grant).collect()
}

/// The sandbox with this program's component.
pub fn sandbox(limits: Limits) -> Result<Sandbox, SandboxError> {
    let proxies = ProxySettings::from_variables(|name| std::env::var(name).ok());
    Sandbox::new(limits, proxies)
}

/// The first working directory in a transcript. (Its folder's name cannot be turned back into a path.)
fn working_directory(transcript: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Line {
        cwd: PathBuf,
    }
    let lines = BufReader::new(regular::open(transcript).ok()?.take(MAX_HEAD)).split(b'\n');
    // Skip lines without a directory: git waits for this search, and everything else waits for git.
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
