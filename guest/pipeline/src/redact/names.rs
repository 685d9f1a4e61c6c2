//! Names that say that their value is a secret, and names that only look like it.

use super::bytes::{DASH, DOT, LOWER, UPPER, WORD, byte, goes_on_in_any_case, is, run, run_before, without_escape};
use super::heads::Head;

/// What a name says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person may have chosen it.
    Password,
    /// It was generated at random.
    Secret,
    /// A key; the name says what it is for.
    Key,
    /// It may not be a secret.
    Weak,
}

/// A keyword in a name.
struct KeyWord {
    word: &'static str,
    kind: Kind,
    rule: &'static str,
}

const fn key_word(word: &'static str, kind: Kind, rule: &'static str) -> KeyWord {
    KeyWord { word, kind, rule }
}

/// The keywords, in lower case; a longer one comes before a shorter one that it starts with.
const KEY_WORDS: [KeyWord; 15] = [
    key_word("passphrase", Kind::Password, "password"),
    key_word("password", Kind::Password, "password"),
    key_word("passwort", Kind::Password, "password"),
    key_word("passwd", Kind::Password, "password"),
    key_word("passcode", Kind::Password, "password"),
    key_word("pass", Kind::Password, "password"),
    key_word("pwd", Kind::Password, "password"),
    key_word("secret", Kind::Secret, "secret"),
    key_word("token", Kind::Secret, "token"),
    key_word("credential", Kind::Secret, "secret"),
    key_word("_auth", Kind::Secret, "token"),
    key_word("seed", Kind::Secret, "secret"),
    // OAuth 1.0 (RFC 5849).
    key_word("oauth_signature", Kind::Secret, "token"),
    key_word("oauth_verifier", Kind::Secret, "token"),
    key_word("key", Kind::Key, "api-key"),
];

/// The number of keywords.
pub const COUNT: usize = KEY_WORDS.len();

/// Four bytes of a keyword; a three-letter keyword gets one head for each byte that can follow it.
pub fn heads(word: usize) -> Vec<Head> {
    match *KEY_WORDS[word].word.as_bytes() {
        [a, b, c] => b"=: \t\"'`_-.])(\\>,?!\n0123456789".iter().map(|next| Head::first([a, b, c, *next])).collect(),
        _ => vec![Head::rarest(KEY_WORDS[word].word)],
    }
}

/// A name whose value can be a secret.
#[derive(Debug)]
pub struct Name {
    pub kind: Kind,
    pub rule: &'static str,
    pub start: usize,
    pub end: usize,
    /// `LIKE_THIS`
    pub is_upper: bool,
    /// Does only `export`, `-` or white space precede it on its line?
    pub begins_line: bool,
}

/// Words at the end of a name that say that its value is only related to a secret.
const ABOUT: [&str; 99] = [
    "id",
    "ids",
    "name",
    "names",
    "url",
    "uri",
    "path",
    "file",
    "dir",
    "folder",
    "type",
    "length",
    "len",
    "count",
    "size",
    "limit",
    "max",
    "min",
    "expir",
    "ttl",
    "age",
    "field",
    "arn",
    "ref",
    "version",
    "label",
    "prefix",
    "suffix",
    "header",
    "hash",
    "digest",
    "regex",
    "pattern",
    "index",
    "pos",
    "class",
    "error",
    "message",
    "hint",
    "placeholder",
    "text",
    "title",
    "desc",
    "usage",
    "budget",
    "policy",
    "rule",
    "valid",
    "check",
    "verif",
    "require",
    "reset",
    "provider",
    "manager",
    "store",
    "service",
    "handler",
    "param",
    "arg",
    "schema",
    "format",
    "algo",
    "enabled",
    "disabled",
    "scope",
    "issuer",
    "endpoint",
    "host",
    "port",
    "stream",
    "kind",
    "source",
    "env",
    "var",
    "at",
    "time",
    "date",
    "rotat",
    "retention",
    "strength",
    "template",
    "form",
    "page",
    "view",
    "button",
    "link",
    "prompt",
    "per",
    "cost",
    "price",
    "set",
    "code",
    "map",
    "press",
    "down",
    "up",
    "word",
    "list",
    "method",
];

/// Words before `token` that give it another meaning: in a language, a list or a model.
const OTHER_TOKENS: [&str; 28] = [
    "next",
    "page",
    "continuation",
    "max",
    "min",
    "num",
    "total",
    "input",
    "output",
    "prompt",
    "completion",
    "reasoning",
    "cache",
    "cached",
    "cursor",
    "pagination",
    "stop",
    "eos",
    "bos",
    "pad",
    "unk",
    "mask",
    "special",
    "sync",
    "prev",
    "lexer",
    "design",
    "cancellation",
];

