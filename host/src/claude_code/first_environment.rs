//! Determines whether this process's environment is the person's own or one that a project influenced.
//!
//! Claude Code puts the `env` blocks of a project's settings files into the environment of its hooks and commands,
//! where such a value is indistinguishable from the person's. But the client itself was started with the person's own
//! environment. So below a client, this program takes the environment of the nearest ancestor without the client's
//! marks and discards its own before anything reads it. The person then controls everything that variables decide
//! (where the state is, who the user is, which proxy, which certificates), including variables added in later versions.
//!
//! The given variables are kept for one purpose: a project may make things stricter.
//!
//! Measured with 2.0.76 and 2.1.332 on Linux: hooks have `CLAUDE_PROJECT_DIR`; commands and hooks have `CLAUDECODE`. A
//! project can change their values but not remove them. The client's own first environment has neither, and nothing
//! from a project.

use super::clean_start;
use crate::system::directories;
use crate::system::processes::{self, Variables};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;

/// Variables that the client sets for everything it starts. Only their presence counts; a project can change their
/// values.
const MARKS: [&str; 2] = ["CLAUDECODE", "CLAUDE_PROJECT_DIR"];

/// Name of the client's process. It identifies children that the client starts without its marks, such as a tool's
/// server.
const CLIENT: &str = "claude";

/// Name prefixes of the given variables that are kept because a project may influence them.
const KEPT: [&str; 2] = ["CLAUDE_PLUGIN_OPTION_", "CLAUDE_PROJECT_DIR"];

/// Passes the kept variables to the process that continues after a hook, which no longer has a client above it.
pub const HANDED_ON: &str = "_POSTHOG_LLMA_GIVEN";

/// Commands that run in an environment that a hook has already prepared.
const AFTER_A_HOOK: [&str; 2] = ["detach", "worker"];

/// How many ancestors to check; real chains have about ten.
const MOST_ANCESTORS: usize = 64;

/// Variables that are kept from an environment of unknown origin: those that affect how output looks and those that
/// Windows cannot work without.
const HARMLESS: [&str; 9] =
    ["TERM", "NO_COLOR", "COLUMNS", "LANG", "LC_ALL", "LC_CTYPE", "SYSTEMROOT", "WINDIR", "SYSTEMDRIVE"];

/// Variables that name the home directory.
const HOMES: &[&str] = if cfg!(windows) { &["HOME", "USERPROFILE"] } else { &["HOME"] };

/// Where this process is relative to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Standing {
    /// There is no client above it: the environment is the person's.
    #[default]
    Plain,
    /// There is a client above it, and the environment is now the one the client was started with.
    Below,
    /// There is a client above it, and the system does not reveal what it was started with: nothing in the environment
    /// counts unless it was seen in a session that no project influenced ([`clean_start`]).
    Unknown,
}

/// How this process was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Where it is relative to a client.
    pub standing: Standing,
    /// The variables it was given below a client: names, with their values if they are valid text.
    pub given: Vec<(String, Option<String>)>,
}

static START: OnceLock<Start> = OnceLock::new();

/// How this process was started.
pub fn start() -> &'static Start {
    START.get_or_init(Start::default)
}

/// An ancestor of this process.
struct Ancestor {
    name: String,
    environment: Option<Variables>,
}

/// Adopts the person's own environment. Must be called first: no other thread may be running yet.
pub fn adopt() {
    let own: Variables = std::env::vars_os().collect();
    let command = std::env::args_os().nth(1);
    if command.is_some_and(|command| AFTER_A_HOOK.iter().any(|name| command == *name)) {
        if let Some(start) = std::env::var_os(HANDED_ON) {
            let nothing = Start { standing: Standing::Unknown, given: Vec::new() };
            begin(start.to_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(nothing));
        }
        return;
    }
    let (standing, first) = standing(&own, ancestors());
    if standing == Standing::Plain {
        return;
    }
    replace(&own, first.unwrap_or_else(|| harmless(&own)));
    begin(Start { standing, given: kept(&own) });
}

