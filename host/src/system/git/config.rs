//! Parses git's configuration files as text (git-config(1), "CONFIGURATION FILE").

use crate::system::regular;
use std::path::{Path, PathBuf};

/// Real files have a few KiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Maximum depth of included files.
const MOST_INCLUDES: usize = 8;

/// One variable: section and name in lower case, the subsection as written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    section: String,
    subsection: Option<String>,
    name: String,
    value: String,
}

/// Variables in file order: the last one with a name counts.
#[derive(Debug, Default)]
pub(super) struct Config(Vec<Variable>);

impl Config {
    /// The effective value.
    pub(super) fn last(&self, section: &str, name: &str) -> Option<&str> {
        let mut named = self.0.iter().rev().filter(|v| v.section == section && v.subsection.is_none());
        named.find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    /// The names and URLs of the remotes.
    pub(super) fn remotes(&self) -> Vec<(&str, &str)> {
        let urls = self.0.iter().filter(|variable| variable.section == "remote" && variable.name == "url");
        urls.filter_map(|variable| Some((variable.subsection.as_deref()?, variable.value.as_str()))).collect()
    }

    /// A URL with `url.<base>.insteadOf` applied: the longest matching prefix wins.
    pub(super) fn written_out(&self, url: &str) -> String {
        let shortened = self.0.iter().filter(|v| v.section == "url" && v.name == "insteadof");
        let fitting = shortened.filter(|v| !v.value.is_empty() && url.starts_with(&v.value));
        match fitting.max_by_key(|variable| variable.value.len()) {
            Some(Variable { subsection: Some(base), value, .. }) => format!("{base}{}", &url[value.len()..]),
            _ => url.to_owned(),
        }
    }
}

/// The settings in effect in a directory: the machine's, the user's, then the repository's. Only the user's may include
/// other files. No `GIT_…` variable redirects any of them; the only one honored leaves out the machine's. `None` if the
/// directory does not exist.
pub(super) fn of_directory(directory: &Path) -> Option<Config> {
    if !directory.is_dir() {
        return None;
    }
    let git_dir = git_dir(directory);
    let mut config = Config::default();
    if cfg!(unix) && std::env::var_os("GIT_CONFIG_NOSYSTEM").is_none() {
        config.add(Path::new("/etc/gitconfig"), git_dir.as_deref(), MOST_INCLUDES);
    }
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = xdg.or_else(|| Some(home.as_ref()?.join(".config"))) {
        config.add(&folder.join("git/config"), git_dir.as_deref(), MOST_INCLUDES);
    }
    if let Some(home) = home {
        config.add(&home.join(".gitconfig"), git_dir.as_deref(), MOST_INCLUDES);
    }
    if let Some(git_dir) = &git_dir {
        config.add(&common_dir(git_dir).join("config"), None, 0);
    }
    Some(config)
}

/// The `.git` directory of the repository that contains a directory: a folder, or the target of a file of this name. A
/// folder that only looks like a repository does not count.
pub(super) fn git_dir(directory: &Path) -> Option<PathBuf> {
    let directory = directory.canonicalize().ok()?;
    directory.ancestors().find_map(|directory| {
        let path = directory.join(".git");
        let metadata = path.metadata().ok()?;
        if metadata.is_dir() {
            return Some(path);
        }
        let text = text_of(&path)?;
        let named = text.strip_prefix("gitdir:")?.trim();
        is_local(named).then(|| directory.join(named))
    })
}

/// The root of the repository that contains a directory; for a linked work tree, the root of the repository it was
/// created from.
pub(super) fn root(directory: &Path) -> Option<PathBuf> {
    let directory = directory.canonicalize().ok()?;
    let root = directory.ancestors().find(|directory| directory.join(".git").exists())?;
    let git_dir = git_dir(root)?;
    let common = common_dir(&git_dir);
    if common == git_dir {
        return Some(root.to_owned());
    }
    let common = common.canonicalize().ok()?;
    let is_inside = common.file_name().is_some_and(|name| name == ".git");
    Some(if is_inside { common.parent()?.to_owned() } else { common })
}

/// The directory that holds a work tree's settings.
fn common_dir(git_dir: &Path) -> PathBuf {
    match text_of(&git_dir.join("commondir")) {
        Some(text) if is_local(text.trim()) => git_dir.join(text.trim()),
        _ => git_dir.to_owned(),
    }
}

/// On Windows, a path that starts with two slashes is on another machine, and merely looking at it logs in there.
fn is_local(path: &str) -> bool {
    !path.is_empty() && !path.starts_with("//") && !path.contains('\\') && !path.contains('\0')
}

/// The text of a regular file, unless it is too large.
pub(super) fn text_of(path: &Path) -> Option<String> {
    let bytes = regular::read(path, MAX_FILE_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Config {
    /// Adds a file's variables. `git_dir` is for the conditions; `includes` is how deep the file may include others.
    fn add(&mut self, path: &Path, git_dir: Option<&Path>, includes: usize) {
        let Some(text) = text_of(path) else { return };
        for variable in parse(&text) {
            if includes > 0
                && variable.name == "path"
                && let Some(file) = included(&variable, path, git_dir)
            {
                self.add(&file, git_dir, includes - 1);
            }
            self.0.push(variable);
        }
    }
}

/// The file that `include.path`, or `includeIf.gitdir:….path` where its condition holds, names.
fn included(variable: &Variable, from: &Path, git_dir: Option<&Path>) -> Option<PathBuf> {
    let holds = match (variable.section.as_str(), &variable.subsection) {
        ("include", None) => true,
        ("includeif", Some(condition)) => {
            let (ignore_case, pattern) = match condition.strip_prefix("gitdir/i:") {
                Some(pattern) => (true, pattern),
                None => (false, condition.strip_prefix("gitdir:")?),
            };
            git_dir.is_some_and(|git_dir| matches(pattern, from, git_dir, ignore_case))
        }
        _ => false,
    };
    holds.then(|| at_home(&variable.value).unwrap_or_else(|| from.parent().unwrap_or(from).join(&variable.value)))
}

fn at_home(path: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(path.strip_prefix("~/")?))
}

/// Does the pattern of a `gitdir` condition match? (git-config(1), "Conditional includes".)
fn matches(pattern: &str, from: &Path, git_dir: &Path, ignore_case: bool) -> bool {
    let mut pattern = match (at_home(pattern), pattern.strip_prefix("./")) {
        (Some(path), _) => path.to_string_lossy().into_owned(),
        (_, Some(below)) => from.parent().unwrap_or(from).join(below).to_string_lossy().into_owned(),
        _ if Path::new(pattern).is_absolute() => pattern.to_owned(),
        _ => format!("**/{pattern}"),
    };
    if pattern.ends_with('/') {
        pattern.push_str("**");
    }
    let mut path = git_dir.to_string_lossy().into_owned();
    if ignore_case {
        (pattern, path) = (pattern.to_lowercase(), path.to_lowercase());
    }
    let segments = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    path_fits(&segments(&pattern), &segments(&path))
}

fn path_fits(pattern: &[String], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => (0..=path.len()).any(|skipped| path_fits(rest, &path[skipped..])),
        (Some((first, rest)), Some((name, below))) => name_fits(first, name) && path_fits(rest, below),
        _ => false,
    }
}

/// Matches `*` and `?` within one component of a path.
pub(super) fn name_fits(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = rest.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| name_fits(rest, &name[at..]))
        }
        Some(character) => {
            let mut characters = name.chars();
            characters.next().is_some_and(|found| character == '?' || character == found)
                && name_fits(rest.as_str(), characters.as_str())
        }
    }
}

