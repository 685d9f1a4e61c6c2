//! A session is read, converted and sent, batch by batch.
//!
//! What becomes of an answer is the table in `posthog.md` of the capture API, in [`judge`]. Reading and sending are traits,
//! so that all of it is tested without a sandbox.

use crate::delivery::batch::{Batch, Body};
use crate::delivery::reading::{Reading, Source};
use crate::events::event::{Event, Kind};
use crate::events::shorten;
use crate::identity::EventId;
use crate::session::{ConversionOptions, FileRole, InvalidOption, Session};
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// PostHog's path for AI events.
pub const AI_PATH: &str = "/i/v0/ai/batch/";
/// The path of servers that do not have [`AI_PATH`].
pub const FALLBACK_PATH: &str = "/batch/";

/// Bytes of an event that servers without [`AI_PATH`] take.
const LARGEST_FALLBACK_EVENT: usize = 900 * 1024;

/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
const SHORTEST_DELAY: Duration = Duration::from_millis(100);

/// Characters of a server's words that are kept.
const WORDS: usize = 500;

/// The way to the server, and time.
pub trait Transport {
    /// POSTs a gzipped JSON body to this path of the destination.
    fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer, TransportError>;
    /// Waits.
    fn wait(&mut self, time: Duration);
    /// A random number below 1.
    fn chance(&mut self) -> f64;
}

/// What a server answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<u32>,
    /// The beginning of its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Error)]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("{0}")]
    TimedOut(String),
    /// The sandbox does not let it out. Another attempt would not either.
    #[error("{0}")]
    Denied(String),
}

/// How often a request is sent again.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// 3 means at most 4 requests.
    pub most: u32,
    /// Before the first retry; it doubles each time.
    pub first_delay: Duration,
}

impl Default for Retries {
    /// Where nobody is there to say so.
    fn default() -> Self {
        Self { most: 3, first_delay: Duration::from_millis(500) }
    }
}

/// An event that the server refused for good.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Its `uuid`.
    pub id: EventId,
    /// What it is.
    pub kind: Kind,
    /// HTTP status.
    pub status: u16,
    /// The server's words.
    pub message: String,
}

/// What became of one batch.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// Events that a 200 was answered to.
    pub accepted: Vec<(EventId, Kind)>,
    /// Tokens of those: input, output, cache read, cache creation.
    pub tokens: [u64; 4],
    /// How many of those were shortened because the server takes no larger ones.
    pub shortened: u32,
    /// Events that were refused for good.
    pub rejected: Vec<Rejected>,
    /// Requests since the last report.
    pub requests: u32,
    /// Bytes of the accepted body before compression.
    pub raw_bytes: u64,
    /// And after.
    pub sent_bytes: u64,
    /// Path that it was sent to.
    pub path: &'static str,
    /// What the server said it does not keep.
    pub quota_limited: Vec<String>,
    /// Bytes of the files read so far, of both readings.
    pub bytes_read: u64,
    /// Nothing is left to be sent.
    pub last: bool,
}

/// Why a batch was not accepted. It is not lost: the next call tries it again.
#[derive(Debug, Clone, Error)]
pub enum DeliveryError<E> {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No complete answer in time.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// Come back later: status, seconds, words.
    #[error("is not available: status {0}: {2}")]
    Unavailable(u16, Option<u32>, String),
    /// Another attempt will not change it.
    #[error("refused: status {0}: {1}")]
    Refused(u16, String),
    /// The answer is not PostHog's.
    #[error("does not answer as PostHog does: {0}")]
    NotPostHog(String),
    /// The file with this index.
    #[error("file {0} of the session cannot be read")]
    UnreadableFile(u32, E),
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Delivered; with what the quota does not cover.
    Accepted(Vec<String>),
    /// A 200 that PostHog did not write.
    NotPostHog,
    /// Try again, the same bytes.
    Later,
    /// Some event of it is too large.
    TooLarge,
    /// Some event of it is bad.
    Bad,
    /// This server has no AI path.
    NoSuchPath,
    /// Do not try again.
    Refused,
}

