//! Distinguishes the blocks of a response, regardless of how options cut them and how they are escaped.

use crate::transcript::entry::{Block, Content};
use crate::transcript::raw::Raw;
use crate::transcript::text;
use serde_json::Value;
use std::fmt::Write;

/// Characters of each text that count: fewer than the minimum kept of a long text.
const BEGINNING: usize = 256;

/// Of the first block.
pub fn first(content: &Content<'_>) -> Option<String> {
    match content {
        Content::Text(raw) => Some(of(&Block { text: Some(*raw), ..Block::default() })),
        Content::Blocks(blocks) => blocks.first().map(|block| of(block)),
    }
}

/// Of a block: its kind, its IDs, and how its texts begin once decoded.
fn of(block: &Block<'_>) -> String {
    let mut out = String::new();
    for id in [&block.kind, &block.id, &block.name, &block.tool_use_id] {
        push(&mut out, id.as_deref().unwrap_or_default());
    }
    let data = block.source.as_ref().and_then(|source| source.data);
    for raw in [block.text, block.thinking, block.content, block.input, data] {
        push(&mut out, &beginning(raw));
    }
    out
}

/// Appends the text with its length, so that no two lists of texts look the same.
fn push(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}:{text}", text.len());
}

fn beginning(raw: Option<Raw<'_>>) -> String {
    let Some(raw) = raw else { return String::new() };
    if let Some((text, _)) = text::decode(raw, BEGINNING) {
        return text.chars().take(BEGINNING).collect();
    }
    let mut out = String::new();
    if let Ok(value) = serde_json::from_str(raw.get()) {
        write_value(&mut out, &value);
    }
    out
}

fn write_value(out: &mut String, value: &Value) {
    if out.len() > 4 * BEGINNING {
        return;
    }
    match value {
        Value::String(text) => push(out, text::prefix(text, BEGINNING)),
        Value::Array(values) => {
            out.push('[');
            for value in values {
                write_value(out, value);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (name, value) in members {
                push(out, text::prefix(name, BEGINNING));
                write_value(out, value);
            }
            out.push('}');
        }
        // `1.0` from one client may be `1` from another.
        Value::Number(number) => out.push_str(&number.as_f64().unwrap_or_default().to_string()),
        Value::Bool(_) | Value::Null => out.push_str(&value.to_string()),
    }
}
