//! Reads JSON in the form that the client writes, and leaves everything else to `serde_json`.
//!
//! Values that nobody asks for are skipped, not parsed: [`crate::transcript::scan`] finds the ends of strings, and a
//! value wanted as written is a slice of the line. The reader accepts nothing that `serde_json` would refuse, and never
//! reads a value differently; if it is not sure, it gives up and `serde_json` reads the text again.

use crate::transcript::raw::{self, Raw};
use crate::transcript::scan;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// How deeply values may be nested. `serde_json` allows 127.
const DEEPEST: u32 = 100;

/// A number with this many digits is sure to fit.
const SURE_DIGITS: usize = 15;

/// The reader is not sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsure;

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain JSON")
    }
}

impl std::error::Error for Unsure {}

impl de::Error for Unsure {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Reads all of it.
pub fn read<'de, T: de::Deserialize<'de>>(json: Raw<'de>) -> Result<T, Unsure> {
    let text = json.get();
    let mut reader = Reader { text, elided: json.is_elided(), at: 0, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    reader.space();
    if reader.at == text.len() { Ok(value) } else { Err(Unsure) }
}

#[derive(Debug)]
struct Reader<'de> {
    text: &'de str,
    /// Its long strings were cut.
    elided: bool,
    at: usize,
    depth: u32,
}

impl<'de> Reader<'de> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The first byte of the next value.
    fn peek(&mut self) -> Result<u8, Unsure> {
        self.space();
        self.byte().ok_or(Unsure)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unsure> {
        if self.peek()? == byte {
            self.at += 1;
            return Ok(());
        }
        Err(Unsure)
    }

    fn deeper(&mut self) -> Result<(), Unsure> {
        self.depth += 1;
        self.at += 1;
        if self.depth < DEEPEST { Ok(()) } else { Err(Unsure) }
    }

    /// The contents of the string that begins here, between its quotes, and whether it has escapes.
    fn string(&mut self) -> Result<(&'de str, bool), Unsure> {
        let begin = self.at + 1;
        let found = scan::string(self.text.as_bytes(), begin).ok_or(Unsure)?;
        self.at = found.end;
        let inner = self.text.get(begin..found.end - 1).ok_or(Unsure)?;
        Ok((inner, found.escaped))
    }

    fn literal(&mut self, word: &str) -> Result<(), Unsure> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(Unsure)
    }

