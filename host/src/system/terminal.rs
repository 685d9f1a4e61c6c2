//! Everything the program prints. Nothing printed contains the project token, and nothing steers the terminal: a path, an ID, a
//! server's words and a project's text can come from anyone. `host/clippy.toml` keeps every other module from printing.

#![expect(clippy::disallowed_methods, reason = "the one place that prints: what it prints was cleaned")]

use posthog_llma_pipeline::options::ApiKey;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// The project key, as soon as it is known: nothing that is printed for people may hold it, not even when a server
/// repeats it.
static API_KEY: OnceLock<ApiKey> = OnceLock::new();

/// This key must not be shown.
pub fn hide(key: Option<&ApiKey>) {
    if let Some(key) = key {
        let _ = API_KEY.set(key.clone());
    }
}

fn cleaned(text: &str) -> String {
    without_controls(&API_KEY.get().map_or_else(|| text.to_owned(), |key| without_key(text, key)), |_| false)
}

/// The text with every character that would steer a terminal, or turn the direction of writing, written as JSON writes it:
/// so that JSON stays what it is. `allowed`: those that are meant.
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

/// Characters of a key that are enough to take a text for it.
const KEY_BEGINNING: usize = 12;

/// The text with the key as it may be shown. A server's words are cut somewhere, so the beginning of the key counts too.
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

/// Prints a result. That its reader has seen enough, as `| head` has, is not an error.
pub fn print(text: &str) -> io::Result<()> {
    print_to(&mut io::stdout(), text)
}

/// As [`print()`], a text with our own colors, which are left out if nobody would see them. Its maker has cleaned its parts.
pub fn print_colored(text: &str) -> io::Result<()> {
    let text = API_KEY.get().map_or_else(|| text.to_owned(), |key| without_key(text, key));
    write(&mut anstream::stdout(), &without_controls(&text, |c| c == '\u{1b}'))
}

/// Standard output for events, which are printed byte for byte as they would be sent: JSON, with controls escaped, and
/// without the token.
pub fn events_out() -> impl io::Write {
    io::stdout().lock()
}

/// The terminal's width; none if standard output is not a terminal.
pub fn columns() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(terminal_size::Width(columns), _)| usize::from(columns))
}

/// As [`print()`], to another stream.
fn print_to(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    write(out, &cleaned(text))
}

fn write(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something beside the result. That nobody listens is not an error.
pub fn complain(what: &str, message: &str) {
    let _ = writeln!(io::stderr(), "posthog-llma: {what}: {}", cleaned(message));
}

/// Says warnings, a line each.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        complain("warning", warning);
    }
}

/// Says what goes on, a line without more ado.
pub fn tell(message: &str) {
    let _ = writeln!(io::stderr(), "{}", cleaned(message));
}

/// Asks a question; the answer is typed on the same line.
pub fn ask(question: &str) -> io::Result<()> {
    write!(io::stderr(), "{} ", cleaned(question))
}

/// Replaces the line of a progress display.
pub fn show_progress(line: &str) {
    let _ = write!(io::stderr(), "\r{}", cleaned(line));
}

/// Ends the line of a progress display.
pub fn end_progress() {
    let _ = writeln!(io::stderr());
}

/// Whether someone is there to see what [`tell`] says.
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
