//! A page of Markdown, and its fenced blocks.

use super::workspace;
use std::fs;
use std::path::Path;

/// A page.
pub struct Page {
    /// Its path in the repository.
    pub path: String,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    /// Its page and line, for messages.
    pub place: String,
    pub language: String,
    pub text: String,
    /// The comment above it, if there is one.
    note: Option<String>,
}

/// What to do with a block of commands.
pub enum How {
    Run,
    /// Run it; it must exit with this code.
    Fail(i32),
    /// Run it in this repository.
    Clone,
    Not,
}

/// Folders whose pages are third-party or data.
const SKIPPED: [&str; 7] = ["target", "node_modules", "snapshots", "fixtures", ".git", "deps", ".venv"];

impl Page {
    pub fn read(path: &str) -> Self {
        Self { path: path.to_owned(), text: fs::read_to_string(workspace().join(path)).unwrap() }
    }

    /// Every page of the repository.
    pub fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        find(workspace(), &mut paths);
        paths.push("tests/fixtures/README.md".to_owned());
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub fn blocks(&self, language: &str) -> Vec<Block> {
        self.every_block().into_iter().filter(|block| block.language == language).collect()
    }

    pub fn every_block(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut above = "";
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let indent = line.len() - line.trim_start().len();
                let place = format!("{}:{}", self.path, at + 1);
                let inside: Vec<&str> = lines
                    .by_ref()
                    .map(|(_, line)| line.get(indent..).unwrap_or_default())
                    .take_while(|line| *line != "```")
                    .collect();
                let note = above.trim().strip_prefix("<!-- ").and_then(|note| note.strip_suffix(" -->"));
                let note = note.map(str::to_owned);
                blocks.push(Block { place, language: language.to_owned(), text: inside.join("\n"), note });
                above = "";
            } else {
                above = line;
            }
        }
        blocks
    }

    /// The page without its fenced blocks.
    pub fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose
    }
}

impl Block {
    pub fn how(&self) -> How {
        let Some(note) = &self.note else { return How::Run };
        if note == "runs in the clone" {
            return How::Clone;
        }
        let (what, why) = note.split_once(": ").unwrap_or_else(|| panic!("{}: {note:?} gives no reason", self.place));
        assert!(why.split_whitespace().count() > 2, "{}: {note:?} gives no reason", self.place);
        if let Some(code) = what.strip_prefix("exits with ") {
            return How::Fail(code.parse().unwrap());
        }
        assert_eq!(what, "not run", "{}: {note:?}", self.place);
        How::Not
    }
}

fn find(folder: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                find(&path, paths);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned());
        }
    }
}
