//! Changes only the `env` block in a settings file's text. Everything else stays: the order of the members, the white
//! space, and anything other programs may understand and this one does not.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;

/// The member of a settings file that holds variables.
const ENV: &str = "env";

/// Why a text was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The text is not JSON.
    #[error("is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The text is JSON, but not valid settings.
    #[error("cannot be used: {0}")]
    Shape(&'static str),
    /// The result is not what was intended. This must not happen; if it does, nothing is written.
    #[error("has a form that this program cannot change; change it by hand")]
    Form,
}

/// The text with these variables set. An empty text becomes a complete settings file.
pub fn set_variables(text: &str, variables: &[(&str, &str)]) -> Result<String, EditError> {
    let (mark, text) = text.strip_prefix('\u{feff}').map_or(("", text), |text| ("\u{feff}", text));
    let original = if text.trim().is_empty() { "{}\n" } else { text };
    let mut expected: Value = serde_json::from_str(original)?;
    let settings = expected.as_object_mut().ok_or(EditError::Shape("the file is not a JSON object"))?;
    let block = settings.entry(ENV).or_insert_with(|| json!({}));
    let block = block.as_object_mut().ok_or(EditError::Shape("`env` is not a JSON object"))?;
    let mut edited = original.to_owned();
    for (name, value) in variables {
        block.insert((*name).to_owned(), json!(value));
        edited = set_variable(&edited, name, value)?;
    }
    // Verify the result, whatever the text looked like.
    if serde_json::from_str::<Value>(&edited)? != expected {
        return Err(EditError::Form);
    }
    Ok(format!("{mark}{edited}"))
}

fn set_variable(text: &str, name: &str, value: &str) -> Result<String, EditError> {
    let value = json!(value).to_string();
    let settings = Object::of(text, 0..text.len())?;
    let outer = settings.style().unwrap_or_else(Style::of_a_new_file);
    // If there are several, the last one counts, for this program and for Claude Code.
    let Some(block) = settings.last(ENV) else {
        return Ok(settings.insert(text, &outer, ENV, &outer.nested().object(name, &value)));
    };
    let block = Object::of(text, block)?;
    Ok(match block.last(name) {
        Some(old) => replace(text, old, &value),
        None => block.insert(text, &block.style().unwrap_or_else(|| outer.nested()), name, &value),
    })
}

fn replace(text: &str, range: Range<usize>, new: &str) -> String {
    format!("{}{new}{}", &text[..range.start], &text[range.end..])
}

/// An object's members, with their positions in a text.
#[derive(Debug)]
struct Object<'a> {
    text: &'a str,
    /// From `{` to just after `}`.
    range: Range<usize>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// Where the member's name starts.
    start: usize,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    /// Reads the object in this part of a text.
    fn of(text: &'a str, range: Range<usize>) -> Result<Self, EditError> {
        let part = &text[range.clone()];
        let start = range.start + part.find('{').ok_or(EditError::Form)?;
        let end = range.start + part.rfind('}').ok_or(EditError::Form)? + 1;
        let Members(found) = serde_json::from_str(&text[start..end])?;
        let mut after = start + 1;
        let mut members = Vec::with_capacity(found.len());
        for (name, raw) in found {
            // A raw value is a slice of the text it was read from.
            let value = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            let value = value..value + raw.get().len();
            // There is white space and a comma between two members.
            let gap = text[after..].find('"').ok_or(EditError::Form)?;
            members.push(Member { name, start: after + gap, value: value.clone() });
            after = value.end;
        }
        Ok(Self { text, range: start..end, members })
    }

    fn last(&self, name: &str) -> Option<Range<usize>> {
        self.members.iter().rfind(|member| member.name == name).map(|member| member.value.clone())
    }

    /// The formatting of the last member, if there is one.
    fn style(&self) -> Option<Style> {
        let last = self.members.last()?;
        let before = &self.text[self.range.start..last.start];
        let indent = match &before[before.trim_end().len()..] {
            // The first member on a line has no space before it, but the next one should.
            "" if self.members.len() == 1 => " ",
            indent => indent,
        };
        let colon = self.text[last.start..last.value.start].rsplit('"').next().unwrap_or(": ");
        Some(Style { indent: indent.to_owned(), close: line_break(indent).to_owned(), colon: colon.to_owned() })
    }

    /// The text with another member at the end of this object.
    fn insert(&self, text: &str, style: &Style, name: &str, value: &str) -> String {
        match self.members.last() {
            Some(last) => {
                let member = format!(",{}{}{}{value}", style.indent, json!(name), style.colon);
                replace(text, last.value.end..last.value.end, &member)
            }
            None => replace(text, self.range.clone(), &style.object(name, value)),
        }
    }
}

/// The formatting of an object's members.
#[derive(Debug)]
struct Style {
    /// The white space before a member: a line break with indentation, a space, or nothing.
    indent: String,
    /// The white space before the object's end.
    close: String,
    /// The text between a name and its value.
    colon: String,
}

