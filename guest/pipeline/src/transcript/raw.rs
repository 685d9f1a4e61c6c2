//! A JSON value as written.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The name by which [`crate::transcript::reader`] knows that a value is wanted as written.
pub const NAME: &str = "posthog-llma raw value";

/// A JSON value as it is written, without the white space around it. It knows whether its long strings were cut: see
/// [`crate::transcript::elide`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Raw<'a> {
    json: &'a str,
    elided: bool,
}

impl<'a> Raw<'a> {
    /// One whose strings are whole: what looks like the mark of a cut is text.
    pub fn whole(json: &'a str) -> Self {
        Self { json, elided: false }
    }

    /// One whose long strings were cut.
    pub fn elided(json: &'a str) -> Self {
        Self { json, elided: true }
    }

    /// As it is written.
    pub fn get(self) -> &'a str {
        self.json
    }

    /// Were its long strings cut?
    pub fn is_elided(self) -> bool {
        self.elided
    }

    /// The contents of a string, between its quotes.
    pub fn inner(self) -> Option<&'a str> {
        self.json.strip_prefix('"')?.strip_suffix('"')
    }
}

/// A deserializer gives a value of elided text as bytes: `serde` has no other word for it.
impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Raw<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }
            fn visit_borrowed_str<E: Error>(self, raw: &'de str) -> Result<Self::Value, E> {
                Ok(Raw::whole(raw))
            }
            fn visit_borrowed_bytes<E: Error>(self, raw: &'de [u8]) -> Result<Self::Value, E> {
                std::str::from_utf8(raw).map(Raw::elided).map_err(E::custom)
            }
            // `serde_json` has its own type for this.
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                <&RawValue>::deserialize(deserializer).map(|raw| Raw::whole(raw.get()))
            }
        }
        deserializer.deserialize_newtype_struct(NAME, V)
    }
}
