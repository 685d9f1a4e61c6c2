//! Passwords among a command's arguments, where no name gives them away: `curl -u user:password`, `mysql -pPASSWORD`,
//! `sshpass -p PASSWORD`, `redis-cli -a PASSWORD`.

use super::assignment::Found;
use super::bytes::{VALUE, begins_word, byte, goes_on, run};
use super::heads::Head;
use super::value::is_placeholder;

/// How many bytes of a command are searched for its option.
const LONGEST: usize = 256;

/// How a command accepts a password.
struct Command {
    name: &'static str,
    /// The option.
    options: &'static [&'static str],
    form: Form,
}

#[derive(PartialEq, Eq)]
enum Form {
    /// `-u user:password`
    UserAndPassword,
    /// `-pPASSWORD`
    Attached,
    /// `-p PASSWORD`
    Next,
}

const COMMANDS: [Command; 11] = [
    Command { name: "curl", options: &[" -u ", " --user ", " --proxy-user ", " -u"], form: Form::UserAndPassword },
    Command { name: "mysql", options: &[" -p"], form: Form::Attached },
    Command { name: "sshpass", options: &[" -p "], form: Form::Next },
    Command { name: "sshpass", options: &[" -p"], form: Form::Attached },
    Command { name: "redis-cli", options: &[" -a "], form: Form::Next },
    Command { name: "ConvertTo-SecureString", options: &[" -String ", " "], form: Form::Next },
    Command { name: "IDENTIFIED BY", options: &[" "], form: Form::Next },
    Command { name: "IDENTIFIED WITH", options: &[" BY "], form: Form::Next },
    Command { name: "-passin", options: &[" pass:"], form: Form::Next },
    Command { name: "-passout", options: &[" pass:"], form: Form::Next },
    Command { name: "docker login", options: &[" -p "], form: Form::Next },
];

/// The number of commands.
pub const COUNT: usize = COMMANDS.len();

/// Four bytes of a command's name, to find it by.
pub fn head(command: usize) -> Head {
    Head::rarest(COMMANDS[command].name)
}

/// The password of the command whose name is at `at`.
pub fn find(text: &[u8], at: usize, command: usize) -> Option<Found> {
    let Command { name, options, form } = &COMMANDS[command];
    if !goes_on(text, at, name) || !begins_word(text, at) {
        return None;
    }
    let line = &text[at..text.len().min(at + LONGEST)];
    let line = &line[..line.iter().position(|b| *b == b'\n' || *b == b'|').unwrap_or(line.len())];
    options.iter().find_map(|option| {
        let found = line[name.len()..].windows(option.len()).position(|window| window == option.as_bytes())?;
        let mut start = at + name.len() + found + option.len();
        while matches!(byte(text, start), b'\\' | b'"' | b'\'') {
            start += 1;
        }
        let end = run(text, start, VALUE, 256);
        if *form == Form::UserAndPassword {
            start += text[start..end].iter().position(|b| *b == b':')? + 1;
        }
        let secret = &text[start..end];
        let shown = secret.len() >= 3
            && !is_placeholder(secret)
            && !(*form == Form::Attached && secret.iter().all(u8::is_ascii_digit));
        shown.then_some(Found { rule: "password", start, end })
    })
}
