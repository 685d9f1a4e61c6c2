//! Lines of a transcript, and sessions made of them, in a few words.

use crate::conversion::{Converted, Run, convert, count};
use posthog_llma_pipeline::identity::EventId;
use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, Counts, FileRole, TraceGrouping};
use serde_json::{Value, json};

/// The session's id.
pub const SESSION: &str = "5e551011-0000-4000-8000-000000000000";

/// One line.
#[derive(Debug, Clone)]
pub struct Line(pub Value);

impl Line {
    /// With these members too; objects are merged.
    pub fn with(mut self, members: Value) -> Self {
        merge(&mut self.0, members);
        self
    }

    /// Without this member, a JSON pointer: `/message/usage`.
    pub fn without(mut self, pointer: &str) -> Self {
        let (object, name) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        self
    }

    /// On a sub-agent's thread that has no file of its own, behind this line.
    pub fn inline(self, parent: Option<&str>) -> Self {
        self.with(json!({"isSidechain": true, "parentUuid": parent}))
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A time, in milliseconds since midnight.
pub fn at(milliseconds: i64) -> String {
    posthog_llma_pipeline::time::format(1_767_225_600_000 + milliseconds)
}

/// A user line; its `uuid` is `u` and the time.
pub fn user(time: i64, content: impl Into<Value>) -> Line {
    Line(json!({
        "type": "user", "uuid": format!("u{time}"), "timestamp": at(time), "cwd": "/home/dev/shop", "version": "2.1.330",
        "message": {"role": "user", "content": content.into()},
    }))
}

/// A line of the response `id` with these blocks; its `uuid` is `a` and the time.
pub fn reply(time: i64, id: &str, blocks: Value) -> Line {
    Line(json!({
        "type": "assistant", "uuid": format!("a{time}"), "timestamp": at(time), "cwd": "/home/dev/shop", "version": "2.1.330",
        "message": {
            "id": id, "model": "claude-x", "role": "assistant", "stop_reason": "end_turn", "content": blocks,
            "usage": {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 40},
        },
    }))
}

/// A call that failed.
pub fn failed(time: i64, id: &str, words: &str) -> Line {
    let line = reply(time, id, json!([text(words)]));
    line.with(json!({"isApiErrorMessage": true, "message": {"model": "<synthetic>", "usage": {"input_tokens": 0, "output_tokens": 0}}}))
}

pub fn text(words: &str) -> Value {
    json!({"type": "text", "text": words})
}

/// A call of the tool `Bash`.
pub fn call(id: &str) -> Value {
    call_of("Bash", id, json!({"command": "ls"}))
}

pub fn call_of(name: &str, id: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": name, "input": input})
}

/// A call that starts a sub-agent.
pub fn task(id: &str, prompt: &str) -> Value {
    call_of("Task", id, json!({"prompt": prompt, "subagent_type": "Explore", "description": "Look"}))
}

/// The user line with the result of a call.
pub fn result(time: i64, call: &str, content: impl Into<Value>) -> Line {
    user(time, json!([{"type": "tool_result", "tool_use_id": call, "content": content.into()}]))
}

/// The same, failed.
pub fn error(time: i64, call: &str, content: impl Into<Value>) -> Line {
    user(time, json!([{"type": "tool_result", "tool_use_id": call, "content": content.into(), "is_error": true}]))
}

/// A line of another type.
pub fn other(kind: &str) -> Line {
    Line(json!({"type": kind}))
}

/// A session.
#[derive(Debug, Clone)]
pub struct Case {
    pub files: Vec<(FileRole, Vec<u8>)>,
    pub run: Run,
}

/// The lines as a file. Short IDs stand for those of Anthropic's shape; any other is a gateway's.
pub fn bytes(lines: impl IntoIterator<Item = Line>) -> Vec<u8> {
    let write = |mut line: Line| {
        shape(&mut line.0, false);
        (line.0.to_string() + "\n").into_bytes()
    };
    lines.into_iter().flat_map(write).collect()
}

fn shape(value: &mut Value, is_message: bool) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| shape(value, false)),
        Value::Object(members) => {
            let is_call = matches!(members.get("type").and_then(Value::as_str), Some("tool_use" | "server_tool_use"));
            for (name, value) in members {
                match (name.as_str(), &value) {
                    ("tool_use_id" | "toolUseId" | "parentToolUseID", Value::String(id)) => *value = tool_id(id).into(),
                    ("id", Value::String(id)) if is_call => *value = tool_id(id).into(),
                    ("id", Value::String(id)) if is_message => *value = message_id(id).into(),
                    ("interruptedMessageId", Value::String(id)) => *value = message_id(id).into(),
                    (name, _) => {
                        let is_message = name == "message";
                        shape(value, is_message);
                    }
                }
            }
        }
        _ => {}
    }
}

