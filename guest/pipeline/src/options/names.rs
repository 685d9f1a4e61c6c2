//! Names that are close to one of our variables. A misspelled name would be silently ignored, and what the user wanted
//! to keep private would be sent.

use super::{Privacy, table};

/// Where to keep the record of what is waiting to be sent.
pub const STATE_DIR: &str = "POSTHOG_LLMA_STATE_DIR";
/// The token that requests to the `server` component must carry.
pub const SERVER_TOKEN: &str = "POSTHOG_LLMA_SERVER_TOKEN";

/// Our variables that are not options. The last two belong to the launcher and the installers.
pub const OTHER_VARIABLES: [&str; 4] = [STATE_DIR, SERVER_TOKEN, "POSTHOG_LLMA_DIST", "POSTHOG_LLMA_BIN"];

/// Prefix of most of our variables.
const PREFIX: &str = "POSTHOG_LLMA_";
/// Prefix of the others, which other `PostHog` programs use too.
const SHARED_PREFIX: &str = "POSTHOG_";
/// The words that say who owns a variable.
const OWNER: [&str; 2] = ["POSTHOG", "LLMA"];
/// Minimum letters of a word that says what a name is about.
const TELLING: usize = 6;
/// Two words mean the same if they share this many letters at the beginning: `PRIV` and `PRIVACY`.
const STEM: usize = 4;

/// How the name of a variable relates to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameVerdict {
    /// One of our variables.
    Known,
    /// Another program's.
    Foreign,
    /// It begins like ours, but is not one of them.
    Unknown,
    /// It is close to this one of ours, which is what the user meant.
    NearMiss(&'static str),
}

/// Classifies a name: one of ours, close to one of ours, or another program's.
pub fn judge_name(name: &str) -> NameVerdict {
    let known =
        || table().map(|entry| (entry.variable, entry.privacy)).chain(OTHER_VARIABLES.map(|n| (n, Privacy::Unrelated)));
    if known().any(|(variable, _)| variable == name) {
        return NameVerdict::Known;
    }
    let name = name.trim().to_ascii_uppercase().replace(['-', '.', ' '], "_");
    // This rules out most of an environment.
    if !OWNER.iter().any(|owner| name.contains(owner)) {
        return NameVerdict::Foreign;
    }
    let ours = name.strip_prefix(PREFIX);
    let meant = known().filter(|(variable, privacy)| match ours {
        Some(rest) => is_near(rest, own_part(variable)) || (*privacy == Privacy::Content && is_about(rest, variable)),
        None => {
            distance(&name, variable) <= tolerance(own_part(variable))
                || (*privacy == Privacy::Content && words(&name).eq(words(own_part(variable))))
        }
    });
    match meant.min_by_key(|(variable, _)| distance(ours.unwrap_or(&name), own_part(variable))) {
        Some((variable, _)) => NameVerdict::NearMiss(variable),
        None if ours.is_some() => NameVerdict::Unknown,
        None => NameVerdict::Foreign,
    }
}

/// The part of a name that doesn't say who owns it.
fn own_part(variable: &str) -> &str {
    variable.strip_prefix(PREFIX).or_else(|| variable.strip_prefix(SHARED_PREFIX)).unwrap_or(variable)
}

/// The words of a name, except those that say who owns it.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split('_').filter(|word| !word.is_empty() && !OWNER.contains(word))
}

/// How many typos still leave a name recognizable.
fn tolerance(own_part: &str) -> usize {
    (own_part.len() / 4).clamp(1, 3)
}

/// Are only letters wrong, or words missing or added?
fn is_near(rest: &str, own_part: &str) -> bool {
    let all_in = |some: &str, others: &str| words(some).all(|word| words(others).any(|other| other == word));
    let has_words = words(rest).next().is_some();
    distance(rest, own_part) <= tolerance(own_part) || (has_words && (all_in(rest, own_part) || all_in(own_part, rest)))
}

/// Does a word of the name say that it is about the same thing as the variable?
fn is_about(rest: &str, variable: &str) -> bool {
    words(own_part(variable)).filter(|word| word.len() >= TELLING).any(|telling| {
        words(rest).any(|word| {
            let common = word.bytes().zip(telling.bytes()).take_while(|(a, b)| a == b).count();
            common >= STEM || distance(word, telling) <= 1
        })
    })
}

