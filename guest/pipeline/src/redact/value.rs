//! Tells whether a value looks random, or like a word, a name or a reference.

use super::bytes::{ALNUM, ANY_HEX, is};

/// The letter pairs that make up 93 % of those in English text and source code: for each first letter, a set of second
/// letters.
const PAIRS: [u32; 26] = [
    0x1de_b96e, 0x010_4911, 0x01e_4cb1, 0x006_4159, 0x1ef_b87f, 0x016_4971, 0x004_0110, 0x000_4111, 0x22e_f87d,
    0x000_0000, 0x000_0110, 0x11c_4939, 0x014_d111, 0x01c_4d7d, 0x05e_fc2c, 0x11e_c911, 0x010_0000, 0x11e_717d,
    0x11c_c195, 0x11e_d99d, 0x00e_b956, 0x000_0111, 0x002_0181, 0x008_8000, 0x000_a000, 0x000_0010,
];

/// Are these two letters a common pair in words?
pub fn is_common_pair(first: u8, second: u8) -> bool {
    let index = |letter: u8| letter.is_ascii_alphabetic().then(|| letter.to_ascii_lowercase() - b'a');
    matches!((index(first), index(second)), (Some(first), Some(second)) if PAIRS[usize::from(first)] >> second & 1 != 0)
}

/// How many bytes of a value are examined: more would add nothing.
const LOOK: usize = 128;

/// Statistics of a value.
#[derive(Debug, Default)]
struct Traits {
    length: usize,
    digits: usize,
    lower: usize,
    upper: usize,
    /// Changes from one kind of character to another: lower case, upper case, digit, anything else.
    changes: usize,
    /// Pairs of letters, and how many of them are common in words.
    pairs: usize,
    known_pairs: usize,
    hexadecimal: bool,
    entropy: f64,
}

impl Traits {
    fn of(value: &[u8]) -> Self {
        let value = &value[..value.len().min(LOOK)];
        let mut traits = Self { length: value.len(), hexadecimal: true, ..Self::default() };
        let mut counts = [0u16; 256];
        let mut before = (0, 0u8);
        for &byte in value {
            counts[usize::from(byte)] += 1;
            traits.hexadecimal &= is(byte, ANY_HEX);
            let kind = match byte {
                b'0'..=b'9' => 1,
                b'a'..=b'z' => 2,
                b'A'..=b'Z' => 3,
                _ => 4,
            };
            traits.digits += usize::from(kind == 1);
            traits.lower += usize::from(kind == 2);
            traits.upper += usize::from(kind == 3);
            traits.changes += usize::from(before.0 != 0 && before.0 != kind);
            if (kind == 2 || kind == 3) && (before.0 == 2 || before.0 == 3) {
                traits.pairs += 1;
                traits.known_pairs += usize::from(is_common_pair(before.1, byte));
            }
            before = (kind, byte);
        }
        let length = traits.length as f64;
        traits.entropy = counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / length).map(|p| -p * p.log2()).sum();
        traits
    }

    /// Changes of kind per step, 0 to 1.
    fn unrest(&self) -> f64 {
        self.changes as f64 / self.length.saturating_sub(1).max(1) as f64
    }

    /// The share of letter pairs that are common in words, 0 to 1.
    fn wordiness(&self) -> f64 {
        if self.pairs == 0 { 0.0 } else { self.known_pairs as f64 / self.pairs as f64 }
    }
}

