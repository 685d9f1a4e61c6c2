//! Delivers a session with the component's `delivery` interface, which is handed the session's files and can reach only
//! the destination.

use crate::delivery::record::{LeaveOutError, Record, leave_out};
use crate::outbox::OutboxError;
use crate::program::{self, LocalSession};
use posthog_llma_pipeline::options::ApiKey;
use posthog_llma_pipeline::origin::Origin;
use posthog_llma_sandbox::bindings::exports::posthog::llm_analytics::delivery::{
    self as wit, BatchReport, DeliveryError, Patience, Refusal, StartError, Unavailability, UnreadableFile,
};
use posthog_llma_sandbox::bindings::posthog::llm_analytics::types::{ConversionOptions, ConversionReport};
use posthog_llma_sandbox::policy::{AllowedDestination, HttpPolicy, RequestLog};
use posthog_llma_sandbox::{Run, Sandbox, SandboxError};
use std::io;

/// Is the project over its budget for now, so that the server will accept the same events later?
pub fn takes_no_more_for_now(error: &DeliveryError) -> bool {
    matches!(error, DeliveryError::RateLimited(_) | DeliveryError::Unavailable(Unavailability { status: 429, .. }))
}

/// Where to send a session.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The project token.
    pub api_key: ApiKey,
}

/// Why a session was not delivered, or only in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// A transcript cannot be opened.
    #[error("cannot read the transcript: {0}")]
    Read(#[source] io::Error),
    /// The component could not start.
    #[error("{}", start_error(.0))]
    Start(StartError),
    /// A batch was not accepted.
    #[error("{}", delivery_error(.0))]
    Delivery(DeliveryError),
    /// The record of deliveries cannot be read or written.
    #[error("sending stopped, because what was sent could not be recorded: {0}")]
    Record(#[source] OutboxError),
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
        StartError::UnreadableFile(unreadable) => unreadable_file(*unreadable),
    }
}

impl SendError {
    /// The kind of failure, in one word, with the server's status if it answered.
    pub fn kind(&self) -> (&'static str, Option<u16>) {
        match self {
            Self::Read(_) => ("read", None),
            Self::Start(_) => ("start", None),
            Self::Sandbox(_) => ("sandbox", None),
            Self::Record(_) => ("record", None),
            Self::Delivery(error) => match error {
                DeliveryError::Unreachable(_) => ("unreachable", None),
                DeliveryError::TimedOut(_) => ("timed-out", None),
                DeliveryError::Unavailable(answer) => ("unavailable", Some(answer.status)),
                DeliveryError::RateLimited(_) => ("rate-limited", None),
                DeliveryError::BillingLimit(_) => ("billing-limit", None),
                DeliveryError::Refused(refusal) => ("refused", Some(refusal.status)),
                DeliveryError::NotPosthog(_) => ("not-posthog", Some(200)),
                DeliveryError::UnreadableFile(_) => ("unreadable-file", None),
            },
        }
    }
}

fn unreadable_file(UnreadableFile { file, error }: UnreadableFile) -> String {
    format!("file {file} of the session cannot be read: {error:?}")
}

fn delivery_error(error: &DeliveryError) -> String {
    match error {
        DeliveryError::Unreachable(why) => {
            format!("the server cannot be reached: {why} (`posthog-llma doctor` checks the connection)")
        }
        DeliveryError::TimedOut(why) => format!("the server takes too long to answer: {why}"),
        DeliveryError::Unavailable(Unavailability { status, retry_after: after, message: words }) => {
            let after = after.map_or_else(String::new, |s| format!(", and asks to wait {s} s"));
            format!("the server is unavailable: it answered {status}{after}: {words}")
        }
        DeliveryError::RateLimited(words) => format!("the project's byte budget is used up for now: {words}"),
        DeliveryError::BillingLimit(words) => {
            format!(
                "the project has reached its billing limit: {words} (see Billing in PostHog; unsent events are kept)"
            )
        }
        DeliveryError::Refused(Refusal { status, message: words }) => {
            let hint = match status {
                300..=399 => " (redirects are not followed: is POSTHOG_HOST right?)",
                402 => " (see Billing in PostHog; unsent events are kept)",
                401 | 403 => " (is POSTHOG_API_KEY the token of a project there?)",
                _ => "",
            };
            format!("the server rejected the request with {status}: {words}{hint}")
        }
        DeliveryError::NotPosthog(words) => {
            format!("the server answered 200, but not as PostHog does: {words} (is POSTHOG_HOST right?)")
        }
        DeliveryError::UnreadableFile(unreadable) => unreadable_file(*unreadable),
    }
}

