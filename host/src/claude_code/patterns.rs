//! The user's own patterns for secrets: a list in the variable itself or in a file that it names.

use crate::system::regular;
use posthog_llma_pipeline::options::REDACT_PATTERNS;
use posthog_llma_pipeline::redact::{Custom, InvalidPatterns};
use std::io;
use std::path::{Path, PathBuf};

/// Maximum size of a file in bytes. The list has its own, lower limit, with its own error.
const LARGEST: u64 = 1 << 20;

/// Patterns that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternsError {
    /// The file cannot be read.
    #[error("{REDACT_PATTERNS}: cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A relative path would mean a different file in each project.
    #[error("{REDACT_PATTERNS}: {0:?} is neither a JSON list, an absolute path, nor a path that starts with ~/")]
    Relative(String),
    /// The list is invalid.
    #[error("{REDACT_PATTERNS}: {0}")]
    Invalid(InvalidPatterns),
}

/// Reads the list as JSON, from the variable's value or from the file that it names.
pub fn read(value: &str) -> Result<String, PatternsError> {
    let list = if value.trim_start().starts_with('[') { value.to_owned() } else { read_file(value)? };
    Custom::parse(&list).map_err(PatternsError::Invalid)?;
    Ok(list)
}

fn read_file(value: &str) -> Result<String, PatternsError> {
    let path = match (value.strip_prefix("~/"), std::env::home_dir()) {
        (Some(below), Some(home)) => home.join(below),
        _ => PathBuf::from(value),
    };
    if !path.is_absolute() {
        return Err(PatternsError::Relative(value.chars().take(60).collect()));
    }
    let read = |path: &Path| String::from_utf8(regular::read(path, LARGEST)?).map_err(io::Error::other);
    read(&path).map_err(|error| PatternsError::Read { path, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"[{"name": "employee", "pattern": "EMP-[0-9]{6}"}]"#;

    #[test]
    fn a_list_is_read_from_the_variable_or_from_a_file() {
        assert_eq!(read(LIST).unwrap(), LIST);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("patterns.json");
        std::fs::write(&file, LIST).unwrap();
        assert_eq!(read(file.to_str().unwrap()).unwrap(), LIST);
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_names_the_variable() {
        for value in ["patterns.json", "./a", "/does/not/exist", "[1]", r#"[{"name": "a"}]"#] {
            let error = read(value).unwrap_err().to_string();
            assert!(error.starts_with("POSTHOG_LLMA_REDACT_PATTERNS: "), "{error}");
        }
    }
}