/// The variables in a text. Parsing stops at anything git would call an error: nothing after it counts.
fn parse(text: &str) -> Vec<Variable> {
    let mut variables = Vec::new();
    let mut section: Option<(String, Option<String>)> = None;
    let mut characters = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(&character) = characters.peek() {
        match character {
            _ if character.is_whitespace() => drop(characters.next()),
            '#' | ';' => while characters.next().is_some_and(|c| c != '\n') {},
            '[' => {
                characters.next();
                section = header(&mut characters);
                if section.is_none() {
                    return variables;
                }
            }
            _ => {
                let mut name = String::new();
                while let Some(c) = characters.next_if(|c| c.is_ascii_alphanumeric() || *c == '-') {
                    name.push(c.to_ascii_lowercase());
                }
                while characters.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
                let value = match characters.next_if_eq(&'=') {
                    Some(_) => value(&mut characters),
                    // A name without a value means true.
                    None if characters.peek().is_none_or(|c| matches!(c, '\n' | '\r' | '#' | ';')) => {
                        Some("true".to_owned())
                    }
                    None => None,
                };
                let (Some(value), Some((section, subsection)), false) = (value, &section, name.is_empty()) else {
                    return variables;
                };
                variables.push(Variable { section: section.clone(), subsection: subsection.clone(), name, value });
            }
        }
    }
    variables
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// `section]`, `section "subsection"]` or the old `section.subsection]`.
fn header(characters: &mut Characters<'_>) -> Option<(String, Option<String>)> {
    let mut section = String::new();
    while let Some(c) = characters.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
        section.push(c.to_ascii_lowercase());
    }
    while characters.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
    match characters.next()? {
        ']' => Some(match section.split_once('.') {
            Some((section, subsection)) => (section.to_owned(), Some(subsection.to_owned())),
            None => (section, None),
        }),
        '"' => {
            let mut subsection = String::new();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\n' => return None,
                    '\\' => subsection.push(characters.next().filter(|c| *c != '\n')?),
                    c => subsection.push(c),
                }
            }
            (characters.next()? == ']').then_some((section, Some(subsection)))
        }
        _ => None,
    }
}

