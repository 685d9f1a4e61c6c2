//! What a message or a tool's result consists of.

use crate::transcript::lenient::{self, Str};
use crate::transcript::raw::Raw;
use serde::Deserialize;

/// One content block.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Block<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::str")]
    pub kind: Str<'a>,
    /// Of a `tool_use` or `server_tool_use`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub id: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub name: Str<'a>,
    #[serde(borrow)]
    pub input: Option<Raw<'a>>,
    #[serde(borrow)]
    pub text: Option<Raw<'a>>,
    #[serde(borrow)]
    pub thinking: Option<Raw<'a>>,
    /// Of a `tool_result`.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub content: Option<Raw<'a>>,
    #[serde(deserialize_with = "lenient::bool")]
    pub is_error: bool,
    /// Of a result of a search at the provider.
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub title: Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub url: Str<'a>,
    /// Of an `image` or `document`.
    #[serde(borrow, deserialize_with = "lenient::object")]
    pub source: Option<Source<'a>>,
}

/// Where an image or document is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Source<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    pub media_type: Str<'a>,
    /// Base64: only its length is used.
    #[serde(borrow)]
    pub data: Option<Raw<'a>>,
}

/// A block, or `None` for an element that is not an object.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct MaybeBlock<'a>(#[serde(borrow, deserialize_with = "lenient::object")] Option<Block<'a>>);

/// What a message or a tool's result consists of.
#[derive(Debug)]
pub enum Content<'a> {
    /// One text, a raw JSON string.
    Text(Raw<'a>),
    /// Blocks.
    Blocks(Vec<Block<'a>>),
}

impl<'a> Content<'a> {
    /// Reads raw content. What is neither a string nor a list is a text, as it is written; `null` is nothing.
    pub fn of(raw: Option<Raw<'a>>) -> Self {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Content::Blocks(Vec::new()) };
        if raw.get().starts_with('[')
            && let Some(blocks) = lenient::reparse::<Vec<MaybeBlock<'_>>>(raw)
        {
            return Content::Blocks(blocks.into_iter().filter_map(|b| b.0).collect());
        }
        Content::Text(raw)
    }

    /// The texts, raw, in order.
    pub fn texts(&self) -> impl Iterator<Item = Raw<'a>> {
        let (text, blocks) = match self {
            Content::Text(raw) => (Some(*raw), [].as_slice()),
            Content::Blocks(blocks) => (None, blocks.as_slice()),
        };
        text.into_iter().chain(blocks.iter().filter_map(|block| block.text))
    }

    /// As blocks: a text is one.
    pub fn into_blocks(self) -> Vec<Block<'a>> {
        match self {
            Content::Text(raw) => vec![Block { text: Some(raw), ..Block::default() }],
            Content::Blocks(blocks) => blocks,
        }
    }

    /// The first text, raw.
    pub fn first_text(&self) -> Option<Raw<'a>> {
        match self {
            Content::Text(raw) => Some(*raw),
            Content::Blocks(blocks) => blocks.iter().find_map(|b| b.text),
        }
    }

    /// The id of the call whose result it holds first.
    pub fn first_result(&self) -> Option<&str> {
        let Content::Blocks(blocks) = self else { return None };
        blocks.iter().find_map(|block| block.tool_use_id.as_deref())
    }

    /// Does it hold the result of a tool?
    pub fn has_result(&self) -> bool {
        match self {
            Content::Text(_) => false,
            Content::Blocks(blocks) => blocks.iter().any(|b| b.kind.as_deref() == Some("tool_result")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_element_that_is_no_block_does_not_cost_the_others() {
        let raw: Raw<'_> = serde_json::from_str(r#"["text",1,null,{"type":"text","text":"a"},[1]]"#).unwrap();
        let Content::Blocks(blocks) = Content::of(Some(raw)) else { panic!("no blocks") };
        assert_eq!(blocks.len(), 1);
    }
}
