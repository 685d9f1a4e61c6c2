//! Values whose name says that they are secret: `API_KEY=…`, `"password": "…"`, `--token …`, `<secret>…</secret>`, in
//! the forms used in environment files, JSON, YAML, shells, source code and logs.

use super::bytes::{ALNUM, DASH, DIGIT, DOT, LOWER, UPPER, VALUE, WORD, byte, goes_on, goes_on_in_any_case, is, run};
use super::names::{self, Kind, Name};
use super::value::{is_identifier, is_password, is_placeholder, is_random, is_uuid};

/// Maximum bytes of a value.
const LONGEST: usize = 16_384;
/// A value in quotes is ignored unless it ends within this many bytes.
const LONGEST_QUOTED: usize = 8192;
/// Prefix of PostHog's project tokens, which are public: they are in web pages.
const PUBLIC: &[u8] = b"phc_";
/// Bytes of an unquoted value that are read before it is known to be a secret.
const LOOK: usize = 96;

/// How a name is joined to its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// `=`, without white space around it.
    Equals,
    /// `=`, `:=`, `==`, with white space around it.
    SpacedEquals,
    /// `:`
    Colon,
    /// `=>`, `->`
    Arrow,
    /// `--name value`
    Flag,
    /// `<name>value</name>`
    Element,
    /// `("name", "value")`
    Comma,
    /// `setName("value")`
    Call,
    /// `name is value`
    Is,
    /// `PASSWORD 'value'`
    Sql,
    /// `login name password value`
    Netrc,
}

/// A value that is a secret.
#[derive(Debug)]
pub struct Found {
    pub rule: &'static str,
    pub start: usize,
    pub end: usize,
}

/// The value of the name whose keyword is at `at`.
pub fn find(text: &[u8], at: usize, key_word: usize) -> Option<Found> {
    let name = names::at(text, at, key_word)?;
    let (join, after) = join(text, &name)?;
    let value = Value::at(text, after, join)?;
    let secret = judge(text, &name, join, &value)?;
    let end = if value.open { run(text, value.start, VALUE, LONGEST) } else { value.start + secret };
    Some(Found { rule: name.rule, start: value.start, end })
}

/// May a name be joined to a value, in a text that is escaped as JSON? Like [`find`], but only the cheap checks.
pub fn may_be_at(text: &[u8], at: usize, key_word: usize) -> bool {
    names::at(text, at, key_word).is_some_and(|name| {
        // How far back a `login` may be depends on what is escaped.
        let may_follow_login = name.kind == Kind::Password && spaces(text, name.end) > name.end;
        may_follow_login || join(text, &name).is_some()
    })
}

/// Skips blanks and tabs, even if they are escaped any number of times.
fn spaces(text: &[u8], at: usize) -> usize {
    let mut at = at;
    loop {
        match byte(text, at) {
            b' ' | b'\t' => at += 1,
            b'\\' => {
                let end = backslashes(text, at);
                if byte(text, end) != b't' {
                    return at;
                }
                at = end + 1;
            }
            _ => return at,
        }
    }
}

fn backslashes(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| **byte == b'\\').count()
}

/// Skips white space, line ends and commas, even if they are escaped.
fn gap(text: &[u8], at: usize) -> usize {
    let mut at = at;
    for _ in 0..64 {
        at = match byte(text, at) {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => at + 1,
            b'\\' if matches!(byte(text, backslashes(text, at)), b'n' | b'r' | b't') => backslashes(text, at) + 1,
            _ => return at,
        };
    }
    at
}

/// Skips backslashes and the quote after them.
fn quote(text: &[u8], at: usize) -> Option<(usize, u8, usize)> {
    let end = backslashes(text, at);
    matches!(byte(text, end), b'"' | b'\'' | b'`').then(|| (end - at, byte(text, end), end + 1))
}

