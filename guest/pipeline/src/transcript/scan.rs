//! Finds where the strings of a JSON text end.
//!
//! Most bytes of a transcript are in strings that are never sent, or are sent unchanged. So this examines sixteen bytes
//! at once for anything that can end a string or is not allowed in one.

use wide::u8x16;

/// Bytes examined together.
const LANES: usize = 16;

/// The result of scanning a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StringEnd {
    /// The position after the closing quote.
    pub end: usize,
    /// Does the string have escapes?
    pub escaped: bool,
}

/// Finds the end of the string whose first byte within its quotes is at `at`. `None` if it has no end, or holds
/// something that JSON forbids, or half of a surrogate pair, which `serde_json` accepts in some places and not in
/// others.
pub fn string(text: &[u8], mut at: usize) -> Option<StringEnd> {
    let mut escaped = false;
    while let Some(lanes) = text.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let mut found = specials(*lanes);
        let mut next = LANES;
        // Code has an escape every few lanes: one check finds every special byte in the chunk.
        while found != 0 {
            let place = found.trailing_zeros() as usize;
            match lanes[place % LANES] {
                b'"' => return Some(StringEnd { end: at + place + 1, escaped }),
                b'\\' => next = place + escape(&text[at + place..])?,
                _ => return None,
            }
            escaped = true;
            if next >= LANES {
                break;
            }
            found &= u32::MAX << next;
            next = LANES;
        }
        at += next;
    }
    loop {
        match text.get(at)? {
            b'"' => return Some(StringEnd { end: at + 1, escaped }),
            b'\\' => {
                at += escape(&text[at..])?;
                escaped = true;
            }
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// Length in bytes of the escape that `text` begins with.
fn escape(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => {
            let digits = text.get(2..6)?;
            // `\ud83d`: half of a surrogate pair.
            let is_whole = digits.iter().all(u8::is_ascii_hexdigit) && !matches!(digits[0], b'd' | b'D');
            is_whole.then_some(6)
        }
        _ => None,
    }
}

/// Which of these bytes are quotes, backslashes or control characters, one bit each.
fn specials(lanes: [u8; LANES]) -> u32 {
    let lanes = u8x16::new(lanes);
    let is = |byte: u8| lanes.simd_eq(u8x16::splat(byte));
    let control = lanes.min(u8x16::splat(0x1f)).simd_eq(lanes);
    (is(b'"') | is(b'\\') | control).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn length(text: &str) -> Option<usize> {
        string(text.as_bytes(), 1).map(|found| found.end)
    }

    #[test]
    fn what_json_forbids_in_a_string_has_no_end() {
        for padding in [0, 1, 14, 15, 16, 17, 40] {
            let padding = "x".repeat(padding);
            for bad in ["\n", "\0", "\u{1f}", r"\x", r"\u12g4", r"\u12", r"\ud83d", r"\ude00", "\\"] {
                assert_eq!(length(&format!("\"{padding}{bad}{padding}\"")), None, "{bad:?} after {}", padding.len());
            }
            assert_eq!(length(&format!("\"{padding}")), None);
        }
    }

    #[test]
    fn a_string_ends_at_the_first_quote_that_is_not_escaped() {
        for padding in 0..40 {
            let inner = "é".repeat(padding);
            for escape in ["", r#"\""#, r"\\", r#"\\\""#, r"\u0022", r"\n", "\u{7f}"] {
                let text = format!("\"{inner}{escape}\"");
                let found = string(format!("{text}:\"more\"").as_bytes(), 1).unwrap();
                assert_eq!(found, StringEnd { end: text.len(), escaped: escape.starts_with('\\') }, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_has_an_end_is_what_serde_json_reads(text in r#"(\PC|[ "\\bnu0-9a-f\n]){0,60}"#) {
            let json = format!("\"{text}\"");
            let whole = serde_json::from_str::<String>(&json);
            match length(&json) {
                Some(end) => prop_assert!(serde_json::from_str::<String>(&json[..end]).is_ok()),
                // The one case that serde_json reads is a surrogate pair.
                None => prop_assert!(whole.map_or(true, |_| json.to_lowercase().contains("\\ud"))),
            }
        }
    }
}