/// Does it look random? Words, names with a number, dates and paths do not.
pub fn is_random(value: &[u8]) -> bool {
    let traits = Traits::of(value);
    let Traits { length, digits, lower, upper, pairs, .. } = traits;
    let letters = lower + upper;
    if length < 8 || letters == 0 {
        return length >= 12
            && letters == 0
            && digits > 0
            && digits < length
            && traits.entropy > 3.0
            && traits.unrest() > 0.4;
    }
    if length >= 16 && traits.hexadecimal {
        return digits >= 2 && traits.entropy > 2.5;
    }
    // Sixteen different characters have four bits each.
    if traits.entropy < (length.min(20) as f64).log2() * 0.72 {
        return false;
    }
    let words = traits.wordiness();
    if digits == 0 {
        return length >= 14 && pairs >= 8 && words < if traits.unrest() > 0.3 { 0.72 } else { 0.6 };
    }
    let separators = length - letters - digits;
    // `name-of-2-things`: most pairs are common in words, and there are hardly any digits among the letters.
    if words > 0.8 && pairs * 2 > length {
        return false;
    }
    if separators * 4 > length {
        return false;
    }
    (digits >= 2 && traits.unrest() > 0.25) || (length >= 16 && words < 0.65)
}

/// Can this be a password? Passwords have no fixed form, so anything is one unless it is known to be something else.
pub fn is_password(value: &[u8]) -> bool {
    let distinct = value.iter().take(LOOK).collect::<std::collections::BTreeSet<_>>().len();
    value.len() >= 4 && distinct >= 3
}

/// Is it a UUID?
pub fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => is(*byte, ANY_HEX),
        })
}

/// Words that make a value a placeholder.
const PLACEHOLDERS: [&str; 26] = [
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "your_",
    "your-",
    "your.",
    "yourpass",
    "yourtoken",
    "yoursecret",
    "yourapi",
    "yourkey",
    "redacted",
    "replace_",
    "replace-",
    "replaceme",
    "insert_",
    "insert-",
    "<password>",
    "todo",
    "xxxx",
    "****",
    "....",
    "…",
    "_here",
    "-here",
];

/// How a value that refers to another one begins.
const REFERENCES: [&str; 26] = [
    "$",
    "{{",
    "${",
    "<",
    "%(",
    "#{",
    "@{",
    "%%",
    "*",
    "...",
    "op://",
    "vault:",
    "ssm:",
    "arn:",
    "enc[",
    "!vault",
    "secret://",
    "keyring:",
    "file:",
    "./",
    "../",
    "~/",
    "[redacted",
    "process.env",
    "os.environ",
    "os.getenv",
];

/// Values that say that there is none, or what kind of value belongs here.
const WORDS: [&str; 53] = [
    "password",
    "pass",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "true",
    "false",
    "null",
    "none",
    "nil",
    "undefined",
    "string",
    "str",
    "bytes",
    "number",
    "integer",
    "boolean",
    "bool",
    "text",
    "hidden",
    "required",
    "optional",
    "invalid",
    "missing",
    "empty",
    "default",
    "example",
    "user",
    "username",
    "email",
    "value",
    "input",
    "object",
    "array",
    "list",
    "dict",
    "any",
    "unknown",
    "enabled",
    "disabled",
    "yes",
    "no",
    "on",
    "off",
    "bearer",
    "basic",
    "self",
    "this",
    "await",
];

/// Does the value only show where a value belongs, or say where to find it?
pub fn is_placeholder(value: &[u8]) -> bool {
    let value = value[..value.len().min(LOOK)].to_ascii_lowercase();
    let value = String::from_utf8_lossy(&value);
    let value = value.as_ref();
    let bare = value.trim_matches(|c: char| !c.is_alphanumeric());
    bare.is_empty()
        || WORDS.contains(&bare)
        || REFERENCES.iter().any(|start| value.starts_with(start))
        || PLACEHOLDERS.iter().any(|word| value.contains(word))
        || (value.starts_with('%') && value.ends_with('%'))
}

/// Letters and digits that form a word, a name, or several: the names of variables in code.
pub fn is_identifier(value: &[u8]) -> bool {
    value.iter().all(|byte| is(*byte, ALNUM) || matches!(byte, b'_' | b'-' | b'.' | b':'))
        && !value.first().is_none_or(u8::is_ascii_digit)
}
