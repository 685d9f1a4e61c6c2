//! Whether git would ignore a file, as far as the plain text files tell.

use super::config;
use std::path::Path;

/// What the ignore files say about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// A line in one of them names the file or a folder that contains it.
    Yes,
    /// No line matches the file.
    No,
    /// The file is not in a repository.
    NoRepository,
}

/// Whether the next `git add .` would skip the file. Negated patterns are not supported: a file that one may match
/// counts as not ignored.
pub fn is_ignored(file: &Path) -> Ignored {
    let Some(folder) = file.parent().and_then(|folder| folder.canonicalize().ok()) else {
        return Ignored::NoRepository;
    };
    let Some(git_dir) = config::git_dir(&folder) else { return Ignored::NoRepository };
    let top = folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&folder);
    let file = folder.join(file.file_name().unwrap_or_default());
    let mut lists = vec![(top, git_dir.join("info/exclude"))];
    lists.extend(folder.ancestors().take_while(|f| f.starts_with(top)).map(|f| (f, f.join(".gitignore"))));
    let home = std::env::home_dir();
    lists.extend(home.map(|home| (top, home.join(".config/git/ignore"))));
    let mut ignored = false;
    for (base, list) in lists {
        let Some(text) = config::text_of(&list) else { continue };
        let Ok(below) = file.strip_prefix(base) else { continue };
        let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('!') {
                return Ignored::No;
            }
            ignored |= covers(line, &names);
        }
    }
    if ignored { Ignored::Yes } else { Ignored::No }
}

/// Does a pattern match this path or a folder above it?
fn covers(pattern: &str, names: &[std::borrow::Cow<'_, str>]) -> bool {
    let (pattern, folder_only) = pattern.strip_suffix('/').map_or((pattern, false), |pattern| (pattern, true));
    let pattern = pattern.strip_prefix("**/").unwrap_or(pattern);
    let parts: Vec<_> = pattern.trim_start_matches('/').split('/').collect();
    let fits = |at: usize| {
        let end = at + parts.len();
        end <= names.len()
            && !(folder_only && end == names.len())
            && parts.iter().zip(&names[at..]).all(|(part, name)| config::name_fits(part, name))
    };
    // A pattern with a slash is anchored; any other applies in every folder.
    if parts.len() > 1 || pattern.starts_with('/') { fits(0) } else { (0..names.len()).any(fits) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn with(list: &str) -> Ignored {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("sub/.claude")).unwrap();
        fs::create_dir(directory.path().join(".git")).unwrap();
        fs::write(directory.path().join(".gitignore"), list).unwrap();
        is_ignored(&directory.path().join("sub/.claude/settings.local.json"))
    }

    #[test]
    fn a_line_about_the_file_or_its_folder_ignores_it() {
        for line in [
            "settings.local.json",
            "*.local.json",
            ".claude/",
            ".claude",
            "/sub/",
            "sub/.claude/*",
            "sub/.claude/settings.local.json",
            "# note\n*.json\n",
        ] {
            assert_eq!(with(line), Ignored::Yes, "{line}");
        }
    }

    #[test]
    fn other_lines_do_not() {
        for line in ["", "#.claude", "settings.json", "/.claude", "settings.local.json/", ".claude\n!.claude", "**"] {
            assert_eq!(with(line), if line == "**" { Ignored::Yes } else { Ignored::No }, "{line}");
        }
    }

    #[test]
    fn outside_of_a_repository_nothing_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(is_ignored(&directory.path().join("x")), Ignored::NoRepository);
    }
}
