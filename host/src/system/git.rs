//! What git's configuration says about the user and the project.
//!
//! This module never runs git: in a folder that someone else filled, the configuration, objects and index can name
//! programs to run (a helper, a filter, an `ext::` remote). The needed values are in plain text files, which [`config`]
//! reads. If they are not there, the answer is `None`: nothing here is worth an error.

use std::path::Path;

mod config;
mod ignored;
#[cfg(test)]
mod tests;
mod tracked;

pub use ignored::{Ignored, is_ignored};
pub use tracked::{Tracked, is_tracked};

/// Longest accepted email address, in characters: the limit of a `distinct_id`.
const MAX_EMAIL: usize = 200;
/// Longest accepted `owner/name`, in bytes.
const MAX_REPOSITORY: usize = 255;

/// The user's email address (`user.email`) as configured for the directory.
pub fn user_email(cwd: &Path) -> Option<String> {
    let email = config::of_directory(cwd)?.last("user", "email")?.trim().to_owned();
    let usable = !email.is_empty() && email.chars().count() <= MAX_EMAIL && !email.contains(char::is_control);
    usable.then_some(email)
}

/// `owner/name` of the directory's repository, from its remote `origin`, else from its only remote.
///
/// Contains nothing of the URL but the path: no user, no password, no token.
pub fn repository(cwd: &Path) -> Option<String> {
    let config = config::of_directory(cwd)?;
    repository_of_url(&config.written_out(remote_url(&config.remotes())?))
}

/// The URL of `origin`, else of the only remote.
fn remote_url<'a>(remotes: &[(&'a str, &'a str)]) -> Option<&'a str> {
    let of = |name: &str| remotes.iter().find(|(other, _)| *other == name).map(|(_, url)| *url);
    let (first, _) = remotes.first()?;
    of("origin").or_else(|| remotes.iter().all(|(name, _)| name == first).then(|| of(first))?)
}

/// `owner/name` (or `group/subgroup/name`) in a remote's URL; `None` for a local path, and `None` if part of the path
/// may be a piece of a password.
///
/// Accepts `https://`, `http://`, `ssh://`, `git://` and ssh's `host:path`.
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
    // An unescaped `/`, `?` or `#` in a password ends the authority too early, which leaves the `@` in the path.
    if path.contains('@') {
        return None;
    }
    let path = path.split(['?', '#']).next()?;
    if path.contains(':') {
        return None;
    }
    repository_of_path(path)
}

/// The name of the project that a directory belongs to: the last part of its repository's root. A linked work tree
/// belongs to the repository it was created from, wherever it is; a submodule is its own project.
pub fn project(cwd: &Path) -> Option<String> {
    let name = config::root(cwd)?;
    let name = name.file_name()?.to_str()?;
    // A bare repository.
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!name.is_empty() && name.len() <= MAX_REPOSITORY).then(|| name.to_owned())
}

fn check_host_and_port(text: &str) -> Option<()> {
    // The colons of an IPv6 address are inside brackets.
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    // Anything but a number after the host would be a password that lost its `@`.
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
    // `C:/code/x` is a path on Windows. An ssh user has no colon before the `@`.
    let drive = host.len() == 1 && user.is_empty();
    (!host.is_empty() && !drive && !user.contains(':')).then_some(path)
}

fn repository_of_path(path: &str) -> Option<String> {
    let mut segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let last = segments.pop()?;
    // `name/.git` is the git directory of a repository called `name`.
    let name = last.strip_suffix(".git").unwrap_or(last);
    if !name.is_empty() {
        segments.push(name);
    }
    let unclear = segments.iter().any(|part| matches!(*part, "." | ".." | "~"));
    let repository = segments.join("/");
    (segments.len() >= 2 && !unclear && repository.len() <= MAX_REPOSITORY).then_some(repository)
}
