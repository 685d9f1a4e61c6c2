//! Armored private keys: from `-----BEGIN … PRIVATE KEY-----` to the end, even if the end is missing, however the lines
//! were written: escaped, quoted, numbered, indented, commented out.

use super::bytes::{BASE64, DASH, DIGIT, WORD, byte, goes_on, is, run, run_before};

/// Maximum bytes of a key. The largest in use (RSA with 16,384 bits) has 13 KB.
const LONGEST: usize = 32_768;
/// Maximum length of a label such as `OPENSSH PRIVATE KEY`.
const LONGEST_LABEL: usize = 64;
/// A key has more Base64 characters than this. Anything shorter is text about keys.
const LEAST: usize = 24;

/// The key whose `BEGIN` is at `at`.
pub fn find(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let label_at = at;
    let at = at - usize::from(at > 0 && text[at - 1] == b' ');
    let begin = run_before(text, at, DASH, 8);
    if at - begin < 4 || !goes_on(text, label_at, "BEGIN ") {
        return None;
    }
    let at = label_at;
    let label = text.get(at..text.len().min(at + LONGEST_LABEL))?;
    let label_end = label.iter().position(|byte| !is_of_label(*byte))?;
    if label[label_end] != b'-' || !contains(&label[..label_end], b"PRIVATE KEY") {
        return None;
    }
    let from = run(text, at + label_end, DASH, 8);
    let (end, body) = body(text, from);
    (body >= LEAST).then_some((begin, end))
}

/// The `Private-Lines: n` of a `PuTTY` key, and the lines after it.
pub fn putty(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if !goes_on(text, at, "Private-Lines:") {
        return None;
    }
    let from = run(text, at + "Private-Lines: ".len(), DIGIT, 4);
    let (end, body) = body(text, from);
    (body >= LEAST).then_some((from, end))
}

/// Where the Base64 lines that begin at `from` end, or the line that says END; and how many characters they have.
fn body(text: &[u8], from: usize) -> (usize, usize) {
    let most = text.len().min(from + LONGEST);
    let (mut at, mut end, mut characters) = (from, from, 0);
    while at < most {
        at = decoration(text, at, most);
        let dashes = run(text, at, DASH, 8);
        if dashes - at >= 4 && (goes_on(text, dashes, "END ") || goes_on(text, dashes, " END ")) {
            let label = run_of_label(text, dashes, most);
            return (run(text, label, DASH, 8), characters);
        }
        // A line that a diff removed.
        if dashes == at + 1 {
            at = dashes;
        }
        let to = run(text, at, BASE64, most - at);
        if to == at {
            break;
        }
        // `Proc-Type: 4,ENCRYPTED`, `DEK-Info: …`, `Version: …`, `Comment: …`
        let word = run(text, at, WORD | DASH, LONGEST_LABEL);
        if byte(text, word) == b':' {
            at = line_end(text, word, most);
            continue;
        }
        // Words of a sentence are not lines of a key: they are short, and a line has more than one.
        if to - at < 16 && byte(text, to) == b' ' && is(byte(text, to + 1), BASE64) {
            break;
        }
        characters += to - at;
        (at, end) = (to, to);
    }
    (end, characters)
}

fn run_of_label(text: &[u8], at: usize, most: usize) -> usize {
    let label = &text[at..most.min(at + LONGEST_LABEL)];
    at + label.iter().position(|byte| !is_of_label(*byte)).unwrap_or(label.len())
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
}

fn line_end(text: &[u8], at: usize, most: usize) -> usize {
    text[at..most].iter().position(|byte| *byte == b'\n' || *byte == b'\\').map_or(most, |n| at + n)
}

/// Skips what separates two lines of a key: white space, escaped line ends, quotes, string concatenation, line numbers.
fn decoration(text: &[u8], from: usize, most: usize) -> usize {
    let mut at = from;
    while at < most {
        at = match text[at] {
            b'\\' if matches!(byte(text, at + 1), b'n' | b'r' | b't') => at + 2,
            b'\\' if byte(text, at + 1) == b'u' => (at + 6).min(most),
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b'`' | b',' | b'>' | b'|' | b'#' | b'*' | b';' | b'('
            | b')' | b'\\' => at + 1,
            // `+ "…"`, `- "…"` in a diff, `// …`
            b'+' | b'-' | b'/' if matches!(byte(text, at + 1), b' ' | b'"' | b'\'') => at + 1,
            // `12→`, `12:`, `12|`
            b'0'..=b'9' => {
                let number = run(text, at, DIGIT, 6);
                if goes_on(text, number, "→") {
                    number + "→".len()
                } else if matches!(byte(text, number), b':' | b'|' | b'\t')
                    || (byte(text, number) == b'\\' && byte(text, number + 1) == b't')
                {
                    number + 1 + usize::from(byte(text, number) == b'\\')
                } else {
                    return at;
                }
            }
            _ => return at,
        };
    }
    at
}

/// An armored key in Base64, as Kubernetes and CI systems store it.
pub fn encoded(text: &[u8], at: usize) -> Option<(usize, usize)> {
    // `-----BEGIN` and the first letters of the label.
    if !goes_on(text, at, "LS0tLS1CRUdJTi") || (at > 0 && is(text[at - 1], BASE64) && text[at - 1] != b'=') {
        return None;
    }
    let end = run(text, at, BASE64, LONGEST * 2);
    let first: Vec<u8> = decode(&text[at..end.min(at + 64)]);
    contains(&first, b"PRIVATE KEY").then_some((at, end))
}

fn decode(base64: &[u8]) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let groups = base64.chunks_exact(4);
    groups
        .flat_map(|group| {
            let bits = group.iter().fold(0u32, |bits, byte| bits << 6 | u32::from(value(*byte)));
            [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]
        })
        .collect()
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Can a key begin here, in a text that is escaped as JSON?
pub fn may_be_at(text: &[u8], at: usize) -> bool {
    goes_on(text, at, "BEGIN ") && text[at..text.len().min(at + LONGEST_LABEL)].windows(7).any(|w| w == b"PRIVATE")
}
