//! Events as JSON, written directly into bytes.

use crate::events::shape;
use crate::events::shorten;
use crate::identity::EventId;
use crate::redact::Redactor;
use crate::time;
pub use crate::transcript::context::Context;
use crate::transcript::text::Text;
use serde::Serialize;
use std::rc::Rc;

/// Maximum bytes of one event that PostHog accepts on its AI path.
pub const LARGEST_EVENT: usize = 8 * 1024 * 1024;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One response of a model.
    Generation,
    /// One tool call.
    Span,
    /// The trace of a session or of a prompt.
    Trace,
    /// The same for a session within another program's trace: that trace's event is not ours to write.
    Session,
}

impl Kind {
    /// The event's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Generation => "$ai_generation",
            Kind::Span | Kind::Session => "$ai_span",
            Kind::Trace => "$ai_trace",
        }
    }
}

/// A complete event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its `uuid`.
    pub id: EventId,
    /// Its name.
    pub kind: Kind,
    /// One JSON object, without a line break: `event`, `uuid`, `distinct_id`, `timestamp`, `properties`.
    pub json: Vec<u8>,
    /// Tokens of a generation: input, output, cache read, cache creation; zeros for other kinds.
    pub tokens: [u64; 4],
    /// Were its texts shortened for a server that accepts no larger events?
    pub shortened: bool,
    /// Is it attributed to the session instead of a person? PostHog then creates no person profile.
    pub personless: bool,
}

/// What all events of a session share.
#[derive(Debug, Default)]
pub struct Envelope {
    /// The person they are attributed to.
    pub distinct_id: String,
    /// Is `distinct_id` the session's, not a person's?
    pub personless: bool,
    /// `$ai_session_id`.
    pub session_id: String,
    /// `$ai_project_name`: the same for the whole session, even if it changes directories.
    pub project: Option<String>,
    /// The other program's trace that the session belongs to.
    pub parent: Option<Parent>,
    /// `$ai_git_repo`.
    pub git_repo: Option<String>,
    /// `$ai_purpose`.
    pub purpose: Option<String>,
    /// Custom properties, sorted by name.
    pub custom: Vec<(String, serde_json::Value)>,
    /// Removes secrets from everything that is written.
    pub redactor: Rc<Redactor>,
    /// Privacy mode: only numbers and words of a transcript are sent, see `events::shape`.
    pub privacy: bool,
}

/// Another program's trace that a session belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its `$ai_trace_id`.
    pub trace_id: String,
    /// The span in it that started the session.
    pub span_id: Option<String>,
}

impl Envelope {
    /// The session's `$ai_span_id`, if it is a span of another program's trace.
    pub fn session_span(&self) -> EventId {
        EventId::other("session-span", &self.session_id)
    }

    /// Writes an event; `own` adds its own properties. The second value says whether it was shortened to
    /// [`LARGEST_EVENT`].
    pub fn event(
        &self,
        kind: Kind,
        id: EventId,
        timestamp: i64,
        trace_id: &str,
        context: &Context,
        own: impl FnOnce(&mut Object),
    ) -> (Event, bool) {
        let mut event = Object::begin(Vec::with_capacity(2048), &self.redactor);
        event.field("event", kind.name());
        event.field("uuid", &id.to_string());
        event.field("distinct_id", &self.distinct_id);
        event.field("timestamp", &time::format(timestamp));
        event.name("properties");
        let mut properties = Object { shaped: self.privacy, ..Object::begin(event.out, &self.redactor) };
        properties.field("$ai_trace_id", trace_id);
        properties.field("$ai_session_id", &self.session_id);
        own(&mut properties);
        properties.some("$ai_project_name", self.project.as_ref());
        properties.some("$ai_git_branch", context.branch.as_ref());
        properties.some("$ai_git_repo", self.git_repo.as_ref());
        properties.some("$ai_purpose", self.purpose.as_ref());
        properties.some("claude_code_version", context.version.as_ref());
        properties.some("claude_code_entrypoint", context.entrypoint.as_ref());
        properties.field("$ai_framework", "claude-code");
        for library in ["$ai_lib", "$lib"] {
            properties.field(library, "posthog-llma");
        }
        for version in ["$ai_lib_version", "$lib_version"] {
            properties.field(version, env!("CARGO_PKG_VERSION"));
        }
        if self.personless {
            properties.field("$process_person_profile", &false);
        }
        for (name, value) in &self.custom {
            properties.custom(name, value);
        }
        let redactor = Rc::clone(&self.redactor);
        let json = Object { out: properties.end(), first: false, shaped: false, redactor }.end();
        let shortened = json.len() > LARGEST_EVENT;
        let json = if shortened { shorten::to_fit(json, LARGEST_EVENT) } else { json };
        (Event { id, kind, json, tokens: [0; 4], shortened: false, personless: self.personless }, shortened)
    }
}

