//! Cuts the long strings of a JSON line as it arrives.
//!
//! Nothing that is sent is longer than the attribute limit, so the rest of a longer string is counted, not kept. What
//! is kept of the string ends in a mark that says how much was cut: `\u0000elided:<characters>:<line breaks>:<bytes>`,
//! with the characters and line breaks counted after JSON decoding. [`crate::transcript::text`] reads the mark.

use memchr::{memchr, memchr2};

/// The mark's beginning, as the JSON text has it.
pub const MARK: &str = "\\u0000elided:";

/// The position within the line.
#[derive(Debug)]
pub struct Elider {
    longest_string: usize,
    in_string: bool,
    /// Bytes of this string so far.
    length: usize,
    escape: Escape,
    cut: Option<Cut>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Cut {
    characters: u64,
    line_breaks: u64,
    bytes: u64,
}

/// Within an escape sequence: its value so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After the backslash.
    Begun,
    /// After `\u`: how many digits are still to come, and the value of those read.
    Unicode(u8, u32),
}

impl Elider {
    /// Keeps this many bytes of a string, as the file has it.
    pub fn new(longest_string: usize) -> Self {
        Self { longest_string, in_string: false, length: 0, escape: Escape::None, cut: None }
    }

    /// Appends to `out` whatever is kept of `bytes`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let plain = self.plain(bytes, out);
            let (one, rest) = bytes[plain..].split_at(1.min(bytes.len() - plain));
            self.step_through(one, out);
            bytes = rest;
        }
    }

    /// Takes the bytes up to the next one that may begin or end something, and returns how many. Most of a long line is
    /// one string.
    fn plain(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        if self.escape != Escape::None {
            return 0;
        }
        if !self.in_string {
            let plain = memchr(b'"', bytes).unwrap_or(bytes.len());
            out.extend_from_slice(&bytes[..plain]);
            return plain;
        }
        let mut plain = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        if let Some(cut) = &mut self.cut {
            cut.bytes += plain as u64;
            cut.characters += bytes[..plain].iter().filter(|byte| (*byte & 0xC0) != 0x80).count() as u64;
        } else {
            // Anything longer may have to be cut, between two characters.
            plain = plain.min(self.longest_string.saturating_sub(self.length));
            out.extend_from_slice(&bytes[..plain]);
        }
        self.length += plain;
        plain
    }

    /// Takes bytes one at a time.
    fn step_through(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if !self.in_string {
                self.in_string = byte == b'"';
                self.length = 0;
                out.push(byte);
                continue;
            }
            let complete = self.escape == Escape::None;
            if complete && byte == b'"' {
                self.in_string = false;
                if let Some(cut) = self.cut.take() {
                    out.extend_from_slice(
                        format!("{MARK}{}:{}:{}", cut.characters, cut.line_breaks, cut.bytes).as_bytes(),
                    );
                }
                out.push(byte);
                continue;
            }
            // A string may only be cut between two characters.
            if self.cut.is_none() && complete && self.length >= self.longest_string && (byte & 0xC0) != 0x80 {
                self.cut = Some(Cut::default());
            }
            self.length += 1;
            let is_line_break = self.escape == Escape::Begun && byte == b'n';
            let is_character = self.step(byte);
            match &mut self.cut {
                Some(cut) => {
                    cut.bytes += 1;
                    cut.characters += u64::from(is_character);
                    cut.line_breaks += u64::from(is_line_break);
                }
                None => out.push(byte),
            }
        }
    }

    /// Follows escapes; returns whether a character ends with this byte (for a surrogate pair, the first one counts).
    fn step(&mut self, byte: u8) -> bool {
        match self.escape {
            Escape::None if byte == b'\\' => {
                self.escape = Escape::Begun;
                false
            }
            Escape::None => (byte & 0xC0) != 0x80,
            Escape::Begun if byte == b'u' => {
                self.escape = Escape::Unicode(4, 0);
                false
            }
            Escape::Begun => {
                self.escape = Escape::None;
                true
            }
            Escape::Unicode(left, value) => {
                let value = value << 4 | char::from(byte).to_digit(16).unwrap_or(0);
                self.escape = if left == 1 { Escape::None } else { Escape::Unicode(left - 1, value) };
                left == 1 && !(0xDC00..0xE000).contains(&value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LONGEST_STRING: usize = 1000;

    fn elide(input: &str) -> String {
        let mut out = Vec::new();
        Elider::new(LONGEST_STRING).push(input.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn short_strings_stay_as_they_are() {
        let line = r#"{"a":"b\"\\","c":["\ud83d\ude00",1]}"#;
        assert_eq!(elide(line), line);
    }

    proptest! {
        #[test]
        fn runs_of_bytes_are_cut_as_single_bytes_are(text in r#"("|\\\\|\\[nu"\\]|00e9|[ae\u{e9}\u{1f600},:]){0,40}"#, most in 0usize..20, piece in 1usize..9) {
            let mut bytes = (Elider::new(most), Vec::new());
            bytes.0.step_through(text.as_bytes(), &mut bytes.1);
            for piece in [piece, text.len().max(1)] {
                let (mut elider, mut out) = (Elider::new(most), Vec::new());
                text.as_bytes().chunks(piece).for_each(|piece| elider.push(piece, &mut out));
                prop_assert_eq!(&out, &bytes.1);
            }
        }
    }

    #[test]
    fn a_long_string_ends_in_the_count_of_what_is_missing() {
        let line = format!(
            r#"{{"a":"{}{}","b":"c"}}"#,
            "x".repeat(LONGEST_STRING),
            r#"\n\u00e9\ud83d\ude00é"q"#.replace('"', "\\\"")
        );
        let cut = elide(&line);
        // \n, é, the emoji, é, ", q: six characters in 2 + 6 + 12 + 2 + 2 + 1 bytes.
        assert!(cut.ends_with(r#"x\u0000elided:6:1:25","b":"c"}"#), "{}", &cut[cut.len() - 60..]);
        assert!(serde_json::from_str::<serde_json::Value>(&cut).is_ok());
    }
}
