//! Where a line was written, and by which client.

use crate::transcript::entry::Entry;
use crate::transcript::lenient::Str;
use crate::transcript::text::prefix;

/// Maximum characters of a name that the client gives: of a model, a branch, a sub-agent. Real names are far shorter.
pub const LONGEST_NAME: usize = 200;

/// Where a line was written, and by which client.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Context {
    /// Git branch.
    pub branch: Option<String>,
    /// Version of the client.
    pub version: Option<String>,
    /// How the client was started: `cli`, `sdk-cli`, …
    pub entrypoint: Option<String>,
}

/// The same, borrowed from a line: most lines have the same context as the line before.
struct Borrowed<'a> {
    branch: Option<&'a str>,
    version: Option<&'a str>,
    entrypoint: Option<&'a str>,
}

impl<'a> Borrowed<'a> {
    fn of(entry: &'a Entry<'_>) -> Self {
        Self {
            // Outside a repository: "" up to 2.0.76, "HEAD" since 2.1.112.
            branch: name(&entry.git_branch).filter(|branch| *branch != "HEAD"),
            version: name(&entry.version),
            entrypoint: name(&entry.entrypoint),
        }
    }
}

impl Context {
    /// The context of a line.
    pub fn of(entry: &Entry<'_>) -> Self {
        let own = Borrowed::of(entry);
        Self {
            branch: own.branch.map(str::to_owned),
            version: own.version.map(str::to_owned),
            entrypoint: own.entrypoint.map(str::to_owned),
        }
    }

    /// Does this line have the same context?
    pub fn is_of(&self, entry: &Entry<'_>) -> bool {
        let other = Borrowed::of(entry);
        self.branch.as_deref() == other.branch
            && self.version.as_deref() == other.version
            && self.entrypoint.as_deref() == other.entrypoint
    }
}

/// A name that the client gives, if it is not empty.
pub fn name<'a>(text: &'a Str<'_>) -> Option<&'a str> {
    text.as_deref().filter(|text| !text.is_empty()).map(short)
}

fn short(text: &str) -> &str {
    prefix(text, LONGEST_NAME)
}

/// The name of the project that a session in this directory works on. A worktree that the client made belongs to the
/// project it was made in.
pub fn project(directory: &str) -> Option<&str> {
    let origin = ["/.claude/worktrees/", "\\.claude\\worktrees\\"].iter().find_map(|inside| directory.find(inside));
    last_part(origin.map_or(directory, |end| &directory[..end])).map(short)
}

/// The last part of a path. A session may be read on a different system than the one it was written on: a path that
/// starts with a drive or two backslashes is a Windows path, while on Unix a backslash is an ordinary character.
fn last_part(path: &str) -> Option<&str> {
    let is_windows =
        path.starts_with("\\\\") || matches!(path.as_bytes(), [drive, b':', ..] if drive.is_ascii_alphabetic());
    let separator = |c: char| c == '/' || (is_windows && c == '\\');
    let name = path.trim_end_matches(separator).rsplit(separator).next()?;
    // `C:\` has no name.
    let is_drive = is_windows && name.len() == 2 && name.ends_with(':');
    Some(name).filter(|name| !name.is_empty() && !is_drive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worktree_belongs_to_the_project_that_it_was_made_in() {
        for (path, name) in [
            ("/home/dev/shop/.claude/worktrees/brave-hopper-4f21aa", Some("shop")),
            ("/home/dev/shop/.claude/worktrees/brave-hopper-4f21aa/packages/api", Some("shop")),
            (r"C:\dev\shop\.claude\worktrees\wt1", Some("shop")),
            ("/home/dev/shop/.claude", Some(".claude")),
            ("/.claude/worktrees/wt1", None),
        ] {
            assert_eq!(project(path), name, "{path}");
        }
    }

    #[test]
    fn the_last_part_of_unix_and_windows_paths() {
        for (path, name) in [
            ("/home/dev/shop", Some("shop")),
            ("/home/dev/shop/", Some("shop")),
            (r"C:\Users\dev\shop", Some("shop")),
            (r"c:\Users\dev\shop\", Some("shop")),
            ("C:/Users/dev/shop", Some("shop")),
            (r"\\server\share\shop", Some("shop")),
            (r"/home/dev/back\slash", Some(r"back\slash")),
            ("shop", Some("shop")),
            ("/", None),
            (r"C:\", None),
            ("", None),
        ] {
            assert_eq!(last_part(path), name, "{path}");
        }
    }
}
