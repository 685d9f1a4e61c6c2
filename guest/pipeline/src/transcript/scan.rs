//! Finds where the strings of a JSON text end.
//!
//! Most bytes of a transcript are in strings that are never sent, or are sent unchanged. So this examines many bytes at
//! once for anything that can end a string or is not allowed in one: sixteen first, since most strings are short, then
//! 64. Code has an escape every few of them, so which bytes are escaped is computed for all 64 together.

use wide::u8x16;

/// Bytes examined together in a short string.
const LANES: usize = 16;

/// Bytes examined together in a longer string.
const BLOCK: usize = 64;

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
#[inline]
pub fn string(text: &[u8], at: usize) -> Option<StringEnd> {
    if let Some(lanes) = text.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let lanes = u8x16::new(*lanes);
        let found = (equal(lanes, b'"') | equal(lanes, b'\\') | controls(lanes)).to_bitmask();
        if found != 0 {
            let place = at + found.trailing_zeros() as usize;
            if text[place] == b'"' {
                return Some(StringEnd { end: place + 1, escaped: false });
            }
        } else {
            return long_string(text, at + LANES);
        }
    }
    long_string(text, at)
}

/// As [`string`], for one that has more than a few bytes or an escape.
fn long_string(text: &[u8], mut at: usize) -> Option<StringEnd> {
    let mut escaped = false;
    // One if the last byte was a backslash that escapes the next one.
    let mut carried = 0;
    while let Some(block) = text.get(at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        let quotes = places(block, |lanes| equal(lanes, b'"'));
        let backslashes = places(block, |lanes| equal(lanes, b'\\'));
        let controls = places(block, controls);
        let mut ends = quotes | controls;
        if backslashes | carried != 0 {
            escaped = true;
            let follow = after_backslash(backslashes, &mut carried);
            ends = (quotes & !follow) | controls;
            let inside = ends.wrapping_sub(1) & !ends;
            let common = places(block, |lanes| equal(lanes, b'n') | equal(lanes, b't')) | quotes | backslashes;
            let mut others = follow & inside & !common;
            while others != 0 {
                let place = at + others.trailing_zeros() as usize;
                // The escape's backslash is before it.
                escape(&text[place - 1..])?;
                others &= others - 1;
            }
        }
        if ends != 0 {
            let place = ends.trailing_zeros() as usize;
            return (block[place] == b'"').then_some(StringEnd { end: at + place + 1, escaped });
        }
        at += BLOCK;
    }
    at -= usize::from(carried != 0);
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

/// Which bytes follow a backslash that is not escaped itself, one bit each; of a run of backslashes, every second one
/// does. `carried` says it of the first byte, and afterwards of the next block's.
fn after_backslash(backslashes: u64, carried: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let begin = backslashes & !*carried;
    let follow = begin << 1 | *carried;
    // Adding a run's first bit carries to the place after the run: it tells whether the run has an odd length.
    let odd_runs = begin & !EVEN & !follow;
    let (after_odd_runs, overflow) = odd_runs.overflowing_add(begin);
    *carried = u64::from(overflow);
    (EVEN ^ (after_odd_runs << 1)) & follow
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

/// Which bytes of a block are of a kind, one bit each.
fn places(block: &[u8; BLOCK], of_kind: impl Fn(u8x16) -> u8x16) -> u64 {
    let (lanes, _) = block.as_chunks::<LANES>();
    lanes.iter().rev().fold(0, |places, lanes| places << LANES | u64::from(of_kind(u8x16::new(*lanes)).to_bitmask()))
}

fn equal(lanes: u8x16, byte: u8) -> u8x16 {
    lanes.simd_eq(u8x16::splat(byte))
}

/// Bytes that JSON forbids in a string.
fn controls(lanes: u8x16) -> u8x16 {
    lanes.min(u8x16::splat(0x1f)).simd_eq(lanes)
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
        for padding in [0, 1, 14, 15, 16, 17, 40, 62, 63, 64, 65, 79, 80, 81, 143, 144, 145] {
            let padding = "x".repeat(padding);
            for bad in ["\n", "\0", "\u{1f}", r"\x", r"\u12g4", r"\u12", r"\ud83d", r"\ude00", "\\"] {
                assert_eq!(length(&format!("\"{padding}{bad}{padding}\"")), None, "{bad:?} after {}", padding.len());
            }
            assert_eq!(length(&format!("\"{padding}")), None);
        }
    }

    #[test]
    fn a_string_ends_at_the_first_quote_that_is_not_escaped() {
        for padding in 0..150 {
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
        fn what_has_an_end_is_what_serde_json_reads(text in r#"(\PC|[ "\\bnu0-9a-f\n]|\\{1,70}|\\["nu]|a{60,70}){0,60}"#) {
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
