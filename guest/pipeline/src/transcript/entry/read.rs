//! The bytes of a line become entries.

use super::Entry;
use crate::transcript::lines::Line;
use crate::transcript::raw::Raw;
use crate::transcript::{lenient, reader};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Reads the objects of a line and calls `on_entry` for each; returns whether the line was good: one whole object.
///
/// What the client has been seen to write, and what becomes of it: a surrogate without its other half, or bytes that are
/// no UTF-8, cost a character and not the line; two objects without a line break between them are two entries of a bad
/// line; of a line that was cut short, or that begins with something else, and has a whole object glued to it, that
/// object is used.
pub fn read(line: Line<'_>, mut on_entry: impl FnMut(&Entry<'_>)) -> bool {
    if line.overlong {
        return false;
    }
    if let Some(entry) = plain(line) {
        on_entry(&entry);
        return true;
    }
    let repaired = if has_surrogates(line.bytes) { repair(line.bytes) } else { None };
    let bytes = repaired.as_deref().map_or(line.bytes, str::as_bytes);
    let mut objects = 0;
    let mut rest = read_objects(bytes, line.elided, &mut objects, &mut on_entry);
    let valid = match rest {
        // Only now: looking for bytes that are not UTF-8 in each line costs more than reading the few that have any again.
        Some(broken) if repaired.is_none() => repair(broken),
        _ => None,
    };
    if let Some(valid) = &valid {
        rest = read_objects(valid.as_bytes(), line.elided, &mut objects, &mut on_entry);
    }
    if let Some(broken) = rest {
        if let Some(tail) = glued_object(broken) {
            read_objects(tail, line.elided, &mut objects, &mut on_entry);
        }
        return false;
    }
    objects == 1
}

/// A line that is one object in plain JSON, as nearly all are. It is checked once that all of it is UTF-8.
fn plain(line: Line<'_>) -> Option<Entry<'_>> {
    let text = simdutf8::basic::from_utf8(line.bytes).ok().filter(|text| text.starts_with('{'))?;
    reader::read(raw(text, line.elided)).ok()
}

fn raw(text: &str, elided: bool) -> Raw<'_> {
    if elided { Raw::elided(text) } else { Raw::whole(text) }
}

/// Reads objects until one is broken, and returns that and what follows; adds to `count` the number of those before.
fn read_objects<'a>(
    bytes: &'a [u8],
    elided: bool,
    count: &mut usize,
    on_entry: &mut impl FnMut(&Entry<'_>),
) -> Option<&'a [u8]> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    let mut used = 0;
    while let Some(object) = stream.next() {
        // serde would take an array for an object.
        let object = object.ok().map(RawValue::get).filter(|text| text.starts_with('{'));
        let Some(entry) = object.and_then(|text| lenient::reparse(raw(text, elided))) else {
            return Some(&bytes[used..]);
        };
        on_entry(&entry);
        *count += 1;
        used = stream.byte_offset();
    }
    None
}

/// Is there an escaped half of a character? Two of them are fine, one is what serde refuses, but only in a text that it
/// decodes: in one that stays raw it would come to light later.
fn has_surrogates(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, b"\\u").any(|at| matches!(bytes.get(at + 2), Some(b'd' | b'D')))
}

/// The same text in UTF-8 and without halves of surrogates, if that changes anything.
fn repair(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Borrowed(_)) && !has_surrogates(bytes) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        let unit = |from: usize| {
            escape
                .get(from..from + 6)
                .filter(|e| e.starts_with("\\u"))
                .and_then(|e| u32::from_str_radix(&e[2..], 16).ok())
        };
        let kept = match (unit(0), unit(6)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 12,
            (Some(0xD800..0xE000), _) => {
                out.push_str("\\ufffd");
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&escape[..kept]);
        rest = &escape[kept..];
    }
    out.push_str(rest);
    (out != text).then_some(out).or_else(|| matches!(text, Cow::Owned(_)).then(|| text.into_owned()))
}

