//! A JSON value as it is written.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// By this name [`crate::transcript::reader`] knows that a value is wanted as it is written.
pub const NAME: &str = "posthog-llma raw value";

/// A JSON value as it is written, without the white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The text.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// What stands between the quotes of a string.
    pub fn inner(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }
            fn visit_borrowed_str<E: Error>(self, raw: &'de str) -> Result<Self::Value, E> {
                Ok(Raw(raw))
            }
            // `serde_json` has a type of its own for it.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                <&RawValue>::deserialize(deserializer).map(|raw| Raw(raw.get()))
            }
        }
        deserializer.deserialize_newtype_struct(NAME, V)
    }
}