/// A value up to the end of its line, without quotes, comments and surrounding white space.
fn value(characters: &mut Characters<'_>) -> Option<String> {
    let (mut value, mut quoted, mut kept) = (String::new(), false, 0);
    loop {
        match characters.next() {
            None | Some('\n') => break,
            Some('"') => {
                quoted = !quoted;
                kept = value.len();
            }
            Some('\\') => {
                value.push(match characters.next()? {
                    '\n' => continue,
                    'n' => '\n',
                    't' => '\t',
                    'b' => '\u{8}',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                });
                kept = value.len();
            }
            Some('#' | ';') if !quoted => while characters.next_if(|c| *c != '\n').is_some() {},
            Some(c) if !quoted && c.is_whitespace() => {
                if !value.is_empty() {
                    value.push(c);
                }
            }
            Some(c) => {
                value.push(c);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    (!quoted).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(text: &str) -> Option<String> {
        Config(parse(text)).last("a", "b").map(str::to_owned)
    }

    #[test]
    fn values_are_read_as_git_reads_them() {
        for (line, expected) in [
            ("b = plain", "plain"),
            ("B=plain  # comment", "plain"),
            ("b = \"quoted ; \" rest ; comment", "quoted ;  rest"),
            ("b = one \\\n two", "one  two"),
            ("b = tab\\tquote\\\"", "tab\tquote\""),
            ("b", "true"),
            ("b =", ""),
            ("b = first\nb = last", "last"),
            ("c = 1\nb = windows\r", "windows"),
        ] {
            assert_eq!(value_of(&format!("; note\n[A]\n\t{line}\n")).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn what_git_refuses_says_nothing() {
        for text in
            ["[a\nb = x", "b = x", "[a]\nb = \"open", "[a]\nb = \\x", "[a] ! b = x", "[a \"x]\nb = y", "\0", "[a]b"]
        {
            assert!(value_of(text).is_none_or(|value| value == "true"), "{text}");
        }
    }

    #[test]
    fn subsections_keep_their_case() {
        let config = Config(parse("[remote \"Up\\\"\"]\nURL = u\n[remote.Old]\nurl = o\n"));
        assert_eq!(config.remotes(), [("Up\"", "u"), ("old", "o")]);
    }

    #[test]
    fn conditions_fit_as_git_has_them() {
        let from = Path::new("/home/me/.gitconfig");
        for (pattern, path, fits) in [
            ("/home/me/work/", "/home/me/work/x/.git", true),
            ("/home/me/work/", "/home/me/works/x/.git", false),
            ("./work/", "/home/me/work/x/.git", true),
            ("work/", "/srv/work/x/.git", true),
            ("/srv/**/x/.git", "/srv/a/b/x/.git", true),
            ("/srv/*/.git", "/srv/a/.git", true),
            ("/srv/*/.git", "/srv/a/b/.git", false),
        ] {
            assert_eq!(matches(pattern, from, Path::new(path), false), fits, "{pattern} {path}");
        }
        assert!(matches("/SRV/", from, Path::new("/srv/x/.git"), true));
    }

    #[test]
    fn no_text_panics() {
        for text in ["[", "[\"", "[a \"\\", "[a]\n=", "[a]\nb=\\", "=\u{feff}[", "[.]\nx", "\u{feff}"] {
            parse(text);
        }
    }
}
