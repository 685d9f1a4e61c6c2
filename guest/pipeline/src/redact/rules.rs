//! The tokens that are known, by who gives them out. The shapes are facts from the documentation of who gives them out
//! (`docs/redaction.md` names it) and from tokens as they are seen.

mod ai;
mod cloud;
mod monitoring;
mod payment;
mod source;
mod work;

use super::token::{Check, Part, Start, Token};

/// All of them.
pub const GROUPS: [(&str, &[Token]); 6] = [
    ("cloud", &cloud::TOKENS),
    ("source code and packages", &source::TOKENS),
    ("models", &ai::TOKENS),
    ("payment and shops", &payment::TOKENS),
    ("monitoring and delivery", &monitoring::TOKENS),
    ("chat, mail, work", &work::TOKENS),
];

/// A token that begins with one of these.
const fn token(rule: &'static str, heads: &'static [&'static str], tail: &'static [Part]) -> Token {
    Token { rule, heads, start: Start::Word, tail, check: Check::None }
}

/// As [`token`]; other things begin like this, so that it must look like chance made it.
const fn random(rule: &'static str, heads: &'static [&'static str], tail: &'static [Part]) -> Token {
    Token { rule, heads, start: Start::Word, tail, check: Check::Random }
}

/// A URL whose path is the secret.
const fn address(rule: &'static str, heads: &'static [&'static str], tail: &'static [Part]) -> Token {
    Token { rule, heads, start: Start::Kept, tail, check: Check::None }
}

/// A token with a literal in its middle.
const fn inside(
    rule: &'static str,
    (set, least, most): (super::bytes::Set, usize, usize),
    heads: &'static [&'static str],
    tail: &'static [Part],
) -> Token {
    Token { rule, heads, start: Start::Inside(set, least, most), tail, check: Check::None }
}