    /// Skips a number, following the JSON grammar.
    fn number(&mut self) -> Result<&'de str, Unsure> {
        let begin = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let leads = self.byte();
        let digits = self.digits();
        if digits == 0 || (digits > 1 && leads == Some(b'0')) {
            return Err(Unsure);
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(Unsure);
            }
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(Unsure);
            }
        }
        self.text.get(begin..self.at).ok_or(Unsure)
    }

    fn digits(&mut self) -> usize {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        self.at - begin
    }

    /// Skips a value.
    fn skip(&mut self) -> Result<(), Unsure> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => {
                self.deeper()?;
                let mut first = true;
                while self.more(b'}', &mut first)? {
                    self.member()?;
                    self.skip()?;
                }
                Ok(())
            }
            b'[' => {
                self.deeper()?;
                let mut first = true;
                while self.more(b']', &mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number().map(drop),
        }
    }

    /// Is there another element or member? Reads the comma before it, or the end.
    fn more(&mut self, end: u8, first: &mut bool) -> Result<bool, Unsure> {
        if self.peek()? == end {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
            // JSON has no trailing comma.
            if self.peek()? == end {
                return Err(Unsure);
            }
        }
        Ok(true)
    }

    /// Reads a member's name and the colon.
    fn member(&mut self) -> Result<&'de str, Unsure> {
        if self.peek()? != b'"' {
            return Err(Unsure);
        }
        // A name with escapes could be any name.
        let (name, false) = self.string()? else { return Err(Unsure) };
        self.expect(b':')?;
        Ok(name)
    }

    /// The next value, as written.
    fn raw(&mut self) -> Result<&'de str, Unsure> {
        self.space();
        let begin = self.at;
        self.skip()?;
        self.text.get(begin..self.at).ok_or(Unsure)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Unsure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        match self.peek()? {
            b'"' => match self.string()? {
                (text, false) => visitor.visit_borrowed_str(text),
                (text, true) => {
                    let raw = self.text.get(self.at - text.len() - 2..self.at).ok_or(Unsure)?;
                    visitor.visit_string(serde_json::from_str(raw).map_err(|_| Unsure)?)
                }
            },
            b'{' => {
                let mut members = Nested::of(self)?;
                let value = visitor.visit_map(&mut members)?;
                members.ended(value)
            }
            b'[' => {
                let mut elements = Nested::of(self)?;
                let value = visitor.visit_seq(&mut elements)?;
                elements.ended(value)
            }
            b't' => self.literal("true").and_then(|()| visitor.visit_bool(true)),
            b'f' => self.literal("false").and_then(|()| visitor.visit_bool(false)),
            b'n' => self.literal("null").and_then(|()| visitor.visit_unit()),
            _ => {
                let number = self.number()?;
                let is_sure = number.len() <= SURE_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
                visitor.visit_u64(number.parse().ok().filter(|_| is_sure).ok_or(Unsure)?)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        if self.peek()? == b'n' {
            return self.literal("null").and_then(|()| visitor.visit_none());
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Unsure> {
        if name == raw::NAME {
            let raw = self.raw()?;
            return if self.elided {
                visitor.visit_borrowed_bytes(raw.as_bytes())
            } else {
                visitor.visit_borrowed_str(raw)
            };
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unsure> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// The inside of an object or an array.
struct Nested<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
    ended: bool,
}

impl<'a, 'de> Nested<'a, 'de> {
    fn of(reader: &'a mut Reader<'de>) -> Result<Self, Unsure> {
        reader.deeper()?;
        Ok(Self { reader, first: true, ended: false })
    }

    fn more(&mut self, end: u8) -> Result<bool, Unsure> {
        self.ended = !self.reader.more(end, &mut self.first)?;
        Ok(!self.ended)
    }

    /// Returns the value read, unless something is left in the object or array.
    fn ended<T>(&self, value: T) -> Result<T, Unsure> {
        if self.ended { Ok(value) } else { Err(Unsure) }
    }
}

impl<'de> MapAccess<'de> for &mut Nested<'_, 'de> {
    type Error = Unsure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unsure> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        let name = self.reader.member()?;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unsure> {
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for &mut Nested<'_, 'de> {
    type Error = Unsure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unsure> {
        if !self.more(b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::entry::{Block, Entry};
    use proptest::prelude::*;
    use std::fmt::Debug;

    const LINE: &str = r#"{"type":"user","uuid":"u\n1","isMeta":true,"apiErrorStatus":529,"durationMs":1.5,"error":{"a":[1,-2.5e+3]},
        "origin":{"kind":"human"},"data":[],"content":null,"message":{"id":"msg_1","usage":{"input_tokens":3,"iterations":[{"type":"message"},5]},
        "content":[{"type":"tool_result","tool_use_id":"t","content":"a \"b\" \\ \u001b é","is_error":false},{"type":"text","text":"x"}]},
        "toolUseResult":{"stdout":"a\tb","interrupted":false,"deep":[[[{}]]]},"unknown":{"type":"x"}}"#;

    fn from_str<'a, T: de::Deserialize<'a>>(text: &'a str) -> Result<T, Unsure> {
        read(Raw::whole(text))
    }

    /// What it reads is what `serde_json` reads.
    fn agrees<'a, T: de::Deserialize<'a> + Debug>(text: &'a str) {
        if let Ok(read) = from_str::<T>(text) {
            let expected = serde_json::from_str::<T>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{text}");
        }
    }

    #[test]
    fn a_line_as_the_client_writes_it_is_read_without_serde_json() {
        let whole = LINE.replace("1.5", "15").replace('\t', "");
        let read: Entry<'_> = from_str(&whole).unwrap();
        assert_eq!(read.uuid.as_deref(), Some("u\n1"));
        assert_eq!(read.error.map(Raw::get), Some(r#"{"a":[1,-2.5e+3]}"#));
        agrees::<Entry<'_>>(&whole);
    }

    #[test]
    fn what_is_not_plain_is_left_to_serde_json() {
        for text in [
            "",
            "{",
            "{}{}",
            "{} x",
            r#"{"type":"user","type":"user"}"#,
            r#"{"t\u0079pe":"user"}"#,
            r#"{"type":"user",}"#,
            r#"{,"type":"user"}"#,
            r#"{"type" "user"}"#,
            r#"{"type":user}"#,
            r#"{"x":01}"#,
            r#"{"x":-}"#,
            r#"{"x":1.}"#,
            r#"{"x":1e}"#,
            r#"{"x":+1}"#,
            r#"{"x":tru}"#,
            r#"{"x":[1,]}"#,
            r#"{"x":[1}}"#,
            r#"{"x":"\ud83d\ude00"}"#,
            r#"{"apiErrorStatus":-1}"#,
            r#"{"apiErrorStatus":3.0}"#,
            r#"{"apiErrorStatus":12345678901234567890}"#,
        ] {
            assert!(from_str::<Entry<'_>>(text).is_err(), "{text}");
        }
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(from_str::<Entry<'_>>(&deep).is_err() && serde_json::from_str::<Entry<'_>>(&deep).is_ok());
    }

    #[test]
    fn whatever_byte_of_a_line_is_another_it_reads_what_serde_json_reads() {
        for at in 0..LINE.len() {
            for other in ["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "e", "-", " ", "\n", "n", "\u{1}"] {
                if LINE.is_char_boundary(at) && LINE.is_char_boundary(at + 1) {
                    let text = [&LINE[..at], other, &LINE[at + 1..]].concat();
                    agrees::<Entry<'_>>(&text);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in r#"([\[{]|"type"|"content"|"id":|:|,|[\]}]|"[a-z\\"u0]{0,4}"|-?[0-9.eE]{1,4}|true|false|null|[ \n]){0,14}"#) {
            agrees::<Vec<Block<'_>>>(&text);
            agrees::<Vec<Raw<'_>>>(&text);
            let object = format!("{{{text}}}");
            agrees::<Entry<'_>>(&object);
            agrees::<Block<'_>>(&object);
        }
    }
}
