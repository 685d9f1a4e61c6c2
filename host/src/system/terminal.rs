//! What the program says: its results, and what it says beside them. Nothing that is said holds the project key.

use posthog_llma_pipeline::options::ApiKey;
use std::io::{self, Write as _};
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
    API_KEY.get().map_or_else(|| text.to_owned(), |key| without_key(text, key))
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

/// Prints a result. That its reader has seen enough, as `| head` has, is no error.
pub fn print(text: &str) -> io::Result<()> {
    print_to(&mut io::stdout(), text)
}

/// As [`print()`], to another stream.
pub fn print_to(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    match out.write_all(cleaned(text).as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something beside the result. That nobody listens is no error.
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

#[cfg(test)]
mod tests {
    use super::*;

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
