//! What git knows about the user and the project.
//!
//! git is asked with a time limit and in a way that cannot prompt. When it is missing, slow, or has no answer, there is
//! none: nothing here is worth an error.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How long a git command may take. They take a few milliseconds; network file systems are slower.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// The longest pause between two looks at whether a git command has ended.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
/// Most output of a git command that is looked at, in bytes.
const MAX_OUTPUT: u64 = 64 * 1024;
/// Longest e-mail address that is taken, in characters: that of a `distinct_id`.
const MAX_EMAIL: usize = 200;
/// Longest `owner/name` that is taken, in bytes.
const MAX_REPOSITORY: usize = 255;

/// The user's e-mail address (`git config user.email`), as it is set for the directory.
pub fn user_email(cwd: &Path) -> Option<String> {
    let output = run(git(cwd).args(["config", "--get", "user.email"]), TIME_LIMIT)?;
    let email = output.trim();
    let usable = !email.is_empty() && email.chars().count() <= MAX_EMAIL && !email.contains(char::is_control);
    usable.then(|| email.to_owned())
}

/// `owner/name` of the directory's repository: that of its remote `origin`, else of its only remote.
///
/// Never holds any part of the URL but the path: no user, no password, no token.
pub fn repository(cwd: &Path) -> Option<String> {
    // Unlike `git config`, this puts `url.<base>.insteadOf` to use.
    let output = run(git(cwd).args(["remote", "-v"]), TIME_LIMIT)?;
    repository_of_url(remote_url(&output)?)
}

/// Whether the file is part of the repository it lies in. `false` when git cannot tell.
pub fn is_tracked(file: &Path) -> bool {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str())) else {
        return false;
    };
    // On a file system that ignores case, the repository may have the file under a name that looks different.
    let name = format!(":(icase){name}");
    let output = run(git(directory).args(["ls-files", "--", &name]), TIME_LIMIT);
    output.is_some_and(|files| !files.is_empty())
}

/// Whether the next `git add .` would make the file part of its repository. `false` when git cannot tell.
pub fn would_be_added(file: &Path) -> bool {
    let (Some(directory), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str())) else {
        return false;
    };
    let output = run(git(directory).args(["ls-files", "--others", "--exclude-standard", "--", name]), TIME_LIMIT);
    output.is_some_and(|files| !files.is_empty())
}

/// The URL of `origin`, else of the only remote, in the output of `git remote -v`.
fn remote_url(output: &str) -> Option<&str> {
    let remotes: Vec<(&str, &str)> = output
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once('\t')?;
            // A partial clone's filter stands after `(fetch)`.
            let (url, _) = rest.rsplit_once(" (fetch)")?;
            Some((name, url))
        })
        .collect();
    if let Some((_, url)) = remotes.iter().find(|(name, _)| *name == "origin") {
        return Some(url);
    }
    let (first, url) = remotes.first()?;
    remotes.iter().all(|(name, _)| name == first).then_some(*url)
}

/// `owner/name` (or `group/subgroup/name`) in a remote's URL; none for a local path, and none where a part of the path
/// may be a piece of a password.
///
/// Takes `https://`, `http://`, `ssh://`, `git://` and the `host:path` of ssh.
pub fn repository_of_url(url: &str) -> Option<String> {
    let url = url.trim();
    if url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return None;
    }
    let path = match url.split_once("://") {
        Some((scheme, rest)) => {
            let scheme = scheme.to_ascii_lowercase();
            let remote = ["https", "http", "ssh", "git", "git+ssh", "ssh+git"];
            if !remote.contains(&scheme.as_str()) {
                return None;
            }
            let (authority, path) = rest.split_once('/')?;
            let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            check_host_and_port(host_and_port)?;
            path
        }
        None => scp_path(url)?,
    };
    // `/`, `?` or `#` in a password that is not escaped ends the authority too early; the rest then has the `@`.
    if path.contains('@') {
        return None;
    }
    let path = path.split(['?', '#']).next()?;
    if path.contains(':') {
        return None;
    }
    repository_of_path(path)
}

fn check_host_and_port(text: &str) -> Option<()> {
    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    // Anything but a number after the host would be a password whose `@` was lost.
    let port_is_number = match port.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    (!host.is_empty() && port_is_number).then_some(())
}

/// The path in `[user@]host:path`.
fn scp_path(url: &str) -> Option<&str> {
    let authority_end = url.find('/').unwrap_or(url.len());
    let (user, host_and_path) = match url[..authority_end].split_once('@') {
        Some((user, _)) => (user, &url[user.len() + 1..]),
        None => ("", url),
    };
    let host_end =
        if host_and_path.starts_with('[') { host_and_path.find(']')? + 1 } else { host_and_path.find([':', '/'])? };
    let (host, path) = host_and_path.split_at(host_end);
    let path = path.strip_prefix(':')?;
    // `C:/code/x` is a path on Windows. A colon before the `@` is no user of ssh.
    let drive = host.len() == 1 && user.is_empty();
    (!host.is_empty() && !drive && !user.contains(':')).then_some(path)
}

fn repository_of_path(path: &str) -> Option<String> {
    let mut segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let last = segments.pop()?;
    // `name/.git` is the inside of a repository that is called `name`.
    let name = last.strip_suffix(".git").unwrap_or(last);
    if !name.is_empty() {
        segments.push(name);
    }
    let unclear = segments.iter().any(|part| matches!(*part, "." | ".." | "~"));
    let repository = segments.join("/");
    (segments.len() >= 2 && !unclear && repository.len() <= MAX_REPOSITORY).then_some(repository)
}

fn git(cwd: &Path) -> Command {
    let mut command = Command::new("git");
    command
        // A repository's own settings may name a program to run.
        .args(["--no-pager", "-c", "core.fsmonitor=false"])
        .current_dir(cwd)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GCM_INTERACTIVE", "never")
        .env("LC_ALL", "C");
    // Set while git runs a hook; they would win over the directory.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"] {
        command.env_remove(name);
    }
    command
}

/// What the command prints, if it ends with success before the time is over.
fn run(command: &mut Command, limit: Duration) -> Option<String> {
    let deadline = Instant::now() + limit;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let stdout = child.stdout.take()?;
    // Reading has no time limit of its own, and a program that the command left behind may hold the other end.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = String::new();
        let read = stdout.take(MAX_OUTPUT).read_to_string(&mut output);
        let _ = sender.send(read.map(|_| output));
    });
    let output = receiver.recv_timeout(limit);
    // A program is about to end when it has closed its output, and someone waits for what it said.
    let mut pause = Duration::from_micros(20);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if output.is_ok() && Instant::now() < deadline => {
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let output = output.ok()?.ok()?;
    status?.success().then_some(output)
}
