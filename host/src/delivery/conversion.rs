//! Converts a session with the component's `conversion` interface, which is handed bytes and cannot reach anything.

use crate::delivery::record::{LeaveOutError, Record, Unrecorded, leave_out};
use crate::outbox::OutboxError;
use crate::program::{LeftOut, LocalSession};
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::conversion::GuestSession;
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{
    ConversionOptions, ConversionReport, FileRole, InvalidOption, SequenceError,
};
use posthog_llma_sandbox::files;
use posthog_llma_sandbox::policy::HttpPolicy;
use posthog_llma_sandbox::{Run, Sandbox, SandboxError, State};
use std::io::{self, Read as _, Write};
use std::path::Path;
use wasmtime::Store;
use wasmtime::component::ResourceAny;

/// Bytes handed to the component at once. Larger pieces are slower: reused memory is already mapped.
const PIECE: usize = 64 * 1024;

/// Bytes of events taken from the component at once.
const EVENTS: u32 = 1024 * 1024;

/// Why a session could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// A transcript cannot be read.
    #[error("cannot read the transcript: {0}")]
    Read(#[source] io::Error),
    /// The events cannot be written.
    #[error("cannot write the events: {0}")]
    Write(#[source] io::Error),
    /// An option is invalid.
    #[error("the option {} cannot be used: it {}", .0.name, .0.reason)]
    Option(InvalidOption),
    /// The record of deliveries cannot be read.
    #[error(transparent)]
    Record(OutboxError),
    /// The component violated its own interface.
    #[error("the component refused a call: {0:?}")]
    Sequence(SequenceError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// The result of a conversion besides the events.
#[derive(Debug)]
pub struct Converted {
    /// The component's counts.
    pub report: ConversionReport,
    /// Files that could not be read.
    pub left_out: LeftOut,
}

/// What stops a conversion: the sandbox or our own code.
enum Stop {
    Call(wasmtime::Error),
    Own(ConversionError),
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Call(error)
    }
}

impl From<LeaveOutError> for Stop {
    fn from(error: LeaveOutError) -> Self {
        match error {
            LeaveOutError::Record(error) => Self::Own(ConversionError::Record(error)),
            LeaveOutError::Sequence(error) => Self::Own(ConversionError::Sequence(error)),
            LeaveOutError::Call(error) => Self::Call(error),
        }
    }
}

impl From<ConversionError> for Stop {
    fn from(error: ConversionError) -> Self {
        Self::Own(error)
    }
}

/// Writes a session's events to `out` as they become complete, one JSON object per line. Every request is refused.
pub async fn convert(
    sandbox: &Sandbox,
    session: &LocalSession,
    options: &ConversionOptions,
    out: &mut impl Write,
) -> Result<Converted, ConversionError> {
    convert_new(sandbox, session, options, &mut Unrecorded, out).await
}

/// Like [`convert`], without what was already delivered.
pub async fn convert_new(
    sandbox: &Sandbox,
    session: &LocalSession,
    options: &ConversionOptions,
    record: &mut impl Record,
    out: &mut impl Write,
) -> Result<Converted, ConversionError> {
    let mut left_out = LeftOut::of(session);
    let Run { result, .. } = sandbox
        .run(HttpPolicy::Deny, async |exporter, store| {
            let interface = exporter.posthog_llm_analytics_conversion();
            match convert_in(&interface.session(), store, session, &mut left_out, options, record, out).await {
                Ok(report) => Ok(Ok(report)),
                Err(Stop::Own(error)) => Ok(Err(error)),
                Err(Stop::Call(error)) => Err(error),
            }
        })
        .await;
    let report = result??;
    out.flush().map_err(ConversionError::Write)?;
    Ok(Converted { report, left_out })
}

async fn convert_in(
    interface: &GuestSession<'_>,
    store: &mut Store<State>,
    session_files: &LocalSession,
    left_out: &mut LeftOut,
    options: &ConversionOptions,
    record: &mut impl Record,
    out: &mut impl Write,
) -> Result<ConversionReport, Stop> {
    let (paths, roles): (Vec<&Path>, Vec<FileRole>) = session_files.transcripts().unzip();
    let opened = interface.call_open(&mut *store, &session_files.files.id, &roles, options).await?;
    let session = opened.map_err(ConversionError::Option)?;
    for (index, path) in (0..).zip(&paths) {
        let bytes = session_files.read_before(path);
        if bytes > 0 {
            interface.call_read_before(&mut *store, session, index, bytes).await?.map_err(ConversionError::Sequence)?;
        }
    }
    let mut piece = vec![0; PIECE];
    let mut sizes = Vec::with_capacity(paths.len());
    // Each file is open only while it is read: a session can have thousands.
    for (index, path) in (0..).zip(&paths) {
        let mut size = 0;
        let mut file = match files::open(path) {
            Ok(file) => file,
            Err(error) if index == 0 || error.is_exhaustion() => {
                return Err(ConversionError::Read(io::Error::other(error)).into());
            }
            Err(error) => {
                left_out.add(&error);
                sizes.push(None);
                continue;
            }
        };
        while let Some(bytes) = next_piece(&mut file, &mut piece)? {
            size += bytes.len() as u64;
            let scanned = interface.call_scan(&mut *store, session, index, bytes).await?;
            scanned.map_err(ConversionError::Sequence)?;
        }
        sizes.push(Some(size));
    }
    leave_out(interface, store, session, record).await?;
    for ((index, path), size) in (0..).zip(&paths).zip(sizes) {
        let Some(size) = size else { continue };
        let file = files::open(path).map_err(|error| ConversionError::Read(io::Error::other(error)))?;
        // Ignore what is written during the conversion: it was not scanned.
        let mut file = file.take(size);
        while let Some(bytes) = next_piece(&mut file, &mut piece)? {
            let converted = interface.call_convert(&mut *store, session, index, bytes).await?;
            converted.map_err(ConversionError::Sequence)?;
            take_events(interface, store, session, out).await?;
        }
    }
    let finished = interface.call_finish(&mut *store, session).await?;
    finished.map_err(ConversionError::Sequence)?;
    take_events(interface, store, session, out).await?;
    Ok(interface.call_report(&mut *store, session).await?)
}

fn next_piece<'a>(file: &mut impl io::Read, piece: &'a mut [u8]) -> Result<Option<&'a [u8]>, ConversionError> {
    let length = file.read(piece).map_err(ConversionError::Read)?;
    Ok(Some(&piece[..length]).filter(|bytes| !bytes.is_empty()))
}

async fn take_events(
    interface: &GuestSession<'_>,
    store: &mut Store<State>,
    session: ResourceAny,
    out: &mut impl Write,
) -> Result<(), Stop> {
    loop {
        let events = interface.call_take_events(&mut *store, session, EVENTS).await?;
        if events.is_empty() {
            return Ok(());
        }
        out.write_all(&events).map_err(ConversionError::Write)?;
    }
}
