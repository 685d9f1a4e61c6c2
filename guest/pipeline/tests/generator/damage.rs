//! From lines to bytes, with all that can happen to a file.

use super::Features;
use super::chance::Chance;
use super::expected::Expected;
use super::lines::{Json, Line, object, text};

/// What harms the files of a session.
pub(crate) struct Damage {
    pub(crate) chance: Chance,
    pub(crate) features: Features,
    pub(crate) expected: Expected,
    pub(crate) session: String,
}

impl Damage {
    /// A file's bytes. Bad lines stand between the others, never in their place.
    pub(crate) fn bytes(&mut self, lines: Vec<Line>) -> Vec<u8> {
        let crlf = self.now_and_then(Features::LINE_ENDS, 4);
        let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
        if crlf {
            self.expected.note("CRLF");
        }
        let mut bytes = Vec::new();
        let last = lines.len();
        let mut glued = false;
        for (index, line) in lines.into_iter().enumerate() {
            if !glued {
                self.between(&mut bytes, end);
            }
            bytes.extend(line.text.as_bytes());
            // Two objects on one line, never three, so that it is clear how many bad lines that makes: one.
            glued = !glued && index + 1 < last && self.now_and_then(Features::DAMAGE, 30);
            if glued {
                self.expected.note("glued lines");
                self.expected.surely_bad_lines += 1;
            } else {
                bytes.extend(end);
            }
        }
        self.end(&mut bytes, end.len());
        bytes
    }

    /// What may stand between two lines.
    fn between(&mut self, bytes: &mut Vec<u8>, end: &[u8]) {
        if self.now_and_then(Features::LINE_ENDS, 15) {
            self.expected.note("blank line");
            bytes.extend(end);
        }
        if self.now_and_then(Features::DAMAGE, 12) {
            self.expected.note("bad line");
            self.expected.surely_bad_lines += 1;
            bytes.extend(self.bad_line());
            bytes.extend(end);
        }
        if self.now_and_then(Features::DOUBTFUL, 25) {
            self.expected.doubtful_lines += 1;
            bytes.extend(self.doubtful_line());
            bytes.extend(end);
        }
    }

    fn end(&mut self, bytes: &mut Vec<u8>, end: usize) {
        if self.now_and_then(Features::DAMAGE, 5) {
            self.expected.note("last line cut short");
            self.expected.surely_bad_lines += 1;
            let line = self.cut_line();
            bytes.extend(line);
        } else if self.now_and_then(Features::LINE_ENDS, 4) {
            self.expected.note("no end of the last line");
            bytes.truncate(bytes.len().saturating_sub(end));
        }
    }

    fn bad_line(&mut self) -> Vec<u8> {
        match self.chance.below(11) {
            0 => b"this is no JSON".to_vec(),
            1 => {
                br#"[{"type":"assistant","message":{"id":"msg_in_a_list","usage":{"input_tokens":6000000}}}]"#.to_vec()
            }
            2 => br#""only words""#.to_vec(),
            3 => b"42".to_vec(),
            4 => b"null".to_vec(),
            5 => b"true".to_vec(),
            6 => b"{\xff\xfe\xc3(".to_vec(),
            7 => b"\0\0\0\0".to_vec(),
            8 => "{".repeat(400).into_bytes(),
            _ => self.cut_line(),
        }
    }

    /// A response whose line was not written to its end.
    fn cut_line(&mut self) -> Vec<u8> {
        let usage = object(&[("input_tokens", "5000000".to_owned()), ("output_tokens", "5000000".to_owned())]);
        let line = self.response(object(&[
            ("id", text("msg_cut_short")),
            ("role", text("assistant")),
            ("model", text("claude-opus-5-5")),
            ("content", "[]".to_owned()),
            ("usage", usage),
        ]));
        let length = 1 + self.chance.index(line.len() - 1);
        line.as_bytes()[..length].to_vec()
    }

    fn doubtful_line(&mut self) -> Vec<u8> {
        let message = match self.chance.below(4) {
            0 => "null".to_owned(),
            1 => text("only words"),
            2 => object(&[("0", text("H")), ("1", text("i"))]),
            _ => {
                self.expected.note("no UTF-8 in a line");
                let line =
                    object(&[("type", text("system")), ("subtype", text("informational")), ("content", text("?"))]);
                return line.bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
            }
        };
        self.expected.note("odd message");
        self.response(message).into_bytes()
    }

    fn response(&mut self, message: Json) -> Json {
        object(&[
            ("parentUuid", "null".to_owned()),
            ("isSidechain", "false".to_owned()),
            ("sessionId", text(&self.session)),
            ("type", text("assistant")),
            ("message", message),
            ("uuid", text(&self.chance.uuid())),
            ("timestamp", text("2026-01-01T00:00:00.000Z")),
        ])
    }

    fn now_and_then(&mut self, feature: Features, n: u64) -> bool {
        self.features.has(feature) && self.chance.one_in(n)
    }
}
