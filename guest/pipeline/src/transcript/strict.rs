//! `serde_json` over a text whose long strings may have been cut: every [`Raw`](crate::transcript::raw::Raw) in what is read
//! knows it.

use crate::transcript::raw::{self, Raw};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::value::RawValue;
use std::fmt;

/// Reads all of it.
pub fn read<'de, T: Deserialize<'de>>(json: Raw<'de>) -> Result<T, serde_json::Error> {
    if !json.is_elided() {
        return serde_json::from_str(json.get());
    }
    let mut deserializer = serde_json::Deserializer::from_str(json.get());
    let value = T::deserialize(Elided(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

/// Whatever it wraps, for text that was cut.
struct Elided<T>(T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Elided<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Elided(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_option(Elided(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        if name == raw::NAME {
            return visitor.visit_borrowed_bytes(<&RawValue>::deserialize(self.0)?.get().as_bytes());
        }
        self.0.deserialize_newtype_struct(name, Elided(visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Elided<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.0.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.0.visit_f64(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.0.visit_str(value)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.0.visit_borrowed_str(value)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Elided(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Elided(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Elided(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Elided(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(data)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elided<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Elided(seed))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elided<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Elided(seed))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Elided<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Elided(deserializer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::entry::Entry;
    use crate::transcript::lenient;

    /// What `serde_json` must read: a number with a fraction is nothing that the reader of plain lines is sure of.
    const LINE: &str = r#"{"type":"user","durationMs":1.5,"isMeta":true,"error":5,"content":"a","toolUseResult":[1.5],
        "attachment":{"type":"queued_command","prompt":"b"},"data":{"type":"agent_progress","message":{"type":"user"}},
        "modelUsage":{"m":1.5},"message":{"usage":{"input_tokens":3,"iterations":[{"type":"message"},5]},"content":[1.5]}}"#;

    #[test]
    fn a_value_knows_that_its_line_was_cut_however_it_is_read() {
        let read: Entry<'_> = lenient::reparse(Raw::elided(LINE)).unwrap();
        let plain = LINE.replace("1.5", "1");
        let by_reader: Entry<'_> = lenient::reparse(Raw::elided(&plain)).unwrap();
        for entry in [&read, &by_reader] {
            let values = [
                entry.error,
                entry.content,
                entry.tool_use_result,
                entry.attachment.as_ref().unwrap().prompt,
                entry.data.as_ref().unwrap().message,
                entry.model_usage,
                entry.message.as_ref().unwrap().content,
            ];
            assert!(values.iter().all(|value| value.unwrap().is_elided()), "{values:?}");
        }
        assert!(!lenient::reparse::<Entry<'_>>(Raw::whole(LINE)).unwrap().content.unwrap().is_elided());
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        for text in
            [LINE, "{}", "{}x", "[]", "5", r#"{"type":5,"type":6}"#, r#"{"origin":{"kind":null},"x":[{"a":1e400}]}"#]
        {
            let expected = serde_json::from_str::<Entry<'_>>(text).map_err(|error| error.to_string());
            let read = read::<Entry<'_>>(Raw::elided(text)).map_err(|error| error.to_string());
            let expected = format!("{expected:?}").replace("elided: false", "elided: true");
            assert_eq!(format!("{read:?}"), expected, "{text}");
        }
    }
}
