//! Imports go one way: each folder of a crate uses only the ones before it, and no file depends on itself through
//! others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// In the direction of the data, starting with the modules that don't know the others.
const PIPELINE: &[&str] =
    &["time", "identity", "place", "origin", "redact", "options", "transcript", "events", "session", "delivery"];

/// What the operating system and Claude Code report, what is waiting to be sent, what the program does with it, and the
/// commands that ask for it.
const PROGRAM: &[&str] = &["system", "claude_code", "outbox", "program", "delivery", "view", "commands"];

/// The maximum number of files and folders in a folder, at any level.
const ROOMS: usize = 16;

/// The imports of each file within its own crate: `a/b.rs` is `a::b`, and so is `a/b/mod.rs`.
struct Crate {
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Crate {
    fn read(source: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(source);
        let mut files = Vec::new();
        collect(&root, &mut files);
        let names: BTreeMap<String, PathBuf> =
            files.into_iter().map(|file| (module(file.strip_prefix(&root).unwrap()), file)).collect();
        let imports = names.iter().map(|(name, file)| {
            let text = fs::read_to_string(file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            (name.clone(), mentioned(code, name).into_iter().filter_map(|path| file_of(&path, &names)).collect())
        });
        Self { imports: imports.collect() }
    }

    /// Imports from a folder to a later one.
    fn back_edges(&self, order: &[&str]) -> Vec<String> {
        let place = |module: &str| {
            let room = module.split("::").next().unwrap();
            order.iter().position(|other| *other == room)
        };
        let mut found = Vec::new();
        for (from, imports) in &self.imports {
            for to in imports {
                if let (Some(above), Some(below)) = (place(from), place(to))
                    && below > above
                {
                    found.push(format!("{from} imports {to}"));
                }
            }
        }
        found
    }

    /// A cycle of files that import each other. A folder's own file may use its contents, and they may use its types.
    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        self.imports.keys().find_map(|start| self.walk(start, &mut Vec::new(), &mut done))
    }

    fn walk(&self, at: &str, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|step| step == at) {
            return Some(way[begin..].to_vec());
        }
        if done.contains(at) {
            return None;
        }
        way.push(at.to_owned());
        let nested = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with("::"));
        let next = self.imports.get(at).into_iter().flatten();
        let found =
            next.filter(|to| *to != at && !nested(to, at) && !nested(at, to)).find_map(|to| self.walk(to, way, done));
        way.pop();
        done.insert(at.to_owned());
        found
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !name.ends_with("tests.rs")
            && !path.components().any(|c| c.as_os_str() == "tests")
        {
            files.push(path);
        }
    }
}

fn module(file: &Path) -> String {
    let parts: Vec<_> =
        file.with_extension("").components().map(|c| c.as_os_str().to_str().unwrap().to_owned()).collect();
    parts.join("::")
}

/// The paths within the crate that a file's code mentions, as written: `crate::a::b`, `super::b`, `self::b`.
fn mentioned(code: &str, name: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        for (at, _) in line.match_indices("crate::").chain(line.match_indices("super::")) {
            // `posthog_llma_sandbox::…` and `foo_crate::…` are others.
            if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let path: String =
                line[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            let rest = path.trim_start_matches("crate::");
            let absolute = match path.strip_prefix("super::") {
                Some(rest) => match name.rsplit_once("::") {
                    Some((parent, _)) => format!("{parent}::{rest}"),
                    None => rest.to_owned(),
                },
                None => rest.to_owned(),
            };
            paths.insert(absolute);
        }
    }
    paths
}

/// The file that a path leads to: the longest prefix that is a file.
fn file_of(path: &str, names: &BTreeMap<String, PathBuf>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
    (1..=parts.len()).rev().map(|length| parts[..length].join("::")).find(|name| names.contains_key(name))
}

#[test]
fn imports_run_one_way() {
    for (source, order) in [("guest/pipeline/src", PIPELINE), ("host/src", PROGRAM)] {
        let read = Crate::read(source);
        let rooms: BTreeSet<_> = read.imports.keys().map(|name| name.split("::").next().unwrap().to_owned()).collect();
        let unknown: Vec<_> = rooms
            .iter()
            .filter(|room| !order.contains(&room.as_str()) && !["lib", "main"].contains(&room.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{source}: where do these stand? {unknown:?}");
        assert_eq!(read.back_edges(order), [""; 0], "{source}");
    }
}

#[test]
fn no_file_leads_back_to_itself() {
    for source in
        ["guest/pipeline/src", "guest/component/src", "host/src", "host/sandbox/src", "host/local-posthog/src"]
    {
        assert_eq!(Crate::read(source).circle(), None, "{source}");
    }
}

#[test]
fn a_back_edge_and_a_circle_are_found() {
    let imports = |pairs: &[(&str, &str)]| {
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        Crate { imports }
    };
    let back = imports(&[("transcript::text", "session::turns"), ("session::turns", "transcript::text")]);
    assert_eq!(back.back_edges(PIPELINE), ["transcript::text imports session::turns"]);
    assert_eq!(back.circle(), Some(vec!["session::turns".to_owned(), "transcript::text".to_owned()]));
    assert_eq!(imports(&[("session", "session::turns"), ("session::turns", "session")]).circle(), None);
}

#[test]
fn no_folder_has_more_rooms_than_a_stranger_can_take_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut open = ["guest", "host"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = open.pop() {
        let entries: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let rooms: BTreeSet<_> = entries
            .iter()
            .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
            .map(|path| path.with_extension("").file_name().unwrap().to_owned())
            .collect();
        assert!(rooms.len() <= ROOMS, "{} holds {}: {rooms:?}", folder.display(), rooms.len());
        let tests = |path: &Path| path.file_name().is_some_and(|name| name == "tests" || name == "target");
        open.extend(entries.into_iter().filter(|path| path.is_dir() && !tests(path)));
    }
}

/// The folders in the map in `docs/architecture.md`, which indents each level by two spaces.
fn mapped(page: &str) -> BTreeSet<String> {
    let map = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let mut way: Vec<String> = Vec::new();
    let lines = map.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let level = (line.len() - line.trim_start().len()) / 2;
            way.truncate(level);
            way.push(line.split_whitespace().next().unwrap().trim_end_matches('/').to_owned());
            way.join("/")
        })
        .collect()
}

#[test]
fn the_map_of_the_architecture_shows_every_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let map = mapped(&fs::read_to_string(root.join("docs/architecture.md")).unwrap());
    for folder in &map {
        assert!(root.join(folder).is_dir(), "the map shows {folder}, and there is no such folder");
    }
    for source in
        ["guest/pipeline/src", "guest/component/src", "host/src", "host/sandbox/src", "host/local-posthog/src"]
    {
        let rooms = fs::read_dir(root.join(source)).unwrap().map(|entry| entry.unwrap().path());
        // A folder with a module's tests alone is part of that module.
        let is_a_room = |path: &PathBuf| {
            path.is_dir() && fs::read_dir(path).unwrap().any(|inside| inside.unwrap().file_name() != "tests.rs")
        };
        for folder in rooms.filter(is_a_room) {
            let folder = folder.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            assert!(map.contains(&folder), "the map does not show {folder}");
        }
    }
}
