//! Shows progress: a bar on a terminal, an occasional line elsewhere.

use crate::delivery::ingest::{IngestOutcome, PastSession};
use crate::delivery::report::{self, count};
use crate::system::terminal::{is_watched, tell};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines without a terminal.
const LINES: Duration = Duration::from_secs(5);

/// Fewer bytes finish before anyone could read the progress.
const WORTH_IT: u64 = 8 << 20;

/// The progress of a run.
pub struct IngestProgress {
    bar: ProgressBar,
    total: usize,
    sessions: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    start: Instant,
    last_line: Mutex<Instant>,
    lines: bool,
}

impl IngestProgress {
    /// Starts the display. `quiet` means that a script reads the output.
    pub fn new(sessions: &[PastSession], quiet: bool) -> Self {
        let bytes = sessions.iter().map(|session| session.bytes).sum();
        let terminal = is_watched();
        let shown = bytes > WORTH_IT || sessions.len() > 50;
        let target = if terminal && shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("0/{}", count(sessions.len() as u64, "session")));
        Self {
            bar,
            total: sessions.len(),
            sessions: AtomicU64::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            start: Instant::now(),
            last_line: Mutex::new(Instant::now()),
            lines: !terminal && !quiet,
        }
    }

    /// Counts another finished session.
    pub fn done(&self, session: &PastSession, outcome: &IngestOutcome) {
        let events = match outcome {
            IngestOutcome::Sent(sent) => sent.events,
            IngestOutcome::Failed { events, .. } => *events,
            IngestOutcome::DeliveredBefore
            | IngestOutcome::NothingToSend
            | IngestOutcome::NotReached
            | IngestOutcome::Withheld { .. } => 0,
        };
        let add = |sum: &AtomicU64, count| sum.fetch_add(count, Ordering::Relaxed) + count;
        let (sessions, events) = (add(&self.sessions, 1), add(&self.events, events));
        let bytes = add(&self.bytes, session.bytes);
        let message = format!("{sessions}/{}, {}", count(self.total as u64, "session"), count(events, "event"));
        self.bar.inc(session.bytes);
        self.bar.set_message(message.clone());
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lines && last.elapsed() >= LINES {
            *last = Instant::now();
            let rate = (bytes as f64 / self.start.elapsed().as_secs_f64()) as u64;
            tell(&format!("{message}, {} ({}/s)", report::bytes(bytes), report::bytes(rate)));
        }
    }

    /// Ends the display.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