/// The whole object at the end of a line whose beginning is broken.
fn glued_object(bytes: &[u8]) -> Option<&[u8]> {
    const STARTS: [&[u8]; 2] = [b"{\"parentUuid\":", b"{\"type\":"];
    let candidates = STARTS.iter().flat_map(|start| memchr::memmem::rfind_iter(bytes, start).take(4));
    candidates
        .filter(|&at| at > 0 && !is_nested(bytes, at))
        .map(|at| &bytes[at..])
        .find(|tail| serde_json::from_slice::<serde::de::IgnoredAny>(tail).is_ok())
}

/// Is the object that begins at `at` a part of the one that the line begins with? Then it is not a line of its own: the line
/// was cut just behind it. A line that was cut within a string, as most are, goes on within that string.
fn is_nested(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at].trim_ascii_end();
    if !matches!(before.last(), Some(b':' | b',' | b'[')) {
        return false;
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in before {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => {}
        }
    }
    !in_string
}

#[cfg(test)]
mod tests {
    use super::super::Content;
    use super::*;

    fn kinds(line: &[u8]) -> (Vec<String>, bool) {
        let mut kinds = Vec::new();
        let whole = read(Line { bytes: line, elided: false, overlong: false, start: 0 }, |e| {
            kinds.push(e.kind.clone().unwrap_or_default().into_owned());
        });
        (kinds, whole)
    }

    fn one(line: &str) -> (Vec<String>, bool) {
        kinds(line.as_bytes())
    }

    #[test]
    fn fields_of_other_types_count_as_missing() {
        let line = r#"{"type":"user","uuid":5,"isMeta":"yes","timestamp":{"a":[1]},"message":"text","cwd":null,"apiErrorStatus":-1}"#;
        assert_eq!(one(line), (vec!["user".into()], true));
    }

    #[test]
    fn two_objects_glued_together_are_two_entries_of_a_bad_line() {
        assert_eq!(one(r#"{"type":"user"}{"type":"assistant"}"#), (vec!["user".into(), "assistant".into()], false));
    }

    #[test]
    fn an_object_glued_to_a_broken_one_is_used() {
        let line = r#"{"type":"user","message":{"role":"us{"parentUuid":null,"type":"assistant"}"#;
        assert_eq!(one(line), (vec!["assistant".into()], false));
    }

    #[test]
    fn an_object_behind_something_else_is_used() {
        let line = "\0\0\0\0{\"parentUuid\":null,\"type\":\"assistant\"}";
        assert_eq!(one(line), (vec!["assistant".into()], false));
    }

    #[test]
    fn a_line_cut_short_is_bad_and_gives_nothing() {
        for line in [
            r#"{"type":"user","message":{"role":"us"#,
            r#"{"type":"user","message":{"content":[{"type":"text","text":"a"}"#,
            r#"{"type":"progress","data":{"message":{"type":"assistant","message":{"id":"msg_1"}}"#,
        ] {
            assert_eq!(one(line), (vec![], false), "{line}");
        }
    }

    #[test]
    fn a_lone_surrogate_costs_no_block() {
        let line = r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"a","name":"x\ud83d"},{"type":"text","text":"\ude00b"}]}}"#;
        let mut blocks = 0;
        let whole = read(Line { bytes: line.as_bytes(), elided: false, overlong: false, start: 0 }, |entry| {
            let Content::Blocks(found) = Content::of(entry.message.as_ref().unwrap().content) else { panic!("a text") };
            blocks = found.len();
        });
        assert!(whole);
        assert_eq!(blocks, 2);
    }

    #[test]
    fn a_lone_surrogate_costs_a_character_and_not_the_line() {
        assert_eq!(one(r#"{"type":"user","cwd":"a\ud83d","x":"\\ud83d"}"#), (vec!["user".into()], true));
    }

    #[test]
    fn bytes_that_are_no_utf8_cost_a_character_and_not_the_line() {
        assert_eq!(kinds(b"{\"type\":\"user\",\"cwd\":\"a\xff\"}"), (vec!["user".into()], true));
    }

    #[test]
    fn arrays_and_scalars_are_bad_lines() {
        for line in ["[\"user\"]", "5", "\"text\"", "null", "not json", "{", "{}[1]"] {
            assert!(!one(line).1, "{line}");
        }
    }
}
