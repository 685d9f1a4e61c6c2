//! Turns: a prompt and everything that follows from it. Each line belongs to one.

use crate::events::trace::Work;
use crate::identity::{FixedMap, key};
use crate::place::Place;
use crate::session::timelines::{Stretch, Time, Timelines};
use crate::session::types::TraceGrouping;
use crate::transcript::text::Text;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::rc::Rc;

/// Index of the turn before any prompt. It belongs to the session's trace.
pub const BEFORE_ANY_PROMPT: u32 = 0;

/// Maximum bytes of prompts that are held for `$ai_user_prompt`. Only a session with thousands of long ones loses the
/// oldest.
const LARGEST_PROMPTS: usize = 4 << 20;

/// What starts a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asks {
    /// Nothing: it is the turn before any prompt.
    #[default]
    Nothing,
    /// A slash command or a `!` line, which a model may answer or not.
    Command,
    /// A person's prompt.
    Prompt,
}

/// A prompt and what follows from it.
#[derive(Debug, Default)]
pub struct Turn {
    /// Index of the trace it belongs to.
    pub trace: u32,
    /// What started it.
    pub asks: Asks,
    /// The prompt, cut at the attribute limit.
    pub prompt: Option<Rc<Text>>,
    /// Did a model answer?
    pub answered: bool,
    /// The turn before, which gets the lines that follow from a command that no model answered.
    before: u32,
    /// Did something else begin before a model answered its command?
    retired: bool,
    /// Its stretches of work.
    stretches: Vec<Stretch>,
    /// Did an earlier delivery read the line that makes it a turn?
    counted: bool,
    /// All up to then was told by an earlier delivery.
    told_until: Option<i64>,
    /// Has an event of it been sent by this delivery?
    pub sent: bool,
    /// An event of its main thread was excluded.
    pub excluded: bool,
}

impl Turn {
    /// A stretch of work begins.
    pub fn goes_on(&mut self, stretch: Option<Stretch>) {
        self.stretches.extend(stretch);
    }

    /// A model answers. `told`: did an earlier delivery read the line? Returns whether that makes a command a turn.
    pub fn answer(&mut self, told: bool) -> bool {
        let first = !std::mem::replace(&mut self.answered, true) && self.asks == Asks::Command;
        self.counted |= first && told;
        first
    }

    /// What was done until then is not to be counted.
    pub fn leave_out_until(&mut self, at: i64, on_main: bool) {
        self.excluded |= on_main;
        self.told_until = self.told_until.max(Some(at));
    }

    /// Does it count as a turn? A command that calls no model does not.
    fn counts(&self) -> bool {
        match self.asks {
            Asks::Nothing => false,
            Asks::Command => self.answered,
            Asks::Prompt => true,
        }
    }

    /// Its time, and how much of it earlier deliveries counted. If it is not known which lines they read (`by_line`), that is
    /// left out of the first value: all up to their last event.
    fn time(&self, timelines: &Timelines, by_line: bool) -> (Time, Time) {
        let (mut all, mut told) = (Time::default(), Time::default());
        for stretch in &self.stretches {
            all += timelines.time(*stretch, self.told_until.filter(|_| !by_line));
            told += timelines.told(*stretch).unwrap_or_default();
        }
        (all, told)
    }
}

/// The turns of a session, and the turn of each line.
///
/// A line's turn is that of its `promptId`; without one (before 2.1.81, and on every assistant line), that of its
/// parent: `parentUuid` is resolved as lines are read, so the length of a chain does not matter. If the parent is
/// unknown (288 dangle and 12 point forward in 2,621 transcripts), it is the turn of the last prompt.
#[derive(Debug)]
pub struct Turns {
    turns: Vec<Turn>,
    by_prompt_id: FixedMap<u128, u32>,
    places: FixedMap<u128, Place>,
    last: u32,
    held: VecDeque<u32>,
    held_bytes: usize,
}