impl Style {
    /// The formatting most programs use, including Claude Code.
    fn of_a_new_file() -> Self {
        Self { indent: "\n  ".to_owned(), close: "\n".to_owned(), colon: ": ".to_owned() }
    }

    /// The formatting of a nested object in a file with this formatting.
    fn nested(&self) -> Self {
        let blanks = &self.indent[line_break(&self.indent).len()..];
        let (indent, close) = match line_break(&self.indent) {
            "" => (String::new(), String::new()),
            _ => (format!("{}{blanks}", self.indent), self.indent.clone()),
        };
        Self { indent, close, colon: self.colon.clone() }
    }

    /// An object with one member.
    fn object(&self, name: &str, value: &str) -> String {
        format!("{{{}{}{}{value}{}}}", self.indent, json!(name), self.colon, self.close)
    }
}

/// White space up to and including its last line break.
fn line_break(space: &str) -> &str {
    &space[..space.rfind('\n').map_or(0, |end| end + 1)]
}

/// An object's members in order, including duplicates.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, variables: &[(&str, &str)]) -> String {
        set_variables(text, variables).unwrap()
    }

    #[test]
    fn a_new_file_is_written_as_claude_code_writes_it() {
        let expected = "{\n  \"env\": {\n    \"A\": \"1\",\n    \"B\": \"2\"\n  }\n}\n";
        for text in ["", "\n", "{}\n"] {
            assert_eq!(set(text, &[("A", "1"), ("B", "2")]), expected, "{text:?}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let text =
            "{\r\n\t\"z\" : 1.0,\r\n\t\"env\" : { \"B\": \"x\" , \"POSTHOG\":\"old\"},\r\n\t\"a\": [1,\r\n2]\r\n}";
        let expected = text.replace("\"old\"", "\"new\"");
        assert_eq!(set(text, &[("POSTHOG", "new")]), expected);
        let expected = text.replace("\"old\"", "\"old\", \"C\":\"1\"");
        assert_eq!(set(text, &[("C", "1")]), expected);
    }

    #[test]
    fn a_block_that_is_missing_is_added_in_the_files_own_style() {
        assert_eq!(
            set("{\n    \"model\": \"opus\"\n}", &[("A", "1")]),
            "{\n    \"model\": \"opus\",\n    \"env\": {\n        \"A\": \"1\"\n    }\n}"
        );
        assert_eq!(
            set("{\r\n\t\"model\":\"opus\"\r\n}\r\n", &[("A", "1"), ("B", "2")]),
            "{\r\n\t\"model\":\"opus\",\r\n\t\"env\":{\r\n\t\t\"A\":\"1\",\r\n\t\t\"B\":\"2\"\r\n\t}\r\n}\r\n"
        );
        assert_eq!(set("{\"m\": 1}", &[("A", "1"), ("B", "2")]), "{\"m\": 1, \"env\": {\"A\": \"1\", \"B\": \"2\"}}");
        assert_eq!(set("{\"m\":1,\"n\":2}", &[("A", "1")]), "{\"m\":1,\"n\":2,\"env\":{\"A\":\"1\"}}");
    }

    #[test]
    fn an_empty_block_is_filled() {
        assert_eq!(
            set("{\n  \"env\": { },\n  \"m\": {}\n}\n", &[("A", "1")]),
            "{\n  \"env\": {\n    \"A\": \"1\"\n  },\n  \"m\": {}\n}\n"
        );
        assert_eq!(set("{\"env\": {}}", &[("A", "1")]), "{\"env\": {\"A\": \"1\"}}");
    }

    #[test]
    fn a_value_is_data_whatever_is_in_it() {
        let value = "\"}, \\ \u{7} \u{1f994} {\n";
        let text = set("{\"env\": {\"A\": \"{\\\"}\"}}", &[("B", value)]);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["env"], json!({"A": "{\"}", "B": value}));
    }

    #[test]
    fn of_doubles_the_last_one_counts() {
        let text = "{\"env\": {\"A\": \"0\"}, \"env\": {\"A\": \"1\", \"A\": \"2\"}}";
        assert_eq!(set(text, &[("A", "3")]), text.replace("\"2\"", "\"3\""));
    }

    #[test]
    fn a_byte_order_mark_stays() {
        assert_eq!(set("\u{feff}{\"env\":{\"A\":\"1\"}}", &[("A", "2")]), "\u{feff}{\"env\":{\"A\":\"2\"}}");
    }

    #[test]
    fn what_is_no_settings_file_is_an_error() {
        for text in ["{", "[]", "{\"env\": []}", "{\"env\": {\"A\": \"1\",}}", "// c\n{}", "{} {}", "null"] {
            set_variables(text, &[("A", "1")]).unwrap_err();
        }
    }
}
