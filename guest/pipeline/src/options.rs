//! The user's settings: the one table of options. An option is one entry here, and the place that uses its value.
//!
//! The table generates the variables that are looked up, their defaults and parsers, what `--help`, `status`, `doctor`
//! and the documentation say about them, the plugin's options, the stored form, and what a project's settings may do.
//! Tests compare what cannot be generated: the rows of `docs/configuration.md`, and the record in `wit/types.wit`.
//!
//! A value that cannot be read is an error and never falls back to the default: a typo must not turn privacy off or
//! send data elsewhere. The same holds for a name that is close to one of these ([`judge_name`]).

use crate::origin::Origin;

mod api_key;
mod names;
mod parent;
mod parse;
#[macro_use]
mod table;
#[cfg(test)]
mod tests;

pub use api_key::{ApiKey, InvalidApiKey};
pub use names::{NameVerdict, OTHER_VARIABLES, SERVER_TOKEN, STATE_DIR, judge_name};
pub use parent::{TRACEPARENT, id_problem};
pub use parse::{InvalidVariable, boolean};
pub use table::{Entry, Privacy, Project};

use parse::Context;
use table::stricter;

/// What one trace covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TraceGrouping {
    /// One trace for the whole session.
    #[default]
    Session,
    /// One trace for each prompt.
    Message,
}

/// Which tool calls become events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ToolSpans {
    /// All of them.
    #[default]
    All,
    /// Only those that failed.
    Errors,
    /// None.
    None,
}

options! {
    /// The values of all options, or their defaults.
    pub struct Options {
        /// Needed to send, not to convert.
        api_key: Option<ApiKey> = None => API_KEY("POSTHOG_API_KEY") {
            parse: parse::api_key,
            help: "project token (phc_…), also called the project API key; required to send",
            privacy: Destination,
            sensitive: true,
        }
        /// Whether sessions are sent automatically.
        enabled: bool = false => ENABLED("POSTHOG_LLMA_CC_ENABLED") {
            parse: parse::flag,
            stricter: stricter::both,
            help: "true: send sessions automatically",
            privacy: Destination,
        }
        /// Whether complete events are also sent while a session is running.
        live: bool = true => LIVE("POSTHOG_LLMA_CC_LIVE") {
            parse: parse::flag,
            stricter: stricter::both,
            help: "send finished work while a session is still running; false: only when it ends",
            privacy: Destination,
        }
        /// Whether the origin may be a host that is neither in posthog.com nor this machine.
        allow_custom_host: bool = false => ALLOW_CUSTOM_HOST("POSTHOG_LLMA_ALLOW_CUSTOM_HOST") {
            parse: parse::flag,
            help: "true: allow a POSTHOG_HOST outside posthog.com",
            privacy: Destination,
        }
        /// Where events go.
        origin: Origin = Origin::default() => HOST("POSTHOG_HOST") {
            parse: parse::origin,
            help: "PostHog's origin: scheme, host and optional port",
            privacy: Destination,
        }
        /// Where to write a log: what was done and when, without content or keys.
        log: Option<String> = None => LOG("POSTHOG_LLMA_LOG") {
            parse: parse::log_file,
            help: "a file for a log of what is done, without content and without the token",
            privacy: Unrelated,
        }
    }
    and {
        /// The options of the conversion.
        conversion: ConversionOptions,
    }
}