/// Types that are written as JSON directly: most values are.
pub trait Json {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
}

impl Json for Text {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.json().as_bytes());
    }
}

impl Json for str {
    fn write(&self, out: &mut Vec<u8>) {
        // Writing a string to memory cannot fail.
        let _ = serde_json::to_writer(out, self);
    }
}

/// A JSON object that is being written. Secrets are removed from its values, unless they are known to have none.
#[derive(Debug)]
pub struct Object {
    out: Vec<u8>,
    first: bool,
    redactor: Rc<Redactor>,
    /// Is the value of a member replaced if it has no known shape?
    shaped: bool,
}

impl Object {
    fn begin(mut out: Vec<u8>, redactor: &Rc<Redactor>) -> Self {
        out.push(b'{');
        Self { out, first: true, shaped: false, redactor: Rc::clone(redactor) }
    }

    fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }

    /// One of our names: nothing in it needs escaping.
    fn name(&mut self, name: &'static str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        // Writing to memory cannot fail, and no value here has keys that are not strings.
        if serde_json::to_writer(&mut self.out, value).is_err() {
            self.out.extend_from_slice(b"null");
        }
    }

    fn custom(&mut self, name: &str, value: &serde_json::Value) {
        self.separate();
        self.value(name);
        self.out.push(b':');
        self.value(value);
    }

    /// Adds a member.
    pub fn field(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        let begin = (self.out.len(), self.first);
        self.name(name);
        let from = self.out.len();
        self.value(value);
        let written = std::str::from_utf8(&self.out[from..]).ok();
        if let Some(clean) = written.and_then(|json| self.redactor.redact_json(json)) {
            self.out.truncate(from);
            self.out.extend_from_slice(clean.as_bytes());
        }
        self.keep_shape(name, begin, from);
    }

    /// Adds what people, models and tools wrote, which is only sent without privacy mode. In privacy mode `write` is
    /// not called.
    pub fn content(&mut self, write: impl FnOnce(&mut Self)) {
        if !self.shaped {
            write(self);
        }
    }

    /// Adds a member whose texts have been through [`crate::transcript::text::TextRules`].
    pub fn clean(&mut self, name: &'static str, value: &(impl Json + ?Sized)) {
        let begin = (self.out.len(), self.first);
        self.name(name);
        let from = self.out.len();
        value.write(&mut self.out);
        self.keep_shape(name, begin, from);
    }

    /// In privacy mode, takes back a member that is content or has no known shape: content that bypasses
    /// [`Object::content`] by mistake is not sent either.
    fn keep_shape(&mut self, name: &'static str, (begin, first): (usize, bool), from: usize) {
        if self.shaped && !shape::is_known(name, &self.out[from..]) {
            let is_text = self.out[from] == b'"' && !shape::is_content(name);
            self.out.truncate(begin);
            self.first = first;
            if is_text {
                self.name(name);
                self.value(shape::OTHER);
            }
        }
    }

    /// Adds a member, if it has a value.
    pub fn some<T: Serialize>(&mut self, name: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.field(name, &value);
        }
    }

    /// Adds a count, unless it is 0.
    pub fn count(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            self.field(name, &count);
        }
    }

    /// Adds a member only if it is true.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        if value {
            self.field(name, &true);
        }
    }
}