/// How a name is joined to its value, and where the value may begin.
fn join(text: &[u8], name: &Name) -> Option<(Join, usize)> {
    let mut at = name.end;
    let quoted = quote(text, at);
    if let Some((_, _, after)) = quoted {
        at = after;
    }
    // `config["password"]`, `(password)`
    let bracketed = matches!(byte(text, at), b']' | b')');
    at += usize::from(bracketed);
    let spaced = spaces(text, at);
    let is_spaced = spaced > at;
    match byte(text, spaced) {
        b'=' | b'-' if byte(text, spaced + 1) == b'>' => Some((Join::Arrow, spaces(text, spaced + 2))),
        b'=' => {
            let mut after = spaced + 1;
            while byte(text, after) == b'=' && after - spaced < 3 {
                after += 1;
            }
            let value = spaces(text, after);
            let join = if is_spaced || value > after || after > spaced + 1 { Join::SpacedEquals } else { Join::Equals };
            Some((join, value))
        }
        b':' if byte(text, spaced + 1) == b'=' => Some((Join::SpacedEquals, spaces(text, spaced + 2))),
        b':' if byte(text, spaced + 1) == b':' => None,
        b':' => Some((Join::Colon, spaces(text, after_type(text, spaced + 1)))),
        b'?' if goes_on(text, spaced, "?=") => Some((Join::Equals, spaces(text, spaced + 2))),
        b'!' if goes_on(text, spaced, "!=") => Some((Join::SpacedEquals, spaces(text, spaced + 2))),
        b'>' if !is_spaced && quoted.is_none() && name.start > 0 && text[name.start - 1] == b'<' => {
            Some((Join::Element, spaced + 1))
        }
        b',' | b'\n' | b'\\' | b'/' | b' ' if let Some(after) = named_value(text, spaced, quoted.is_some()) => {
            Some((Join::Colon, after))
        }
        b',' if quoted.is_some() => Some((Join::Comma, spaces(text, spaced + 1))),
        b'(' if !is_spaced && !bracketed && quoted.is_none() => Some((Join::Call, spaces(text, spaced + 1))),
        _ if let Some(after) = named_value(text, spaced, quoted.is_some()) => Some((Join::Colon, after)),
        _ if !is_spaced => None,
        b'\'' if name.kind == Kind::Password => Some((Join::Sql, spaced)),
        _ if names::is_flag(text, name) => Some((Join::Flag, spaced)),
        b'i' if goes_on(text, spaced, "is ") => Some((Join::Is, spaces(text, spaced + 3))),
        _ if name.kind == Kind::Password && names::follows_login(text, name) => Some((Join::Netrc, spaced)),
        _ => None,
    }
}

/// `"name": "DB_PASSWORD", "value": "…"`, `- name: X` and `value: …` on the next line, `key="X" value="…"`.
fn named_value(text: &[u8], at: usize, quoted: bool) -> Option<usize> {
    let mut at = gap(text, at);
    if let Some((_, _, after)) = quote(text, at) {
        at = after;
    }
    if !goes_on_in_any_case(text, at, "value") {
        return None;
    }
    at += "value".len();
    if let Some((_, _, after)) = quote(text, at) {
        at = after;
    }
    at = spaces(text, at);
    let joined = byte(text, at) == b':' || (byte(text, at) == b'=' && quoted);
    joined.then(|| spaces(text, at + 1))
}

/// Skips the type of `password: string = "…"`, `token: Option<&str> = …`.
fn after_type(text: &[u8], at: usize) -> usize {
    let from = spaces(text, at);
    let mut end = from;
    while end - from < 40
        && (is(byte(text, end), WORD | DOT) || b"<>&|[]' ?".contains(&byte(text, end)))
        && byte(text, end) != 0
    {
        end += 1;
    }
    if byte(text, end) == b'=' && end > from && byte(text, end - 1) == b' ' && byte(text, end + 1) == b' ' {
        end + 1
    } else {
        at
    }
}

/// The position of a value, and how it is written.
#[derive(Debug)]
struct Value {
    start: usize,
    end: usize,
    quoted: bool,
    /// Is its end there: the closing quote, or a byte that ends an unquoted value?
    complete: bool,
    /// Does it go on? The rest is only read once the value is known to be a secret.
    open: bool,
}

impl Value {
    fn at(text: &[u8], at: usize, join: Join) -> Option<Self> {
        // `b"…"`, `r"…"`, `@"…"`
        let prefix = usize::from(
            matches!(byte(text, at), b'b' | b'r' | b'f' | b'u' | b'@' | b'L')
                && matches!(byte(text, at + 1), b'"' | b'\''),
        );
        if let Some((slashes, quote, start)) = quote(text, at + prefix) {
            return Self::quoted(text, start, slashes, quote);
        }
        if matches!(join, Join::Comma | Join::Call | Join::Sql) {
            return None;
        }
        if join == Join::Element {
            let end =
                text.get(at..text.len().min(at + LONGEST_QUOTED))?.iter().position(|b| *b == b'<' || *b == b'\n')? + at;
            return Some(Self { start: at, end, quoted: true, complete: true, open: false });
        }
        let mut end = run(text, at, VALUE, LOOK);
        let open = end - at == LOOK;
        // `&` ends a parameter, and so is not in the set; a continued line, a list or a sentence ends like this:
        while end > at && b",.:;?|".contains(&text[end - 1]) {
            end -= 1;
        }
        // Otherwise it is a call, an index or a field access.
        let next = byte(text, end);
        let complete = !matches!(next, b'(' | b'[' | b'{');
        (end > at).then_some(Self { start: at, end, quoted: false, complete, open })
    }

    fn quoted(text: &[u8], start: usize, slashes: usize, quote: u8) -> Option<Self> {
        let most = text.len().min(start + LONGEST_QUOTED);
        let mut at = start;
        while at < most {
            let byte = text[at];
            if byte == b'\n' {
                break;
            }
            if byte == quote {
                let before = text[start..at].iter().rev().take_while(|b| **b == b'\\').count();
                let closes = if slashes == 0 { before % 2 == 0 } else { before <= slashes };
                if closes {
                    let end = if slashes == 0 { at } else { at - before };
                    return (end > start).then_some(Self { start, end, quoted: true, complete: true, open: false });
                }
            }
            at += 1;
        }
        (at > start).then_some(Self { start, end: at, quoted: true, complete: false, open: false })
    }
}

