//! Reads, converts and sends a session, batch by batch.
//!
//! [`judge`] follows the table of answers in `posthog.md` of the capture API. Reading and sending are traits, so that
//! everything is tested without a sandbox.

use crate::delivery::batch::{Batch, Body};
use crate::delivery::lane::{Lane, Request};
use crate::delivery::reading::{Reading, Source};
use crate::delivery::transport::{Answer, Transport, TransportError};
use crate::delivery::verdict::{Fate, Verdict, judge, listed, words};
use crate::events::event::{Event, Kind};
use crate::events::shorten;
use crate::identity::EventId;
use crate::session::{ConversionOptions, FileRole, InvalidOption, Session};
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// An event that a server finds too large is shortened to this size, or to half its own, whichever is smaller.
const SHORTENED_EVENT: usize = 900 * 1024;

/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
const SHORTEST_DELAY: Duration = Duration::from_millis(100);

/// How often to retry a request.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// 3 means at most 4 requests.
    pub most: u32,
    /// Delay before the first retry; it doubles each time.
    pub first_delay: Duration,
}

impl Default for Retries {
    /// For callers that don't set it.
    fn default() -> Self {
        Self { most: 3, first_delay: Duration::from_millis(500) }
    }
}

/// An event that the server refused permanently.
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

/// The outcome of one batch.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// Events that the server accepted.
    pub accepted: Vec<(EventId, Kind)>,
    /// Those of them that it accepted with a warning, and the warning. They are not sent again.
    pub warned: Vec<(EventId, String)>,
    /// Tokens of those: input, output, cache read, cache creation.
    pub tokens: [u64; 4],
    /// How many of those were shortened because the server accepts no larger ones.
    pub shortened: u32,
    /// Events that were refused permanently.
    pub rejected: Vec<Rejected>,
    /// Tool calls that are counted but, because of an option, not sent.
    pub left_out: Vec<EventId>,
    /// Requests since the last report.
    pub requests: u32,
    /// Bytes of the accepted body before compression.
    pub raw_bytes: u64,
    /// Bytes after compression.
    pub sent_bytes: u64,
    /// The lane on which it was sent.
    pub lane: Lane,
    /// What the server said it does not keep.
    pub quota_limited: Vec<String>,
    /// Bytes of the files read so far, in both readings.
    pub bytes_read: u64,
    /// Nothing is left to send.
    pub last: bool,
}

/// Why a batch was not accepted. It is not lost: the next call tries it again.
#[derive(Debug, Clone, Error)]
pub enum DeliveryError<E> {
    /// No connection, or it was interrupted.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No complete answer arrived in time.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// Try again later: status, seconds, the server's words.
    #[error("is not available: status {0}: {2}")]
    Unavailable(u16, Option<u32>, String),
    /// Over the project's byte budget, after all retries: try again later, and more slowly.
    #[error("takes no more for now: {0}")]
    RateLimited(String),
    /// The project's plan allows no more events.
    #[error("takes no more events: {0}")]
    BillingLimit(String),
    /// Another attempt would not change the answer.
    #[error("refused: status {0}: {1}")]
    Refused(u16, String),
    /// The answer is not PostHog's.
    #[error("does not answer as PostHog does: {0}")]
    NotPostHog(String),
    /// Holds the index of the file.
    #[error("file {0} of the session cannot be read")]
    UnreadableFile(u32, E),
}

/// A session that is being sent.
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
    /// Batches that are not delivered yet: the returned part of a batch, or halves of one with a bad event.
    pending: VecDeque<Outgoing>,
    /// The lane that is used.
    lane: Lane,
    /// The first lane to try: the one that the host remembers for this server.
    first_lane: Lane,
    /// Lanes that this server turned out not to have.
    missing: Vec<Lane>,
    /// Delay before the next body: the server's byte budget is used up faster than it grows.
    pace: Duration,
    /// Ends this delivery once the events accepted before it are reported.
    stop: Option<Stop>,
    requests: u32,
}

/// Why nothing more is sent although the server answered 200, with its words.
#[derive(Debug)]
enum Stop {
    /// Events were not kept after all retries; with the seconds to wait, if the server gave them.
    Unavailable(Option<u32>, String),
    RateLimited(String),
    BillingLimit(String),
}

