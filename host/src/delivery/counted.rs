//! Numbers with their nouns, for people.

/// A number with its noun: `1 trace`, `2 traces`.
pub fn count<N: std::fmt::Display + PartialEq + From<u8> + Copy>(n: N, noun: &str) -> String {
    format!("{n} {noun}{}", if n == N::from(1) { "" } else { "s" })
}