fn judge(answer: &Answer) -> Verdict {
    match answer.status {
        200 => match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&answer.body) {
            Ok(said) => Verdict::Accepted(quota_limited(&said)),
            Err(_) => Verdict::NotPostHog,
        },
        400 => Verdict::Bad,
        404 | 405 => Verdict::NoSuchPath,
        413 => Verdict::TooLarge,
        408 | 429 | 500 | 502..=504 => Verdict::Later,
        _ => Verdict::Refused,
    }
}

fn quota_limited(said: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
    let limited = said.get("quota_limited").and_then(|q| q.as_array()).into_iter().flatten();
    limited.filter_map(|q| q.as_str()).map(|q| crate::transcript::text::prefix(q, 100).to_owned()).take(20).collect()
}

/// A session on its way.
#[derive(Debug)]
pub struct Delivery<S, T> {
    session: Session,
    reading: Reading<S>,
    transport: T,
    api_key: String,
    retries: Retries,
    ended: bool,
    /// An event that did not fit into the last batch.
    held: Option<Event>,
    /// Batches that are not delivered yet; more than one only while a bad event is looked for.
    pending: VecDeque<Batch>,
    path: &'static str,
    requests: u32,
}

/// Why nothing could be started.
#[derive(Debug, Error)]
pub enum StartError<E> {
    /// An option cannot be used.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// The file with this index.
    #[error("file {0} of the session cannot be read")]
    UnreadableFile(u32, E),
}

impl<S: Source, T: Transport> Delivery<S, T> {
    /// Does the first reading of the session's files.
    pub fn start(
        id: &str,
        files: &[FileRole],
        options: ConversionOptions,
        source: S,
        transport: T,
        api_key: String,
        retries: Retries,
    ) -> Result<Self, StartError<S::Error>> {
        let mut session = Session::open(id, files, options)?;
        let reading = Reading::first(&mut session, source, files.len())
            .map_err(|(file, error)| StartError::UnreadableFile(file, error))?;
        Ok(Self {
            session,
            reading,
            transport,
            api_key,
            retries,
            ended: false,
            held: None,
            pending: VecDeque::new(),
            path: AI_PATH,
            requests: 0,
        })
    }

    /// The conversion.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Sends the next batch, or what is left of it; `None` when all is sent.
    pub fn next_batch(&mut self) -> Result<Option<BatchReport>, DeliveryError<S::Error>> {
        loop {
            let batch = match self.pending.pop_front() {
                Some(batch) => batch,
                None => match self.fill()? {
                    Some(batch) => batch,
                    None => return Ok(None),
                },
            };
            if let Some(mut report) = self.send(batch)? {
                report.requests = std::mem::take(&mut self.requests);
                report.bytes_read = self.reading.bytes();
                // A batch is only given out when the next event is held, or when there is none.
                report.last = self.ended && self.held.is_none() && self.pending.is_empty();
                return Ok(Some(report));
            }
        }
    }

    /// The next batch of events.
    fn fill(&mut self) -> Result<Option<Batch>, DeliveryError<S::Error>> {
        let mut batch = Batch::default();
        loop {
            while let Some(event) = self.held.take().or_else(|| self.session.next_event()) {
                let event = self.fit(event);
                if !batch.has_room_for(&event) {
                    self.held = Some(event);
                    return Ok(Some(batch));
                }
                batch.push(event);
            }
            if self.ended {
                return Ok(Some(batch).filter(|batch| !batch.events.is_empty()));
            }
            match self.reading.second(&mut self.session) {
                Ok(more) => self.ended = !more,
                Err((file, error)) => {
                    // The events are not lost: the next call sends them.
                    if !batch.events.is_empty() {
                        self.pending.push_front(batch);
                    }
                    return Err(DeliveryError::UnreadableFile(file, error));
                }
            }
        }
    }

    fn fit(&self, mut event: Event) -> Event {
        if self.path == FALLBACK_PATH {
            shorten(&mut event, LARGEST_FALLBACK_EVENT);
        }
        event
    }

