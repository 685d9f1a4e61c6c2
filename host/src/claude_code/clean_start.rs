//! Decides which variables are the person's where the system does not reveal the client's first environment, as on
//! Windows.
//!
//! A project's values come from settings files in its folder and the folders above it. A session that *starts* where
//! there are none has the client's own environment, so the values in it are the person's. This module remembers a
//! digest of all of them together and trusts exactly the same values when they are given again: at the end of the same
//! session, when its folder may be gone or its files deleted, and in later sessions. A project then cannot change
//! anything without changing the digest. Only the start of the client counts (`"source": "startup"`): a session that
//! continues in a running client may have the values of a folder that the client has left.

use super::project::{CLAUDE_FOLDER, FILES};
use crate::system::{atomic, directories, regular};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The file in the state directory.
const KNOWN_FILE: &str = "environments.json";

/// How many environments are remembered; the oldest are dropped.
const MOST_KNOWN: usize = 64;

/// A real file has a few KiB.
const MAX_BYTES: u64 = 1 << 20;

/// Name prefixes of the variables that decide where sessions are sent, what of them, and over which route.
const PERSONS: [&str; 1] = ["POSTHOG"];

/// The full names of other such variables.
const PERSONS_NAMES: [&str; 7] =
    ["CLAUDE_CONFIG_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Given variables: names, with their values if they are valid text.
type Given = [(String, Option<String>)];

/// Is this a variable that is restored once it is known to be the person's?
pub fn is_persons(name: &str) -> bool {
    PERSONS.iter().any(|beginning| name.starts_with(beginning))
        || PERSONS_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The given variables that are restored once they are known to be the person's.
pub fn persons(given: &Given) -> impl Iterator<Item = &(String, Option<String>)> {
    given.iter().filter(|(name, _)| is_persons(name))
}

/// Is a client that starts in these folders free of any project's influence? Only if there is no settings file in any
/// of them or above, except the account's own (`config`). If that cannot be determined, the answer is no.
pub fn is_clean<'a>(folders: impl IntoIterator<Item = &'a Path>, config: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().ok();
    let config = resolved(config);
    let mut folders = folders.into_iter().peekable();
    folders.peek().is_some()
        && folders.all(|folder| {
            folder.is_absolute()
                && resolved(folder).is_some_and(|real| {
                    folder.ancestors().chain(real.ancestors()).all(|above| has_no_settings(above, config.as_deref()))
                })
        })
}

fn has_no_settings(folder: &Path, config: Option<&Path>) -> bool {
    // A `.git` file points to a repository elsewhere, whose settings a client may read, too.
    if folder.join(".git").symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        return false;
    }
    let settings = folder.join(CLAUDE_FOLDER);
    if config.is_some() && settings.canonicalize().ok().as_deref() == config {
        return true;
    }
    FILES.iter().all(|file| is_absent(&settings.join(file)))
}

