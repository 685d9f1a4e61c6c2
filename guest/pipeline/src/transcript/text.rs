//! Texts as they are sent: decoded from JSON, cleaned of secrets, cut at the attribute limit, and encoded as JSON
//! again.
//!
//! Every text of a transcript that is sent goes through [`TextRules`]: this is the one place that decides what leaves.
//! Only the part of a string that is kept is decoded; the rest is counted. Most texts are kept whole and already have
//! the form that this module would write: those are copied unchanged.

use crate::redact::{MARGIN, MARK as REDACTED, Redactor};
use crate::transcript::elide::MARK;
use crate::transcript::raw::Raw;
use memchr::{memchr, memmem};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

/// The largest attribute limit, in characters: an event holds at most 8 MiB, so more would never be sent.
pub const LARGEST_LIMIT: usize = 500_000;

/// Maximum characters of a `$ai_error`. PostHog keeps it long-term, so it is short.
pub const ERROR_LIMIT: usize = 500;

/// More characters than the name of any rule has.
const LONGEST_RULE: usize = 80;

/// A text as it is sent. It is stored as JSON because most texts are sent twice, and escaping costs the most.
#[derive(Debug, Clone)]
pub struct Text {
    /// A string, as `serde_json` writes it.
    json: Box<str>,
    /// Length of the decoded text in bytes.
    length: usize,
}

impl Text {
    /// Length of the decoded text in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Is the text empty?
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The text as a JSON string, as `serde_json` writes it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The decoded text.
    pub fn decoded(&self) -> Cow<'_, str> {
        decode_inner(
            self.json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default(),
            usize::MAX / 4,
        )
        .0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        // Writing a string to memory cannot fail.
        Self { json: serde_json::to_string(text).unwrap_or_default().into(), length: text.len() }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from("")
    }
}

/// The rules that apply to every text.
#[derive(Debug, Clone)]
pub struct TextRules {
    /// Maximum characters kept.
    pub limit: usize,
    /// Replaces secrets.
    pub redactor: Rc<Redactor>,
    /// Keep nothing at all: privacy mode.
    pub privacy: bool,
}

impl TextRules {
    /// The most bytes of a string in the file that any text can need.
    pub fn longest_string(&self) -> usize {
        // Two `\u` escapes, the longest form of one character, take twelve bytes.
        12 * (self.limit.max(ERROR_LIMIT) + MARGIN)
    }

    /// The text of a raw JSON value: a string is decoded, anything else stands as it is written.
    pub fn of_json(&self, json: Raw<'_>) -> Text {
        if self.privacy {
            return Text::default();
        }
        let raw = json.get();
        let unchanged = || Text { json: raw.into(), length: 0 };
        if let Some(inner) = json.inner().filter(|_| !json.is_elided())
            && let Some(length) = canonical_length(inner).filter(|length| *length <= self.limit)
        {
            // Nothing is escaped that could be a part of a secret.
            let text = self.redactor.holds_secret(inner, || decode_inner(inner, usize::MAX / 4).0);
            return match text.and_then(|text| self.redactor.redact(&text)) {
                None => Text { length, ..unchanged() },
                // A mark can be longer than the secret that it replaces.
                Some(clean) => Text::from(cut(&clean, clean.chars().count(), self.limit).as_str()),
            };
        }
        let Some((text, total)) = decode(json, self.limit.saturating_add(MARGIN)) else { return self.of(raw) };
        Text::from(self.finish(text, total, self.limit).as_ref())
    }

    /// The first characters of a raw JSON string, or nothing of another value.
    pub fn beginning_of_json(&self, raw: Raw<'_>, characters: usize) -> String {
        let (text, _) = decode(raw, characters + MARGIN).filter(|_| !self.privacy).unwrap_or_default();
        self.without_secrets(text, characters).0.into_owned()
    }

    /// A text that is not raw JSON.
    pub fn of(&self, text: &str) -> Text {
        if self.privacy {
            return Text::default();
        }
        Text::from(self.finish(Cow::Borrowed(text), text.chars().count(), self.limit).as_ref())
    }