    /// Sends a batch. `None`: it was divided, or goes another way; what it became is pending.
    fn send(&mut self, batch: Batch) -> Result<Option<BatchReport>, DeliveryError<S::Error>> {
        let body = batch.body(&self.api_key);
        let answer = match self.attempt(&body) {
            Ok(answer) => answer,
            Err(error) => {
                self.pending.push_front(batch);
                return Err(match error {
                    TransportError::Unreachable(why) | TransportError::Denied(why) => DeliveryError::Unreachable(why),
                    TransportError::TimedOut(why) => DeliveryError::TimedOut(why),
                });
            }
        };
        let words = words(&answer.body);
        let error = match judge(&answer) {
            Verdict::Accepted(quota_limited) => {
                return Ok(Some(BatchReport {
                    accepted: batch.events.iter().map(|e| (e.id, e.kind)).collect(),
                    tokens: batch
                        .events
                        .iter()
                        .fold([0; 4], |sums: [u64; 4], e| std::array::from_fn(|i| sums[i].saturating_add(e.tokens[i]))),
                    shortened: batch.events.iter().filter(|e| e.shortened).count() as u32,
                    raw_bytes: body.raw as u64,
                    sent_bytes: body.bytes.len() as u64,
                    path: self.path,
                    quota_limited,
                    ..BatchReport::default()
                }));
            }
            Verdict::NoSuchPath if self.path == AI_PATH => {
                self.path = FALLBACK_PATH;
                let events: Batch = batch.events.into_iter().map(|event| self.fit(event)).collect();
                self.pending.push_front(events);
                return Ok(None);
            }
            Verdict::Bad | Verdict::TooLarge if batch.events.len() > 1 => {
                let (first, second) = batch.split();
                self.pending.push_front(second);
                self.pending.push_front(first);
                return Ok(None);
            }
            Verdict::TooLarge if !batch.shortened => {
                let shortened = batch.events.into_iter().map(|mut event| {
                    let largest = (event.json.len() / 2).min(LARGEST_FALLBACK_EVENT);
                    shorten(&mut event, largest);
                    event
                });
                let mut shortened: Batch = shortened.collect();
                shortened.shortened = true;
                self.pending.push_front(shortened);
                return Ok(None);
            }
            Verdict::Bad | Verdict::TooLarge => {
                let reject =
                    |e: &Event| Rejected { id: e.id, kind: e.kind, status: answer.status, message: words.clone() };
                return Ok(Some(BatchReport {
                    rejected: batch.events.iter().map(reject).collect(),
                    path: self.path,
                    ..BatchReport::default()
                }));
            }
            Verdict::NotPostHog => DeliveryError::NotPostHog(words),
            Verdict::Later => DeliveryError::Unavailable(answer.status, answer.retry_after, words),
            Verdict::NoSuchPath | Verdict::Refused => DeliveryError::Refused(answer.status, words),
        };
        self.pending.push_front(batch);
        Err(error)
    }

    /// Sends a body until there is an answer that another attempt would not change, or no attempt is left.
    fn attempt(&mut self, body: &Body) -> Result<Answer, TransportError> {
        let mut delay = self.retries.first_delay.clamp(SHORTEST_DELAY, LONGEST_DELAY);
        let mut left = self.retries.most;
        loop {
            self.requests += 1;
            let outcome = self.transport.post(self.path, &body.bytes);
            let asked = match &outcome {
                Ok(answer) if judge(answer) == Verdict::Later => answer.retry_after,
                Ok(_) | Err(TransportError::Denied(_)) => return outcome,
                Err(_) => None,
            };
            if left == 0 {
                return outcome;
            }
            left -= 1;
            let asked = Duration::from_secs(asked.unwrap_or(0).into());
            let jittered = delay.mul_f64(1.0 + self.transport.chance().clamp(0.0, 1.0) / 2.0);
            self.transport.wait(jittered.max(asked).min(LONGEST_DELAY));
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }
}

/// Makes an event fit for a server that takes no larger ones.
fn shorten(event: &mut Event, largest: usize) {
    event.shortened |= event.json.len() > largest;
    event.json = shorten::to_fit(std::mem::take(&mut event.json), largest);
}

/// The beginning of what a server said, on one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * WORDS)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS).collect();
    if text.is_empty() { "(an empty body)".to_owned() } else { text }
}

#[cfg(test)]
mod tests;
