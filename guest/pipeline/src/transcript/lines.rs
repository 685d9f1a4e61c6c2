//! Splits bytes, pushed in pieces of any size, into lines.
//!
//! A line is held only until it is complete, and never more than [`LONGEST_LINE`] of it: one line of a transcript can
//! hold megabytes of images that are never sent. Once a line exceeds [`ELIDE_FROM`], its long strings are cut as they
//! arrive ([`crate::transcript::elide`]).

use crate::transcript::elide::Elider;
use memchr::memchr;

/// Size in bytes above which the long strings of a line are cut.
pub const ELIDE_FROM: usize = 1 << 20;

/// Maximum bytes held of a line, with its long strings cut. The client never writes longer ones: an event may have 8
/// MiB (PostHog's limit).
pub const LONGEST_LINE: usize = 16 << 20;

/// Windows editors may put this before the first line, and so before any line of files that were concatenated.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One line, without its line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line's bytes.
    pub bytes: &'a [u8],
    /// Its long strings were cut and are marked: see [`crate::transcript::elide`].
    pub elided: bool,
    /// It was longer than [`LONGEST_LINE`]; only the beginning is here.
    pub overlong: bool,
    /// Its offset in its file, in bytes.
    pub start: u64,
}

/// Splits bytes into lines.
#[derive(Debug)]
pub struct Lines {
    longest_string: usize,
    /// The beginning of a line whose end has not arrived yet.
    partial: Vec<u8>,
    elider: Option<Elider>,
    overlong: bool,
    /// The offset of the line being read, and how many bytes of it have arrived.
    start: u64,
    length: u64,
}

impl Lines {
    /// Keeps `longest_string` bytes of each string of a long line.
    pub fn new(longest_string: usize) -> Self {
        Self { longest_string, partial: Vec::new(), elider: None, overlong: false, start: 0, length: 0 }
    }

    /// Takes the next bytes and calls `on_line` for each line that is now complete. Skips lines of only white space.
    pub fn push(&mut self, mut bytes: &[u8], mut on_line: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() && self.elider.is_none() && head.len() < ELIDE_FROM {
                emit(Line { bytes: head, elided: false, overlong: false, start: self.start }, &mut on_line);
            } else {
                self.hold(head);
                self.give(&mut on_line);
            }
            self.start += self.length + head.len() as u64 + 1;
            self.length = 0;
            bytes = rest;
        }
        self.length += bytes.len() as u64;
        self.hold(bytes);
    }

    /// The end of the file: a last line without a line break is a line too. The next bytes are another file's.
    pub fn end(&mut self, mut on_line: impl FnMut(Line<'_>)) {
        self.give(&mut on_line);
        (self.start, self.length) = (0, 0);
    }

    fn give(&mut self, on_line: &mut impl FnMut(Line<'_>)) {
        let elided = self.elider.take().is_some();
        emit(Line { bytes: &self.partial, elided, overlong: self.overlong, start: self.start }, on_line);
        self.overlong = false;
        self.partial.clear();
        // One huge line must not hold on to its memory for the rest of the file.
        self.partial.shrink_to(ELIDE_FROM);
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.overlong || bytes.is_empty() {
            return;
        }
        if self.elider.is_none() && self.partial.len() + bytes.len() >= ELIDE_FROM {
            let held = std::mem::take(&mut self.partial);
            let mut elider = Elider::new(self.longest_string);
            elider.push(&held, &mut self.partial);
            self.elider = Some(elider);
        }
        match &mut self.elider {
            Some(elider) => elider.push(bytes, &mut self.partial),
            None => self.partial.extend_from_slice(bytes),
        }
        if self.partial.len() > LONGEST_LINE {
            self.partial.truncate(ELIDE_FROM);
            self.overlong = true;
        }
    }
}

fn emit(line: Line<'_>, on_line: &mut impl FnMut(Line<'_>)) {
    let bytes = line.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line.bytes).trim_ascii();
    if !bytes.is_empty() {
        on_line(Line { bytes, ..line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(input: &[u8], piece: usize) -> Vec<(Vec<u8>, bool, bool)> {
        let mut lines = Lines::new(1000);
        let mut found = Vec::new();
        let mut on_line = |l: Line<'_>| found.push((l.bytes.to_vec(), l.elided, l.overlong));
        for piece in input.chunks(piece) {
            lines.push(piece, &mut on_line);
        }
        lines.end(&mut on_line);
        found
    }

    #[test]
    fn pieces_of_any_size_give_the_same_lines() {
        let input = b"{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":3}";
        let whole = split(input, input.len());
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[2].0, b"{\"c\":3}");
        for piece in 1..input.len() {
            assert_eq!(split(input, piece), whole);
        }
    }

    #[test]
    fn each_line_knows_where_it_begins_in_its_file() {
        let huge = format!("{{\"data\":\"{}\"}}", "x".repeat(3 << 20));
        let files = [format!("{{}}\n\n{{\"b\":2}}\r\n{huge}\n{{}}"), "{}\n{}".to_owned()];
        let expected: [&[usize]; 2] = [&[0, 4, 13, 14 + huge.len()], &[0, 3]];
        for piece in [1, 7, 65536, 1 << 23] {
            let mut lines = Lines::new(1000);
            for (file, expected) in files.iter().zip(expected) {
                let mut starts = Vec::new();
                for piece in file.as_bytes().chunks(piece) {
                    lines.push(piece, |line| starts.push(line.start as usize));
                }
                lines.end(|line| starts.push(line.start as usize));
                assert_eq!(starts, expected, "{piece}");
            }
        }
    }

    #[test]
    fn a_line_with_a_huge_string_is_held_in_part_and_stays_json() {
        let huge = "x".repeat(5 << 20);
        let input = format!("{{\"before\":1,\"data\":\"{huge}\",\"after\":2}}\n{{\"next\":1}}\n");
        let lines = split(input.as_bytes(), 65536);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].1 && !lines[0].2);
        assert!(lines[0].0.len() < 2000);
        let value: serde_json::Value = serde_json::from_slice(&lines[0].0).unwrap();
        assert_eq!(value["after"], 2);
        assert_eq!(lines[1], (b"{\"next\":1}".to_vec(), false, false));
    }

    #[test]
    fn the_pieces_of_a_huge_line_do_not_change_what_is_held() {
        let input = format!("{{\"data\":\"{}\"}}\n", "ab\\n".repeat(1 << 20));
        let whole = split(input.as_bytes(), input.len());
        assert_eq!(split(input.as_bytes(), 65536), whole);
        assert_eq!(split(input.as_bytes(), 999_983), whole);
    }

    #[test]
    fn a_line_without_end_is_given_up_and_the_next_one_counts() {
        let mut input = b"[".to_vec();
        input.extend_from_slice("1,".repeat(LONGEST_LINE / 2 + 10).as_bytes());
        input.extend_from_slice(b"\n{\"next\":1}\n");
        let lines = split(&input, 65536);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].2);
        assert!(lines[0].0.len() <= ELIDE_FROM);
        assert_eq!(lines[1].0, b"{\"next\":1}");
    }
}
