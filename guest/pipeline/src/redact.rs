//! Finds secrets in text and replaces them.
//!
//! One pass finds where a rule may apply ([`heads`]); the rule then reads on from there, never far and never back. So
//! the time that a text takes depends only on its length.

mod assignment;
mod bytes;
mod command;
mod custom;
mod header;
mod heads;
mod names;
mod private_key;
mod rules;
mod token;
mod url;
mod value;

use self::assignment::Found;
pub use self::custom::{Custom, InvalidPatterns};
use self::heads::{Head, Heads};
use self::token::Token;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A replaced secret becomes this prefix, the rule's name and `]`.
pub const MARK: &str = "[redacted:";

/// How many characters beyond those that are sent must be examined, so that a secret that begins in them is recognized.
/// Every rule needs fewer.
pub const MARGIN: usize = 512;

/// Maximum passes over one text: a replacement can end a word, so that another rule then applies.
const PASSES: usize = 4;

/// A secret with at least this many characters is replaced wherever it occurs in its text.
const LEAST_EVERYWHERE: usize = 8;
/// Maximum number of secrets in one text that are searched for in all of it.
pub const MOST_EVERYWHERE: usize = 32;

/// How often each rule found a secret.
pub type Counts = BTreeMap<Rule, u64>;

/// The name of a rule, built-in or the user's.
pub type Rule = Cow<'static, str>;

/// Adds counts to a sum.
pub fn add(sum: &mut Counts, counts: &Counts) {
    for (rule, count) in counts {
        *sum.entry(rule.clone()).or_default() += count;
    }
}

/// A secret that was found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The rule's name.
    pub rule: Rule,
    /// Byte offset where it begins.
    pub start: usize,
    /// Byte offset where it ends.
    pub end: usize,
}

/// The check that a head triggers.
#[derive(Debug, Clone, Copy)]
enum Look {
    Token(&'static Token),
    Name(usize),
    Url,
    PrivateKey,
    PuttyKey,
    EncodedKey,
    Authorization,
    Bearer,
    Basic,
    Cookie,
    Command(usize),
}

/// Finds and replaces secrets, and counts them.
#[derive(Debug, Default)]
pub struct Redactor {
    heads: Heads,
    looks: Vec<Look>,
    custom: Custom,
    counts: RefCell<Counts>,
}

impl Redactor {
    /// A redactor as the options `redact-secrets` and `redact-patterns` ask for it.
    pub fn of(built_in: bool, patterns: Option<&str>) -> Result<Self, InvalidPatterns> {
        let rules = if built_in { Self::new() } else { Self::none() };
        Ok(rules.with(patterns.map(Custom::parse).transpose()?.unwrap_or_default()))
    }

    /// A redactor without any rules.
    pub fn none() -> Self {
        Self::default()
    }

    /// A redactor with the built-in rules.
    pub fn new() -> Self {
        let mut new = Self::none();
        for token in rules::GROUPS.iter().flat_map(|(_, tokens)| *tokens) {
            new.add(Look::Token(token), token.heads());
        }
        for name in 0..names::COUNT {
            new.add(Look::Name(name), names::heads(name));
        }
        for command in 0..command::COUNT {
            new.add(Look::Command(command), [command::head(command)]);
        }
        // The last letter of a scheme precedes the colon.
        let schemes = (b'a'..=b'z').chain(b'0'..=b'9').map(|last| Head::first([last, b':', b'/', b'/']));
        new.add(Look::Url, schemes);
        new.add(Look::PrivateKey, [Head::first(*b"-BEG"), Head::first(*b" BEG")]);
        new.add(Look::PuttyKey, [Head::rarest("Private-Lines")]);
        new.add(Look::EncodedKey, [Head::rarest("LS0tLS1CRUdJTi")]);
        new.add(Look::Authorization, [Head::rarest("authorization")]);
        new.add(Look::Bearer, [Head::rarest("bearer")]);
        new.add(Look::Basic, [Head::rarest("basic ")]);
        new.add(Look::Cookie, [Head::rarest("cookie")]);
        new
    }

    fn add(&mut self, look: Look, heads: impl IntoIterator<Item = Head>) {
        let number = self.looks.len() as u16;
        self.looks.push(look);
        for head in heads {
            self.heads.add(head, number);
        }
    }

    /// Adds the user's own patterns and exceptions.
    #[must_use]
    pub fn with(self, custom: Custom) -> Self {
        Self { custom, ..self }
    }

    /// The counts since the last call.
    pub fn take_counts(&self) -> Counts {
        self.counts.take()
    }

    /// Can this hold a secret? `inner` is the contents of a JSON string, with only the necessary escapes. There may be
    /// false positives, but no false negatives.
    pub fn may_hold_secret(&self, inner: &str) -> bool {
        // The user's patterns don't know about escapes.
        if self.custom.finds() {
            return true;
        }
        self.suspects(inner.as_bytes(), 0).next().is_some()
    }

