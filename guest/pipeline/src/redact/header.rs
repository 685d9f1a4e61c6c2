//! Secrets in HTTP headers: `Authorization` and similar ones, and cookies.

use super::assignment::Found;
use super::bytes::{
    ALNUM, BASE64, DASH, DOT, DOTTED, LETTER, SEMICOLON, TILDE, URL64, VALUE, WORD, begins_word, byte, goes_on,
    goes_on_in_any_case, is, run,
};
use super::value::{is_placeholder, is_random};

/// Maximum bytes of a header's value.
const LONGEST: usize = 16_384;
/// Maximum bytes of a parameter in quotes.
const LONGEST_PARAMETER: usize = 2048;
/// Bytes that are read to tell whether it is a secret.
const LOOK: usize = 512;

/// Schemes whose credentials may look like words.
const SCHEMES: [&str; 7] = ["basic", "bearer", "token", "bot", "digest", "ssws", "apikey"];

/// `Authorization: Scheme credentials`, as a header or as an object's member. `at`: where `authorization` begins.
pub fn authorization(text: &[u8], at: usize) -> Option<Found> {
    let value = value_of(text, at, "authorization")?;
    // `AWS4-HMAC-SHA256`: a scheme with digits looks like a token, but for what follows it.
    let scheme = run(text, value, URL64, 32);
    if scheme > value && byte(text, scheme) == b' ' {
        let start = spaces(text, scheme);
        if let Some(end) = parameters(text, start) {
            return Some(Found { rule: "authorization", start, end });
        }
        if goes_on(text, start, super::MARK) {
            return None;
        }
    }
    let mut start = value;
    // The scheme stays.
    let scheme = run(text, start, LETTER | DASH, 32);
    if scheme > start && byte(text, scheme) == b' ' {
        start = spaces(text, scheme);
    }
    let end = word_end(text, start);
    let secret = &text[start..end];
    let shown = secret.len() >= 6 && !is_placeholder(secret) && !secret.starts_with(b"[redacted:");
    // Only a scheme, or code: `headers.authorization = getHeader`
    let plausible = start > value || (is_random(secret) && secret.len() >= 16);
    let code = matches!(byte(text, start), b'{' | b'(')
        || matches!(byte(text, end), b'(' | b'[' | b'{')
        || secret.contains(&b'(');
    let known_scheme = SCHEMES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(&text[value..scheme]));
    let shown = shown && plausible && !code && (known_scheme || !only_letters(secret));
    shown.then_some(Found { rule: "authorization", start, end })
}

/// The end of a scheme's parameters (RFC 9110, `auth-param`): `name="value", name=value`. A single one without quotes is a
/// token that ends in `=`, as far as can be told.
fn parameters(text: &[u8], at: usize) -> Option<usize> {
    let most = text.len().min(at + LONGEST);
    let (mut at, mut end, mut count) = (at, None, 0);
    while at < most {
        let equals = run(text, at, URL64, 64);
        if equals == at || byte(text, equals) != b'=' {
            break;
        }
        let from = equals + 1;
        let value = skip_quote(text, from);
        let to = if value > from {
            // The same quote, with as many backslashes before it, or the end of what there is.
            count += 1;
            let quote = &text[from..value];
            let rest = &text[value..most.min(value + LONGEST_PARAMETER)];
            memchr::memmem::find(rest, quote).map_or(value + rest.len(), |length| value + length + quote.len())
        } else {
            // `SignedHeaders=host;x-amz-date`
            run(text, from, VALUE | SEMICOLON, most - from)
        };
        count += 1;
        end = Some(to);
        if byte(text, to) != b',' {
            break;
        }
        at = spaces(text, to + 1);
    }
    end.filter(|_| count > 1)
}

/// `Basic dXNlcjpwYXNz`, anywhere: Base64 of a user, a colon and a password. `at`: where `basic` begins.
pub fn basic(text: &[u8], at: usize) -> Option<Found> {
    if !goes_on_in_any_case(text, at, "basic ") || !begins_word(text, at) {
        return None;
    }
    let start = at + "basic ".len();
    let end = run(text, start, BASE64, LOOK);
    let decoded = decoded(&text[start..end])?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = &decoded[colon + 1..];
    let printable = decoded.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let known = colon > 0 && password.len() >= 3 && printable && !is_placeholder(password);
    known.then_some(Found { rule: "authorization", start, end })
}

