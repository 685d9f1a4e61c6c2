//! When a session worked, and when it waited for a person, a background job or a timer.
//!
//! In 769 sessions 0.4 % of the spans hold 75 % of all span seconds: nights at a permission prompt. The client measures
//! its own turns (`turn_duration`, 2.1.1+) without waiting; of 541,952 s of wall-clock time it counts 186,641 s as
//! work. If there is a measurement, the difference to the wall clock was waiting, and belongs to the turn's longest
//! spans. If there is none, only tools that wait by nature can be recognized as waiting.

use crate::identity::{EventId, FixedMap, IdMap, key};
use crate::transcript::entry::Entry;

/// A smaller difference between the wall clock and the client's measurement is not waiting.
const LEAST_WAIT: i64 = 1000;

/// Maximum number of spans in a stretch that share its waiting. A few hold nearly all of it.
const MOST_WAITING: usize = 64;

/// Tools that do nothing but wait: for an answer, for a background job, for a timer.
const WAITING_TOOLS: [&str; 9] = [
    "AgentOutputTool",
    "AskUserQuestion",
    "BashOutput",
    "ExitPlanMode",
    "Monitor",
    "ScheduleWakeup",
    "Sleep",
    "TaskOutput",
    "Wait",
];

/// A stretch of work: from a prompt, or from the event that woke the session, to the last line that follows from it.
#[derive(Debug, Default, Clone)]
struct Stretch {
    from: i64,
    last: i64,
    /// How long nothing happened before it, unless a person started it.
    idle: i64,
    /// Milliseconds measured by the client, and the time of the last line that they cover.
    measured: Option<(i64, i64)>,
    /// Waiting that is known without the client's measurement, counting parallel waits once; and the time up to which
    /// it is counted.
    waited: i64,
    waited_until: i64,
    /// Calls on the main thread.
    calls: Vec<u32>,
    /// The session whose process wrote the latest lines.
    writer: Option<u128>,
    /// When that process took over. It measures only its own time.
    resumed: i64,
    /// Milliseconds of work before.
    before: i64,
}

impl Stretch {
    fn wall(&self) -> i64 {
        self.last.saturating_sub(self.from).max(0)
    }

    /// Milliseconds of work, and those of the waiting that only the client's measurement reveals.
    fn work_and_found_wait(&self) -> (i64, i64) {
        // What was measured before another process took over says nothing about that one.
        match self.measured.filter(|(_, until)| *until >= self.resumed) {
            None => (self.wall().saturating_sub(self.waited).max(0), 0),
            Some((measured, until)) => {
                let covered = until.saturating_sub(self.resumed).max(0);
                let measured = measured.min(covered);
                let after = self.last.saturating_sub(until).max(0);
                (self.before.saturating_add(measured).saturating_add(after), covered - measured)
            }
        }
    }

    /// Milliseconds of work.
    fn work(&self) -> i64 {
        self.work_and_found_wait().0
    }

    /// Milliseconds of waiting.
    fn wait(&self) -> i64 {
        let waited = self.wall().saturating_sub(self.work());
        self.idle + if waited < LEAST_WAIT { 0 } else { waited }
    }

    fn waits(&mut self, from: i64, to: i64) {
        self.waited += to.saturating_sub(from.max(self.waited_until)).max(0);
        self.waited_until = self.waited_until.max(to);
    }

    fn written_in(&mut self, session: u128, at: i64) {
        if self.writer.replace(session).is_some_and(|before| before != session) {
            self.before = at.saturating_sub(self.from).saturating_sub(self.waited).max(0);
            self.resumed = at;
            // They have no part in the waiting of that process.
            self.calls.clear();
        }
    }
}

/// A tool call.
#[derive(Debug, Clone, Copy)]
struct Call {
    span: EventId,
    file: u32,
    called: i64,
    answered: Option<i64>,
    /// Does it wait by nature, or did a person refuse it?
    waits: bool,
    /// Did a person approve it?
    was_asked: bool,
    /// May it have started a sub-agent?
    is_starter: bool,
}

impl Call {
    fn length(&self) -> i64 {
        self.answered.map_or(0, |at| at.saturating_sub(self.called).max(0))
    }
}

/// All stretches and waits of a session, collected by the first reading.
#[derive(Debug, Default)]
pub struct Timeline {
    stretches: Vec<Stretch>,
    /// By the key of the line that starts them.
    by_line: FixedMap<u128, u32>,
    calls: Vec<Call>,
    by_span: IdMap<u32>,
    /// The client's measurements: from, to, stretch, milliseconds.
    measures: Vec<(i64, i64, u32, i64)>,
    /// Calls on the main thread without a result yet.
    open: u32,
    /// Milliseconds that each span waited.
    waits: IdMap<i64>,
}

