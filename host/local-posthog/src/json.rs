//! JSON objects without duplicate members.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, each as its original text.
///
/// `serde_json::Value` silently keeps the last of two members with the same name. A writer that makes such an object
/// has a bug, and nothing else would show what was lost.
pub(super) struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    /// Reads an object. The error never quotes a value, because it could contain a key.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err("is not an object".to_owned());
        }
        serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))
    }

    /// The member with this name.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// A member other than these.
    pub(super) fn other_than(&self, known: &[&str]) -> Option<&str> {
        self.0.keys().map(String::as_str).find(|name| !known.contains(name))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = BTreeMap<String, &'de RawValue>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = access.next_entry::<String, &'de RawValue>()? {
                    if members.contains_key(&name) {
                        let name = shown(&name);
                        return Err(A::Error::custom(format!("two members named `{name}`")));
                    }
                    members.insert(name, value);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Object)
    }
}

/// The elements of an array, each as its original text.
pub(super) fn array(text: &str) -> Result<Vec<&RawValue>, String> {
    if !text.trim_ascii_start().starts_with('[') {
        return Err("is not an array".to_owned());
    }
    serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))
}

/// At most 80 characters of a name that the sender chose, on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