/// How many bytes of the value are a secret, if it is one.
fn judge(text: &[u8], name: &Name, join: Join, value: &Value) -> Option<usize> {
    let all = &text[value.start..value.end];
    if all.starts_with(b"[redacted:") || (all.starts_with(b"[") && !value.quoted) {
        return None;
    }
    // A value in quotes with white space is a sentence; if its end is missing, only its first word is the secret.
    let word = all.iter().position(u8::is_ascii_whitespace).unwrap_or(all.len());
    if word < all.len() && value.complete && value.quoted && join != Join::Element {
        return None;
    }
    let secret = &all[..word];
    let core = secret.split(|b| *b == b'\\').next().unwrap_or_default();
    if core.len() < 4 || looks_like_address(secret) {
        return None;
    }
    if name.kind != Kind::Password && (is_name(secret) || secret.starts_with(PUBLIC)) {
        return None;
    }
    let random = is_random(secret) || is_uuid(secret);
    // `getToken("a name")`
    if join == Join::Call && !(is_random(secret) && secret.len() >= 16) {
        return None;
    }
    let accepted = match name.kind {
        // Names that never hold anything else.
        Kind::Password if !value.quoted => unquoted_password(name, join, value, secret, random),
        Kind::Password => {
            is_password(secret)
                && match join {
                    Join::Comma => secret.iter().any(u8::is_ascii_digit),
                    _ => !is_interface_text(secret),
                }
        }
        Kind::Secret | Kind::Key if !value.quoted => {
            random && value.complete && !is_reference(secret) && (join != Join::Is || secret.len() >= 16)
        }
        Kind::Secret | Kind::Key => random && secret.len() >= 8,
        Kind::Weak => random && secret.len() >= 16 && !is_reference(secret) && (value.quoted || value.complete),
    };
    (accepted && !is_placeholder(secret)).then_some(secret.len())
}

fn unquoted_password(name: &Name, join: Join, value: &Value, secret: &[u8], random: bool) -> bool {
    if !is_password(secret) {
        return false;
    }
    let digit = secret.iter().any(u8::is_ascii_digit);
    let symbol = secret.iter().any(|b| !is(*b, WORD | DASH | DOT));
    match join {
        // The value of a flag or an environment variable is taken literally.
        Join::Flag | Join::Netrc => value.complete && !secret.starts_with(b"-"),
        Join::Equals if name.is_upper || name.begins_line => {
            value.complete && !(is_reference(secret) && secret.contains(&b'.'))
        }
        Join::Is => secret.len() >= 6 && digit && (random || symbol),
        _ => value.complete && !is_reference(secret) && (digit || symbol) && secret.len() >= 6,
    }
}

/// `user.password`, `args.token`, `getToken`, `Foo::BAR`, `self`: code that refers to a value.
fn is_reference(value: &[u8]) -> bool {
    if !is_identifier(value) {
        return value.starts_with(b"@") || value.contains(&b':') && value.windows(2).any(|w| w == b"::");
    }
    let dotted =
        value.contains(&b'.') && value.split(|b| *b == b'.').all(|part| part.first().is_some_and(|b| !is(*b, DIGIT)));
    dotted && !is_random(value)
}

/// `voyage-api-key`: the name of a secret, as in a list of names, is not a secret.
fn is_name(value: &[u8]) -> bool {
    let mut parts = value.rsplit(|byte| matches!(byte, b'_' | b'-' | b'.'));
    let last = parts.next().unwrap_or_default();
    let is_kind = ["key", "keys", "token", "tokens", "secret", "secrets"]
        .iter()
        .any(|kind| last.eq_ignore_ascii_case(kind.as_bytes()));
    is_kind && parts.clone().next().is_some() && parts.all(|part| part.iter().all(|byte| is(*byte, LOWER | UPPER)))
}

/// The address of something is not its secret; if it holds one, other rules find it.
fn looks_like_address(value: &[u8]) -> bool {
    let scheme = run(value, 0, ALNUM, 12);
    goes_on(value, scheme, "://") || (value.starts_with(b"/") && value[1..].contains(&b'/') && !is_random(value))
}

/// Texts that programs show where they ask for a password, names of fields, and rules for them.
fn is_interface_text(value: &[u8]) -> bool {
    let letters = value.iter().all(|b| is(*b, LOWER | UPPER) || b"_-.".contains(b));
    let capital = value.first().is_some_and(u8::is_ascii_uppercase);
    let lower = value.to_ascii_lowercase();
    let has = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    letters && (capital || ["field", "input", "label", "forgot", "reset"].into_iter().any(has))
        || is_validation_rule(&lower)
}

/// `required|string|min:8`: what a value must be like, not the value.
fn is_validation_rule(value: &[u8]) -> bool {
    let first = value.split(|byte| matches!(byte, b'|' | b':')).next().unwrap_or_default();
    ["required", "nullable", "sometimes", "confirmed", "hashed", "encrypted", "filled", "present"]
        .iter()
        .any(|rule| first == rule.as_bytes())
}