/// The key of a line that starts a stretch.
pub fn line_key(entry: &Entry<'_>) -> u128 {
    match (entry.uuid.as_deref(), entry.timestamp.as_deref()) {
        (Some(uuid), _) => key(uuid),
        (None, at) => key(at.unwrap_or_default()),
    }
}

/// What starts a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// A person.
    Prompt,
    /// A background job that ended, a teammate, a timer.
    Wake,
}

impl Timeline {
    /// Starts a stretch with this line on the main thread.
    pub fn begin(&mut self, line: u128, beginning: Beginning, at: i64) {
        if self.by_line.contains_key(&line) {
            return;
        }
        let idle = match (beginning, self.stretches.last()) {
            // While a tool runs, nothing wakes the session.
            (Beginning::Wake, Some(_)) if self.open > 0 => return self.line(at),
            (Beginning::Wake, Some(before)) => at.saturating_sub(before.last).max(0),
            _ => 0,
        };
        self.open = 0;
        self.by_line.insert(line, self.stretches.len() as u32);
        let idle = if idle < LEAST_WAIT { 0 } else { idle };
        self.stretches.push(Stretch { from: at, last: at, idle, waited_until: at, resumed: at, ..Stretch::default() });
    }

    /// Adds a line on the main thread that follows from the last prompt.
    pub fn line(&mut self, at: i64) {
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.last = stretch.last.max(at);
        }
    }

    /// A line on the main thread was written by the process of this session. Moving a session to the background copies
    /// its lines into another one, and another process goes on in the middle of a turn.
    pub fn written_in(&mut self, session: u128, at: i64) {
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.written_in(session, at);
        }
    }

    /// The client reports how long it has worked up to now.
    pub fn measured(&mut self, at: i64, milliseconds: u64) {
        let Some(stretch) = self.stretches.len().checked_sub(1) else { return };
        let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        self.measures.push((at.saturating_sub(milliseconds), at, stretch as u32, milliseconds));
        let until = self.stretches[stretch].last;
        let (_, known) = self.stretches[stretch].measured.get_or_insert((0, until));
        *known = until;
    }

    /// Notes a tool call.
    pub fn called(&mut self, span: EventId, file: u32, on_main: bool, tool: &str, at: i64) {
        let call = self.calls.len() as u32;
        if self.by_span.insert(span, call).is_some() {
            return;
        }
        let waits = WAITING_TOOLS.binary_search(&tool).is_ok();
        let is_starter = matches!(tool, "Task" | "Agent");
        self.calls.push(Call {
            span,
            file: if on_main { 0 } else { file.max(1) },
            called: at,
            answered: None,
            waits,
            was_asked: false,
            is_starter,
        });
        if let Some(stretch) = self.stretches.last_mut().filter(|_| on_main) {
            stretch.calls.push(call);
            self.open += 1;
        }
    }

    /// Notes a call's result; a person may have approved or refused it.
    pub fn answered(&mut self, span: EventId, by_person: Option<bool>, at: i64) {
        let Some(&call) = self.by_span.get(&span) else { return };
        let call = &mut self.calls[call as usize];
        if call.answered.is_some() {
            return;
        }
        call.answered = Some(at);
        call.waits |= by_person == Some(false);
        call.was_asked = by_person.is_some();
        if call.waits && call.length() >= LEAST_WAIT {
            self.waits.insert(call.span, call.length());
        }
        if call.file == 0 {
            self.open = self.open.saturating_sub(1);
            if let Some(stretch) = self.stretches.last_mut().filter(|_| call.waits) {
                stretch.waits(call.called, at);
            }
        }
    }

    /// Ends the first reading: distributes the waiting that the client's measurements reveal over the spans.
    pub fn settle(&mut self) {
        self.apply_measures();
        let mut inner: Vec<u32> = (0..self.calls.len() as u32).filter(|i| self.calls[*i as usize].file > 0).collect();
        inner.sort_by_key(|i| self.calls[*i as usize].called);
        for i in 0..self.stretches.len() {
            let stretch = &mut self.stretches[i];
            let calls = std::mem::take(&mut stretch.calls);
            let (_, wait) = stretch.work_and_found_wait();
            if wait >= LEAST_WAIT {
                for (call, wait) in self.distribute(calls, wait) {
                    self.hand_down(call, wait, &inner);
                }
            }
        }
    }

    /// Drops a measurement that contains another one, which would count the same time twice.
    fn apply_measures(&mut self) {
        let mut measures = std::mem::take(&mut self.measures);
        measures.sort_by_key(|(_, to, ..)| *to);
        let mut latest_from = i64::MIN;
        let mut kept = vec![None::<i64>; self.stretches.len()];
        for (from, _, stretch, milliseconds) in measures {
            if from <= latest_from {
                continue;
            }
            latest_from = from;
            let sum = kept[stretch as usize].get_or_insert(0);
            *sum = sum.saturating_add(milliseconds);
        }
        for (stretch, kept) in self.stretches.iter_mut().zip(kept) {
            stretch.measured = stretch.measured.zip(kept).map(|((_, until), measured)| (measured, until));
        }
    }

    /// Distributes this much waiting over these calls: first those that wait by nature, then those that needed a
    /// person's approval, then the longest. What runs in parallel with a waiting call waits with it. Returns the calls
    /// among them that started sub-agents, and their waiting.
    fn distribute(&mut self, mut calls: Vec<u32>, mut left: i64) -> Vec<(u32, i64)> {
        calls.sort_by_key(|i| {
            let call = &self.calls[*i as usize];
            (!call.waits, !call.was_asked, std::cmp::Reverse(call.length()), *i)
        });
        let mut regions: Vec<(i64, i64)> = Vec::new();
        let mut starters = Vec::new();
        for i in calls {
            let call = self.calls[i as usize];
            let length = call.length();
            if length == 0 || regions.len() >= MOST_WAITING {
                continue;
            }
            let shared = covered(&regions, call.called, call.called + length);
            let own = (length - shared).min(left);
            let wait = shared + own;
            if wait < LEAST_WAIT {
                continue;
            }
            left -= own;
            if own > 0 {
                regions.push((call.called, call.called + wait));
            }
            self.waits.insert(call.span, wait);
            if call.is_starter {
                starters.push((i, wait));
            }
        }
        starters
    }

    /// Assigns the waiting of a call that started a sub-agent to the sub-agent's own calls.
    fn hand_down(&mut self, starter: u32, mut left: i64, inner: &[u32]) {
        let outer = self.calls[starter as usize];
        let end = outer.called + outer.length();
        let first = inner.partition_point(|i| self.calls[*i as usize].called < outer.called);
        let within = inner[first..].iter().take_while(|i| self.calls[**i as usize].called <= end).copied();
        let mut within: Vec<u32> =
            within.filter(|i| self.calls[*i as usize].answered.is_some_and(|at| at <= end)).collect();
        within.sort_by_key(|i| (std::cmp::Reverse(self.calls[*i as usize].length()), *i));
        for i in within.into_iter().take(MOST_WAITING) {
            let call = self.calls[i as usize];
            let wait = call.length().min(left);
            if wait < LEAST_WAIT {
                return;
            }
            left -= wait;
            self.waits.insert(call.span, wait);
        }
    }

    /// Milliseconds that a span waited.
    pub fn wait(&self, span: EventId) -> i64 {
        self.waits.get(&span).copied().unwrap_or(0)
    }

    /// The stretch that starts with this line. It belongs to one turn, so a second call returns none.
    pub fn take(&mut self, line: u128) -> Option<u32> {
        self.by_line.remove(&line)
    }

    /// Milliseconds of work and of waiting in a stretch, without what was there up to a point in time: an earlier
    /// delivery reported that.
    pub fn work(&self, stretch: u32, after: Option<i64>) -> (i64, i64) {
        let Some(stretch) = self.stretches.get(stretch as usize) else { return (0, 0) };
        let (work, wait) = (stretch.work(), stretch.wait());
        let Some(after) = after.filter(|after| *after >= stretch.from) else { return (work, wait) };
        if after >= stretch.last {
            return (0, 0);
        }
        // A stretch is only measured at its end.
        let told = (after - stretch.from).saturating_sub(stretch.waited).max(0);
        (work.saturating_sub(told).max(0), wait.saturating_sub(stretch.idle).max(0))
    }
}