    /// Like [`TextRules::of`], but cut at another limit, and not encoded as JSON.
    pub fn of_within(&self, text: &str, limit: usize) -> String {
        if self.privacy {
            return String::new();
        }
        self.finish(Cow::Borrowed(text), text.chars().count(), limit).into_owned()
    }

    /// Finishes a text of `total` characters that begins with `text`.
    fn finish<'a>(&self, text: Cow<'a, str>, total: usize, limit: usize) -> Cow<'a, str> {
        let (text, kept) = self.without_secrets(text, limit);
        // Characters removed by redaction don't count as missing.
        let missing = total.saturating_sub(kept);
        let total = text.chars().count() + missing;
        if missing == 0 && total <= limit { text } else { Cow::Owned(cut(&text, total, limit)) }
    }

    /// The first `limit` characters of `text`, without their secrets, and how many characters those were. If redaction
    /// made them fewer, nothing after them is kept: it was not checked to its end.
    fn without_secrets<'a>(&self, text: Cow<'a, str>, limit: usize) -> (Cow<'a, str>, usize) {
        let kept = prefix(&text, limit).len();
        let seen = kept + prefix(&text[kept..], MARGIN).len();
        let kept = match self.redactor.redact_within(&text[..seen], kept) {
            Some(clean) => return (Cow::Owned(clean), text[..kept].chars().count()),
            None => kept,
        };
        let kept = match text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[..kept]),
            Cow::Owned(mut text) => {
                text.truncate(kept);
                Cow::Owned(text)
            }
        };
        let characters = kept.chars().count();
        (kept, characters)
    }
}

