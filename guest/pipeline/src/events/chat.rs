//! Messages in OpenAI's chat format, which PostHog's views render.

use crate::events::event::Json;
use crate::transcript::context::LONGEST_NAME;
use crate::transcript::entry::{Block, Content, Source};
use crate::transcript::raw::Raw;
use crate::transcript::text::{self, Text, TextRules};
use std::rc::Rc;

/// Maximum bytes of text in one event's input or output: an event has at most 8 MiB.
const LARGEST_CONTENT: usize = crate::events::event::LARGEST_EVENT;

/// Replaces a text if its event is full.
const FULL: &str = "[omitted: the event is full]";

/// What a thread's next response answers: everything new since its last response.
#[derive(Debug, Default)]
pub struct ChatInput {
    messages: Vec<InputMessage>,
    bytes: usize,
    /// Is the event full? Then everything that follows is left out.
    full: bool,
}

#[derive(Debug)]
enum InputMessage {
    User { content: Text },
    Tool { tool_call_id: String, content: Rc<Text> },
}

impl ChatInput {
    /// Is there nothing new?
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds a user line's content. `results` are the texts of its tools' results, which their spans share.
    pub fn push(&mut self, content: &Content<'_>, results: &[Rc<Text>], rules: &TextRules) {
        let mut results = results.iter();
        match content {
            Content::Text(raw) => self.push_user(|| rules.of_json(*raw)),
            Content::Blocks(blocks) => {
                for block in blocks {
                    if block.kind.as_deref() == Some("tool_result") {
                        let tool_call_id = name(block.tool_use_id.as_deref().unwrap_or_default(), rules);
                        let content = results.next().map(Rc::clone).unwrap_or_default();
                        self.admit(|| InputMessage::Tool { tool_call_id, content });
                    } else {
                        self.push_user(|| block_text(block, rules));
                    }
                }
            }
        }
    }

    /// Adds a text that the model was told besides the user lines.
    pub fn push_text(&mut self, text: Text) {
        self.push_user(|| text);
    }

    fn push_user(&mut self, text: impl FnOnce() -> Text) {
        self.admit(|| InputMessage::User { content: text() });
    }

    /// Adds a message, if there is room for it.
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

impl Json for ChatInput {
    fn write(&self, out: &mut Vec<u8>) {
        write_list(out, &self.messages, |out, message| {
            let content: &Text = match message {
                InputMessage::User { content } => {
                    out.extend_from_slice(b"{\"role\":\"user\",\"content\":");
                    content
                }
                InputMessage::Tool { tool_call_id, content } => {
                    out.extend_from_slice(b"{\"role\":\"tool\",\"tool_call_id\":");
                    tool_call_id.as_str().write(out);
                    out.extend_from_slice(b",\"content\":");
                    content
                }
            };
            content.write(out);
            out.push(b'}');
        });
    }
}

/// Writes a list, using `write` for each element.
fn write_list<T>(out: &mut Vec<u8>, elements: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, element) in elements.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, element);
    }
    out.push(b']');
}

/// A model's answer.
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
    pub fn push(&mut self, block: &Block<'_>, rules: &TextRules) {
        if self.bytes >= LARGEST_CONTENT {
            return;
        }
        match block.kind.as_deref().unwrap_or_default() {
            "thinking" => {
                // From 2.1.86 on the client often writes only the signature.
                let thinking = block.thinking.map(|raw| rules.of_json(raw)).unwrap_or_default();
                if !thinking.is_empty() {
                    self.bytes += thinking.len();
                    self.thinking.push(thinking);
                }
            }
            "redacted_thinking" => {
                self.bytes += 64;
                self.thinking.push("[redacted thinking]".into());
            }
            // Says that another model took over: no content.
            "fallback" => {}
            kind if kind.ends_with("_tool_result") => {}
            _ => {
                let text = block_text(block, rules);
                self.bytes += text.len() + 64;
                self.texts.push(text);
            }
        }
    }

    /// Adds a tool call, which shares its arguments with its span.
    pub fn push_call(&mut self, block: &Block<'_>, arguments: Rc<Text>, rules: &TextRules) {
        if self.bytes >= LARGEST_CONTENT {
            return;
        }
        self.bytes += arguments.len() + 64;
        let id = name(block.id.as_deref().unwrap_or_default(), rules);
        self.calls.push(Call { id, name: tool_name(block, rules), arguments });
    }

    /// Only the text: the message of an API error.
    pub fn text(&self) -> String {
        self.texts.iter().map(Text::decoded).collect::<Vec<_>>().join("\n")
    }
}

