//! Finds where a rule may apply: looks for the rarest four characters of every keyword, in one pass.
//!
//! A bit set holds two consecutive three-byte groups of each head, so that checking every second byte finds one of
//! them. After a hit, the four bytes are looked up in a table. Letters are compared without regard to case.

use super::value::is_common_pair;

/// Size of the bit set of groups.
const BITS: usize = 1 << 16;
/// Size of the table of heads.
const PLACES: usize = 1 << 12;

/// The heads of all rules, each with the number of the check that it triggers.
#[derive(Debug)]
pub struct Heads {
    groups: Box<[u64; BITS / 64]>,
    /// Open addressing; 0 is not a head.
    table: Vec<Entry>,
}

/// A head, its rule, and how many bytes of the keyword precede the head.
type Entry = (u32, u16, u8);

/// Four bytes of a keyword, to find it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; 4],
    offset: u8,
}

impl Head {
    /// The first four bytes of a keyword.
    pub const fn first(bytes: [u8; 4]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The four consecutive bytes of a keyword (it has at least four) that are rarest in text.
    pub fn rarest(word: &str) -> Self {
        let common = |window: &[u8]| window.windows(2).filter(|pair| is_common_pair(pair[0], pair[1])).count();
        let windows = word.as_bytes().windows(4).take(32).enumerate();
        let (offset, window) = windows.min_by_key(|(_, window)| common(window)).unwrap_or((0, b"\0\0\0\0"));
        Self { bytes: [window[0], window[1], window[2], window[3]], offset: offset as u8 }
    }
}

/// An OR mask that removes case. (Bytes that are not letters may then collide; the check compares them exactly.)
const CASE: u32 = 0x2020_2020;

fn group(word: u32) -> usize {
    // The upper half of the product is mixed best.
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
    /// Adds a head. Several rules can share one.
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

    /// The next position, starting at `from`, with a head of any rule.
    pub fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        // Ignores the second group of a head that begins before `from`.
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
        // The last three-byte group.
        let last = text.len().checked_sub(4).filter(|last| *last >= from)?;
        self.is_head(text, last).then_some(last)
    }

    fn is_head(&self, text: &[u8], at: usize) -> bool {
        self.rules(text, at).next().is_some()
    }

    /// The rules whose head is at `at`, and where their keywords begin.
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