/// A batch, and its body, if it was already sent.
#[derive(Debug, Default)]
struct Outgoing {
    batch: Batch,
    body: Option<Body>,
    /// Delay before it is sent.
    wait: Duration,
}

impl From<Batch> for Outgoing {
    fn from(batch: Batch) -> Self {
        Self { batch, ..Self::default() }
    }
}

/// How to reach a destination.
#[derive(Debug, Clone)]
pub struct Access {
    /// The project token.
    pub api_key: String,
    /// The first lane to try: the newest, unless the host remembers that this server does not have it.
    pub lane: Lane,
}

impl Access {
    /// For a server that nothing is known about.
    pub fn new(api_key: String) -> Self {
        Self { api_key, lane: Lane::default() }
    }
}

/// Why a delivery could not start.
#[derive(Debug, Error)]
pub enum StartError<E> {
    /// An option cannot be used.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// Holds the index of the file.
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
        access: Access,
        retries: Retries,
    ) -> Result<Self, StartError<S::Error>> {
        let mut session = Session::open(id, files, options)?;
        let reading = Reading::first(&mut session, source, files.len())
            .map_err(|(file, error)| StartError::UnreadableFile(file, error))?;
        Ok(Self {
            session,
            reading,
            transport,
            api_key: access.api_key,
            retries,
            ended: false,
            held: None,
            pending: VecDeque::new(),
            lane: access.lane,
            first_lane: access.lane,
            missing: Vec::new(),
            pace: Duration::ZERO,
            stop: None,
            requests: 0,
        })
    }

    /// The session's conversion.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Sends the next batch, or what is left of it; returns `None` once everything is sent.
    pub fn next_batch(&mut self) -> Result<Option<BatchReport>, DeliveryError<S::Error>> {
        loop {
            match self.stop.take() {
                None => {}
                Some(Stop::Unavailable(after, words)) => return Err(DeliveryError::Unavailable(200, after, words)),
                Some(Stop::RateLimited(words)) => return Err(DeliveryError::RateLimited(words)),
                Some(Stop::BillingLimit(words)) => return Err(DeliveryError::BillingLimit(words)),
            }
            let outgoing = match self.pending.pop_front() {
                Some(outgoing) => outgoing,
                None => match self.fill()? {
                    Some(batch) => batch.into(),
                    None => return Ok(self.only_left_out()),
                },
            };
            if let Some(mut report) = self.send(outgoing)? {
                report.requests = std::mem::take(&mut self.requests);
                report.left_out = self.session.left_out();
                report.bytes_read = self.reading.bytes();
                // A batch is only returned once the next event is held, or there is none.
                report.last = self.ended && self.held.is_none() && self.pending.is_empty();
                return Ok(Some(report));
            }
        }
    }

    /// After the last batch: tool calls that are counted but not sent, if nothing was sent since they were counted.
    fn only_left_out(&mut self) -> Option<BatchReport> {
        let left_out = self.session.left_out();
        let bytes_read = self.reading.bytes();
        (!left_out.is_empty()).then(|| BatchReport { left_out, bytes_read, last: true, ..BatchReport::default() })
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
                        self.pending.push_front(batch.into());
                    }
                    return Err(DeliveryError::UnreadableFile(file, error));
                }
            }
        }
    }

    fn fit(&self, mut event: Event) -> Event {
        shorten(&mut event, self.lane.largest_event());
        event
    }

    /// Sends a batch. `None` if none of its events has an outcome yet; what is left of it is pending.
    fn send(&mut self, outgoing: Outgoing) -> Result<Option<BatchReport>, DeliveryError<S::Error>> {
        let Outgoing { batch, body, wait } = outgoing;
        let mut body = match body {
            Some(body) if body.lane == self.lane => body,
            _ => {
                let id = uuid::Builder::from_random_bytes(self.random_bytes()).into_uuid();
                batch.body(self.lane, &self.api_key, id, self.transport.now())
            }
        };
        let wait = wait.max(self.pace);
        if !wait.is_zero() {
            self.transport.wait(wait);
        }
        let (verdict, answer) = match self.attempt(&mut body, &batch) {
            Ok(judged) => judged,
            Err(error) => {
                self.pending.push_front(Outgoing { batch, body: Some(body), wait: Duration::ZERO });
                return Err(match error {
                    TransportError::Unreachable(why) | TransportError::Denied(why) => DeliveryError::Unreachable(why),
                    TransportError::TimedOut(why) => DeliveryError::TimedOut(why),
                });
            }
        };
        let words = || words(&answer.body);
        let error = match verdict {
            Verdict::Each(fates) => return Ok(self.each(batch, &body, fates, answer.retry_after)),
            Verdict::Accepted(quota_limited) => {
                let mut report = BatchReport { lane: self.lane, quota_limited, ..BatchReport::default() };
                batch.events.iter().for_each(|event| report.accept(event));
                report.of_body(&body);
                return Ok(Some(report));
            }
            Verdict::NoSuchLane => {
                self.missing.push(self.lane);
                if let Some(lane) = self.other_lane() {
                    self.lane = lane;
                    let events: Batch = batch.events.into_iter().map(|event| self.fit(event)).collect();
                    self.pending.push_front(events.into());
                    return Ok(None);
                }
                // Whatever blocked the lanes may be gone next time.
                self.missing.clear();
                self.lane = self.first_lane;
                if answer.status == 200 {
                    DeliveryError::NotPostHog(words())
                } else {
                    DeliveryError::Refused(answer.status, words())
                }
            }
            Verdict::Bad | Verdict::TooLarge if batch.events.len() > 1 => {
                let (first, second) = batch.split();
                self.pending.push_front(second.into());
                self.pending.push_front(first.into());
                return Ok(None);
            }
            Verdict::TooLarge if !batch.shortened => {
                self.shortened(batch.events);
                return Ok(None);
            }
            Verdict::Bad | Verdict::TooLarge => {
                let mut report = BatchReport { lane: self.lane, ..BatchReport::default() };
                batch.events.iter().for_each(|event| report.reject(event, answer.status, words()));
                return Ok(Some(report));
            }
            Verdict::NotPostHog => {
                self.missing.clear();
                self.lane = self.first_lane;
                DeliveryError::NotPostHog(words())
            }
            Verdict::Later => DeliveryError::Unavailable(answer.status, answer.retry_after, words()),
            Verdict::BillingLimit => DeliveryError::BillingLimit(words()),
            Verdict::Refused => DeliveryError::Refused(answer.status, words()),
        };
        self.pending.push_front(Outgoing { batch, body: Some(body), wait: Duration::ZERO });
        Err(error)
    }

    /// The next lane that is not known to be missing: an older one, otherwise a newer one, because what was remembered
    /// may be outdated.
    fn other_lane(&self) -> Option<Lane> {
        let below = std::iter::successors(self.lane.next(), |lane| lane.next());
        below.chain(Lane::ALL).find(|lane| !self.missing.contains(lane))
    }

    /// Handles each event of a batch on its own. Outcomes are reported; events to be sent again go into a new body with
    /// its own id.
    fn each(&mut self, batch: Batch, body: &Body, fates: Vec<Fate>, retry_after: Option<u32>) -> Option<BatchReport> {
        let mut report = BatchReport { lane: self.lane, ..BatchReport::default() };
        let (mut again, mut slower, mut too_big, mut unpaid) = (Part::new(), Part::new(), Part::new(), Part::new());
        for (event, fate) in batch.events.into_iter().zip(fates) {
            match fate {
                Fate::Accepted(warning) => {
                    report.accept(&event);
                    report.warned.extend(warning.map(|word| (event.id, word)));
                }
                Fate::TooBig(word) if batch.shortened => report.reject(&event, 200, word),
                Fate::Dropped(word) => report.reject(&event, 200, word),
                Fate::TooBig(word) => too_big.push((event, word)),
                Fate::Again(word) => again.push((event, word)),
                Fate::Slower(word) => slower.push((event, word)),
                Fate::Unpaid(word) => unpaid.push((event, word)),
            }
        }
        if !report.accepted.is_empty() {
            report.of_body(body);
        }
        // A budget that was enough for a whole batch has recovered.
        let slow = !slower.is_empty();
        self.pace = if slow { self.slower() } else { self.pace / 2 };
        // Pushed to the front, so the batch to send first is pushed last.
        if !unpaid.is_empty() {
            let (batch, words) = part(unpaid);
            self.stop = Some(Stop::BillingLimit(words));
            self.pending.push_front(batch.into());
        }
        for (events, is_slower) in [(slower, true), (again, false)] {
            if events.is_empty() {
                continue;
            }
            let (mut rest, words) = part(events);
            rest.shortened = batch.shortened;
            rest.returned = batch.returned + 1;
            if rest.returned > self.retries.most {
                rest.returned = 0;
                self.stop.get_or_insert(if is_slower {
                    Stop::RateLimited(words)
                } else {
                    Stop::Unavailable(retry_after, words)
                });
                self.pending.push_front(rest.into());
                continue;
            }
            let wait = self.back_off(rest.returned, retry_after);
            self.pending.push_front(Outgoing { batch: rest, body: None, wait });
        }
        if !too_big.is_empty() {
            self.shortened(part(too_big).0.events);
        }
        (!report.accepted.is_empty() || !report.rejected.is_empty()).then_some(report)
    }

    /// Shortens events that the server found too large, and queues them again.
    fn shortened(&mut self, events: Vec<Event>) {
        let shorter = events.into_iter().map(|mut event| {
            let largest = (event.json.len() / 2).min(SHORTENED_EVENT);
            shorten(&mut event, largest);
            event
        });
        let mut batch: Batch = shorter.collect();
        batch.shortened = true;
        self.pending.push_front(batch.into());
    }

    fn slower(&self) -> Duration {
        let least = self.retries.first_delay.clamp(SHORTEST_DELAY, LONGEST_DELAY);
        (self.pace * 2).clamp(least, LONGEST_DELAY)
    }

    /// Sends a body until there is an answer that another attempt would not change, or no attempt is left.
    fn attempt(&mut self, body: &mut Body, batch: &Batch) -> Result<(Verdict, Answer), TransportError> {
        let mut retry = 0;
        loop {
            self.requests += 1;
            body.attempts += 1;
            let request = Request {
                lane: body.lane,
                api_key: &self.api_key,
                id: body.id,
                attempt: body.attempts,
                at: self.transport.now(),
                body: &body.bytes,
            };
            // It is judged once: what it says of a batch's events can be large.
            let outcome = self.transport.post(&request).map(|answer| (judge(&answer, body.lane, batch), answer));
            let asked = match &outcome {
                Ok((Verdict::Later, answer)) => answer.retry_after,
                Ok(_) | Err(TransportError::Denied(_)) => return outcome,
                Err(_) => None,
            };
            if retry >= self.retries.most {
                return outcome;
            }
            retry += 1;
            let wait = self.back_off(retry, asked);
            self.transport.wait(wait);
        }
    }

    /// The delay before a retry: it doubles each time, with jitter; what the server asks for is the minimum.
    fn back_off(&mut self, retry: u32, asked: Option<u32>) -> Duration {
        let first = self.retries.first_delay.clamp(SHORTEST_DELAY, LONGEST_DELAY);
        let delay = first.saturating_mul(2_u32.saturating_pow(retry.saturating_sub(1))).min(LONGEST_DELAY);
        let chance = (self.transport.random() >> 11) as f64 / (1_u64 << 53) as f64;
        let asked = Duration::from_secs(asked.unwrap_or(0).into());
        delay.mul_f64(1.0 + chance / 2.0).max(asked).min(LONGEST_DELAY)
    }

    fn random_bytes(&mut self) -> [u8; 16] {
        let (high, low) = (self.transport.random(), self.transport.random());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}

/// Events of a batch with the same fate, each with the server's words.
type Part = Vec<(Event, String)>;

fn part(events: Part) -> (Batch, String) {
    let words = listed(events.iter().map(|(_, word)| word));
    (events.into_iter().map(|(event, _)| event).collect(), words)
}

impl BatchReport {
    fn accept(&mut self, event: &Event) {
        self.accepted.push((event.id, event.kind));
        self.tokens = std::array::from_fn(|i| self.tokens[i].saturating_add(event.tokens[i]));
        self.shortened += u32::from(event.shortened);
    }

    fn reject(&mut self, event: &Event, status: u16, message: String) {
        self.rejected.push(Rejected { id: event.id, kind: event.kind, status, message });
    }

    fn of_body(&mut self, body: &Body) {
        self.raw_bytes = body.raw as u64;
        self.sent_bytes = body.bytes.len() as u64;
    }
}

/// Shortens an event for a server that accepts no larger ones.
fn shorten(event: &mut Event, largest: usize) {
    event.shortened |= event.json.len() > largest;
    event.json = shorten::to_fit(std::mem::take(&mut event.json), largest);
}

#[cfg(test)]
mod tests;
