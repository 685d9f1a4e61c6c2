//! The user's own patterns, and exceptions: text that is not a secret although a rule matches it.

use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use thiserror::Error;

/// Maximum bytes of a list.
const LARGEST_LIST: usize = 64 * 1024;
/// Maximum number of patterns and exceptions in a list.
const MOST: usize = 200;
/// Maximum bytes of a pattern.
const LONGEST: usize = 1000;
/// Maximum bytes of a compiled pattern.
const LARGEST_PROGRAM: usize = 256 * 1024;

/// Patterns and exceptions.
#[derive(Debug, Default)]
pub struct Custom {
    patterns: Vec<(String, Regex)>,
    exceptions: Vec<Regex>,
}

/// A list that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidPatterns(String);

/// A member of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: Option<String>,
    pattern: Option<String>,
    allow: Option<String>,
}

impl Custom {
    /// Reads `[{"name": "employee", "pattern": "EMP-[0-9]{6}"}, {"allow": "EMP-000000"}]`.
    pub fn parse(json: &str) -> Result<Self, InvalidPatterns> {
        let invalid = |reason: String| InvalidPatterns(reason);
        if json.len() > LARGEST_LIST {
            return Err(invalid(format!("has {} bytes; at most {LARGEST_LIST} are allowed", json.len())));
        }
        let members: Vec<Member> = serde_json::from_str(json).map_err(|error| {
            invalid(format!("is not a JSON list of {{\"name\": …, \"pattern\": …}} and {{\"allow\": …}}: {error}"))
        })?;
        if members.len() > MOST {
            return Err(invalid(format!("has {} entries; at most {MOST} are allowed", members.len())));
        }
        let mut custom = Self::default();
        for (i, member) in members.into_iter().enumerate() {
            custom.add(member).map_err(|reason| invalid(format!("entry {}: {reason}", i + 1)))?;
        }
        Ok(custom)
    }

    fn add(&mut self, member: Member) -> Result<(), String> {
        match member {
            Member { name: Some(name), pattern: Some(pattern), allow: None } => {
                let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                if !(1..=40).contains(&name.len()) || !name.bytes().all(is_name) {
                    return Err(format!("the name {name:?} is not 1 to 40 characters of a-z, 0-9 and -"));
                }
                let pattern = compiled(&pattern)?;
                if pattern.is_match("") {
                    return Err("the pattern matches the empty string".to_owned());
                }
                self.patterns.push((name, pattern));
                Ok(())
            }
            Member { name: None, pattern: None, allow: Some(allow) } => {
                compiled(&allow)?;
                self.exceptions.push(compiled(&format!("^(?:{allow})$"))?);
                Ok(())
            }
            _ => Err("needs \"name\" and \"pattern\", or \"allow\"".to_owned()),
        }
    }

    /// Are there any patterns? Exceptions alone find nothing.
    pub fn finds(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// The matches of the patterns: name, start and end. If a pattern has a group, the match is its first group.
    pub fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a str, usize, usize)> {
        self.patterns.iter().flat_map(move |(name, pattern)| {
            pattern.captures_iter(text).filter_map(move |found| {
                let range = found.get(1).or_else(|| found.get(0))?.range();
                (!range.is_empty()).then_some((name.as_str(), range.start, range.end))
            })
        })
    }

    /// Is this one of the exceptions?
    pub fn allows(&self, secret: &str) -> bool {
        self.exceptions.iter().any(|exception| exception.is_match(secret))
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("the pattern has {} bytes; at most {LONGEST} are allowed", pattern.len()));
    }
    RegexBuilder::new(pattern)
        .size_limit(LARGEST_PROGRAM)
        .build()
        .map_err(|error| format!("the pattern is not valid: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;
    use super::*;

    fn custom(list: &str) -> Result<Custom, String> {
        Custom::parse(list).map_err(|error| error.to_string())
    }

    #[test]
    fn the_users_patterns_find_more_and_exceptions_less() {
        let list = r#"[{"name": "employee", "pattern": "EMP-[0-9]{6}"}, {"name": "ticket", "pattern": "ticket=(\\w+)"}, {"allow": "hunter[0-9]"}]"#;
        let redactor = Redactor::new().with(custom(list).unwrap());
        let text = "EMP-123456 ticket=abc password=hunter2 password=hunter22";
        let clean = redactor.redact(text).unwrap();
        assert_eq!(clean, "[redacted:employee] ticket=[redacted:ticket] password=hunter2 password=[redacted:password]");
        assert_eq!(redactor.redact(&clean), None);
        let alone = Redactor::none().with(custom(list).unwrap());
        assert_eq!(alone.redact("EMP-123456 password=other22").unwrap(), "[redacted:employee] password=other22");
    }

    #[test]
    fn a_list_that_cannot_be_used_says_why() {
        for (list, reason) in [
            ("{}", "is not a JSON list"),
            (r#"[{"name": "a"}]"#, "entry 1: needs \"name\" and \"pattern\", or \"allow\""),
            (
                r#"[{"name": "a", "pattern": "b", "allow": "c"}]"#,
                "entry 1: needs \"name\" and \"pattern\", or \"allow\"",
            ),
            (r#"[{"name": "A b", "pattern": "b"}]"#, "the name \"A b\" is not"),
            (r#"[{"allow": "a"}, {"name": "a", "pattern": "("}]"#, "entry 2: the pattern is not valid"),
            (r#"[{"name": "a", "pattern": "x*"}]"#, "matches the empty string"),
            (r#"[{"name": "a", "pattern": "(\\w{1000}){1000}"}]"#, "the pattern is not valid"),
            (r#"[{"nmae": "a", "pattern": "b"}]"#, "unknown field"),
        ] {
            let error = custom(list).unwrap_err();
            assert!(error.contains(reason), "{list}: {error}");
        }
        assert!(custom(&format!("[{}]", " ".repeat(70_000))).unwrap_err().contains("bytes"));
        let many = vec![r#"{"allow": "a"}"#; 201].join(",");
        assert!(custom(&format!("[{many}]")).unwrap_err().contains("201 entries"));
    }
}
