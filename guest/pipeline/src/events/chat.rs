//! Messages in OpenAI's chat format, which is what PostHog's views draw.

use crate::transcript::context::LONGEST_NAME;
use crate::transcript::entry::{Block, Content, Source};
use crate::transcript::text::{self, Text, TextRules};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::rc::Rc;

/// Bytes of texts that one event's input or output holds: an event has 8 MiB at most.
const LARGEST_CONTENT: usize = crate::events::event::LARGEST_EVENT;

/// What a text is replaced by when its event is full.
const FULL: &str = "[omitted: the event is full]";

/// What a thread's next response answers: everything new since its last one.
#[derive(Debug, Default)]
pub struct Input {
    messages: Vec<InputMessage>,
    bytes: usize,
    /// What is still to come is left out.
    full: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum InputMessage {
    User {
        content: Text,
    },
    Tool {
        tool_call_id: String,
        #[serde(serialize_with = "shared")]
        content: Rc<Text>,
    },
}

fn shared<S: Serializer>(text: &Rc<Text>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_ref().serialize(serializer)
}

impl Input {
    /// Is there nothing new?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds a user line's content. `results` are the texts of its tools' results, which their spans share.
    pub fn push(&mut self, content: &Content<'_>, results: &[Rc<Text>], rules: &TextRules, elided: bool) {
        let mut results = results.iter();
        match content {
            Content::Text(raw) => self.push_user(|| rules.of_json(raw, elided)),
            Content::Blocks(blocks) => {
                for block in blocks {
                    if block.kind.as_deref() == Some("tool_result") {
                        let tool_call_id = name(block.tool_use_id.as_deref().unwrap_or_default(), rules);
                        let content = results.next().map(Rc::clone).unwrap_or_default();
                        self.admit(|| InputMessage::Tool { tool_call_id, content });
                    } else {
                        self.push_user(|| block_text(block, rules, elided));
                    }
                }
            }
        }
    }

    /// Adds what the model was told beside the user lines.
    pub fn push_text(&mut self, text: Text) {
        self.push_user(|| text);
    }

    fn push_user(&mut self, text: impl FnOnce() -> Text) {
        self.admit(|| InputMessage::User { content: text() });
    }

    /// Adds a message, if there is room for one more.
    fn admit(&mut self, message: impl FnOnce() -> InputMessage) {
        if self.full {
            return;
        }
        self.full = self.bytes >= LARGEST_CONTENT;
        let message = if self.full { InputMessage::User { content: FULL.into() } } else { message() };
        self.bytes += 64
            + match &message {
                InputMessage::User { content } => content.len(),
                InputMessage::Tool { content, .. } => content.len(),
            };
        self.messages.push(message);
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.messages.serialize(serializer)
    }
}

/// What a model answered.
#[derive(Debug, Default)]
pub struct Output {
    thinking: Vec<Text>,
    texts: Vec<Text>,
    calls: Vec<Call>,
    bytes: usize,
}

#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    arguments: Rc<Text>,
}

impl Output {
    /// Adds a block of an assistant line. Results of tools that ran at the provider belong to their span.
    pub fn push(&mut self, block: &Block<'_>, rules: &TextRules, elided: bool) {
        if self.bytes >= LARGEST_CONTENT {
            return;
        }
        match block.kind.as_deref().unwrap_or_default() {
            "thinking" => {
                // From 2.1.86 on the client often writes only the signature.
                let thinking = block.thinking.map(|raw| rules.of_json(raw, elided)).unwrap_or_default();
                if !thinking.is_empty() {
                    self.bytes += thinking.len();
                    self.thinking.push(thinking);
                }
            }
            "redacted_thinking" => {
                self.bytes += 64;
                self.thinking.push("[redacted thinking]".into());
            }
            // Says that another model went on: no content.
            "fallback" => {}
            kind if kind.ends_with("_tool_result") => {}
            _ => {
                let text = block_text(block, rules, elided);
                self.bytes += text.len() + 64;
                self.texts.push(text);
            }
        }
    }

    /// Adds a tool call, whose span shares its arguments.
    pub fn push_call(&mut self, block: &Block<'_>, arguments: Rc<Text>, rules: &TextRules) {
        if self.bytes >= LARGEST_CONTENT {
            return;
        }
        self.bytes += arguments.len() + 64;
        let id = name(block.id.as_deref().unwrap_or_default(), rules);
        self.calls.push(Call { id, name: tool_name(block, rules), arguments });
    }