/// The `message.id` for which a short one stands.
pub fn message_id(short: &str) -> String {
    shaped("msg_", short)
}

/// The tool call's id for which a short one stands.
pub fn tool_id(short: &str) -> String {
    shaped("toolu_", short)
}

fn shaped(prefix: &str, id: &str) -> String {
    let is_short = (1..=8).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_short { format!("{prefix}01{:0>20}", id.replace('-', "")) } else { id.to_owned() }
}

/// The session whose main transcript has these lines.
pub fn session(lines: impl IntoIterator<Item = Line>) -> Case {
    raw(bytes(lines))
}

/// The session whose main transcript has these bytes.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Case {
    Case { files: vec![(FileRole::Main, bytes.into())], run: Run::default() }
}

impl Case {
    /// And this main transcript, of another project's folder.
    pub fn main(mut self, lines: impl IntoIterator<Item = Line>) -> Self {
        let mains = self.files.iter().filter(|(role, _)| *role == FileRole::Main).count();
        self.files.insert(mains, (FileRole::Main, bytes(lines)));
        self
    }

    /// And this sub-agent's file.
    pub fn agent(self, id: &str, metadata: Option<Value>, lines: impl IntoIterator<Item = Line>) -> Self {
        let metadata = metadata.map(|mut metadata| {
            shape(&mut metadata, false);
            metadata.to_string()
        });
        self.file(AgentFile { agent_id: id.into(), metadata, workflow_run: None }, lines)
    }

    pub fn file(mut self, agent: AgentFile, lines: impl IntoIterator<Item = Line>) -> Self {
        self.files.push((FileRole::Agent(agent), bytes(lines)));
        self
    }

    pub fn options(mut self, set: impl FnOnce(&mut ConversionOptions)) -> Self {
        set(&mut self.run.options);
        self
    }

    /// With a trace for each prompt.
    pub fn by_prompt(self) -> Self {
        self.options(|o| o.trace_grouping = TraceGrouping::Message)
    }

    /// What was delivered before.
    pub fn exclude(mut self, ids: impl IntoIterator<Item = EventId>) -> Self {
        self.run.exclude.extend(ids);
        self
    }

    /// What was delivered before, without its trace.
    pub fn withhold(mut self, ids: impl IntoIterator<Item = EventId>) -> Self {
        self.run.withhold.extend(ids);
        self
    }

    /// What was delivered before in deliveries of which the last one was this case's: its files were read, and have grown.
    pub fn after(mut self, last: &Self, ids: impl IntoIterator<Item = EventId>) -> Self {
        let read = |(role, bytes): &(FileRole, Vec<u8>)| {
            let same = last.files.iter().filter(|(before, was)| before == role && bytes.starts_with(was));
            same.map(|(_, was)| was.len() as u64).max().unwrap_or(0)
        };
        self.run.read_before = self.files.iter().map(read).collect();
        self.exclude(ids)
    }

    pub fn run(self) -> Converted {
        convert(SESSION, &self.files, self.run)
    }

    /// The counts alone.
    pub fn count(self) -> Counts {
        count(SESSION, &self.files, self.run)
    }

    /// The properties of its only generation.
    pub fn generation(self) -> Value {
        only(self.run().generations())
    }

    /// The properties of its only span.
    pub fn span(self) -> Value {
        only(self.run().spans())
    }

    /// The properties of its only trace.
    pub fn trace(self) -> Value {
        only(self.run().traces())
    }
}

fn only(events: Vec<&Value>) -> Value {
    assert_eq!(events.len(), 1, "{events:#?}");
    events[0].clone()
}

/// The id of a response's generation, as it is sent.
pub fn generation_id(message_id: &str) -> String {
    EventId::generation(&self::message_id(message_id)).to_string()
}

/// The id of a call's span, as it is sent.
pub fn span_id(tool_use_id: &str) -> String {
    EventId::span(&tool_id(tool_use_id)).to_string()
}
