//! Tokens with a distinct shape: a literal, then runs of known characters.
//!
//! A shape is read from left to right without backtracking, so its cost is what it reads.

use super::bytes::{ALNUM, Set, UNDERSCORE, begins_word, byte, goes_on, is, run, run_before};
use super::heads::Head;
use super::value::is_random;

/// A kind of token.
#[derive(Debug)]
pub struct Token {
    /// The rule's name.
    pub rule: &'static str,
    /// The literals it can begin with (for [`Start::Inside`], those in its middle). At least three characters.
    pub heads: &'static [&'static str],
    /// Where the literal is.
    pub start: Start,
    /// What follows the literal.
    pub tail: &'static [Part],
    /// A further condition.
    pub check: Check,
}

/// Where a token's literal is.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// At the token's beginning, where a word begins.
    Word,
    /// After a run of these characters, with a length within these bounds, that belongs to the token.
    Inside(Set, usize, usize),
    /// At the token's beginning, but kept: only what follows is replaced. For a URL with a secret path.
    Kept,
}

/// A part of a token.
#[derive(Debug)]
pub enum Part {
    /// A run of these characters, as long as possible, with a length within these bounds.
    Run(Set, usize, usize),
    /// Exactly this.
    Is(&'static str),
    /// This and a run of at least this many of these characters, or nothing.
    Maybe(&'static str, Set, usize),
}

/// A condition beyond a token's shape.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// None: its beginning is enough.
    None,
    /// It must look random, because other things begin like this too.
    Random,
}

/// No maximum length of a run: longer than any token.
pub const LONG: usize = 16_384;

/// How many bytes before a match can belong to it.
const MOST_BEFORE: usize = 256;

impl Token {
    /// The start and end of the token whose literal begins at `at`.
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
        // A full stop ends the sentence, not the token.
        while end > at + head && text[end - 1] == b'.' {
            end -= 1;
        }
        let begin = match self.start {
            Start::Word if begins_word(text, at) => at,
            Start::Word => return None,
            Start::Kept => at + head,
            Start::Inside(set, at_least, at_most) => {
                let begin = run_before(text, at, set, at_most.min(MOST_BEFORE) + 1);
                // The letter of an escape is not part of the token.
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

    /// Can JSON text hold such a token, starting at `at`? No character of a token is ever escaped.
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

    /// Four bytes of each literal. A three-byte literal is extended by the first byte of what follows.
    pub fn heads(&self) -> impl Iterator<Item = Head> {
        self.heads.iter().flat_map(|literal| match (literal.as_bytes(), self.tail.first()) {
            (&[a, b, c], Some(Part::Run(set, ..))) => {
                (0..=127).filter(|next| is(*next, *set)).map(|next| Head::first([a, b, c, next])).collect()
            }
            _ => vec![Head::rarest(literal)],
        })
    }
}