options! {
    copied by $ copy_conversion_options;
    /// How to convert a session. The component takes the same options, see `wit/types.wit`.
    pub struct ConversionOptions {
        /// Leave out every text.
        privacy_mode: bool = false => PRIVACY_MODE("POSTHOG_LLMA_PRIVACY_MODE") {
            parse: parse::flag,
            stricter: stricter::either,
            help: "true: send no text, only numbers, names and IDs",
            privacy: Content,
        }
        /// The person that events are attributed to: at most 200 characters, not blank.
        distinct_id: Option<String> = None => DISTINCT_ID("POSTHOG_LLMA_DISTINCT_ID") {
            parse: parse::distinct_id,
            help: "the person events are attributed to",
            unset: "git config user.email",
            privacy: Identity,
        }
        /// What one trace covers.
        trace_grouping: TraceGrouping = TraceGrouping::Session => TRACE_GROUPING("POSTHOG_LLMA_TRACE_GROUPING") {
            parse: parse::trace_grouping,
            help: "one trace per session, or per prompt with message",
            privacy: Unrelated,
        }
        /// Which tool calls become events; all are counted on their generation and in their trace.
        tool_spans: ToolSpans = ToolSpans::All => TOOL_SPANS("POSTHOG_LLMA_TOOL_SPANS") {
            parse: parse::tool_spans,
            stricter: stricter::fewer,
            help: "tool calls to send as events: all, only failed ones with errors, or none",
            privacy: Unrelated,
        }
        /// Maximum characters kept of each text.
        max_attribute_length: u32 = 12_000 => MAX_ATTRIBUTE_LENGTH("POSTHOG_LLMA_MAX_ATTRIBUTE_LENGTH") {
            parse: parse::length,
            stricter: stricter::shorter,
            help: "maximum characters kept of each text",
            privacy: Content,
        }
        /// A JSON object whose members are added to every event's properties.
        custom_properties: Option<String> = None => CUSTOM_PROPERTIES("POSTHOG_LLMA_CUSTOM_PROPERTIES") {
            parse: parse::custom_properties,
            help: "JSON object of properties to add to every event",
            privacy: Identity,
        }
        /// Replace secrets in every text that is sent.
        redact_secrets: bool = true => REDACT_SECRETS("POSTHOG_LLMA_REDACT_SECRETS") {
            parse: parse::flag,
            stricter: stricter::either,
            help: "replace secrets with [redacted:<rule>] in everything that is sent",
            privacy: Content,
        }
        /// The user's own patterns for secrets, and exceptions: a JSON list, or the file that holds it; a host that can
        /// read files replaces the path with the file's contents.
        redact_patterns: Option<String> = None => REDACT_PATTERNS("POSTHOG_LLMA_REDACT_PATTERNS") {
            parse: parse::text,
            help: "your own patterns and exceptions: a JSON list, or the path of a file with one",
            privacy: Content,
        }
        /// Another program's trace that the session is a part of.
        parent_trace_id: Option<String> = None => PARENT_TRACE_ID("POSTHOG_LLMA_PARENT_TRACE_ID") {
            parse: parent::trace_id,
            help: "the trace to attach the session to, by ID; or traceparent to use the one in TRACEPARENT",
            privacy: Unrelated,
        }
        /// The span in that trace that started the session; without it, the session is directly below the trace.
        parent_span_id: Option<String> = None => PARENT_SPAN_ID("POSTHOG_LLMA_PARENT_SPAN_ID") {
            parse: parent::span_id,
            help: "the span of that trace to put the session under",
            privacy: Unrelated,
        }
        /// `$ai_purpose`.
        purpose: Option<String> = None => PURPOSE("POSTHOG_AI_PURPOSE") {
            parse: parse::text,
            help: "value of $ai_purpose on every event",
            privacy: Unrelated,
        }
    }
    and {
        /// `owner/name` of the project's repository; no variable sets it.
        git_repo: Option<String>,
        /// Leave out what is still open and was written after this time, in milliseconds since 1970. No variable sets
        /// it: the caller sets it to deliver a session that may still be written to.
        hold_after: Option<i64>,
        /// Leave out tool calls without a result, however old: the session is running.
        hold_calls: bool,
        /// `$ai_project_name`, if the host knows it: the last part of the path of the repository's root.
        project_name: Option<String>,
        /// Leave out anything written before this time, in milliseconds since 1970: it is not meant to be sent.
        since: Option<i64>,
    }
}

/// All options, in display order.
pub fn table() -> impl Iterator<Item = &'static Entry> + Clone {
    Options::ENTRIES.iter().chain(ConversionOptions::ENTRIES)
}

/// The names of all variables.
pub fn variables() -> impl Iterator<Item = &'static str> + Clone {
    table().map(|entry| entry.variable)
}

/// An option's entry.
pub fn entry(variable: &str) -> Option<&'static Entry> {
    table().find(|entry| entry.variable == variable)
}

impl Options {
    /// Reads all [`variables`]. `lookup` returns a variable's value; an empty one counts as not set.
    ///
    /// The error is the first variable that cannot be used.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        let context = Context::new(&lookup)?;
        let own = Self::read(&context)?;
        Ok(Self { conversion: ConversionOptions::in_context(&context)?, ..own })
    }

    /// Lets a project's settings make these stricter, if an option allows it; anything else they say is ignored.
    /// `project` returns what they say about a variable, if anything; an inner `None` is a value that is not text. A
    /// value that cannot be read may have been the strictest one, and counts as that.
    pub fn restrict(&mut self, project: impl Fn(&str) -> Option<Option<String>>) {
        self.tighten(&project);
        self.conversion.tighten(&project);
    }
}

impl ConversionOptions {
    /// Reads the [`variables`] that the conversion uses, as [`Options::parse`] does.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidVariable> {
        Self::in_context(&Context::without_key(&lookup))
    }

    fn in_context(context: &Context<'_>) -> Result<Self, InvalidVariable> {
        let mut options = Self::read(context)?;
        parent::complete(&mut options, context)?;
        Ok(options)
    }

    /// Like [`Options::restrict`].
    pub fn restrict(&mut self, project: impl Fn(&str) -> Option<Option<String>>) {
        self.tighten(&project);
    }
}