impl Turns {
    /// Starts with only the turn before any prompt, which belongs to trace 0.
    pub fn new() -> Self {
        Self {
            turns: vec![Turn::default()],
            by_prompt_id: FixedMap::default(),
            places: FixedMap::default(),
            last: BEFORE_ANY_PROMPT,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// The place of the line with this `uuid`, if it was seen before.
    pub fn place(&self, uuid: &str) -> Option<Place> {
        self.places.get(&key(uuid)).copied()
    }

    /// Notes the place of a line. Returns whether it is the first with this `uuid`.
    pub fn put(&mut self, uuid: Option<&str>, place: Place) -> bool {
        match uuid.map(|uuid| self.places.entry(key(uuid))) {
            Some(Entry::Vacant(vacant)) => {
                vacant.insert(place);
                true
            }
            Some(Entry::Occupied(_)) => false,
            None => true,
        }
    }

    /// The turn of a line that is not a prompt.
    pub fn of_line(&self, prompt_id: Option<&str>, parent: Option<&str>) -> u32 {
        prompt_id
            .and_then(|id| self.by_prompt_id(id))
            .or_else(|| parent.and_then(|parent| self.place(parent)).map(|place| place.turn))
            .map_or(self.last, |turn| self.kept(turn))
    }

    /// This turn, or the one before if it was retired.
    fn kept(&self, mut turn: u32) -> u32 {
        while self.get(turn).retired {
            turn = self.get(turn).before;
        }
        turn
    }

    /// Something else begins: a command that no model answered does not count as a turn.
    pub fn retire_command(&mut self) {
        let last = self.last;
        let turn = self.get_mut(last);
        if turn.asks == Asks::Command && !turn.answered {
            turn.retired = true;
            self.last = self.kept(last);
        }
    }

    /// The turn with this `promptId`.
    pub fn by_prompt_id(&self, prompt_id: &str) -> Option<u32> {
        self.by_prompt_id.get(&key(prompt_id)).copied()
    }

    /// A prompt or a command: its turn, and whether that is a new one. A follow-up shares the `promptId` of what it follows,
    /// and a prompt may share that of a command before it. `told`: did an earlier delivery read its line?
    pub fn begin(&mut self, prompt_id: Option<&str>, asks: Asks, told: bool) -> (u32, bool) {
        self.retire_command();
        let counted = told && asks == Asks::Prompt;
        if let Some(known) = prompt_id.and_then(|id| self.by_prompt_id(id)) {
            self.last = known;
            let turn = self.get_mut(known);
            if turn.asks == Asks::Command && !turn.answered {
                (turn.asks, turn.prompt, turn.retired) = (asks, None, false);
                turn.counted = counted;
            }
            return (known, false);
        }
        let turn = self.turns.len() as u32;
        self.turns.push(Turn { asks, counted, before: self.last, ..Turn::default() });
        if let Some(id) = prompt_id {
            self.by_prompt_id.insert(key(id), turn);
        }
        self.last = turn;
        (turn, true)
    }

    /// Holds a turn's prompt.
    pub fn hold(&mut self, turn: u32, prompt: Text) {
        self.held_bytes += prompt.len();
        self.held.push_back(turn);
        self.get_mut(turn).prompt = Some(Rc::new(prompt));
        while self.held_bytes > LARGEST_PROMPTS
            && self.held.len() > 1
            && let Some(oldest) = self.held.pop_front()
        {
            self.held_bytes -= self.get_mut(oldest).prompt.take().map_or(0, |p| p.len());
        }
    }

    /// The turn of the last prompt.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// A turn.
    pub fn get(&self, turn: u32) -> &Turn {
        &self.turns[turn as usize]
    }

    /// A turn, for changing it.
    pub fn get_mut(&mut self, turn: u32) -> &mut Turn {
        &mut self.turns[turn as usize]
    }
}

/// The work of each trace: what it comes to at the end of this delivery, minus what it came to at the end of the last one.
///
/// A turn counts in the delivery that reads its prompt; grouped by prompt, in the one that first sends an event of it. If
/// nobody says which lines were read (`by_line`), events that are left out tell: a turn with one was counted, and so was
/// everything before it, which may be a copy of another session's.
pub fn work(turns: &Turns, timelines: &Timelines, by_line: bool, grouping: TraceGrouping, traces: usize) -> Vec<Work> {
    let by_session = grouping == TraceGrouping::Session;
    let mut work = vec![Work::default(); traces];
    let mut times: Vec<Option<(Time, Time)>> = vec![None; traces];
    let mut is_copy = false;
    for turn in turns.turns.iter().rev() {
        is_copy |= turn.excluded && !by_line;
        if !turn.sent && (is_copy || !by_session) {
            continue;
        }
        let trace = turn.trace as usize;
        // A sub-agent's event that was sent before the prompt was read went with another trace.
        let was_sent = turn.told_until.is_some() && (turn.counted || !by_line);
        if !turn.stretches.is_empty() {
            let (all, told) = turn.time(timelines, by_line);
            let (sum, sum_told) = times[trace].get_or_insert_default();
            *sum += all;
            *sum_told += if by_session || was_sent { told } else { Time::default() };
        }
        let was_counted = if by_session { turn.counted || turn.excluded } else { was_sent };
        work[trace].turns += u64::from(turn.counts() && !was_counted);
    }
    for (work, time) in work.iter_mut().zip(times) {
        if let Some((all, told)) = time {
            let new = all.beyond(told);
            (work.seconds, work.waited) = (Some(new.worked as f64 / 1000.0), new.waited);
        }
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_any_length_leads_to_its_prompt() {
        let mut turns = Turns::new();
        let (first, _) = turns.begin(None, Asks::Prompt, false);
        turns.put(Some("p"), Place { turn: first, thread: 0 });
        let (second, _) = turns.begin(None, Asks::Prompt, false);
        let mut parent = "p".to_owned();
        for hop in 0..100_000 {
            let turn = turns.of_line(None, Some(&parent));
            assert_eq!(turn, first);
            parent = format!("line-{hop}");
            turns.put(Some(&parent), Place { turn, thread: 0 });
        }
        assert_eq!(turns.of_line(None, Some("unknown")), second);
    }

    #[test]
    fn a_follow_up_with_the_same_prompt_id_is_the_same_turn() {
        let mut turns = Turns::new();
        assert_eq!(turns.begin(Some("a"), Asks::Prompt, false), (1, true));
        assert_eq!(turns.begin(Some("b"), Asks::Prompt, false), (2, true));
        assert_eq!(turns.begin(Some("a"), Asks::Prompt, false), (1, false));
        assert_eq!(turns.of_line(Some("b"), None), 2);
        assert_eq!(turns.of_line(Some("unknown"), None), 1);
    }

    #[test]
    fn of_many_long_prompts_the_oldest_are_let_go() {
        let mut turns = Turns::new();
        for _ in 0..1000 {
            let (turn, _) = turns.begin(None, Asks::Prompt, false);
            turns.hold(turn, Text::from("x".repeat(12_000).as_str()));
        }
        assert!(turns.get(1).prompt.is_none());
        assert!(turns.get(1000).prompt.is_some());
    }

    #[test]
    fn what_follows_a_command_that_no_model_answered_belongs_to_the_turn_before() {
        let mut turns = Turns::new();
        let (prompt, _) = turns.begin(None, Asks::Prompt, false);
        let (command, _) = turns.begin(None, Asks::Command, false);
        turns.put(Some("printed"), Place { turn: command, thread: 0 });
        assert_eq!(turns.of_line(None, Some("printed")), command);
        turns.retire_command();
        assert_eq!((turns.last(), turns.of_line(None, Some("printed"))), (prompt, prompt));
        let (answered, _) = turns.begin(None, Asks::Command, false);
        turns.get_mut(answered).answered = true;
        turns.retire_command();
        assert_eq!(turns.last(), answered);
    }

    #[test]
    fn a_prompt_takes_the_place_of_the_command_whose_id_it_shares() {
        let mut turns = Turns::new();
        let (command, _) = turns.begin(Some("a"), Asks::Command, false);
        turns.hold(command, Text::from("/model"));
        assert_eq!(turns.begin(Some("a"), Asks::Prompt, false), (command, false));
        assert_eq!(turns.get(command).asks, Asks::Prompt);
        assert!(turns.get(command).prompt.is_none());
    }
}
