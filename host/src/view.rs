//! `view`: shows a session as a tree in the terminal or as a page.
//!
//! The page is one self-contained file: its Content-Security-Policy allows its own script and style by their hashes,
//! and no requests at all. No part of the transcript becomes HTML. The events are in a data block in which `<` is
//! written as `\u003c`, so no text can end the block; the script shows them as text only.

pub mod tree;
pub mod words;

use crate::delivery::conversion::{self, ConversionError, Converted};
use crate::program::LocalSession;
use crate::system::atomic::AtomicFile;
use crate::view::tree::Tree;
use base64::Engine as _;
use posthog_llma_sandbox as sandbox;
use posthog_llma_sandbox::Sandbox;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::ConversionOptions;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: &str = include_str!("view/page.html");
const STYLE: &str = concat!(include_str!("view/trace.css"), include_str!("view/page.css"));
const SCRIPT: &str = concat!(
    include_str!("view/tree.js"),
    include_str!("view/detail.js"),
    include_str!("view/trace.js"),
    include_str!("view/page.js")
);

/// Why a session could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// The session cannot be converted.
    #[error(transparent)]
    Conversion(#[from] ConversionError),
    /// The page cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The user stopped it. The previous file at the page's path is still there.
    #[error("interrupted: {} is as it was before", .0.display())]
    Interrupted(PathBuf),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
}

/// The result of writing a page.
#[derive(Debug)]
pub struct Page {
    /// The conversion's result besides the events.
    pub converted: Converted,
    /// The number of events.
    pub events: u64,
    /// The page's size.
    pub bytes: u64,
}

/// The session's tree, with colors as ANSI escape sequences.
pub async fn tree(
    sandbox: &Sandbox,
    session: &LocalSession,
    options: &ConversionOptions,
) -> Result<(String, Converted), ViewError> {
    let mut lines = Lines { tree: Tree::default(), rest: Vec::new() };
    let converted = conversion::convert(sandbox, session, options, &mut lines).await?;
    Ok((lines.tree.draw(), converted))
}

/// Atomically writes the session's page. Returns [`ViewError::Interrupted`] once `stop` becomes true: a signal that
/// ended the program would leave the unfinished file behind.
pub async fn page(
    sandbox: &Sandbox,
    session: &LocalSession,
    options: &ConversionOptions,
    path: &Path,
    stop: &AtomicBool,
) -> Result<Page, ViewError> {
    let failed = |error| ViewError::Write { path: path.to_owned(), error };
    let mut file = Counted { inner: BufWriter::new(AtomicFile::create(path).map_err(failed)?), bytes: 0 };
    let (before, after) = frame();
    file.write_all(before.as_bytes()).map_err(failed)?;
    let mut data = DataBlock { inner: &mut file, events: 0, is_between: true, stop };
    let converted = conversion::convert(sandbox, session, options, &mut data).await.map_err(|error| match error {
        ConversionError::Write(_) if stop.load(Ordering::Relaxed) => ViewError::Interrupted(path.to_owned()),
        ConversionError::Write(error) => failed(error),
        error => error.into(),
    })?;
    let events = data.events;
    file.write_all(after.as_bytes()).map_err(failed)?;
    let bytes = file.bytes;
    let file = file.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    file.commit().map_err(failed)?;
    Ok(Page { converted, events, bytes })
}

/// The parts of the page before and after the events.
fn frame() -> (String, String) {
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let (before, after) = PAGE.split_once("@events@").unwrap_or((PAGE, ""));
    let before = before.replacen("@policy@", &policy, 1).replacen("@version@", env!("CARGO_PKG_VERSION"), 1);
    (before.replacen("@style@", STYLE, 1), after.replacen("@script@", SCRIPT, 1))
}

/// Reads events, one per line, into a tree.
struct Lines {
    tree: Tree,
    /// The unfinished line.
    rest: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = bytes.split(|&byte| byte == b'\n');
        // The last piece is a line without an end yet; without a line break, that is everything.
        let unfinished = lines.next_back().unwrap_or_default();
        for line in lines {
            self.rest.extend_from_slice(line);
            let event: Value = serde_json::from_slice(&self.rest)?;
            self.tree.add(&event);
            self.rest.clear();
        }
        self.rest.extend_from_slice(unfinished);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads events, one per line, and writes them as the elements of a JSON array inside a `<script>`.
struct DataBlock<'a, W> {
    inner: &'a mut W,
    events: u64,
    /// No byte of the next event has been written yet.
    is_between: bool,
    /// Set to stop writing.
    stop: &'a AtomicBool,
}

impl<W: Write> Write for DataBlock<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if first == b'\n' {
                self.is_between = true;
                rest = &rest[1..];
                continue;
            }
            if self.is_between {
                self.inner.write_all(if self.events == 0 { b"" } else { b",\n" })?;
                self.events += 1;
                self.is_between = false;
            }
            // In JSON, `<` only occurs in strings.
            if first == b'<' {
                self.inner.write_all(b"\\u003c")?;
                rest = &rest[1..];
                continue;
            }
            let plain = rest.iter().position(|byte| matches!(byte, b'\n' | b'<')).unwrap_or(rest.len());
            self.inner.write_all(&rest[..plain])?;
            rest = &rest[plain..];
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_block(pieces: &[&str]) -> String {
        let mut out = Vec::new();
        let stop = AtomicBool::new(false);
        let mut block = DataBlock { inner: &mut out, events: 0, is_between: true, stop: &stop };
        for piece in pieces {
            block.write_all(piece.as_bytes()).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events_in_any_pieces_become_members_and_no_tag_is_left() {
        let whole = data_block(&["{\"a\":\"</script><\"}\n{\"b\":1}\n"]);
        assert_eq!(whole, "{\"a\":\"\\u003c/script>\\u003c\"},\n{\"b\":1}");
        assert_eq!(data_block(&["{\"a\":\"", "<", "/script><\"}", "\n", "{\"b\"", ":1}\n"]), whole);
        assert_eq!(data_block(&[]), "");
    }

    #[test]
    fn the_frame_is_complete_and_its_script_ends_no_tag() {
        let (before, after) = frame();
        for marker in ["@policy@", "@version@", "@style@", "@events@", "@script@"] {
            assert!(!before.contains(marker) && !after.contains(marker), "{marker}");
        }
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--") && !STYLE.contains("</style"));
    }

    #[test]
    fn a_tree_takes_lines_in_any_pieces() {
        let mut lines = Lines { tree: Tree::default(), rest: Vec::new() };
        let line = "{\"event\":\"$ai_trace\",\"properties\":{\"$ai_trace_name\":\"n\"}}\n";
        for byte in line.repeat(2).as_bytes() {
            lines.write_all(&[*byte]).unwrap();
        }
        lines.write_all(line.as_bytes()).unwrap();
        assert_eq!(lines.tree.draw().matches("tokens unknown").count(), 3);
    }
}
