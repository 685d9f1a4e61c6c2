//! Converts a session natively, without a sandbox: `cargo run --example convert -- TRANSCRIPT [AGENT-TRANSCRIPT…]`.

#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "an example is a host, not the library")]

use posthog_llma_pipeline::session::{AgentFile, ConversionOptions, FileRole, Session};
use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<_> = std::env::args_os().skip(1).map(std::path::PathBuf::from).collect();
    let name = |path: &std::path::Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let role = |(i, path): (usize, &std::path::PathBuf)| match i {
        0 => FileRole::Main,
        _ => FileRole::Agent(AgentFile {
            agent_id: name(path).trim_start_matches("agent-").to_owned(),
            metadata: std::fs::read_to_string(path.with_extension("meta.json")).ok(),
            workflow_run: None,
        }),
    };
    let files: Vec<_> = paths.iter().enumerate().map(role).collect();
    let mut session = Session::open(&name(&paths[0]), &files, ConversionOptions::default())?;
    for (i, path) in paths.iter().enumerate() {
        session.scan(i as u32, &std::fs::read(path)?)?;
    }
    for (i, path) in paths.iter().enumerate() {
        session.convert(i as u32, &std::fs::read(path)?)?;
    }
    session.finish()?;
    std::io::stdout().write_all(&session.take_events(usize::MAX))?;
    eprintln!("{:?}", session.counts());
    Ok(())
}
