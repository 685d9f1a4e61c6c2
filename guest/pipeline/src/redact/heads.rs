//! Finds where a rule may apply: four characters of every key word, the rarest, in one pass.
//!
//! Two consecutive groups of three bytes of each head are in a set of bits, so that a look at every second byte sees one
//! of them. Where one is, the four bytes are looked up. Letters are compared whatever their case.

use super::value::is_common_pair;

/// Bits of the set of groups.
const BITS: usize = 1 << 16;
/// Places of the table of heads.
const PLACES: usize = 1 << 12;

/// The heads of all rules, each with the number of what looks at it.
#[derive(Debug)]
pub struct Heads {
    groups: Box<[u64; BITS / 64]>,
    /// Open addressing; 0 is not a head.
    table: Vec<Entry>,
}

/// A head, the rule, and how many bytes of the key word stand before the head.
type Entry = (u32, u16, u8);

/// Four bytes of a key word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; 4],
    offset: u8,
}

impl Head {
    /// The first four bytes of a key word.
    pub const fn first(bytes: [u8; 4]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Of the four consecutive bytes of a key word (it has four at least), those that text has the most seldom.
    pub fn rarest(word: &str) -> Self {
        let common = |window: &[u8]| window.windows(2).filter(|pair| is_common_pair(pair[0], pair[1])).count();
        let windows = word.as_bytes().windows(4).take(32).enumerate();
        let (offset, window) = windows.min_by_key(|(_, window)| common(window)).unwrap_or((0, b"\0\0\0\0"));
        Self { bytes: [window[0], window[1], window[2], window[3]], offset: offset as u8 }
    }
}

/// A byte without its case. (Bytes that are not letters meet others; what looks at the place compares them exactly.)
const CASE: u32 = 0x2020_2020;

fn group(word: u32) -> usize {
    // The upper half of the product is the best mixed.
    ((word & 0x00ff_ffff).wrapping_mul(0x9E37_79B1) >> 16) as usize
}

fn place(head: u32) -> usize {
    (head.wrapping_mul(0x85EB_CA6B) >> 20) as usize
}

fn word(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes) | CASE
}

impl Default for Heads {
    fn default() -> Self {
        Self { groups: Box::new([0; BITS / 64]), table: vec![(0, 0, 0); PLACES] }
    }
}

impl Heads {
    /// Adds a head. The same one can have several rules.
    pub fn add(&mut self, Head { bytes, offset }: Head, rule: u16) {
        let head = word(bytes);
        for group in [group(head), group(head >> 8)] {
            self.groups[group / 64] |= 1 << (group % 64);
        }
        let mut at = place(head);
        while self.table[at].0 != 0 {
            if self.table[at] == (head, rule, offset) {
                return;
            }
            at = (at + 1) % PLACES;
        }
        self.table[at] = (head, rule, offset);
    }

    /// The next place from `from` on where a head of any rule is.
    pub fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        // The second group of a head that begins before `from` is of no interest.
        while let Some(bytes) = text.get(at..at + 4) {
            let bytes = word([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let group = group(bytes);
            if self.groups[group / 64] >> (group % 64) & 1 != 0 {
                if at > from && self.is_head(text, at - 1) {
                    return Some(at - 1);
                }
                if self.rules_of(bytes).next().is_some() {
                    return Some(at);
                }
            }
            at += 2;
        }
        // The last group of three.
        let last = text.len().checked_sub(4).filter(|last| *last >= from)?;
        self.is_head(text, last).then_some(last)
    }

    fn is_head(&self, text: &[u8], at: usize) -> bool {
        self.rules(text, at).next().is_some()
    }

    /// The rules whose head is at `at`, and where their key word begins.
    pub fn rules(&self, text: &[u8], at: usize) -> impl Iterator<Item = (u16, usize)> {
        let bytes = text.get(at..at + 4).map_or([0; 4], |bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.rules_of(word(bytes)).filter_map(move |(rule, offset)| Some((rule, at.checked_sub(usize::from(offset))?)))
    }

    fn rules_of(&self, head: u32) -> impl Iterator<Item = (u16, u8)> {
        let mut at = place(head);
        std::iter::from_fn(move || {
            loop {
                let (other, rule, offset) = self.table[at];
                if other == 0 {
                    return None;
                }
                at = (at + 1) % PLACES;
                if other == head {
                    return Some((rule, offset));
                }
            }
        })
    }
}