/// How many letters to insert, delete, replace, or swap with a neighbor to turn one name into the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut above = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut fewest = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                let swapped: &Vec<usize> = &above;
                fewest = fewest.min(swapped[j - 1] + 1);
            }
            next.push(fewest);
        }
        above = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{
        ALLOW_CUSTOM_HOST, API_KEY, CUSTOM_PROPERTIES, DISTINCT_ID, ENABLED, HOST, MAX_ATTRIBUTE_LENGTH, PRIVACY_MODE,
        PURPOSE, REDACT_SECRETS, TRACE_GROUPING, variables,
    };

    #[test]
    fn every_variable_is_known_and_no_other_program_s_is_ours() {
        for name in variables().chain(OTHER_VARIABLES) {
            assert_eq!(judge_name(name), NameVerdict::Known, "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "POSTHOG",
            "POSTHOG_PERSONAL_API_KEY",
            "POSTHOG_PROJECT_ID",
            "POSTHOG_API_HOST",
            "POSTHOG_URL",
            "NEXT_PUBLIC_POSTHOG_HOST",
            "NEXT_PUBLIC_POSTHOG_KEY",
            "PRIVACY_MODE",
            "LLMA_HOME",
            "",
            "ÄÖÜ",
        ] {
            assert_eq!(judge_name(name), NameVerdict::Foreign, "{name}");
        }
    }

    #[test]
    fn a_name_with_privacy_or_redaction_in_it_is_never_passed_over() {
        for (name, meant) in [
            ("POSTHOG_LLMA_PRIVACY", PRIVACY_MODE),
            ("POSTHOG_LLMA_PRIVCY_MODE", PRIVACY_MODE),
            ("POSTHOG_LLMA_PRIVATE", PRIVACY_MODE),
            ("POSTHOG_LLMA_PRIVATE_MODE", PRIVACY_MODE),
            ("POSTHOG_LLMA_PRIVACYMODE", PRIVACY_MODE),
            ("POSTHOG_LLMA_PIRVACY_MODE", PRIVACY_MODE),
            ("POSTHOG_LLMA_MODE_PRIVACY", PRIVACY_MODE),
            ("POSTHOG_LLMA_CC_PRIVACY_MODE", PRIVACY_MODE),
            ("POSTHOG_LLMA_PRIVACY_MODE_", PRIVACY_MODE),
            (" POSTHOG_LLMA_PRIVACY_MODE", PRIVACY_MODE),
            ("posthog_llma_privacy_mode", PRIVACY_MODE),
            ("Posthog-Llma-Privacy-Mode", PRIVACY_MODE),
            ("POSTHOG_LLM_PRIVACY_MODE", PRIVACY_MODE),
            ("POSTHOG_LMLA_PRIVACY_MODE", PRIVACY_MODE),
            ("POSTHOG_PRIVACY_MODE", PRIVACY_MODE),
            ("LLMA_PRIVACY_MODE", PRIVACY_MODE),
            ("PSOTHOG_LLMA_PRIVACY_MODE", PRIVACY_MODE),
            ("POSTHOG_LLMA_REDACT", REDACT_SECRETS),
            ("POSTHOG_LLMA_REDACTION", REDACT_SECRETS),
            ("POSTHOG_LLMA_REDACT_SECRET", REDACT_SECRETS),
            ("POSTHOG_LLMA_SECRETS", REDACT_SECRETS),
            ("POSTHOG_LLMA_HIDE_SECRETS", REDACT_SECRETS),
            ("POSTHOG_LLMA_MAX_LENGTH", MAX_ATTRIBUTE_LENGTH),
            ("POSTHOG_LLMA_ATTRIBUTE_LIMIT", MAX_ATTRIBUTE_LENGTH),
        ] {
            assert_eq!(judge_name(name), NameVerdict::NearMiss(meant), "{name}");
        }
    }

    #[test]
    fn any_near_miss_says_what_was_meant() {
        for (name, meant) in [
            ("POSTHOG_API_KYE", API_KEY),
            ("POSTHOG_APIKEY", API_KEY),
            ("POSTHOG_LLMA_API_KEY", API_KEY),
            ("POSTHOG_HSOT", HOST),
            ("POSTHOG_LLMA_HOST", HOST),
            ("POSTHOG_LLMA_ENABLED", ENABLED),
            ("POSTHOG_LLMA_CC_ENABLE", ENABLED),
            ("POSTHOG_LLMA_CUSTOM_HOST", ALLOW_CUSTOM_HOST),
            ("POSTHOG_LLMA_DISTINCTID", DISTINCT_ID),
            ("POSTHOG_LLMA_TRACE_GROUP", TRACE_GROUPING),
            ("POSTHOG_LLMA_CUSTOM_PROPERTY", CUSTOM_PROPERTIES),
            ("POSTHOG_LLMA_PURPOSE", PURPOSE),
            ("POSTHOG_LLMA_STATEDIR", STATE_DIR),
        ] {
            assert_eq!(judge_name(name), NameVerdict::NearMiss(meant), "{name}");
        }
    }

    #[test]
    fn what_begins_as_ours_and_is_like_none_is_unknown() {
        for name in ["POSTHOG_LLMA_", "POSTHOG_LLMA_DEBUG", "POSTHOG_LLMA_CC_COLOUR", "posthog_llma_verbose"] {
            assert_eq!(judge_name(name), NameVerdict::Unknown, "{name}");
        }
    }

    #[test]
    fn one_wrong_letter_in_any_of_our_names_is_found() {
        for name in variables().chain(OTHER_VARIABLES) {
            let own = name.len() - own_part(name).len();
            for at in own..name.len() {
                let missing = format!("{}{}", &name[..at], &name[at + 1..]);
                let wrong = format!("{}Q{}", &name[..at], &name[at + 1..]);
                let more = format!("{}Q{}", &name[..at], &name[at..]);
                for near in [missing, wrong, more] {
                    assert_eq!(judge_name(&near), NameVerdict::NearMiss(name), "{near}");
                }
            }
        }
    }

    #[test]
    fn a_distance_counts_changes() {
        for (one, other, changes) in
            [("", "", 0), ("A", "", 1), ("", "AB", 2), ("AB", "BA", 1), ("HOST", "POST", 1), ("ABC", "CA", 3)]
        {
            assert_eq!(distance(one, other), changes, "{one} {other}");
        }
    }
}