    /// Where a secret may be in a text that may be escaped: heads that some rule has to check.
    fn suspects<'a>(&'a self, text: &'a [u8], from: usize) -> impl Iterator<Item = usize> + 'a {
        let mut at = from;
        std::iter::from_fn(move || {
            loop {
                let head = self.heads.next(text, at)?;
                at = head + 1;
                if self.heads.rules(text, head).any(|(rule, at)| may_be_at(self.looks[usize::from(rule)], text, at)) {
                    return Some(head);
                }
            }
        })
    }

    /// Does this string hold a secret? `inner` is the contents of a JSON string, with only the necessary escapes. It is
    /// scanned once, and decoded (`decode`) only if it may hold a secret.
    pub fn holds_secret<'a>(&self, inner: &'a str, decode: impl FnOnce() -> Cow<'a, str>) -> Option<Cow<'a, str>> {
        if self.custom.finds() {
            return Some(decode());
        }
        let escaped = inner.as_bytes();
        let mut suspects = self.suspects(escaped, 0).peekable();
        suspects.peek()?;
        let text = decode();
        // How far the escaped text has been read, and how much shorter that part is when decoded.
        let (mut read, mut shorter) = (0, 0);
        for suspect in suspects {
            while let Some(at) = memchr::memchr(b'\\', &escaped[read..suspect.max(read)]) {
                let length = if escaped.get(read + at + 1) == Some(&b'u') { 6 } else { 2 };
                read += at + length;
                shorter += length - 1;
            }
            // A match that begins within an escape is not real.
            if suspect < read {
                continue;
            }
            read = suspect;
            let found = self.at(text.as_bytes(), suspect - shorter);
            if found.is_some_and(|secret| secret.start < secret.end) {
                return Some(text);
            }
        }
        None
    }

    /// The secrets in `text`, in order and without overlaps.
    pub fn find(&self, text: &str) -> Vec<Secret> {
        let mut secrets = Vec::new();
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(head) = self.heads.next(bytes, at) {
            at = head + 1;
            let Some(secret) = self.at(bytes, head) else { continue };
            let done = secrets.last().map_or(0, |last: &Secret| last.end);
            // A mark is not a secret, and the rule's name in it does not name one.
            if secret.start < done || secret.start >= secret.end || in_mark(bytes, secret.start) || in_mark(bytes, head)
            {
                continue;
            }
            at = at.max(secret.end);
            let secret = widened(text, secret);
            if !self.custom.allows(&text[secret.start..secret.end]) {
                secrets.push(secret);
            }
        }
        if self.custom.finds() {
            secrets.extend(self.find_custom(text));
            secrets = without_overlaps(secrets);
        }
        secrets
    }

    /// Secrets that the user's patterns find.
    fn find_custom<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Secret> + 'a {
        self.custom
            .find(text)
            .filter(|(_, start, end)| !in_mark(text.as_bytes(), *start) && !self.custom.allows(&text[*start..*end]))
            .map(|(name, start, end)| Secret { rule: Rule::Owned(name.to_owned()), start, end })
    }

    /// The secret that the head at `at` leads to.
    fn at(&self, text: &[u8], at: usize) -> Option<Secret> {
        let found = self.heads.rules(text, at).find_map(|(rule, at)| look(self.looks[usize::from(rule)], text, at))?;
        // `GITHUB_TOKEN=ghp_…`: the value itself says more than its name.
        if found.start > at
            && let Some(token) = self.token_in(text, found.start, found.end)
        {
            return Some(token);
        }
        Some(found)
    }

    /// The token that the text from `start` to `end` is, or is the beginning of.
    fn token_in(&self, text: &[u8], start: usize, end: usize) -> Option<Secret> {
        let mut at = start;
        // A token's literal is within its first bytes.
        while let Some(head) = self.heads.next(text, at).filter(|head| *head < end.min(start + 32)) {
            let tokens = self.heads.rules(text, head).filter_map(|(rule, at)| match self.looks[usize::from(rule)] {
                Look::Token(token) => look(Look::Token(token), text, at),
                _ => None,
            });
            if let Some(token) = { tokens }.find(|token| token.start == start && token.end >= end) {
                return Some(token);
            }
            at = head + 1;
        }
        None
    }

    /// `text` without its secrets; `None` if it has none.
    pub fn redact(&self, text: &str) -> Option<String> {
        self.redact_within(text, text.len())
    }

    /// The first `kept` bytes of `text` without their secrets, including those that extend past them; `None` if there
    /// are none.
    pub fn redact_within(&self, text: &str, kept: usize) -> Option<String> {
        let mut found = self.find(text);
        found.retain(|secret| secret.start < kept);
        if found.is_empty() {
            return None;
        }
        let found = everywhere(text, found);
        let mut counts = self.counts.borrow_mut();
        let mut count = |secrets: &[Secret]| {
            for secret in secrets {
                *counts.entry(secret.rule.clone()).or_default() += 1;
            }
        };
        let found = &found[..found.partition_point(|secret| secret.start < kept)];
        count(found);
        let mut clean = replaced(text, found, kept);
        for _ in 1..PASSES {
            let more = self.find(&clean);
            let cleaner = replaced(&clean, &more, clean.len());
            if cleaner == clean {
                break;
            }
            count(&more);
            clean = cleaner;
        }
        Some(clean)
    }