/// Records how this process was started, and restores values that are known to be the person's.
fn begin(start: Start) {
    let mut start = start;
    // The account's own directory: nothing else is in the environment yet.
    let state = directories::state(|name| std::env::var_os(name));
    if start.standing == Standing::Unknown && state.is_some_and(|state| clean_start::is_known(&state, &start.given)) {
        start.standing = Standing::Below;
        let own = clean_start::persons(&start.given);
        add(own.filter_map(|(name, value)| Some((OsString::from(name), OsString::from(value.as_ref()?)))));
    }
    let _ = START.set(start);
}

/// The variable to pass to the process that continues after a hook.
pub fn handed_on() -> Option<(&'static str, String)> {
    let start = start();
    (start.standing != Standing::Plain).then(|| (HANDED_ON, serde_json::to_string(start).unwrap_or_default()))
}

fn ancestors() -> impl Iterator<Item = Ancestor> {
    let above = |found: &processes::Description| {
        let parent = Some(found.parent).filter(|parent| *parent > 0)?;
        Some((parent, processes::describe(parent)))
    };
    let first = processes::describe(std::process::id()).and_then(|own| above(&own));
    let all = std::iter::successors(first, move |(_, found)| above(found.as_ref()?));
    all.take(MOST_ANCESTORS).map(|(process, found)| Ancestor {
        name: found.map(|found| found.name).unwrap_or_default(),
        environment: processes::first_environment(process),
    })
}

fn has_mark(environment: &Variables) -> bool {
    environment.iter().any(|(name, _)| MARKS.iter().any(|mark| is_named(name, mark)))
}

/// Is this the variable of that name? Names are case-insensitive on Windows.
fn is_named(name: &OsStr, known: &str) -> bool {
    if cfg!(windows) { name.eq_ignore_ascii_case(known) } else { name == known }
}

/// Where a process with this environment is, and the environment its client was started with.
fn standing(own: &Variables, ancestors: impl Iterator<Item = Ancestor>) -> (Standing, Option<Variables>) {
    let mut below = has_mark(own);
    for Ancestor { name, environment } in ancestors {
        match environment {
            Some(environment) if has_mark(&environment) => below = true,
            Some(environment) if below || name == CLIENT => return (Standing::Below, Some(environment)),
            None if below || name == CLIENT => return (Standing::Unknown, None),
            _ => {}
        }
    }
    (if below { Standing::Unknown } else { Standing::Plain }, None)
}

fn kept(given: &Variables) -> Vec<(String, Option<String>)> {
    let named = given.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
    // Names are case-insensitive on Windows; upper case makes a project's names match ours.
    let named = named.map(|(name, value)| (if cfg!(windows) { name.to_uppercase() } else { name.to_owned() }, value));
    let is_kept =
        |name: &str| clean_start::is_persons(name) || KEPT.iter().any(|beginning| name.starts_with(beginning));
    let kept = named.filter(|(name, _)| is_kept(name));
    kept.map(|(name, value)| (name, value.to_str().map(str::to_owned))).collect()
}

fn harmless(given: &Variables) -> Variables {
    let is_harmless =
        |name: &OsStr| name.to_str().is_some_and(|name| HARMLESS.iter().any(|known| name.eq_ignore_ascii_case(known)));
    given.iter().filter(|(name, _)| is_harmless(name)).cloned().collect()
}

#[expect(unsafe_code, reason = "the environment is replaced while nobody else can look at it")]
fn replace(old: &Variables, new: Variables) {
    // SAFETY: the program calls `adopt` before anything else, so there is no other thread.
    let remove = |name: &OsStr| unsafe { std::env::remove_var(name) };
    // The system determines an account's home if none of the person's own variables does. Ask before removing the old
    // variables: some systems keep the account in variables, too.
    let has_home = new.iter().any(|(name, value)| name == "HOME" && !value.is_empty());
    for name in HOMES {
        remove(OsStr::new(name));
    }
    let home = if has_home { None } else { std::env::home_dir() };
    for (name, _) in old {
        remove(name);
    }
    add(new);
    if let Some(home) = home {
        #[cfg(windows)]
        add([("LOCALAPPDATA".into(), home.join("AppData").join("Local").into())]);
        add(HOMES.iter().map(|name| (OsString::from(name), home.clone().into())));
    }
}

