//! Kinds of bytes, as bit sets, and where a word begins in text that may be escaped.

/// A set of kinds of bytes.
pub type Set = u16;

const A_TO_F: Set = 1;
const G_TO_Z: Set = 1 << 1;
const CAPITAL_A_TO_F: Set = 1 << 2;
const CAPITAL_G_TO_Z: Set = 1 << 3;
/// `0` to `9`.
pub const DIGIT: Set = 1 << 4;
/// `_`
pub const UNDERSCORE: Set = 1 << 5;
/// `-`
pub const DASH: Set = 1 << 6;
/// `.`
pub const DOT: Set = 1 << 7;
/// `+` and `/`
pub const PLUS_SLASH: Set = 1 << 8;
/// `=`
pub const EQUALS: Set = 1 << 9;
/// `~`
pub const TILDE: Set = 1 << 10;
/// `%`
pub const PERCENT: Set = 1 << 11;
/// `;`
pub const SEMICOLON: Set = 1 << 13;
/// Any other printable byte except quotes, brackets, space and separators of values.
const OTHER: Set = 1 << 12;

/// Lowercase hexadecimal digits.
pub const HEX: Set = DIGIT | A_TO_F;
/// Hexadecimal digits.
pub const ANY_HEX: Set = HEX | CAPITAL_A_TO_F;
/// `a` to `z`.
pub const LOWER: Set = A_TO_F | G_TO_Z;
/// `A` to `Z`.
pub const UPPER: Set = CAPITAL_A_TO_F | CAPITAL_G_TO_Z;
/// Uppercase letters and digits.
pub const UPPER_DIGIT: Set = UPPER | DIGIT;
/// Lowercase letters and digits.
pub const LOWER_DIGIT: Set = LOWER | DIGIT;
/// Letters.
pub const LETTER: Set = UPPER | LOWER;
/// Letters and digits.
pub const ALNUM: Set = LETTER | DIGIT;
/// Letters, digits, `_`.
pub const WORD: Set = ALNUM | UNDERSCORE;
/// Base64 for URLs: letters, digits, `_`, `-`.
pub const URL64: Set = WORD | DASH;
/// Base64, with its padding.
pub const BASE64: Set = ALNUM | PLUS_SLASH | EQUALS;
/// Characters of tokens with parts: [`URL64`] and the dot.
pub const DOTTED: Set = URL64 | DOT;
/// Characters of an unquoted value.
pub const VALUE: Set = DOTTED | BASE64 | TILDE | PERCENT | OTHER;

const KINDS: [Set; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'f' => A_TO_F,
            b'g'..=b'z' => G_TO_Z,
            b'A'..=b'F' => CAPITAL_A_TO_F,
            b'G'..=b'Z' => CAPITAL_G_TO_Z,
            b'0'..=b'9' => DIGIT,
            b'_' => UNDERSCORE,
            b'-' => DASH,
            b'.' => DOT,
            b'+' | b'/' => PLUS_SLASH,
            b'=' => EQUALS,
            b'~' => TILDE,
            b'%' => PERCENT,
            b';' => SEMICOLON,
            b'!' | b'@' | b'#' | b'$' | b'^' | b'*' | b'?' | b':' | b'|' | 0x80.. => OTHER,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many bytes were examined so far: a measure of work that doesn't depend on how busy the machine is.
#[cfg(test)]
pub fn looked_at() -> usize {
    LOOKED_AT.get()
}

/// Is the byte in the set?
pub fn is(byte: u8, set: Set) -> bool {
    #[cfg(test)]
    LOOKED_AT.set(LOOKED_AT.get() + 1);
    KINDS[usize::from(byte)] & set != 0
}

/// The byte at `at`, or 0 outside the text.
pub fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The end of the run of bytes in `set` that begins at `at`, at most `most` bytes long.
pub fn run(text: &[u8], at: usize, set: Set, most: usize) -> usize {
    let end = text.len().min(at.saturating_add(most));
    let rest = text.get(at..end).unwrap_or_default();
    at + rest.iter().position(|byte| !is(*byte, set)).unwrap_or(rest.len())
}

/// The beginning of the run of bytes in `set` that ends at `at`, at most `most` bytes long.
pub fn run_before(text: &[u8], at: usize, set: Set, most: usize) -> usize {
    let from = at.saturating_sub(most);
    let rest = &text[from..at];
    from + rest.iter().rposition(|byte| !is(*byte, set)).map_or(0, |last| last + 1)
}

/// Does `text` continue with `word` at `at`?
pub fn goes_on(text: &[u8], at: usize, word: &str) -> bool {
    text.get(at..).is_some_and(|rest| rest.starts_with(word.as_bytes()))
}

/// Like [`goes_on`], but ignores case. `word` is in lower case.
pub fn goes_on_in_any_case(text: &[u8], at: usize, word: &str) -> bool {
    text.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Can a word begin at `at`? It can after anything but letters, digits and `_`, and after an escape that ends in one:
/// `\n`, `\u0022`, `\x22`, `%22`, a terminal color.
pub fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| text[at]) else { return true };
    if !is(before, WORD) {
        return true;
    }
    let back = |n: usize| at.checked_sub(n).map_or(0, |at| text[at]);
    let hexadecimal = |from: usize| (1..=from).all(|n| is(back(n), ANY_HEX));
    (back(2) == b'\\' && b"nrtbfv0".contains(&before))
        || (back(3) == b'%' && hexadecimal(2))
        || (back(4) == b'\\' && back(3) == b'x' && hexadecimal(2))
        || (back(6) == b'\\' && back(5) == b'u' && hexadecimal(4))
        || (b"mK".contains(&before) && ends_color(&text[at.saturating_sub(24)..at - 1]))
}

/// The beginning of the word whose letters begin at `at`: the first ones may be the end of an escape (`\n`, `\u0022`,
/// `\x22`, `%22`, a terminal color). The result is at most `last`.
pub fn without_escape(text: &[u8], at: usize, last: usize) -> usize {
    let hexadecimal = |from: usize, count: usize| (from..from + count).all(|at| is(byte(text, at), ANY_HEX));
    let begin = match (at.checked_sub(1).map_or(0, |before| text[before]), byte(text, at)) {
        (b'\\', b'u') if hexadecimal(at + 1, 4) => at + 5,
        (b'\\', b'x') if hexadecimal(at + 1, 2) => at + 3,
        (b'\\', escaped) if b"nrtbfv0".contains(&escaped) => at + 1,
        (b'%', _) if hexadecimal(at, 2) => at + 2,
        _ => {
            let letter = run(text, at, DIGIT, 8);
            let colors = b"mK".contains(&byte(text, letter)) && ends_color(&text[letter.saturating_sub(24)..letter]);
            if colors { letter + 1 } else { at }
        }
    };
    if begin <= last { begin } else { at }
}

/// Is this the beginning of a terminal's control sequence, without its last letter, whether escaped or not?
fn ends_color(text: &[u8]) -> bool {
    let digits = text.iter().rposition(|byte| !is(*byte, DIGIT) && *byte != b';');
    let Some((b'[', rest)) = digits.and_then(|at| text[..=at].split_last()) else { return false };
    [&b"\x1b"[..], b"\\u001b", b"\\u001B", b"\\x1b", b"\\x1B", b"\\e", b"\\033"].iter().any(|esc| rest.ends_with(esc))
}
