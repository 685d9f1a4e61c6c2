//! Tokens with a shape of their own: a literal that announces them, then runs of known characters.
//!
//! A shape is read from left to right and never goes back, so it costs what it reads.

use super::bytes::{ALNUM, Set, UNDERSCORE, begins_word, byte, goes_on, is, run, run_before};
use super::heads::Head;
use super::value::is_random;

/// A kind of token.
#[derive(Debug)]
pub struct Token {
    /// The rule's name.
    pub rule: &'static str,
    /// How it can begin (for [`Start::Inside`], what stands in its middle). Three characters at least.
    pub heads: &'static [&'static str],
    /// Where that stands.
    pub start: Start,
    /// What follows.
    pub tail: &'static [Part],
    /// What else must hold.
    pub check: Check,
}

/// Where a token's literal stands.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// At its beginning, where a word begins.
    Word,
    /// After a run of these characters, of a length within these bounds, which belongs to the token.
    Inside(Set, usize, usize),
    /// At its beginning, and it stays: what is replaced comes after it. A URL whose path is the secret.
    Kept,
}

/// A part of a token.
#[derive(Debug)]
pub enum Part {
    /// A run of these characters, as long as it goes, of a length within these bounds.
    Run(Set, usize, usize),
    /// Just this.
    Is(&'static str),
    /// This and a run of at least so many of these characters, or nothing.
    Maybe(&'static str, Set, usize),
}

/// What must hold of a token besides its shape.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: its beginning says all.
    None,
    /// It looks like chance made it, because other things begin like this, too.
    Random,
}

/// No end of a run: longer than any token.
pub const LONG: usize = 16_384;

/// Bytes before a match that can belong to it.
const MOST_BEFORE: usize = 256;

impl Token {
    /// Where the token lies whose literal begins at `at`.
    pub fn find(&self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        let head = self.heads.iter().filter(|head| goes_on(text, at, head)).map(|head| head.len()).max()?;
        let mut end = at + head;
        let mut last = 0;
        for part in self.tail {
            match *part {
                Part::Run(set, at_least, at_most) => {
                    let to = run(text, end, set, at_most + 1);
                    if to - end < at_least || (to - end > at_most && at_most < LONG) {
                        return None;
                    }
                    (end, last) = (to, set);
                }
                Part::Is(literal) => {
                    if !goes_on(text, end, literal) {
                        return None;
                    }
                    end += literal.len();
                }
                Part::Maybe(literal, set, at_least) => {
                    let from = end + literal.len();
                    if goes_on(text, end, literal)
                        && let to = run(text, from, set, LONG)
                        && to - from >= at_least
                    {
                        (end, last) = (to, set);
                    }
                }
            }
        }
        if is(byte(text, end), last | ALNUM | UNDERSCORE) && end - at < LONG {
            return None;
        }
        // A full stop ends a sentence, not a token.
        while end > at + head && text[end - 1] == b'.' {
            end -= 1;
        }
        let begin = match self.start {
            Start::Word if begins_word(text, at) => at,
            Start::Word => return None,
            Start::Kept => at + head,
            Start::Inside(set, at_least, at_most) => {
                let begin = run_before(text, at, set, at_most.min(MOST_BEFORE) + 1);
                // The letter of an escape is not a part of it.
                let escape = usize::from(begin > 0 && text[begin - 1] == b'\\' && b"nrt".contains(&text[begin]));
                let length = at - begin - escape;
                if !(at_least..=at_most).contains(&length) {
                    return None;
                }
                begin + escape
            }
        };
        let varied = &text[if begin == at { at + head } else { begin }..end];
        let holds = match self.check {
            Check::None => true,
            Check::Random => is_random(varied),
        };
        holds.then_some((begin, end))
    }

    /// Can text that is written like this in JSON, from `at` on, hold such a token? Nothing that is part of one is ever
    /// escaped.
    pub fn may_be_at(&self, text: &[u8], at: usize) -> bool {
        let Some(head) = self.heads.iter().filter(|head| goes_on(text, at, head)).map(|head| head.len()).max() else {
            return false;
        };
        match self.tail.first() {
            Some(Part::Run(set, least, _)) => run(text, at + head, *set, *least) - at - head == *least,
            Some(Part::Is(literal)) => goes_on(text, at + head, literal),
            _ => true,
        }
    }

    /// Four bytes of each literal. One of three has the first of what follows, too.
    pub fn heads(&self) -> impl Iterator<Item = Head> {
        self.heads.iter().flat_map(|literal| match (literal.as_bytes(), self.tail.first()) {
            (&[a, b, c], Some(Part::Run(set, ..))) => {
                (0..=127).filter(|next| is(*next, *set)).map(|next| Head::first([a, b, c, next])).collect()
            }
            _ => vec![Head::rarest(literal)],
        })
    }
}