impl Output {
    /// Writes an assistant message with the content that `content` writes.
    fn write_message(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>), calls: &[Call]) {
        out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":");
        content(out);
        if !calls.is_empty() {
            out.extend_from_slice(b",\"tool_calls\":");
            write_list(out, calls, |out, call| {
                out.extend_from_slice(b"{\"id\":");
                call.id.as_str().write(out);
                out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
                call.name.as_str().write(out);
                out.extend_from_slice(b",\"arguments\":");
                call.arguments.write(out);
                out.extend_from_slice(b"}}");
            });
        }
        out.push(b'}');
    }
}

/// Writes texts as content parts of the same kind.
fn write_parts(out: &mut Vec<u8>, kind: &'static str, texts: &[Text]) {
    write_list(out, texts, |out, text| {
        for piece in ["{\"type\":\"", kind, "\",\"", kind, "\":"] {
            out.extend_from_slice(piece.as_bytes());
        }
        text.write(out);
        out.push(b'}');
    });
}

impl Json for Output {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        if !self.thinking.is_empty() {
            Self::write_message(out, |out| write_parts(out, "thinking", &self.thinking), &[]);
        }
        let says_nothing = self.texts.is_empty() && self.calls.is_empty();
        if !says_nothing || self.thinking.is_empty() {
            if !self.thinking.is_empty() {
                out.push(b',');
            }
            let content = |out: &mut Vec<u8>| match self.texts.as_slice() {
                [] => out.extend_from_slice(if says_nothing { &b"\"\""[..] } else { b"null" }),
                [text] => text.write(out),
                texts => write_parts(out, "text", texts),
            };
            Self::write_message(out, content, &self.calls);
        }
        out.push(b']');
    }
}

/// A tool's name as it is sent. PostHog's tools tab expects a comma-separated list.
pub fn tool_name(block: &Block<'_>, rules: &TextRules) -> String {
    name(block.name.as_deref().unwrap_or("unknown"), rules).replace(',', "_")
}

/// A name or an id that the client wrote. Real ones are short and contain no secrets.
fn name(name: &str, rules: &TextRules) -> String {
    within(name, LONGEST_NAME, rules)
}

/// The first characters, without secrets, and without the beginning of a secret that extends past them.
fn within(text: &str, characters: usize, rules: &TextRules) -> String {
    let short = text::prefix(text, characters);
    rules.redactor.redact_within(text, short.len()).unwrap_or_else(|| short.to_owned())
}

/// The text of a tool's result: texts line by line, images as placeholders.
pub fn result_text(content: Option<Raw<'_>>, rules: &TextRules) -> Text {
    let blocks = match Content::of(content) {
        Content::Text(raw) => return rules.of_json(raw),
        Content::Blocks(blocks) => blocks,
    };
    blocks_text(&blocks.iter().collect::<Vec<_>>(), rules)
}

/// The text of these blocks, line by line.
pub fn blocks_text(blocks: &[&Block<'_>], rules: &TextRules) -> Text {
    match blocks {
        // Most are one text.
        [Block { text: Some(raw), .. }] => rules.of_json(*raw),
        blocks => {
            let mut text = String::new();
            for block in blocks {
                if text.len() > LARGEST_CONTENT {
                    break;
                }
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&block_text(block, rules).decoded());
            }
            // Each part was cut on its own; together they are one text.
            rules.of(&text)
        }
    }
}

/// A block as text. What is not text is named.
fn block_text(block: &Block<'_>, rules: &TextRules) -> Text {
    if let Some(raw) = block.text {
        return rules.of_json(raw);
    }
    if rules.privacy {
        return Text::default();
    }
    match (block.kind.as_deref().unwrap_or("unknown"), &block.source) {
        (kind @ ("image" | "document"), Some(source)) => placeholder(kind, source, rules).as_str().into(),
        (kind, _) => match (&block.title, &block.url) {
            (Some(title), Some(url)) => rules.of(&format!("{title} <{url}>")),
            _ => format!("[{}]", within(kind, 50, rules)).as_str().into(),
        },
    }
}

/// `[image: image/png, 12 KB]`
fn placeholder(kind: &str, source: &Source<'_>, rules: &TextRules) -> String {
    let media_type = within(source.media_type.as_deref().unwrap_or("unknown type"), 50, rules);
    match source.data {
        Some(data) => format!("[{kind}: {media_type}, {} bytes]", bytes_of_base64(data)),
        None => format!("[{kind}: {media_type}]"),
    }
}

/// Four characters of Base64 are three bytes, but for the last ones.
fn bytes_of_base64(raw: Raw<'_>) -> usize {
    let padding = raw.get().trim_end_matches('"').bytes().rev().take_while(|b| *b == b'=').count();
    (text::raw_length(raw).saturating_sub(padding)) * 3 / 4
}
