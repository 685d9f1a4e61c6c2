//! The outcome of a session in numbers: lines, files, edits, commits, a pull request. No text and no file name is kept.

use crate::identity::key;
use crate::transcript::entry::{Block, Content, Entry};
use crate::transcript::lenient::{self, Str};
use crate::transcript::raw::Raw;
use crate::transcript::text;
use crate::transcript::verdict::Verdict;
use memchr::memmem;
use serde::Deserialize;

/// Tools that change a file.
const EDITING_TOOLS: [&str; 4] = ["Edit", "MultiEdit", "NotebookEdit", "Write"];

/// Maximum number of commits per call: more can't be git's output.
const MOST_COMMITS: usize = 1000;

/// The outcome of a trace's events.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TraceOutcome {
    pub lines_added: u64,
    pub lines_removed: u64,
    pub files_changed: u64,
    pub edits_accepted: u64,
    pub edits_rejected: u64,
    pub edits_user_modified: u64,
    pub commits: u64,
}

/// A file that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Key of its path.
    pub file: u128,
    /// Lines added.
    pub added: u64,
    /// Lines removed.
    pub removed: u64,
    /// Did the user change what the model wanted to write?
    pub user_modified: bool,
}

/// What a call is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intent {
    /// Nothing that is counted.
    #[default]
    Other,
    /// It changes a file; this is the change, as far as its input tells.
    Edit(Option<Change>),
    /// It may commit.
    Commit,
}

/// A pull request that was linked to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its address.
    pub url: String,
    /// Its number.
    pub number: Option<u64>,
}

/// Input of Bash, or of a tool that changes a file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolInput<'a> {
    #[serde(borrow)]
    command: Option<Raw<'a>>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    file_path: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    notebook_path: Str<'a>,
    #[serde(borrow)]
    old_string: Option<Raw<'a>>,
    #[serde(borrow)]
    new_string: Option<Raw<'a>>,
    #[serde(borrow)]
    new_source: Option<Raw<'a>>,
    #[serde(borrow)]
    content: Option<Raw<'a>>,
    #[serde(borrow)]
    edits: Option<Vec<Replacement<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Replacement<'a> {
    #[serde(borrow)]
    old_string: Option<Raw<'a>>,
    #[serde(borrow)]
    new_string: Option<Raw<'a>>,
}

/// What the client knows about a change beyond what the model saw.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Result<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    file_path: Str<'a>,
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    kind: Str<'a>,
    #[serde(borrow)]
    content: Option<Raw<'a>>,
    #[serde(borrow)]
    structured_patch: Option<Raw<'a>>,
    #[serde(deserialize_with = "lenient::bool")]
    user_modified: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hunk<'a> {
    #[serde(borrow)]
    lines: Vec<Raw<'a>>,
}

impl Intent {
    /// Of this call. `tool` is its name.
    pub fn of(call: &Block<'_>, tool: &str) -> Self {
        let is_edit = EDITING_TOOLS.binary_search(&tool).is_ok();
        if !is_edit && tool != "Bash" {
            return Self::Other;
        }
        let input = call.input.and_then(lenient::reparse::<ToolInput<'_>>).unwrap_or_default();
        if is_edit {
            return Self::Edit(input.change());
        }
        let command = input.command.map_or("", Raw::get).as_bytes();
        let may_commit = memmem::find(command, b"git").is_some()
            && ["commit", "cherry-pick", "revert", "merge", "am"]
                .iter()
                .any(|verb| memmem::find(command, verb.as_bytes()).is_some());
        if may_commit { Self::Commit } else { Self::Other }
    }
}

impl ToolInput<'_> {
    fn change(&self) -> Option<Change> {
        let path = self.file_path.as_deref().or(self.notebook_path.as_deref())?;
        let mut change = Change { file: key(path), added: 0, removed: 0, user_modified: false };
        if let Some(written) = self.content.or(self.new_source) {
            change.added = text::lines(written);
        }
        let single = Replacement { old_string: self.old_string, new_string: self.new_string };
        for edit in self.edits.iter().flatten().chain([&single]) {
            let (removed, added) = edit.lines();
            change.removed += removed;
            change.added += added;
        }
        Some(change)
    }
}

