//! Everything the program prints. Nothing printed contains the project token or terminal control sequences: a path, an
//! ID, a server's message and a project's text can come from anyone. `host/clippy.toml` keeps every other module from
//! printing.

#![expect(clippy::disallowed_methods, reason = "the one place that prints: what it prints was cleaned")]

use posthog_llma_pipeline::options::ApiKey;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// The project token, once it is known: nothing printed for people may contain it, not even if a server repeats it.
static API_KEY: OnceLock<ApiKey> = OnceLock::new();

/// Hides this token in everything printed from now on.
pub fn hide(key: Option<&ApiKey>) {
    if let Some(key) = key {
        let _ = API_KEY.set(key.clone());
    }
}

fn cleaned(text: &str) -> String {
    without_controls(&API_KEY.get().map_or_else(|| text.to_owned(), |key| without_key(text, key)), |_| false)
}

/// The text with every character that controls a terminal or changes the writing direction escaped as in JSON, so that
/// JSON keeps its meaning. `allowed` names the characters to leave alone.
pub fn without_controls(text: &str, allowed: impl Fn(char) -> bool) -> String {
    let steers = |c: char| {
        let turns =
            matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        (c.is_control() || turns) && !matches!(c, '\n' | '\t') && !allowed(c)
    };
    if !text.contains(steers) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// How many leading characters of a token are enough to treat text as the token.
const KEY_BEGINNING: usize = 12;

/// The text with the token masked. A server's message may be cut anywhere, so the beginning of the token is masked too.
pub fn without_key(text: &str, key: &ApiKey) -> String {
    let secret = key.expose();
    let beginning = &secret[..secret.len().min(KEY_BEGINNING)];
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(beginning) {
        let found = &rest[at..];
        let length = found.bytes().zip(secret.bytes()).take_while(|(a, b)| a == b).count();
        out.push_str(&rest[..at]);
        out.push_str(&key.to_string());
        rest = &found[length..];
    }
    out + rest
}

/// Prints a result. A reader that stops early, such as `| head`, is not an error.
pub fn print(text: &str) -> io::Result<()> {
    print_to(&mut io::stdout(), text)
}

/// Like [`print()`], for text with our own colors, which are dropped if nobody would see them. The caller has already
/// sanitized the text's parts.
pub fn print_colored(text: &str) -> io::Result<()> {
    let text = API_KEY.get().map_or_else(|| text.to_owned(), |key| without_key(text, key));
    write(&mut anstream::stdout(), &without_controls(&text, |c| c == '\u{1b}'))
}

/// Standard output for events, printed byte for byte as they would be sent: JSON, with control characters escaped, and
/// without the token.
pub fn events_out() -> impl io::Write {
    io::stdout().lock()
}

/// The terminal's width; `None` if standard output is not a terminal.
pub fn columns() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(terminal_size::Width(columns), _)| usize::from(columns))
}

/// Like [`print()`], but to any stream.
fn print_to(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    write(out, &cleaned(text))
}

fn write(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a message to standard error. A failed write is not an error.
pub fn complain(what: &str, message: &str) {
    let _ = writeln!(io::stderr(), "posthog-llma: {what}: {}", cleaned(message));
}

/// Prints warnings, one per line.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        complain("warning", warning);
    }
}

/// Prints a line about progress, without a prefix.
pub fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "{}", cleaned(message));
}

/// Prints a question; the user types the answer on the same line.
pub fn ask(question: &str) -> io::Result<()> {
    write!(io::stderr(), "{} ", cleaned(question))
}

/// Redraws the line of a progress display.
pub fn show_progress(line: &str) {
    let _ = write!(io::stderr(), "\r{}", cleaned(line));
}

/// Ends the line of a progress display.
pub fn end_progress() {
    let _ = writeln!(io::stderr());
}

/// Whether someone is there to see what [`tell`] prints.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether someone is there to answer a question.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && is_watched()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        let clean = |text: &str| without_controls(text, |_| false);
        assert_eq!(clean("a\tb\nc é 漢"), "a\tb\nc é 漢");
        assert_eq!(clean("\u{1b}[31mred\u{7}\r"), "\\u001b[31mred\\u0007\\u000d");
        assert_eq!(clean("\u{9b}31m\u{7f}\u{202e}\u{2066}\u{61c}"), "\\u009b31m\\u007f\\u202e\\u2066\\u061c");
        assert_eq!(without_controls("\u{1b}[1m\u{202e}", |c| c == '\u{1b}'), "\u{1b}[1m\\u202e");
        let json = serde_json::json!({"path": "\u{9b}\u{202e}"}).to_string();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean(&json)).unwrap()["path"], "\u{9b}\u{202e}");
    }

    #[test]
    fn the_key_is_shown_shortened_wherever_it_stands_and_wherever_it_is_cut() {
        let key = ApiKey::parse("phc_0123456789abcdefghij").unwrap();
        let shown = |text: &str| without_key(text, &key);
        assert_eq!(shown("no key"), "no key");
        assert_eq!(shown("<phc_0123456789abcdefghij> é"), "<phc_…ghij> é");
        assert_eq!(shown("phc_0123456789abcdefghijphc_0123456789abcdefghij"), "phc_…ghijphc_…ghij");
        assert_eq!(shown("cut: phc_0123456789abc"), "cut: phc_…ghij");
        assert_eq!(shown("phc_0123456789é"), "phc_…ghijé");
        assert_eq!(shown("another: phc_9876543210"), "another: phc_9876543210");
        assert_eq!(without_key("a x b", &ApiKey::parse("x").unwrap()), "a … b");
    }
}
