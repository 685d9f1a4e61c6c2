//! A strict local `PostHog` to point a real client at: `cargo run -p posthog-llma-tests --example posthog -- events.jsonl`.
//!
//! Prints its origin, and keeps the file up to date with every event that it has taken, one JSON object a line.

use posthog_llma_local_posthog::{Config, LocalPostHog};
use std::fmt::Write as _;
use std::time::Duration;
use std::{env, fs, io, thread};

fn main() -> io::Result<()> {
    let file = env::args().nth(1).ok_or_else(|| io::Error::other("usage: posthog FILE"))?;
    let posthog = LocalPostHog::start(Config::default())?;
    println!("{}", posthog.origin());
    let mut written = usize::MAX;
    loop {
        let events = posthog.events();
        if events.len() != written {
            written = events.len();
            let lines = events.iter().fold(String::new(), |mut lines, event| {
                let _ = writeln!(lines, "{event}");
                lines
            });
            fs::write(&file, lines)?;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