#[expect(unsafe_code, reason = "the environment is changed while nobody else can look at it")]
fn add(variables: impl IntoIterator<Item = (OsString, OsString)>) {
    for (name, value) in variables {
        // The system call rejects such a name, although an environment may contain one, and a zero byte in either.
        let is_odd = name.is_empty() || name.as_encoded_bytes().contains(&b'=');
        if !is_odd && ![&name, &value].iter().any(|text| text.as_encoded_bytes().contains(&0)) {
            // SAFETY: the program calls `adopt` before anything else, so there is no other thread.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(names: &[&str]) -> Variables {
        names.iter().map(|name| ((*name).into(), "x".into())).collect()
    }

    fn chain(own: &[&str], above: &[(&str, Option<&[&str]>)]) -> (Standing, Option<Variables>) {
        let ancestors = above
            .iter()
            .map(|(name, environment)| Ancestor { name: (*name).to_owned(), environment: environment.map(variables) });
        standing(&variables(own), ancestors)
    }

    #[test]
    fn without_a_client_the_environment_is_the_persons() {
        let plain = (Standing::Plain, None);
        assert_eq!(chain(&["A"], &[("zsh", Some(&["A"])), ("sshd", None), ("systemd", None)]), plain);
        assert_eq!(chain(&[], &[]), plain);
    }

    #[test]
    fn below_a_client_its_first_environment_counts() {
        let own = (Standing::Below, Some(variables(&["OWN"])));
        let client: (&str, Option<&[&str]>) = ("claude", Some(&["OWN"]));
        let marked: (&str, Option<&[&str]>) = ("sh", Some(&["OWN", "EVIL", "CLAUDE_PROJECT_DIR"]));
        assert_eq!(chain(&["EVIL", "CLAUDE_PROJECT_DIR"], &[marked, client, ("zsh", Some(&["A"]))]), own);
        assert_eq!(chain(&["EVIL", "CLAUDECODE"], &[("node", Some(&["OWN"]))]), own);
        // A process that has dropped the marks, and a tool's server that never had them.
        assert_eq!(chain(&["EVIL"], &[marked, client]), own);
        assert_eq!(chain(&["EVIL"], &[("node", Some(&["EVIL"])), client]), own);
        // A client within a client.
        assert_eq!(chain(&["CLAUDECODE"], &[("claude", Some(&["EVIL", "CLAUDECODE"])), marked, client]), own);
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        let unknown = (Standing::Unknown, None);
        assert_eq!(chain(&["CLAUDECODE"], &[]), unknown);
        assert_eq!(chain(&["CLAUDECODE"], &[("claude", None), ("zsh", Some(&["A"]))]), unknown);
        assert_eq!(chain(&["A"], &[("claude", None)]), unknown);
    }

    #[test]
    fn what_a_project_may_have_said_is_kept_and_nothing_else() {
        let mut given =
            variables(&["POSTHOG_HOST", "PATH", "CLAUDE_PLUGIN_OPTION_X", "CLAUDE_PROJECT_DIR", "AWS_SECRET"]);
        given.push(("POSTHOG_API_KEY".into(), "phc_x".into()));
        let names: Vec<_> = kept(&given).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["POSTHOG_HOST", "CLAUDE_PLUGIN_OPTION_X", "CLAUDE_PROJECT_DIR", "POSTHOG_API_KEY"]);
        assert_eq!(harmless(&variables(&["TERM", "HTTPS_PROXY", "SystemRoot"])), variables(&["TERM", "SystemRoot"]));
    }
}
