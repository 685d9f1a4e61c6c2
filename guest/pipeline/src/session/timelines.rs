//! Two timelines of a session: of all its lines, and of those that earlier deliveries read. A delivery counts the difference.

use crate::identity::EventId;
use crate::session::timeline::{Beginning, Timeline};

/// The timeline of all lines, and that of the lines that earlier deliveries read.
#[derive(Debug, Default)]
pub struct Timelines {
    all: Timeline,
    told: Timeline,
    /// Does the line being read belong to both?
    both: bool,
}

/// A stretch of work, in either timeline.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    all: u32,
    told: Option<u32>,
}

/// Milliseconds of work and of waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Work.
    pub worked: i64,
    /// Waiting.
    pub waited: i64,
}

impl Time {
    fn of((worked, waited): (i64, i64)) -> Self {
        Self { worked, waited }
    }

    /// What is in this one and not in the other, never below 0.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        Self {
            worked: self.worked.saturating_sub(other.worked).max(0),
            waited: self.waited.saturating_sub(other.waited).max(0),
        }
    }
}

impl std::ops::AddAssign for Time {
    fn add_assign(&mut self, other: Self) {
        self.worked = self.worked.saturating_add(other.worked);
        self.waited = self.waited.saturating_add(other.waited);
    }
}

impl Timelines {
    /// The next line. `told`: did an earlier delivery read it?
    pub fn next_line(&mut self, told: bool) {
        self.both = told;
    }

    fn each(&mut self, mut work: impl FnMut(&mut Timeline)) {
        work(&mut self.all);
        if self.both {
            work(&mut self.told);
        }
    }

    /// On the main thread a stretch begins with this line.
    pub fn begin(&mut self, line: u128, beginning: Beginning, at: i64) {
        self.each(|timeline| timeline.begin(line, beginning, at));
    }

    /// A line on the main thread that follows from the last prompt.
    pub fn line(&mut self, at: i64) {
        self.each(|timeline| timeline.line(at));
    }

    /// A line on the main thread was written by the process of this session.
    pub fn written_in(&mut self, session: u128, at: i64) {
        self.each(|timeline| timeline.written_in(session, at));
    }

    /// The client says how long it was at work, up to now.
    pub fn measured(&mut self, at: i64, milliseconds: u64) {
        self.each(|timeline| timeline.measured(at, milliseconds));
    }

    /// A tool was called.
    pub fn called(&mut self, span: EventId, file: u32, on_main: bool, tool: &str, at: i64) {
        self.each(|timeline| timeline.called(span, file, on_main, tool, at));
    }

    /// Its result came; a person may have said yes or no.
    pub fn answered(&mut self, span: EventId, by_person: Option<bool>, at: i64) {
        self.each(|timeline| timeline.answered(span, by_person, at));
    }

    /// The end of the first reading.
    pub fn settle(&mut self) {
        self.all.settle();
        self.told.settle();
    }

    /// Milliseconds that a span waited.
    pub fn wait(&self, span: EventId) -> i64 {
        self.all.wait(span)
    }

    /// The stretch that begins with this line. It belongs to one turn: asked again, there is none.
    pub fn take(&mut self, line: u128) -> Option<Stretch> {
        let told = self.told.take(line);
        self.all.take(line).map(|all| Stretch { all, told })
    }

    /// The time of a stretch, but for what was there up to a point in time.
    pub fn time(&self, stretch: Stretch, after: Option<i64>) -> Time {
        Time::of(self.all.work(stretch.all, after))
    }

    /// The time of a stretch as far as earlier deliveries read it; `None` if they did not.
    pub fn told(&self, stretch: Stretch) -> Option<Time> {
        stretch.told.map(|told| Time::of(self.told.work(told, None)))
    }
}
