//! Delivers a session with the component's `delivery` interface: it is handed the session's files, and can reach the one
//! destination.

use crate::program::{self, Session};
use crate::sandbox::bindings::exports::posthog::llm_analytics::delivery::{
    self as wit, BatchReport, DeliveryError, Patience, StartError,
};
use crate::sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, ConversionReport};
use crate::sandbox::policy::{AllowedDestination, HttpPolicy, RequestLog};
use crate::sandbox::{Run, Sandbox, SandboxError};
use posthog_llma_guest::options::ApiKey;
use posthog_llma_guest::origin::Origin;
use std::io;

/// Where a session goes.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The project key.
    pub api_key: ApiKey,
}

/// Why a session was not delivered, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A transcript cannot be opened.
    #[error("the transcript cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The component could not start.
    #[error("{}", start_error(.0))]
    Start(StartError),
    /// A batch was not accepted.
    #[error("{}", delivery_error(.0))]
    Delivery(DeliveryError),
    /// The sandbox failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

fn start_error(error: &StartError) -> String {
    match error {
        StartError::InvalidOption(invalid) => {
            format!("the option {} cannot be used: it {}", invalid.name, invalid.reason)
        }
        StartError::InvalidDestination(why) => why.clone(),
        StartError::UnreadableFile((file, code)) => format!("file {file} of the session cannot be read: {code:?}"),
    }
}

fn delivery_error(error: &DeliveryError) -> String {
    match error {
        DeliveryError::Unreachable(why) => format!("the server cannot be reached: {why}"),
        DeliveryError::TimedOut(why) => format!("the server takes too long: {why}"),
        DeliveryError::Unavailable((status, after, words)) => {
            let after = after.map_or_else(String::new, |s| format!(", and asks to wait {s} s"));
            format!("the server is not available: it answers {status}{after}: {words}")
        }
        DeliveryError::Refused((status, words)) => {
            let hint = match status {
                300..=399 => " (redirects are not followed: is POSTHOG_HOST right?)",
                401 | 403 => " (is POSTHOG_API_KEY the key of a project there?)",
                _ => "",
            };
            format!("the server refuses: it answers {status}: {words}{hint}")
        }
        DeliveryError::NotPosthog(words) => {
            format!("the server answers 200, but not as PostHog does: {words} (is POSTHOG_HOST right?)")
        }
        DeliveryError::UnreadableFile((file, code)) => format!("file {file} of the session cannot be read: {code:?}"),
    }
}

/// What became of a delivery.
#[derive(Debug, Default)]
pub struct Delivered {
    /// The component's counts, if it came so far.
    pub report: Option<ConversionReport>,
    /// The batches that were decided.
    pub batches: Vec<BatchReport>,
    /// What ended it early.
    pub error: Option<SendError>,
    /// What the sandbox allowed and refused.
    pub requests: RequestLog,
    /// Files that were left out.
    pub warnings: Vec<String>,
}

/// Sends a session. `on_batch` is told of each batch as soon as it is decided. Requests to anything but the destination
/// are refused.
pub async fn deliver(
    sandbox: &Sandbox,
    session: &Session,
    options: &ConversionOptions,
    destination: &Destination,
    patience: Patience,
    on_batch: impl FnMut(&BatchReport),
) -> Delivered {
    let policy = HttpPolicy::Allow(AllowedDestination::batches(destination.origin.clone()));
    deliver_within(sandbox, policy, session, options, destination, patience, on_batch).await
}

/// As [`deliver`], under another policy than the destination's own: to show what it refuses.
pub async fn deliver_within(
    sandbox: &Sandbox,
    policy: HttpPolicy,
    session: &Session,
    options: &ConversionOptions,
    destination: &Destination,
    patience: Patience,
    mut on_batch: impl FnMut(&BatchReport),
) -> Delivered {
    let (files, warnings) = match session.open() {
        Ok(opened) => opened,
        Err(error) => {
            return Delivered { error: Some(SendError::Read(error)), ..Delivered::default() };
        }
    };
    let wit_destination =
        wit::Destination { origin: destination.origin.to_string(), api_key: destination.api_key.expose().to_owned() };
    let mut batches = Vec::new();
    let Run { result, requests } = sandbox
        .run(policy, async |exporter, store| {
            let files = program::grant(store, files)?;
            let interface = exporter.posthog_llm_analytics_delivery();
            let delivering = interface.delivering();
            let id = &session.files.id;
            let started = delivering.call_start(&mut *store, id, &files, options, &wit_destination, patience).await?;
            let handle = match started {
                Ok(handle) => handle,
                Err(error) => return Ok((None, Some(SendError::Start(error)))),
            };
            let error = loop {
                match delivering.call_next(&mut *store, handle).await? {
                    Ok(Some(batch)) => {
                        on_batch(&batch);
                        batches.push(batch);
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(SendError::Delivery(error)),
                }
            };
            Ok((Some(delivering.call_report(&mut *store, handle).await?), error))
        })
        .await;
    let (report, error) = match result {
        Ok(outcome) => outcome,
        Err(error) => (None, Some(SendError::Sandbox(error))),
    };
    Delivered { report, batches, error, requests, warnings }
}

/// How patient `send` is, unless told otherwise.
pub const PATIENCE: Patience = Patience {
    connect_timeout: 10_000,
    first_byte_timeout: 30_000,
    request_timeout: 60_000,
    max_retries: 3,
    first_delay: 500,
};