/// Bytes of the text that stands between the quotes of a JSON string, if `serde_json` would write it the same way: with
/// the shortest escapes, and none that is not needed. (JavaScript writes the same ones, but for halves of surrogates.)
fn canonical_length(inner: &str) -> Option<usize> {
    let mut length = inner.len();
    let mut rest = inner.as_bytes();
    while let Some(at) = memchr(b'\\', rest) {
        let escape = &rest[at..];
        let used = match escape {
            [_, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [_, b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..]
            | [_, b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return None,
        };
        length -= used - 1;
        rest = &escape[used..];
    }
    Some(length)
}

/// Cuts `text`, the beginning of a text of `total` characters, to `limit` characters. If anything is cut, the result
/// says so within the limit: `… [truncated N characters]`.
pub fn cut(text: &str, total: usize, limit: usize) -> String {
    let there = text.chars().count();
    if total <= limit && total == there {
        return text.to_owned();
    }
    let mut kept = limit.min(there);
    let mut mark = String::new();
    // The length of the number itself affects how much is cut: two rounds settle it, the third is for a carry.
    for _ in 0..3 {
        mark.clear();
        let _ = write!(mark, "… [truncated {} characters]", total - kept);
        let length = mark.chars().count();
        if length > limit {
            // There is no room for the note.
            return before_mark(prefix(text, limit)).to_owned();
        }
        kept = there.min(limit - length);
    }
    let part = prefix(text, kept);
    let whole = before_mark(part);
    if whole.len() < part.len() {
        // More is missing: the number has at most one more digit, and there is room for that now.
        return format!("{whole}… [truncated {} characters]", total - whole.chars().count());
    }
    let mut out = whole.to_owned();
    out.push_str(&mark);
    out
}

/// Ends the text before a `[redacted:…]` that it would cut in two.
fn before_mark(text: &str) -> &str {
    let tail = text.len().saturating_sub(REDACTED.len() + LONGEST_RULE);
    let Some(at) = memchr::memrchr(b'[', &text.as_bytes()[tail..]).map(|at| tail + at) else { return text };
    let begun = &text[at..];
    let within = REDACTED.starts_with(begun) || (begun.starts_with(REDACTED) && !begun.contains(']'));
    if within { &text[..at] } else { text }
}

/// The first `characters` characters.
pub fn prefix(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    // Most texts begin with only ASCII, where a character is a byte.
    if let Some((begun, _)) = text.split_at_checked(characters)
        && begun.is_ascii()
    {
        return begun;
    }
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

/// Decodes a JSON string, up to about `wanted` characters, and counts all of them, those that were elided too. Any other
/// value is no text.
pub fn decode(raw: Raw<'_>, wanted: usize) -> Option<(Cow<'_, str>, usize)> {
    let inner = raw.inner()?;
    let (inner, missing) = if raw.is_elided() { split_mark(inner) } else { (inner, 0) };
    let (text, total) = decode_inner(inner, wanted);
    Some((text, total + missing))
}

/// Decodes what stands between the quotes of a JSON string, up to about `wanted` characters, and counts all of them. A
/// surrogate without its other half becomes U+FFFD: the client has written such.
fn decode_inner(inner: &str, wanted: usize) -> (Cow<'_, str>, usize) {
    let Some(first) = memchr(b'\\', inner.as_bytes()) else {
        let total = inner.chars().count();
        return (Cow::Borrowed(prefix(inner, wanted)), total);
    };
    let mut text = String::with_capacity(inner.len().min(wanted + wanted / 8 + 16));
    let mut total = 0;
    let mut rest = inner;
    let mut next = Some(first);
    while let Some(at) = next {
        let plain = &rest[..at];
        if total < wanted {
            text.push_str(plain);
        }
        total += plain.chars().count();
        let (decoded, length) = escape(&rest[at..]);
        if total < wanted {
            text.push(decoded);
        }
        total += 1;
        rest = &rest[at + length..];
        next = memchr(b'\\', rest.as_bytes());
    }
    if total < wanted {
        text.push_str(rest);
    }
    total += rest.chars().count();
    (Cow::Owned(text), total)
}

/// One escape sequence, at the start of `text`: its character and its length in bytes.
fn escape(text: &str) -> (char, usize) {
    let bytes = text.as_bytes();
    let simple = match bytes.get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode_escape(text),
        Some(&other) if other.is_ascii() => char::from(other),
        _ => return ('\u{FFFD}', 1),
    };
    (simple, 2)
}

fn unicode_escape(text: &str) -> (char, usize) {
    let unit = |at: usize| text.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(2) else { return ('\u{FFFD}', 2) };
    if (0xD800..0xDC00).contains(&first)
        && text.get(6..8) == Some("\\u")
        && let Some(second) = unit(8)
        && (0xDC00..0xE000).contains(&second)
    {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(code).unwrap_or('\u{FFFD}'), 12);
    }
    (char::from_u32(first).unwrap_or('\u{FFFD}'), 6)
}

/// The part of an elided string that is there, and how many characters are missing.
fn split_mark(inner: &str) -> (&str, usize) {
    let Some((at, count)) = mark(inner) else { return (inner, 0) };
    let missing = count.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    (&inner[..at], missing)
}

fn mark(inner: &str) -> Option<(usize, &str)> {
    let at = memmem::rfind(inner.as_bytes(), MARK.as_bytes())?;
    Some((at, &inner[at + MARK.len()..]))
}

/// Lines of a raw JSON string, also where it was elided. A last one without a line break is one.
pub fn lines(raw: Raw<'_>) -> u64 {
    let Some(inner) = raw.inner() else { return 0 };
    let (inner, cut) = match mark(inner).filter(|_| raw.is_elided()) {
        Some((at, counts)) => (&inner[..at], counts.split(':').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)),
        None => (inner, 0),
    };
    let (mut breaks, mut open, mut rest) = (cut, !inner.is_empty(), inner.as_bytes());
    while let Some(at) = memchr(b'\\', rest) {
        let (is_break, used) = match &rest[at..] {
            [_, b'n', ..] => (true, 2),
            [_, b'u', b'0', b'0', b'0', b'a' | b'A', ..] => (true, 6),
            escape => (false, escape.len().min(2)),
        };
        breaks += u64::from(is_break);
        rest = &rest[at + used..];
        open = !(is_break && rest.is_empty());
    }
    breaks + u64::from(open)
}