/// Decodes Base64 (RFC 4648); `None` if it is none.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = &text[..text.len() - text.iter().rev().take(2).take_while(|byte| **byte == b'=').count()];
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (text.len() % 4 != 1).then_some(bytes)
}

/// `Bearer token`, anywhere. `at`: where `bearer` begins.
pub fn bearer(text: &[u8], at: usize) -> Option<Found> {
    if !goes_on_in_any_case(text, at, "bearer") || !begins_word(text, at) {
        return None;
    }
    let mut start = at + "bearer".len();
    start = match byte(text, start) {
        b' ' => spaces(text, start),
        b'%' if goes_on(text, start, "%20") => start + 3,
        b'+' | b':' => spaces(text, start + 1),
        _ => return None,
    };
    let set = BASE64 | DOTTED | TILDE;
    let secret = &text[start..run(text, start, set, LOOK)];
    let known = secret.len() >= 16 && is_random(secret) && !is_placeholder(secret);
    known.then(|| Found { rule: "authorization", start, end: run(text, start, set, LONGEST) })
}

/// `Cookie: a=b; c=d` and `Set-Cookie: a=b; Path=/`. `at`: where `cookie` begins.
pub fn cookie(text: &[u8], at: usize) -> Option<Found> {
    let start = value_of(text, at, "cookie")?;
    let value = &text[start..text.len().min(start + LOOK)];
    let equals = value.iter().position(|b| *b == b'=')?;
    let named = equals > 0 && value[..equals].iter().all(|b| is(*b, WORD | DASH | DOT));
    let first = value[equals + 1..]
        .iter()
        .position(|b| !is(*b, VALUE))
        .map_or(&value[equals + 1..], |n| &value[equals + 1..][..n]);
    // `name=` in code
    let shown = named && first.len() >= 4 && !is_placeholder(first);
    shown.then(|| Found { rule: "cookie", start, end: line_end(text, start) })
}

/// Where a header's value begins, in a request or in an object: `Name: v`, `"name": "v"`, `name=v`.
fn value_of(text: &[u8], at: usize, name: &str) -> Option<usize> {
    if !goes_on_in_any_case(text, at, name) {
        return None;
    }
    let mut at = skip_quote(text, at + name.len());
    at += usize::from(byte(text, at) == b']');
    at = spaces(text, at);
    if !matches!(byte(text, at), b':' | b'=' | b',') {
        return None;
    }
    at = spaces(text, at + 1);
    let quoted = skip_quote(text, at);
    // `("Authorization", "Bearer …")` has quotes; without them it would be a list of names.
    (quoted > at || byte(text, at - 1) != b',').then_some(quoted)
}

fn skip_quote(text: &[u8], at: usize) -> usize {
    let mut end = at;
    while byte(text, end) == b'\\' && end - at < 15 {
        end += 1;
    }
    let prefix = usize::from(matches!(byte(text, end), b'f' | b'b') && matches!(byte(text, end + 1), b'"' | b'\''));
    if matches!(byte(text, end + prefix), b'"' | b'\'' | b'`') { end + prefix + 1 } else { at }
}

fn spaces(text: &[u8], at: usize) -> usize {
    let mut at = at;
    while byte(text, at) == b' ' {
        at += 1;
    }
    at
}

/// The end of the line or the string.
fn line_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..text.len().min(at + LONGEST)];
    at + rest.iter().position(|b| matches!(b, b'\n' | b'\r' | b'"' | b'\'' | b'`' | b'\\')).unwrap_or(rest.len())
}

fn word_end(text: &[u8], at: usize) -> usize {
    let ends = |b: &u8| b" ,;)}<&\n\r\"'`\\".contains(b);
    let rest = &text[at..text.len().min(at + LONGEST)];
    at + rest.iter().position(ends).unwrap_or(rest.len())
}

fn only_letters(secret: &[u8]) -> bool {
    secret.iter().all(|b| is(*b, LETTER)) && !is_random(secret) || secret.iter().all(|b| !is(*b, ALNUM))
}
