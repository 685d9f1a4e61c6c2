//! Values that accept any JSON: a value of an unexpected type counts as missing.
//!
//! The transcript format changes with every release of the client. A field that became a string, a number or an object
//! must not make its whole line unusable.

use crate::transcript::raw::Raw;
use crate::transcript::{reader, strict};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de::Error};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Generates the `Visitor` methods that turn an unexpected type into the default.
macro_rules! ignore {
    ($($kind:ident)*) => { $(ignore!(@ $kind);)* };
    (@ bool) => { fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> { Ok(Default::default()) } };
    (@ numbers) => {
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> { Ok(Default::default()) }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> { Ok(Default::default()) }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> { Ok(Default::default()) }
    };
    (@ string) => { fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> { Ok(Default::default()) } };
    (@ unit) => { fn visit_unit<E: Error>(self) -> Result<Self::Value, E> { Ok(Default::default()) } };
    (@ seq) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
    (@ map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
}

fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("any JSON value")
}

/// A string, borrowed if it has no escapes.
pub type Str<'a> = Option<Cow<'a, str>>;

/// `#[serde(deserialize_with)]` for [`Str`].
pub fn str<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Str<'de>, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Str<'de>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expecting(f)
        }
        fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Self::Value, E> {
            Ok(Some(Cow::Borrowed(v)))
        }
        fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
            Ok(Some(Cow::Owned(v.to_owned())))
        }
        ignore!(bool numbers unit seq map);
    }
    deserializer.deserialize_any(V)
}

/// A boolean; anything else is `false`.
pub fn bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expecting(f)
        }
        fn visit_bool<E: Error>(self, v: bool) -> Result<bool, E> {
            Ok(v)
        }
        ignore!(numbers string unit seq map);
    }
    deserializer.deserialize_any(V)
}

/// A whole number that is not negative.
pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Option<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expecting(f)
        }
        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            Ok(Some(v))
        }
        fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
            Ok(u64::try_from(v).ok())
        }
        fn visit_f64<E: Error>(self, v: f64) -> Result<Self::Value, E> {
            // Some gateways write `3.0`. The bound keeps the cast exact.
            Ok((v >= 0.0 && v.fract() == 0.0 && v < 9e15).then_some(v as u64))
        }
        ignore!(bool string unit seq map);
    }
    deserializer.deserialize_any(V)
}

/// A time in milliseconds: a number that is not negative, without its fraction.
pub fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct V;
    impl<'de> Visitor<'de> for V {
        type Value = Option<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expecting(f)
        }
        fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
            Ok(Some(v))
        }
        fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
            Ok(u64::try_from(v).ok())
        }
        fn visit_f64<E: Error>(self, v: f64) -> Result<Self::Value, E> {
            // The bound keeps the cast exact.
            Ok((0.0..9e15).contains(&v).then_some(v as u64))
        }
        ignore!(bool string unit seq map);
    }
    deserializer.deserialize_any(V)
}

/// An object, read as `T`; anything else is `None`.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct V<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expecting(f)
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
        ignore!(bool numbers string unit seq);
    }
    deserializer.deserialize_any(V(PhantomData))
}

/// A list of objects, each read as `T`, or as `None` if it is not an object; anything else is an empty list.
pub fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<Option<T>>, D::Error> {
    struct V<T>(PhantomData<T>);
    #[derive(Deserialize)]
    #[serde(transparent, bound(deserialize = "T: Deserialize<'de>"))]
    struct Object<T>(#[serde(deserialize_with = "object")] Option<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for V<T> {
        type Value = Vec<Option<T>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            expecting(f)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(Object(element)) = seq.next_element()? {
                list.push(element);
            }
            Ok(list)
        }
        ignore!(bool numbers string unit map);
    }
    deserializer.deserialize_any(V(PhantomData))
}

/// Parses a raw value that is known to be well-formed; another type than expected is `None`.
pub fn reparse<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    reader::read(raw).ok().or_else(|| strict::read(raw).ok())
}
