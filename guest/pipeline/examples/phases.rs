//! How long each reading of a transcript takes: `cargo run --release --example phases -- TRANSCRIPT`.

#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "an example is a host, not the library")]

use posthog_llma_pipeline::session::{ConversionOptions, FileRole, Session};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("a transcript is needed")?;
    let transcript = std::fs::read(path)?;
    let mebibytes = transcript.len() as f64 / 1_048_576.0;
    for _ in 0..5 {
        let mut session = Session::open("bench", &[FileRole::Main], ConversionOptions::default())?;
        let start = Instant::now();
        for piece in transcript.chunks(65_536) {
            session.scan(0, piece)?;
        }
        session.identities();
        let scanned = start.elapsed();
        let start = Instant::now();
        let mut bytes = 0;
        for piece in transcript.chunks(65_536) {
            session.convert(0, piece)?;
            bytes += session.take_events(usize::MAX).len();
        }
        session.finish()?;
        let converted = start.elapsed();
        println!(
            "first reading {:.0} MiB/s, second {:.0} MiB/s, {bytes} bytes of events",
            mebibytes / scanned.as_secs_f64(),
            mebibytes / converted.as_secs_f64()
        );
    }
    Ok(())
}