    /// The text alone: what an API error says.
    pub fn text(&self) -> String {
        self.texts.iter().map(Text::decoded).collect::<Vec<_>>().join("\n")
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Message<'a, C: Serialize> {
            role: &'static str,
            content: C,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            tool_calls: Vec<ToolCall<'a>>,
        }
        #[derive(Serialize)]
        struct ToolCall<'a> {
            id: &'a str,
            #[serde(rename = "type")]
            kind: &'static str,
            function: Function<'a>,
        }
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: &'a Text,
        }
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "lowercase")]
        enum Part<'a> {
            Text { text: &'a Text },
            Thinking { thinking: &'a Text },
        }
        let tool_calls: Vec<_> = self
            .calls
            .iter()
            .map(|c| ToolCall {
                id: &c.id,
                kind: "function",
                function: Function { name: &c.name, arguments: &c.arguments },
            })
            .collect();
        let mut messages = serializer.serialize_seq(None)?;
        if !self.thinking.is_empty() {
            let content: Vec<_> = self.thinking.iter().map(|thinking| Part::Thinking { thinking }).collect();
            messages.serialize_element(&Message { role: "assistant", content, tool_calls: Vec::new() })?;
        }
        match self.texts.as_slice() {
            [] if tool_calls.is_empty() && !self.thinking.is_empty() => {}
            [] => {
                let content = tool_calls.is_empty().then_some("");
                messages.serialize_element(&Message { role: "assistant", content, tool_calls })?;
            }
            [text] => messages.serialize_element(&Message { role: "assistant", content: text, tool_calls })?,
            texts => {
                let content: Vec<_> = texts.iter().map(|text| Part::Text { text }).collect();
                messages.serialize_element(&Message { role: "assistant", content, tool_calls })?;
            }
        }
        messages.end()
    }
}

/// A tool's name, as it is sent. PostHog's tools tab takes a list with commas.
pub fn tool_name(block: &Block<'_>, rules: &TextRules) -> String {
    name(block.name.as_deref().unwrap_or("unknown"), rules).replace(',', "_")
}

/// A name or an id that the client wrote. Real ones are short and no secrets.
fn name(name: &str, rules: &TextRules) -> String {
    within(name, LONGEST_NAME, rules)
}

/// The first characters, without secrets; also without the beginning of one that goes on.
fn within(text: &str, characters: usize, rules: &TextRules) -> String {
    let short = text::prefix(text, characters);
    rules.redactor.redact_within(text, short.len()).unwrap_or_else(|| short.to_owned())
}

/// The text of a tool's result: texts line by line, images as placeholders.
pub fn result_text(content: Option<&RawValue>, rules: &TextRules, elided: bool) -> Text {
    let blocks = match Content::of(content) {
        Content::Text(raw) => return rules.of_json(raw, elided),
        Content::Blocks(blocks) => blocks,
    };
    blocks_text(&blocks.iter().collect::<Vec<_>>(), rules, elided)
}

/// The text of these blocks, line by line.
pub fn blocks_text(blocks: &[&Block<'_>], rules: &TextRules, elided: bool) -> Text {
    match blocks {
        // Most are one text.
        [Block { text: Some(raw), .. }] => rules.of_json(raw, elided),
        blocks => {
            let mut text = String::new();
            for block in blocks {
                if text.len() > LARGEST_CONTENT {
                    break;
                }
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&block_text(block, rules, elided).decoded());
            }
            // Each part was cut, and their sum is one text.
            rules.of(&text)
        }
    }
}

/// A block as text. What is no text is named.
fn block_text(block: &Block<'_>, rules: &TextRules, elided: bool) -> Text {
    if let Some(raw) = block.text {
        return rules.of_json(raw, elided);
    }
    if rules.privacy {
        return Text::default();
    }
    match (block.kind.as_deref().unwrap_or("unknown"), &block.source) {
        (kind @ ("image" | "document"), Some(source)) => placeholder(kind, source, rules, elided).as_str().into(),
        (kind, _) => match (&block.title, &block.url) {
            (Some(title), Some(url)) => rules.of(&format!("{title} <{url}>")),
            _ => format!("[{}]", within(kind, 50, rules)).as_str().into(),
        },
    }
}

/// `[image: image/png, 12 KB]`
fn placeholder(kind: &str, source: &Source<'_>, rules: &TextRules, elided: bool) -> String {
    let media_type = within(source.media_type.as_deref().unwrap_or("unknown type"), 50, rules);
    match source.data {
        Some(data) => format!("[{kind}: {media_type}, {} bytes]", bytes_of_base64(data.get(), elided)),
        None => format!("[{kind}: {media_type}]"),
    }
}

/// Four characters of Base64 are three bytes, but for the last ones.
fn bytes_of_base64(raw: &str, elided: bool) -> usize {
    let padding = raw.trim_end_matches('"').bytes().rev().take_while(|b| *b == b'=').count();
    (text::raw_length(raw, elided).saturating_sub(padding)) * 3 / 4
}