/// Milliseconds between `from` and `to` that lie within these regions.
fn covered(regions: &[(i64, i64)], from: i64, to: i64) -> i64 {
    let mut clipped: Vec<_> =
        regions.iter().map(|(a, b)| ((*a).max(from), (*b).min(to))).filter(|(a, b)| a < b).collect();
    clipped.sort_unstable();
    let (mut sum, mut end) = (0, from);
    for (a, b) in clipped {
        sum += b.saturating_sub(a.max(end)).max(0);
        end = end.max(b);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn span(i: u128) -> EventId {
        EventId(i)
    }

    /// A timeline with one prompt at 0, these calls, and a last line.
    fn timeline(calls: &[(u128, &str, i64, i64)], last: i64, measured: Option<u64>) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.begin(1, Beginning::Prompt, 0);
        for (id, tool, from, _) in calls {
            timeline.called(span(*id), 0, true, tool, *from);
            timeline.line(*from);
        }
        for (id, _, _, to) in calls {
            timeline.answered(span(*id), None, *to);
            timeline.line(*to);
        }
        timeline.line(last);
        if let Some(measured) = measured {
            timeline.measured(last + 100, measured);
        }
        timeline.settle();
        timeline
    }

    #[test]
    fn a_night_at_a_permission_prompt_is_the_longest_spans_waiting() {
        let timeline = timeline(&[(1, "Read", 1000, 2000), (2, "Edit", 4000, 8 * HOUR)], 8 * HOUR + 6000, Some(11_000));
        assert_eq!(timeline.work(0, None), (11_000, 8 * HOUR - 5000));
        assert_eq!((timeline.wait(span(1)), timeline.wait(span(2))), (0, 8 * HOUR - 5000));
    }

    #[test]
    fn calls_that_wait_side_by_side_both_wait() {
        let calls = [(1, "Edit", 4000, 8 * HOUR), (2, "Edit", 4000, 8 * HOUR + 1000)];
        let timeline = timeline(&calls, 8 * HOUR + 6000, Some(11_000));
        for id in [1, 2] {
            assert!(timeline.wait(span(id)) >= 8 * HOUR - 10_000, "{id}");
        }
        assert_eq!(timeline.work(0, None), (11_000, 8 * HOUR - 5000));
    }

    #[test]
    fn without_a_measure_only_what_waits_by_nature_is_told() {
        let timeline = timeline(&[(1, "Bash", 1000, HOUR), (2, "AskUserQuestion", HOUR, 2 * HOUR)], 2 * HOUR, None);
        assert_eq!(timeline.work(0, None), (HOUR, HOUR));
        assert_eq!((timeline.wait(span(1)), timeline.wait(span(2))), (0, HOUR));
    }

    #[test]
    fn a_process_that_takes_over_measures_only_its_own_time() {
        let mut timeline = Timeline::default();
        timeline.begin(1, Beginning::Prompt, 0);
        for (id, session, from) in [(1, 7, 1000), (2, 8, 18_000), (3, 8, 30_000)] {
            timeline.written_in(session, from);
            timeline.called(span(id), 0, true, "Bash", from);
            timeline.answered(span(id), None, from + 10_000);
            timeline.line(from + 10_000);
        }
        timeline.measured(40_100, 22_100);
        timeline.settle();
        assert_eq!(timeline.work(0, None), (40_000, 0));
        assert_eq!([1, 2, 3].map(|id| timeline.wait(span(id))), [0; 3]);
    }

    #[test]
    fn a_process_that_takes_over_waits_only_in_its_own_time() {
        let mut timeline = Timeline::default();
        timeline.begin(1, Beginning::Prompt, 0);
        for (id, session, from, to) in [(1, 7, 0, 2 * HOUR), (2, 8, 2 * HOUR, 3 * HOUR)] {
            timeline.written_in(session, from);
            timeline.called(span(id), 0, true, "Bash", from);
            timeline.answered(span(id), None, to);
            timeline.line(to);
        }
        timeline.measured(3 * HOUR, 60_000);
        timeline.settle();
        assert_eq!(timeline.work(0, None), (2 * HOUR + 60_000, HOUR - 60_000));
        assert_eq!([1, 2].map(|id| timeline.wait(span(id))), [0, HOUR - 60_000]);
    }

    #[test]
    fn two_questions_at_once_are_waited_for_once() {
        let calls = [(1, "AskUserQuestion", 0, HOUR), (2, "AskUserQuestion", 0, HOUR)];
        assert_eq!(timeline(&calls, HOUR + 5000, None).work(0, None), (5000, HOUR));
    }

    #[test]
    fn a_measure_is_no_longer_than_its_turn() {
        assert_eq!(timeline(&[], 5000, Some(60_000)).work(0, None), (5000, 0));
        assert_eq!(timeline(&[], 5000, Some(u64::MAX)).work(0, None), (5000, 0));
    }

    #[test]
    fn a_measure_that_contains_another_is_dropped() {
        let mut timeline = Timeline::default();
        for (line, at) in [(1, 0), (2, 1_000_000), (3, 1_200_000)] {
            timeline.begin(line, Beginning::Prompt, at);
            timeline.line(at + 100_000);
            // The last measurement covers all of them.
            timeline.measured(at + 100_000, if line == 3 { 1_300_000 } else { 90_000 });
        }
        timeline.settle();
        let work: Vec<_> = (0..3).map(|stretch| timeline.work(stretch, None).0).collect();
        assert_eq!(work, [90_000, 90_000, 100_000]);
    }

    #[test]
    fn a_background_job_that_ends_after_hours_wakes_the_session() {
        let mut timeline = timeline(&[], 8000, Some(8100));
        timeline.begin(2, Beginning::Wake, 4 * HOUR);
        timeline.line(4 * HOUR + 6000);
        timeline.measured(4 * HOUR + 6100, 6100);
        timeline.settle();
        assert_eq!(timeline.work(0, None), (8000, 0));
        assert_eq!(timeline.work(1, None), (6000, 4 * HOUR - 8000));
    }

    #[test]
    fn nothing_wakes_a_session_while_a_tool_runs() {
        let mut timeline = Timeline::default();
        timeline.begin(1, Beginning::Prompt, 0);
        timeline.called(span(1), 0, true, "Bash", 1000);
        timeline.begin(2, Beginning::Wake, HOUR);
        timeline.answered(span(1), None, 2 * HOUR);
        timeline.line(2 * HOUR);
        timeline.settle();
        assert_eq!(timeline.work(0, None), (2 * HOUR, 0));
        assert_eq!(timeline.take(2), None);
    }

    #[test]
    fn a_refused_call_did_nothing_but_wait() {
        let mut timeline = Timeline::default();
        timeline.begin(1, Beginning::Prompt, 0);
        timeline.called(span(1), 0, true, "Bash", 1000);
        timeline.answered(span(1), Some(false), 17_000);
        timeline.line(17_000);
        timeline.settle();
        assert_eq!(timeline.wait(span(1)), 16_000);
        assert_eq!(timeline.work(0, None), (1000, 16_000));
    }

    #[test]
    fn a_sub_agents_call_that_waits_is_told_on_both() {
        let mut timeline = Timeline::default();
        timeline.begin(1, Beginning::Prompt, 0);
        timeline.called(span(1), 0, true, "Agent", 1000);
        timeline.answered(span(1), None, 8 * HOUR);
        timeline.line(8 * HOUR + 5000);
        timeline.measured(8 * HOUR + 5000, 60_000);
        timeline.called(span(2), 1, false, "Edit", 10_000);
        timeline.answered(span(2), None, 8 * HOUR - 10_000);
        timeline.called(span(3), 2, false, "Bash", 9 * HOUR);
        timeline.answered(span(3), None, 10 * HOUR);
        timeline.settle();
        assert_eq!(timeline.wait(span(1)), 8 * HOUR - 55_000);
        assert_eq!(timeline.wait(span(2)), 8 * HOUR - 55_000);
        assert_eq!(timeline.wait(span(3)), 0);
    }

    #[test]
    fn what_an_earlier_delivery_told_is_not_told_again() {
        let timeline = timeline(&[(1, "Edit", 4000, 8 * HOUR)], 8 * HOUR + 6000, Some(11_000));
        assert_eq!(timeline.work(0, Some(4000)), (7000, 8 * HOUR - 5000));
        assert_eq!(timeline.work(0, Some(9 * HOUR)), (0, 0));
    }

    #[test]
    fn times_that_go_backwards_or_are_odd_do_no_harm() {
        let mut timeline = Timeline::default();
        timeline.line(5);
        timeline.measured(5, u64::MAX);
        timeline.begin(1, Beginning::Prompt, i64::MAX);
        timeline.called(span(1), 0, true, "Bash", i64::MAX);
        timeline.answered(span(1), Some(false), 0);
        timeline.begin(2, Beginning::Wake, 0);
        timeline.line(i64::MAX);
        timeline.measured(i64::MAX, u64::MAX);
        timeline.settle();
        assert!(timeline.work(0, None).0 >= 0);
        assert!(timeline.work(1, Some(i64::MAX)).0 >= 0);
    }
}
