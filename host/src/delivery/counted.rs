//! Numbers for people.

use std::fmt::Display;

/// A whole number with thousands separators: `16,355`.
pub fn number(n: impl Display) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with its noun: `1 trace`, `2 traces`.
pub fn count<N: Display + PartialEq + From<u8> + Copy>(n: N, noun: &str) -> String {
    format!("{} {noun}{}", number(n), if n == N::from(1) { "" } else { "s" })
}

/// Were the tokens of this many events not counted? A call that was counted has output tokens, so where there are none at
/// all, none were.
pub fn are_uncounted(tokens: [u64; 4], events: u64) -> bool {
    events > 0 && tokens == [0; 4]
}

/// Tokens (input, output, cache read, cache creation) of this many events.
pub fn tokens(tokens: [u64; 4], events: u64) -> String {
    if are_uncounted(tokens, events) {
        return "unknown: the transcripts have no counts".to_owned();
    }
    let [input, output, read, creation] = tokens.map(number);
    format!("{input} in, {output} out, {read} cache read, {creation} cache written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_nouns_agree() {
        let numbers = [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")];
        for (n, text) in numbers {
            assert_eq!(number(n), text);
        }
        assert_eq!(tokens([0; 4], 0), "0 in, 0 out, 0 cache read, 0 cache written");
        assert_eq!(tokens([0, 1000, 0, 2], 1), "0 in, 1,000 out, 0 cache read, 2 cache written");
        assert_eq!(tokens([0; 4], 1), "unknown: the transcripts have no counts");
        assert_eq!([0, 1, 2000].map(|n| count(n, "trace")), ["0 traces", "1 trace", "2,000 traces"]);
    }
}