    /// A JSON value without its secrets, as JSON; `None` if it has none.
    pub fn redact_json(&self, json: &str) -> Option<String> {
        if !self.may_hold_secret(json) {
            return None;
        }
        // As written, because the names of members say something about their values.
        let clean = self.redact(json)?;
        if serde_json::from_str::<serde::de::IgnoredAny>(&clean).is_ok() {
            return Some(clean);
        }
        let mut value = serde_json::from_str(json).ok()?;
        self.redact_value(&mut value);
        serde_json::to_string(&value).ok()
    }

    fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.redact_value(value)),
            Value::Object(members) => {
                for (name, mut value) in std::mem::take(members) {
                    self.redact_value(&mut value);
                    members.insert(self.redact(&name).unwrap_or(name), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn look(look: Look, text: &[u8], at: usize) -> Option<Secret> {
    let simple = |rule, range: Option<(usize, usize)>| range.map(|(start, end)| Found { rule, start, end });
    let found = match look {
        Look::Token(token) => simple(token.rule, token.find(text, at)),
        Look::Name(word) => assignment::find(text, at, word),
        Look::Url => simple("url-password", url::find(text, at + 1)),
        Look::PrivateKey => simple("private-key", private_key::find(text, at + 1)),
        Look::PuttyKey => simple("private-key", private_key::putty(text, at)),
        Look::EncodedKey => simple("private-key", private_key::encoded(text, at)),
        Look::Authorization => header::authorization(text, at),
        Look::Bearer => header::bearer(text, at),
        Look::Basic => header::basic(text, at),
        Look::Cookie => header::cookie(text, at),
        Look::Command(command) => command::find(text, at, command),
    }?;
    Some(Secret { rule: Rule::Borrowed(found.rule), start: found.start, end: found.end })
}

fn may_be_at(look: Look, text: &[u8], at: usize) -> bool {
    match look {
        Look::Token(token) => token.may_be_at(text, at),
        Look::Name(word) => assignment::may_be_at(text, at, word),
        Look::Url => url::may_be_at(text, at + 1),
        Look::PrivateKey => private_key::may_be_at(text, at + 1),
        Look::Basic => header::basic(text, at).is_some(),
        Look::PuttyKey | Look::EncodedKey | Look::Authorization | Look::Bearer | Look::Cookie | Look::Command(_) => {
            true
        }
    }
}

/// Is the position within `[redacted:…]`?
fn in_mark(text: &[u8], at: usize) -> bool {
    let before = &text[at.saturating_sub(80)..at];
    let Some(open) = before.iter().rposition(|b| *b == b'[') else { return false };
    before[open..].starts_with(MARK.as_bytes()) && !before[open..].contains(&b']')
}

/// Widens a secret to whole characters at both ends.
fn widened(text: &str, secret: Secret) -> Secret {
    let Secret { rule, mut start, mut end } = secret;
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    Secret { rule, start, end }
}

/// Adds every other occurrence of the secrets in the text.
fn everywhere(text: &str, secrets: Vec<Secret>) -> Vec<Secret> {
    let mut known: Vec<(&str, Rule)> = secrets
        .iter()
        .map(|secret| (&text[secret.start..secret.end], secret.rule.clone()))
        .filter(|(value, _)| value.len() >= LEAST_EVERYWHERE && value.len() <= 512)
        .collect();
    known.sort_unstable();
    known.dedup();
    known.truncate(MOST_EVERYWHERE);
    let mut all = secrets;
    for (value, rule) in known {
        let more: Vec<_> = memchr::memmem::find_iter(text.as_bytes(), value)
            .map(|start| Secret { rule: rule.clone(), start, end: start + value.len() })
            .collect();
        all.extend(more);
    }
    without_overlaps(all)
}

/// Sorts the secrets; of two that overlap, the first absorbs the second.
fn without_overlaps(mut secrets: Vec<Secret>) -> Vec<Secret> {
    secrets.sort_by_key(|secret| (secret.start, Reverse(secret.end)));
    secrets.dedup_by(|next, before| {
        let overlaps = next.start < before.end;
        if overlaps {
            before.end = before.end.max(next.end);
        }
        overlaps
    });
    secrets
}

/// The first `kept` bytes of the text, with marks in place of the secrets that begin in them.
fn replaced(text: &str, secrets: &[Secret], kept: usize) -> String {
    let mut out = String::with_capacity(kept + 32);
    let mut done = 0;
    for secret in secrets {
        out.push_str(&text[done..secret.start]);
        out.push_str(MARK);
        out.push_str(&secret.rule);
        out.push(']');
        done = secret.end;
    }
    out.push_str(&text[done.min(kept)..kept]);
    out
}

#[cfg(test)]
mod tests;
