//! The owner, the repository and the npm package are in one place, and every file that names them says the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::Command;
use xtask::workspace;

/// The value of a name in `[workspace.metadata.publisher]`.
fn publisher(name: &str) -> String {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let (_, section) = manifest.split_once("[workspace.metadata.publisher]\n").unwrap();
    let line = section.lines().find(|line| line.starts_with(name)).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// Text files of the repository, but for fixtures.
fn files() -> Vec<(String, String)> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(workspace()).output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let own = names.split('\0').filter(|name| !name.starts_with("tests/fixtures/") && !name.contains(".snap"));
    own.filter_map(|name| Some((name.to_owned(), fs::read_to_string(workspace().join(name)).ok()?))).collect()
}

/// What stands after each `prefix`, up to what is in no name.
fn after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).map(move |(at, _)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c))).unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn every_address_of_the_repository_is_the_publishers() {
    let (owner, repository) = (publisher("owner"), publisher("repository"));
    let mut found = 0;
    for (file, text) in files() {
        for prefix in ["https://github.com/", "ghcr.io/", "marketplace add "] {
            for rest in after(&text, prefix) {
                let mut parts = rest.split('/');
                let (named_owner, named) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let named = named.trim_end_matches('.').trim_end_matches(".git");
                if named_owner == owner || named == repository {
                    assert_eq!((named_owner, named), (&*owner, &*repository), "{file}: {prefix}{rest}");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 10, "{found} addresses were found");
}

#[test]
fn every_npm_package_of_the_scope_is_the_publishers() {
    let package = publisher("npm-package");
    let (scope, _) = package.split_once('/').unwrap();
    let mut found = 0;
    for (file, text) in files() {
        for rest in after(&text, &format!("{scope}/")) {
            let named = format!("{scope}/{rest}");
            assert!(named.starts_with(&package), "{file}: {named}");
            found += 1;
        }
    }
    assert!(found > 3, "{found} packages were found");
}