/// The outcome of a delivery.
#[derive(Debug, Default)]
pub struct Delivered {
    /// The component's counts, if it got that far.
    pub report: Option<ConversionReport>,
    /// The batches with a decided outcome.
    pub batches: Vec<BatchReport>,
    /// What ended it early.
    pub error: Option<SendError>,
    /// The requests that the sandbox allowed and refused.
    pub requests: RequestLog,
    /// Warnings about files that were left out.
    pub warnings: Vec<String>,
}

/// Sends what is new in a session. Requests to anything but the destination are refused.
pub async fn deliver(
    sandbox: &Sandbox,
    session: &LocalSession,
    options: &ConversionOptions,
    destination: &Destination,
    patience: Patience,
    record: &mut impl Record,
) -> Delivered {
    let lane = match record.lane() {
        Ok(lane) => lane,
        Err(error) => return Delivered { error: Some(SendError::Record(error)), ..Delivered::default() },
    };
    let policy = HttpPolicy::Allow(AllowedDestination::batches(destination.origin.clone()).from_lane(lane));
    deliver_within(sandbox, policy, session, options, destination, patience, record).await
}

/// Like [`deliver`], but under a policy other than the destination's own, to show what that policy refuses.
pub async fn deliver_within(
    sandbox: &Sandbox,
    policy: HttpPolicy,
    session: &LocalSession,
    options: &ConversionOptions,
    destination: &Destination,
    patience: Patience,
    record: &mut impl Record,
) -> Delivered {
    let (files, warnings) = match session.readable() {
        Ok((files, left_out)) => (files, left_out.warning().into_iter().collect()),
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
            let transfer = interface.transfer();
            let id = &session.files.id;
            let started = transfer.call_start(&mut *store, id, &files, options, &wit_destination, patience).await?;
            let handle = match started {
                Ok(handle) => handle,
                Err(error) => return Ok((None, Some(SendError::Start(error)))),
            };
            match leave_out(&transfer, store, handle, record).await {
                Ok(()) => {}
                Err(LeaveOutError::Record(error)) => return Ok((None, Some(SendError::Record(error)))),
                Err(LeaveOutError::Sequence(error)) => {
                    return Err(wasmtime::Error::msg(format!("events cannot be left out: {error:?}")));
                }
                Err(LeaveOutError::Call(error)) => return Err(error),
            }
            let error = loop {
                match transfer.call_next(&mut *store, handle).await? {
                    Ok(Some(batch)) => {
                        let recorded = record.batch(&batch);
                        batches.push(batch);
                        if let Err(error) = recorded {
                            break Some(SendError::Record(error));
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => match record.wait(&error) {
                        Some(time) => tokio::time::sleep(time).await,
                        None => break Some(SendError::Delivery(error)),
                    },
                }
            };
            Ok((Some(transfer.call_report(&mut *store, handle).await?), error))
        })
        .await;
    let (report, error) = match result {
        Ok(outcome) => outcome,
        Err(error) => (None, Some(SendError::Sandbox(error))),
    };
    Delivered { report, batches, error, requests, warnings }
}

/// The default patience of `send`.
pub const PATIENCE: Patience = Patience {
    connect_timeout: 10_000,
    first_byte_timeout: 30_000,
    request_timeout: 60_000,
    max_retries: 3,
    first_delay: 500,
};