impl Replacement<'_> {
    /// Lines removed and added: without those that both sides begin and end with.
    fn lines(&self) -> (u64, u64) {
        let decoded = |raw: Option<Raw<'_>>| raw.map(decode).unwrap_or_default();
        let (old, new) = (decoded(self.old_string), decoded(self.new_string));
        let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
        let before = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let after = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(|(a, b)| a == b).count();
        ((old.len() - before - after) as u64, (new.len() - before - after) as u64)
    }
}

fn decode(raw: Raw<'_>) -> String {
    text::decode(raw, usize::MAX / 4).unwrap_or_default().0.into_owned()
}

impl Change {
    /// The change that a result reports; `intent`, from the call's input, is used for results that say nothing more.
    pub fn of(entry: &Entry<'_>, intent: Intent, verdict: Verdict) -> Option<Self> {
        let Intent::Edit(intended) = intent else { return None };
        if verdict != Verdict::Succeeded {
            return None;
        }
        let known = entry.tool_use_result.filter(|raw| raw.get().starts_with('{'));
        let Some(result) = known.and_then(lenient::reparse::<Result<'_>>) else { return intended };
        let Some(path) = result.file_path.as_deref() else { return intended };
        let mut change = Self { file: key(path), added: 0, removed: 0, user_modified: result.user_modified };
        let hunks = result.structured_patch.and_then(lenient::reparse::<Vec<Hunk<'_>>>);
        for line in hunks.iter().flatten().flat_map(|hunk| &hunk.lines) {
            match line.get().as_bytes() {
                [b'"', b'+', ..] => change.added += 1,
                [b'"', b'-', ..] => change.removed += 1,
                _ => {}
            }
        }
        match (hunks, result.kind.as_deref(), result.content) {
            // A new file has no patch.
            (_, Some("create"), Some(content)) if change.added == 0 => change.added = text::lines(content),
            (None, ..) => return intended.map(|intended| Self { user_modified: result.user_modified, ..intended }),
            _ => {}
        }
        Some(change)
    }
}

/// The commits that git reports in a call's output: `[branch 1a2b3c4] subject`, by key.
pub fn commits(result: &Block<'_>, intent: Intent, verdict: Verdict) -> Vec<u128> {
    if intent != Intent::Commit || verdict == Verdict::Rejected {
        return Vec::new();
    }
    let mut found = Vec::new();
    for raw in Content::of(result.content).texts() {
        // A line begins at the start, or after `\n`.
        for line in raw.get().trim_start_matches('"').split("\\n") {
            if found.len() < MOST_COMMITS
                && let Some(hash) = commit(line)
            {
                found.push(key(hash));
            }
        }
    }
    found.dedup();
    found
}

/// The abbreviated hash of a commit in `[main 1a2b3c4] subject`, `[main (root-commit) 1a2b3c4] …`,
/// `[detached HEAD 1a2b3c4] …`.
fn commit(line: &str) -> Option<&str> {
    let (inside, subject) = line.strip_prefix('[')?.split_once(']')?;
    let (branch, hash) = inside.rsplit_once(' ')?;
    let is_hash = (7..=64).contains(&hash.len()) && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && !branch.is_empty() && subject.starts_with(' ')).then_some(hash)
}

impl PullRequest {
    /// The pull request of a `pr-link` line, if its address has the form of one.
    pub fn of(entry: &Entry<'_>) -> Option<Self> {
        let url = entry.pr_url.as_deref().filter(|url| is_pull_request(url))?;
        Some(Self { url: url.to_owned(), number: entry.pr_number })
    }
}

/// `https://<host>/<owner>/<name>/pull/<number>`, and its equivalents on other services.
fn is_pull_request(url: &str) -> bool {
    let Some((host, path)) = url.strip_prefix("https://").and_then(|rest| rest.split_once('/')) else { return false };
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let parts: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let [.., kind, number] = parts.as_slice() else { return false };
    url.len() <= 300
        && host.split(':').count() <= 2
        && host.split(':').all(is_word)
        && parts.iter().all(|part| is_word(part))
        && matches!(*kind, "pull" | "pulls" | "pull-requests" | "merge_requests" | "pullrequest")
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(result: &str, input: &str) -> Option<Change> {
        let call = format!(r#"{{"name":"Edit","input":{input}}}"#);
        let call: Block<'_> = serde_json::from_str(&call).unwrap();
        let line = format!(r#"{{"toolUseResult":{result}}}"#);
        let entry: Entry<'_> = serde_json::from_str(&line).unwrap();
        Change::of(&entry, Intent::of(&call, "Edit"), Verdict::Succeeded)
    }

    fn numbers(change: Option<Change>) -> (u64, u64, bool) {
        let change = change.unwrap();
        (change.added, change.removed, change.user_modified)
    }

    #[test]
    fn lines_are_those_of_the_patch() {
        let patch = r#"{"filePath":"/a","structuredPatch":[{"lines":[" a","-b","+c","+d"]},{"lines":["-e","\\ No newline"]}],"userModified":true}"#;
        assert_eq!(numbers(change(patch, "{}")), (2, 2, true));
    }

    #[test]
    fn a_new_file_has_the_lines_of_its_content() {
        for (content, lines) in [(r"a\nb\n", 2), (r"a\nb", 2), ("", 0), (r"\n", 1), (r"a\\nb", 1)] {
            let created = format!(r#"{{"type":"create","filePath":"/a","content":"{content}","structuredPatch":[]}}"#);
            assert_eq!(numbers(change(&created, "{}")), (lines, 0, false), "{content}");
        }
    }

    #[test]
    fn without_a_patch_the_input_tells() {
        let edit = r#"{"file_path":"/a","old_string":"a\nb\nc","new_string":"a\nx\ny\nc"}"#;
        assert_eq!(numbers(change("null", edit)), (2, 1, false));
        assert_eq!(numbers(change("5", r#"{"file_path":"/a","content":"a\nb\n"}"#)), (2, 0, false));
        let edits =
            r#"{"file_path":"/a","edits":[{"old_string":"a","new_string":"b"},{"old_string":"c","new_string":""}]}"#;
        assert_eq!(numbers(change("null", edits)), (1, 2, false));
        assert_eq!(change("null", r#"{"file_path":5}"#), None);
    }

    #[test]
    fn a_commit_is_what_git_says_it_is() {
        for (line, hash) in [
            ("[main 1a2b3c4] Fix it", Some("1a2b3c4")),
            ("[main (root-commit) 1a2b3c4d5e] First", Some("1a2b3c4d5e")),
            ("[detached HEAD 1a2b3c4] x", Some("1a2b3c4")),
            ("[feat/x-1 1a2b3c4] x", Some("1a2b3c4")),
            ("[INFO 2026] started", None),
            ("[main 1a2b3cg] x", None),
            ("[1a2b3c4] x", None),
            ("see [main 1a2b3c4] x", None),
            ("[main 1a2b3c4]", None),
        ] {
            assert_eq!(commit(line), hash, "{line}");
        }
    }

    #[test]
    fn commits_count_in_the_output_of_git_alone() {
        let result = r#"{"content":"warning\n[main 1a2b3c4] One\n 1 file changed\n[main 2b3c4d5] Two"}"#;
        let result: Block<'_> = serde_json::from_str(result).unwrap();
        assert_eq!(commits(&result, Intent::Commit, Verdict::Succeeded).len(), 2);
        assert_eq!(commits(&result, Intent::Other, Verdict::Succeeded).len(), 0);
        let intent = |command: &str| {
            let call = format!(r#"{{"input":{{"command":"{command}"}}}}"#);
            Intent::of(&serde_json::from_str::<Block<'_>>(&call).unwrap(), "Bash")
        };
        assert_eq!(intent("git add . && git commit -m x"), Intent::Commit);
        assert_eq!(intent("npm test"), Intent::Other);
    }

    #[test]
    fn only_the_address_of_a_pull_request_passes() {
        for url in [
            "https://github.com/owner/name/pull/12",
            "https://gitlab.example.com:8443/group/sub/name/-/merge_requests/3",
            "https://bitbucket.org/owner/name/pull-requests/4/",
        ] {
            assert!(is_pull_request(url), "{url}");
        }
        for url in [
            "http://github.com/owner/name/pull/12",
            "https://user:word@github.com/owner/name/pull/12",
            "https://github.com/owner/name/pull/12?token=x",
            "https://github.com/owner/na me/pull/12",
            "https://github.com/owner/name/issues/12",
            "my secret plan",
        ] {
            assert!(!is_pull_request(url), "{url}");
        }
    }
}