fn is_absent(path: &Path) -> bool {
    let error = path.symlink_metadata().err().map(|error| error.kind());
    matches!(error, Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// The remembered environments.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// Digests, newest last.
    sha256: Vec<String>,
}

impl Known {
    /// A file that cannot be read counts as empty.
    fn load(state: &Path) -> Self {
        let text = regular::read(&state.join(KNOWN_FILE), MAX_BYTES).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}

/// Are these values known to be the person's?
pub fn is_known(state: &Path, given: &Given) -> bool {
    Known::load(state).sha256.contains(&digest(given))
}

/// Remembers that these values are the person's.
pub fn remember(state: &Path, given: &Given) -> io::Result<()> {
    directories::make_private(state)?;
    let digest = digest(given);
    let mut known = Known::load(state);
    known.sha256.retain(|other| *other != digest);
    known.sha256.push(digest);
    known.sha256.drain(..known.sha256.len().saturating_sub(MOST_KNOWN));
    atomic::write(&state.join(KNOWN_FILE), &serde_json::to_vec_pretty(&known)?)
}

/// The digest of all of the person's variables together. Their order does not matter, and no two different sets
/// concatenate to the same input.
fn digest(given: &Given) -> String {
    let mut persons: Vec<_> = persons(given).filter(|(_, value)| value.as_deref() != Some("")).collect();
    persons.sort();
    let mut hasher = Sha256::new();
    for (name, value) in persons {
        for text in [Some(name), value.as_ref()] {
            hasher.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
            hasher.update(text.map_or("", String::as_str));
        }
    }
    let mut text = String::new();
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The folders a client starts in: the one it names and the process's working directory.
pub fn folders(project: Option<PathBuf>) -> Vec<PathBuf> {
    project.into_iter().chain(std::env::current_dir().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the files are the test's own")]

    use super::*;
    use std::fs;

    fn given(values: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
        values.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect()
    }

    /// A home directory with a project in it; there are no settings files above it.
    struct Machine {
        home: tempfile::TempDir,
        project: PathBuf,
    }

    impl Machine {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let project = home.path().join("code/shop");
            fs::create_dir_all(&project).unwrap();
            fs::create_dir_all(home.path().join(".claude")).unwrap();
            fs::write(home.path().join(".claude/settings.json"), "{}").unwrap();
            Self { home, project }
        }

        fn is_clean(&self) -> bool {
            self.is_clean_in(&[&self.project])
        }

        fn is_clean_in(&self, folders: &[&Path]) -> bool {
            is_clean(folders.iter().copied(), &self.home.path().join(".claude"))
        }

        fn plant(&self, path: &str, text: &str) {
            let path = self.home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn the_accounts_own_settings_are_no_projects() {
        let machine = Machine::new();
        assert!(machine.is_clean());
        assert!(!is_clean([machine.project.as_path()], Path::new("/another/config")));
    }

    #[test]
    fn a_settings_file_anywhere_above_is_one_of_a_project() {
        for planted in [
            "code/shop/.claude/settings.json",
            "code/shop/.claude/settings.local.json",
            "code/.claude/settings.json",
            "code/.claude/settings.local.json",
        ] {
            let machine = Machine::new();
            machine.plant(planted, "not even JSON");
            assert!(!machine.is_clean(), "{planted}");
        }
    }

    #[test]
    fn of_two_folders_both_count() {
        let machine = Machine::new();
        machine.plant("other/.claude/settings.json", "{}");
        let other = machine.home.path().join("other");
        assert!(!machine.is_clean_in(&[&machine.project, &other]));
        assert!(!machine.is_clean_in(&[&other, &machine.project]));
    }

    #[test]
    fn what_cannot_be_told_is_a_no() {
        let machine = Machine::new();
        assert!(!machine.is_clean_in(&[]));
        assert!(!machine.is_clean_in(&[Path::new("relative")]));
        assert!(!machine.is_clean_in(&[&machine.project.join("gone")]));
        machine.plant("code/shop/.git", "gitdir: elsewhere");
        assert!(!machine.is_clean());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_counts_with_both_of_its_ends() {
        let machine = Machine::new();
        machine.plant("there/.claude/settings.json", "{}");
        machine.plant("there/sub/file", "");
        let link = machine.project.join("link");
        std::os::unix::fs::symlink(machine.home.path().join("there/sub"), &link).unwrap();
        assert!(!machine.is_clean_in(&[&link]));
        // A dangling link may become a file later.
        let machine = Machine::new();
        fs::create_dir_all(machine.project.join(".claude")).unwrap();
        std::os::unix::fs::symlink("nowhere", machine.project.join(".claude/settings.json")).unwrap();
        assert!(!machine.is_clean());
    }

    #[test]
    fn the_same_values_are_known_again_and_no_others() {
        let state = tempfile::tempdir().unwrap();
        let own = given(&[("POSTHOG_API_KEY", "phc_a"), ("POSTHOG_HOST", "https://eu.i.posthog.com"), ("X", "1")]);
        assert!(!is_known(state.path(), &own));
        remember(state.path(), &own).unwrap();
        assert!(is_known(state.path(), &own));
        let mut reordered = own.clone();
        reordered.reverse();
        reordered.push(("CLAUDE_PROJECT_DIR".into(), Some("/elsewhere".into())));
        reordered.push(("CLAUDE_PLUGIN_OPTION_POSTHOG_HOST".into(), Some("x".into())));
        reordered.push(("POSTHOG_LLMA_LIVE".into(), Some(String::new())));
        assert!(is_known(state.path(), &reordered));
        for other in [
            given(&[]),
            given(&[("POSTHOG_API_KEY", "phc_a")]),
            given(&[("POSTHOG_API_KEY", "phc_b"), ("POSTHOG_HOST", "https://eu.i.posthog.com")]),
            given(&[("POSTHOG_API_KEY", "phc_a"), ("POSTHOG_HOST", "https://evil.example")]),
            [own.clone(), given(&[("HTTPS_PROXY", "http://evil.example")])].concat(),
            [own.clone(), given(&[("https_proxy", "http://evil.example")])].concat(),
            [own.clone(), given(&[("POSTHOG_LLMA_REDACT", "false")])].concat(),
            given(&[("POSTHOG_API_KEY", "phc_aPOSTHOG_HOST"), ("", "https://eu.i.posthog.com")]),
        ] {
            assert!(!is_known(state.path(), &other), "{other:?}");
        }
        let text = fs::read_to_string(state.path().join(KNOWN_FILE)).unwrap();
        assert!(!text.contains("phc_a"), "{text}");
    }

    #[test]
    fn the_latest_are_remembered() {
        let state = tempfile::tempdir().unwrap();
        let numbered = |i: usize| given(&[("POSTHOG_API_KEY", &format!("phc_{i}"))]);
        for i in 0..=MOST_KNOWN {
            remember(state.path(), &numbered(i)).unwrap();
            remember(state.path(), &numbered(1)).unwrap();
        }
        assert!(!is_known(state.path(), &numbered(0)));
        assert!(is_known(state.path(), &numbered(1)) && is_known(state.path(), &numbered(MOST_KNOWN)));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        let state = tempfile::tempdir().unwrap();
        for text in ["", "[]", "{\"sha256\": 1}", "{"] {
            fs::write(state.path().join(KNOWN_FILE), text).unwrap();
            assert!(!is_known(state.path(), &given(&[])), "{text}");
        }
        fs::remove_file(state.path().join(KNOWN_FILE)).unwrap();
        fs::create_dir(state.path().join(KNOWN_FILE)).unwrap();
        assert!(!is_known(state.path(), &given(&[])));
        assert!(remember(state.path(), &given(&[])).is_err());
    }
}
