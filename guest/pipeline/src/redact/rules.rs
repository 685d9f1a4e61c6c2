//! The known tokens, grouped by issuer. Their shapes are facts from the issuers' documentation (`docs/redaction.md`
//! names it) and from tokens seen in use.

mod ai;
mod cloud;
mod monitoring;
mod payment;
mod source;
mod work;

use super::token::{Check, Part, Start, Token};

/// All groups.
pub const GROUPS: [(&str, &[Token]); 6] = [
    ("cloud", &cloud::TOKENS),
    ("source code and packages", &source::TOKENS),
    ("models", &ai::TOKENS),
    ("payment and shops", &payment::TOKENS),
    ("monitoring and delivery", &monitoring::TOKENS),
    ("chat, mail, work", &work::TOKENS),
];

/// A token that begins with one of these literals.
const fn token(rule: &'static str, heads: &'static [&'static str], tail: &'static [Part]) -> Token {
    Token { rule, heads, start: Start::Word, tail, check: Check::None }
}

/// Like [`token`]; other things begin like this too, so the token must look random.
const fn random(rule: &'static str, heads: &'static [&'static str], tail: &'static [Part]) -> Token {
    Token { rule, heads, start: Start::Word, tail, check: Check::Random }
}

/// A URL with a secret path.
const fn address(rule: &'static str, heads: &'static [&'static str], tail: &'static [Part]) -> Token {
    Token { rule, heads, start: Start::Kept, tail, check: Check::None }
}

/// A token with a literal in the middle.
const fn inside(
    rule: &'static str,
    (set, least, most): (super::bytes::Set, usize, usize),
    heads: &'static [&'static str],
    tail: &'static [Part],
) -> Token {
    Token { rule, heads, start: Start::Inside(set, least, most), tail, check: Check::None }
}