/// Bytes of a raw JSON string (with its quotes), also where it was elided.
pub fn raw_length(raw: Raw<'_>) -> usize {
    let inner = raw.get().trim_matches('"');
    match mark(inner).filter(|_| raw.is_elided()) {
        Some((at, counts)) => at + counts.rsplit(':').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0),
        None => inner.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(limit: usize) -> TextRules {
        TextRules { limit, redactor: Rc::new(Redactor::new()), privacy: false }
    }

    /// The text itself, of which the JSON must be what `serde_json` writes.
    fn of_json(rules: &TextRules, raw: Raw<'_>) -> String {
        let text = rules.of_json(raw);
        let decoded = text.decoded();
        assert_eq!(text.json(), serde_json::to_string(&decoded).unwrap());
        assert_eq!(text.len(), decoded.len());
        decoded.into_owned()
    }

    #[test]
    fn a_text_within_the_limit_is_whole() {
        assert_eq!(of_json(&rules(40), Raw::whole(r#""a\"b\\c\n\u00e9\ud83d\ude00""#)), "a\"b\\c\né😀");
    }

    #[test]
    fn a_cut_text_says_how_much_is_missing_inside_the_limit() {
        let cut = rules(40).of_within(&"x".repeat(100), 40);
        assert_eq!(cut, "xxxxxxxxxxxxx… [truncated 87 characters]");
        assert_eq!(cut.chars().count(), 40);
        assert_eq!(cut.chars().filter(|c| *c == 'x').count() + 87, 100);
    }

    #[test]
    fn a_limit_too_small_for_the_mark_keeps_just_the_beginning() {
        assert_eq!(cut("abcdef", 6, 3), "abc");
        assert_eq!(cut("abcdef", 6, 0), "");
    }

    #[test]
    fn a_lone_surrogate_becomes_a_replacement_character() {
        assert_eq!(of_json(&rules(40), Raw::whole(r#""a\ud83db\ude00c\ud800\u0041""#)), "a\u{FFFD}b\u{FFFD}c\u{FFFD}A");
    }

    #[test]
    fn anything_but_a_string_stands_as_it_is_written() {
        assert_eq!(of_json(&rules(40), Raw::whole(r#"{"a":[1,2]}"#)), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn privacy_keeps_nothing() {
        let rules = TextRules { privacy: true, ..rules(40) };
        assert_eq!(of_json(&rules, Raw::whole(r#""secret""#)), "");
        assert!(rules.of("secret").is_empty());
        assert_eq!(rules.of_within("secret", 40), "");
    }

    #[test]
    fn the_count_includes_what_was_elided_before() {
        let cut = of_json(&rules(40), Raw::elided(&format!("\"{}{MARK}1000:20:3000\"", "x".repeat(50))));
        assert_eq!(cut, "xxxxxxxxxxx… [truncated 1039 characters]");
        assert_eq!(raw_length(Raw::elided(&format!("\"abc{MARK}1000:20:3000\""))), 3003);
    }

    #[test]
    fn lines_are_counted_as_they_are_written_and_where_they_were_elided() {
        for (inner, count) in
            [("", 0), ("a", 1), (r"a\n", 1), (r"a\nb", 2), (r"\n\n", 2), (r"a\\n", 1), (r"a\u000ab", 2)]
        {
            assert_eq!(lines(Raw::whole(&format!("\"{inner}\""))), count, "{inner}");
        }
        assert_eq!(lines(Raw::elided(&format!(r#""a\nb{MARK}1000:20:3000""#))), 22);
    }

    #[test]
    fn a_mark_in_a_line_that_was_not_elided_is_text() {
        assert_eq!(of_json(&rules(40), Raw::whole(&format!("\"a{MARK}5:0:5\""))), "a\0elided:5:0:5");
    }

    #[test]
    fn a_text_is_written_the_same_way_however_its_escapes_were_written() {
        for raw in
            [r#""\u001b[1m\/\u0008\u000a""#, r#""\u001B""#, r#""\u0041""#, r#""\u007f\u2028""#, r#""\b\f\n\r\t\"\\""#]
        {
            assert_eq!(of_json(&rules(40), Raw::whole(raw)), serde_json::from_str::<String>(raw).unwrap(), "{raw}");
        }
    }

    #[test]
    fn a_text_that_is_written_as_serde_json_writes_it_is_copied() {
        for raw in [r#""""#, r#""a\u001bb\n\"é\u2028""#.replace(r"\u2028", "\u{2028}").as_str()] {
            let inner = Raw::whole(raw).inner().unwrap();
            assert_eq!(canonical_length(inner), Some(serde_json::from_str::<String>(raw).unwrap().len()), "{raw}");
        }
        for raw in [r"\/", r"\u00e9", r"\u000a", r"\u001B", r"\ud83d\ude00", r"\ud83d"] {
            assert_eq!(canonical_length(raw), None, "{raw}");
        }
    }

    fn password() -> String {
        ["password=", "hun", "ter2-", "x9Q4v"].concat()
    }

    #[test]
    fn a_secret_across_the_limit_is_replaced_and_nothing_after_the_limit_is_kept() {
        for limit in 0..160 {
            let text = format!("{}\n{}\n{}", "a ".repeat(20), password(), "b ".repeat(40));
            let out = rules(limit).of_within(&text, limit);
            assert!(!out.contains("hun"), "{limit}: {out}");
            assert!(out.chars().count() <= limit, "{limit}: {out}");
            assert!(!out.contains("[redacted") || out.contains("[redacted:password]"), "{limit}: {out}");
        }
    }

    #[test]
    fn many_secrets_bring_nothing_that_was_not_looked_at_within_the_limit() {
        // Their marks are shorter than they are, so there is room for more than the limit's worth of text.
        let key = ["gh", "p_", &"aB3dE5fG7h".repeat(20)].concat();
        let text = format!("{}{}", format!("{key}\n").repeat(10), format!(" {key}").repeat(3));
        for limit in [100, 500, 1000, 2000] {
            let out = rules(limit).of_within(&text, limit);
            assert!(!out.contains("aB3") && out.chars().count() <= limit, "{limit}: {out}");
            let missing = out.rsplit_once("[truncated ").unwrap().1;
            assert!(missing.starts_with(|c: char| c.is_ascii_digit()), "{out}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_what_serde_json_reads_and_is_written_as_it_writes(
            pieces in proptest::collection::vec(r#"[ -!#-\[\]-~é😀]{0,9}|\\["/\\bfnrt]|\\u00[0-9a-fA-F]{2}|\\ud83d\\ude00"#, 0..8),
            limit in 0usize..80,
        ) {
            let raw = format!("\"{}\"", pieces.concat());
            let text: String = serde_json::from_str(&raw).unwrap();
            let expected = cut(&text, text.chars().count(), limit);
            prop_assert_eq!(of_json(&rules(limit), Raw::whole(&raw)), expected);
        }

        #[test]
        fn decoding_agrees_with_serde_json(text in ".{0,200}") {
            let raw = serde_json::to_string(&text).unwrap();
            let (decoded, total) = decode(Raw::whole(&raw), usize::MAX / 4).unwrap();
            prop_assert_eq!(decoded.as_ref(), text.as_str());
            prop_assert_eq!(total, text.chars().count());
        }

        #[test]
        fn a_cut_never_exceeds_the_limit_and_counts_right(text in ".{0,200}", limit in 0usize..80) {
            let total = text.chars().count();
            let out = cut(&text, total, limit);
            prop_assert!(out.chars().count() <= limit);
            if total > limit && let Some((kept, rest)) = out.rsplit_once("… [truncated ") {
                let missing: usize = rest.trim_end_matches(" characters]").parse().unwrap();
                prop_assert_eq!(kept.chars().count() + missing, total);
            }
        }
    }
}
