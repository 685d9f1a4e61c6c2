//! Passwords in URLs and connection strings: `scheme://user:password@host`.

use super::bytes::{ALNUM, DOTTED, PLUS_SLASH, byte, is, run_before};
use super::value::is_placeholder;

/// Maximum bytes of the part before the `@`.
const LONGEST: usize = 480;

/// The password of the URL whose `://` is at `at`; if it has none, the part before the `@`, if it is long enough to be
/// a token.
pub fn find(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let scheme = run_before(text, at, DOTTED | PLUS_SLASH, 32);
    if scheme == at || !is(text[at - 1], ALNUM) {
        return None;
    }
    let from = at + 3;
    let (end, colon) = user_information(text, from)?;
    let start = match colon {
        Some(colon) => colon + 1,
        // `https://TOKEN@host`
        None if end - from >= 20 && super::value::is_random(&text[from..end]) => from,
        None => return None,
    };
    let password = &text[start..end];
    let user = &text[from..start];
    let stands_for_another = is_placeholder(password) && !is_word(password);
    (start < end && !stands_for_another && !user.starts_with(b"[redacted:")).then_some((start, end))
}

/// Can there be one, in a text that is escaped as JSON?
pub fn may_be_at(text: &[u8], at: usize) -> bool {
    user_information(text, at + 3).is_some()
}

/// A word that doesn't refer to another value can be a password here: `postgres://postgres:password@localhost`.
fn is_word(password: &[u8]) -> bool {
    password.iter().all(|b| is(*b, ALNUM))
}

/// The `@` that ends the part before the host, and the first colon before it.
fn user_information(text: &[u8], from: usize) -> Option<(usize, Option<usize>)> {
    // A head is found whatever its case, and the colon's is a control character.
    if !text[..from].ends_with(b"://") {
        return None;
    }
    let mut colon = None;
    let mut at_sign = None;
    for at in from..text.len().min(from + LONGEST) {
        match text[at] {
            b':' if colon.is_none() && at_sign.is_none() => colon = Some(at),
            // A password may contain `@` too: the last one before the path counts.
            b'@' => at_sign = Some(at),
            b'/' | b'?' | b'#' if at_sign.is_some() => break,
            // A slash that is not encoded can only be part of a password.
            b'/' | b'?' | b'#' if colon.is_none_or(|colon| text[colon + 1..at].iter().all(u8::is_ascii_digit)) => break,
            // No URL has a control character; in JSON it is escaped, and its backslash ends the URL.
            0..=b' ' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' | b',' | b'(' | b')' => {
                break;
            }
            _ => {}
        }
    }
    let end = at_sign?;
    let host = byte(text, end + 1);
    (is(host, ALNUM) || host == b'[' || host == b'$' || host == b'{').then_some((end, colon))
}
