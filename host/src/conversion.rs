//! Converts a session with the component's `conversion` interface: it is handed bytes and can reach nothing.

use crate::program::Session;
use crate::sandbox::bindings::exports::posthog::llm_analytics::conversion::SequenceError;
use crate::sandbox::bindings::posthog::llm_analytics::types::{
    ConversionOptions, ConversionReport, FileRole, InvalidOption,
};
use crate::sandbox::files::SessionFile;
use crate::sandbox::policy::HttpPolicy;
use crate::sandbox::{Run, Sandbox, SandboxError};
use std::io::{self, Read as _, Seek as _, Write};

/// Bytes that are handed to the component at once. More is not faster.
const PIECE: usize = 256 * 1024;

/// Bytes of events that are taken at once.
const EVENTS: u32 = 1024 * 1024;

/// Why a session was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// A transcript cannot be read.
    #[error("the transcript cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The events cannot be written.
    #[error("the events cannot be written: {0}")]
    Write(#[source] io::Error),
    /// An option cannot be used.
    #[error("the option {} cannot be used: it {}", .0.name, .0.reason)]
    Option(InvalidOption),
    /// The component broke its own rules.
    #[error("the component refused a piece of the transcript: {0:?}")]
    Sequence(SequenceError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// What a conversion gave besides the events.
#[derive(Debug)]
pub struct Converted {
    /// The component's counts.
    pub report: ConversionReport,
    /// Files that were left out.
    pub warnings: Vec<String>,
}

/// Writes a session's events to `out`, one JSON object a line, while they become complete. Every request is refused.
pub async fn convert(
    sandbox: &Sandbox,
    session: &Session,
    options: &ConversionOptions,
    out: &mut impl Write,
) -> Result<Converted, ConversionError> {
    let (files, warnings) = session.open().map_err(ConversionError::Read)?;
    let Run { result, .. } = sandbox
        .run(HttpPolicy::Deny, async |exporter, store| {
            let interface = exporter.posthog_llm_analytics_conversion();
            let session_interface = interface.session();
            let roles: Vec<FileRole> = files.iter().map(|(_, role)| role.clone()).collect();
            let opened = session_interface.call_open(&mut *store, &session.files.id, &roles, options).await?;
            let handle = match opened {
                Ok(handle) => handle,
                Err(invalid) => return Ok(Err(ConversionError::Option(invalid))),
            };
            let mut files: Vec<SessionFile> = files.into_iter().map(|(file, _)| file).collect();
            let mut piece = vec![0; PIECE];
            let mut sizes = Vec::with_capacity(files.len());
            for (index, file) in files.iter_mut().enumerate() {
                let mut size = 0;
                loop {
                    let length = match file.read(&mut piece) {
                        Ok(0) => break,
                        Ok(length) => length,
                        Err(error) => return Ok(Err(ConversionError::Read(error))),
                    };
                    size += length as u64;
                    let bytes = &piece[..length];
                    if let Err(error) = session_interface.call_scan(&mut *store, handle, index as u32, bytes).await? {
                        return Ok(Err(ConversionError::Sequence(error)));
                    }
                }
                sizes.push(size);
            }
            for (index, (file, size)) in files.iter_mut().zip(sizes).enumerate() {
                if let Err(error) = file.rewind() {
                    return Ok(Err(ConversionError::Read(error)));
                }
                // What is written meanwhile was not scanned.
                let mut file = file.take(size);
                loop {
                    let length = match file.read(&mut piece) {
                        Ok(0) => break,
                        Ok(length) => length,
                        Err(error) => return Ok(Err(ConversionError::Read(error))),
                    };
                    let bytes = &piece[..length];
                    if let Err(error) = session_interface.call_convert(&mut *store, handle, index as u32, bytes).await? {
                        return Ok(Err(ConversionError::Sequence(error)));
                    }
                    loop {
                        let events = session_interface.call_take_events(&mut *store, handle, EVENTS).await?;
                        if events.is_empty() {
                            break;
                        }
                        if let Err(error) = out.write_all(&events) {
                            return Ok(Err(ConversionError::Write(error)));
                        }
                    }
                }
            }
            if let Err(error) = session_interface.call_finish(&mut *store, handle).await? {
                return Ok(Err(ConversionError::Sequence(error)));
            }
            loop {
                let events = session_interface.call_take_events(&mut *store, handle, EVENTS).await?;
                if events.is_empty() {
                    break;
                }
                if let Err(error) = out.write_all(&events) {
                    return Ok(Err(ConversionError::Write(error)));
                }
            }
            Ok(Ok(session_interface.call_report(&mut *store, handle).await?))
        })
        .await;
    let report = result??;
    out.flush().map_err(ConversionError::Write)?;
    Ok(Converted { report, warnings })
}