/// What a key can be for so that its value is a secret.
const KEY_OF: [&str; 37] = [
    "api",
    "access",
    "secret",
    "private",
    "priv",
    "auth",
    "encryption",
    "encrypt",
    "encrypted",
    "signing",
    "sign",
    "signature",
    "master",
    "account",
    "storage",
    "shared",
    "service",
    "client",
    "license",
    "deploy",
    "app",
    "application",
    "admin",
    "server",
    "webhook",
    "subscription",
    "sas",
    "jwt",
    "hmac",
    "crypto",
    "aes",
    "integration",
    "personal",
    "write",
    "consumer",
    // machineKey of ASP.NET.
    "validation",
    "decryption",
];

/// Words before `key` that make it a field of a table, or public.
const OTHER_KEYS: [&str; 14] = [
    "public",
    "pub",
    "primary",
    "foreign",
    "sort",
    "partition",
    "cache",
    "idempotency",
    "hash",
    "range",
    "host",
    "translation",
    "object",
    "dedupe",
];

/// The name that the keyword with index `word` at `at` belongs to.
pub fn at(text: &[u8], at: usize, word: usize) -> Option<Name> {
    let KeyWord { word, kind, rule } = KEY_WORDS[word];
    if !goes_on_in_any_case(text, at, word) {
        return None;
    }
    let after = at + word.len();
    // A longer keyword is checked on its own.
    if word == "pass"
        && ["word", "wort", "phra", "code", "wd"].iter().any(|rest| goes_on_in_any_case(text, after, rest))
    {
        return None;
    }
    let start = without_escape(text, run_before(text, at, WORD | DASH | DOT, 64), at);
    let end = run(text, after, WORD | DASH | DOT, 64);
    if end - after == 64 {
        return None;
    }
    let (before, rest) = (&text[start..at], &text[after..end]);
    // `secretary`, `tokens`, `keyboard`
    let first = text[at + word.len() - 1];
    if let [next, ..] = rest {
        let continues = is(*next, LOWER) || (is(*next, UPPER) && is(first, UPPER));
        if continues {
            return None;
        }
    }
    let rest = bare(rest);
    if !rest.is_empty() && ABOUT.iter().any(|word| last_words(&rest, word)) {
        return None;
    }
    let start_of_word = before.last().is_none_or(|b| b"_-.".contains(b))
        || is(text[at], UPPER) && before.last().is_some_and(|b| is(*b, LOWER));
    let before = bare(before);
    // `--no-password`
    if before == "no" {
        return None;
    }
    let ends = |words: &[&str]| words.iter().any(|word| before.ends_with(word));
    let is_upper = !text[start..end].iter().any(|b| is(*b, LOWER));
    let mut kind = kind;
    match word {
        "pass"
            if !start_of_word
                && !ends(&[
                    "db", "user", "my", "root", "admin", "smtp", "mail", "ssh", "sudo", "keystore", "pg", "mysql",
                    "redis",
                ]) =>
        {
            return None;
        }
        "pass" if ends(&["by", "com", "tres", "sur", "sub"]) && !start_of_word => return None,
        "token" if ends(&OTHER_TOKENS) => return None,
        "key" if ends(&OTHER_KEYS) => return None,
        "key" if !ends(&KEY_OF) => {
            if !(is_upper && start_of_word && !before.is_empty()) {
                return None;
            }
            kind = Kind::Weak;
        }
        _ => {}
    }
    Some(Name { kind, rule, start, end, is_upper, begins_line: begins_line(text, start) })
}

/// In lower case, without word separators.
fn bare(name: &[u8]) -> String {
    name.iter().filter(|b| !b"_-.".contains(b)).map(|b| char::from(b.to_ascii_lowercase())).collect()
}

fn last_words(rest: &str, word: &str) -> bool {
    rest.starts_with(word) || rest.ends_with(word)
}

/// `--token`, `-password`
pub fn is_flag(text: &[u8], name: &Name) -> bool {
    byte(text, name.start) == b'-' || (name.start > 0 && text[name.start - 1] == b'-')
}

/// `machine x login y password z`
pub fn follows_login(text: &[u8], name: &Name) -> bool {
    let before = &text[name.start.saturating_sub(128)..name.start];
    before.windows(6).any(|window| window == b"login ") && text[name.start..name.end] == *b"password"
}

fn begins_line(text: &[u8], start: usize) -> bool {
    let mut at = start;
    while at > 0 && matches!(text[at - 1], b' ' | b'\t') {
        at -= 1;
        if start - at > 32 {
            return false;
        }
    }
    if at >= 6 && (text[at - 6..at].eq_ignore_ascii_case(b"export") || &text[at - 2..at] == b"-e") {
        return true;
    }
    // An item of a list, as in Compose files.
    if at < start && text[..at].ends_with(b"-") && text[..at - 1].last().is_none_or(u8::is_ascii_whitespace) {
        return true;
    }
    at == 0 || text[at - 1] == b'\n' || (at >= 2 && text[at - 2] == b'\\' && text[at - 1] == b'n')
}
