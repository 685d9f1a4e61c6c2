//! Turns: a prompt and all that follows from it. Each line belongs to one.

use crate::events::trace::Work;
use crate::identity::{FixedMap, key};
use crate::place::Place;
use crate::transcript::text::Text;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::rc::Rc;

/// Index of the turn before any prompt. It belongs to the session's trace.
pub const BEFORE_ANY_PROMPT: u32 = 0;

/// Bytes of prompts that are held for `$ai_user_prompt`. Only a session with thousands of long ones loses the oldest.
const LARGEST_PROMPTS: usize = 4 << 20;

/// A prompt and what follows from it.
#[derive(Debug, Default)]
pub struct Turn {
    /// Index of the trace it belongs to.
    pub trace: u32,
    /// The prompt, cut at the attribute limit.
    pub prompt: Option<Rc<Text>>,
    /// When the work began that goes on: the prompt (of several, the last), or the end of what was excluded.
    from: Option<i64>,
    /// The last line on the main thread.
    last: Option<i64>,
    /// Milliseconds of the work before that.
    worked: i64,
    /// An event of it was sent now.
    pub sent: bool,
    /// An event of it was excluded.
    pub excluded: bool,
}

impl Turn {
    /// A prompt, the first or a follow-up: what passed since the line before it is no work.
    pub fn prompted(&mut self, at: i64) {
        self.worked += self.since_prompt();
        (self.from, self.last) = (Some(at), None);
    }

    /// A line that follows from the prompt.
    pub fn worked_until(&mut self, at: i64) {
        self.last = self.last.max(Some(at));
    }

    /// What was done until then is not to be counted.
    pub fn leave_out_until(&mut self, at: i64) {
        self.excluded = true;
        self.from = self.from.max(Some(at));
    }

    /// Milliseconds from each prompt to the last line that follows from it. `None` before any prompt.
    pub fn work(&self) -> Option<i64> {
        self.from.map(|_| self.worked + self.since_prompt())
    }

    fn since_prompt(&self) -> i64 {
        let (Some(from), Some(last)) = (self.from, self.last) else { return 0 };
        last.saturating_sub(from).max(0)
    }
}

/// The turns of a session, and the turn of each line.
///
/// A line's turn is that of its `promptId`; without one (before 2.1.81, and on every assistant line) that of its parent:
/// the walk along `parentUuid` is done as the lines come, so its length does not matter. Where the parent is unknown (288
/// dangle and 12 point forward in 2,621 transcripts), it is the last prompt's.
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
    /// Only the turn before any prompt, which belongs to trace 0.
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

    /// Where the line with this `uuid` stands, if it was seen before.
    pub fn place(&self, uuid: &str) -> Option<Place> {
        self.places.get(&key(uuid)).copied()
    }

    /// Notes where a line stands. Says whether it is the first with this `uuid`.
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

    /// The turn of a line that is no prompt.
    pub fn of_line(&self, prompt_id: Option<&str>, parent: Option<&str>) -> u32 {
        prompt_id
            .and_then(|id| self.by_prompt_id(id))
            .or_else(|| parent.and_then(|parent| self.place(parent)).map(|place| place.turn))
            .unwrap_or(self.last)
    }

    /// The turn with this `promptId`.
    pub fn by_prompt_id(&self, prompt_id: &str) -> Option<u32> {
        self.by_prompt_id.get(&key(prompt_id)).copied()
    }

    /// A prompt: its turn, and whether that is a new one. A follow-up shares the `promptId` of what it follows.
    pub fn begin(&mut self, prompt_id: Option<&str>, trace: u32) -> (u32, bool) {
        if let Some(known) = prompt_id.and_then(|id| self.by_prompt_id(id)) {
            self.last = known;
            return (known, false);
        }
        let turn = self.turns.len() as u32;
        self.turns.push(Turn { trace, ..Turn::default() });
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

    /// A turn, to change it.
    pub fn get_mut(&mut self, turn: u32) -> &mut Turn {
        &mut self.turns[turn as usize]
    }

    /// All turns with a prompt, in order.
    pub fn prompted(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter().skip(1)
    }
}

/// The work of each trace.
///
/// A prompt that nothing follows from, such as `/exit`, counts too, but in one delivery only: once something of the session
/// was delivered, those before the first new event were covered then.
pub fn work(turns: &Turns, traces: usize) -> Vec<Work> {
    let mut work = vec![Work::default(); traces];
    let mut milliseconds = vec![None; traces];
    let mut covered = turns.prompted().any(|turn| turn.excluded);
    for turn in turns.prompted() {
        let trace = turn.trace as usize;
        if turn.sent {
            covered = false;
            if let Some(worked) = turn.work() {
                *milliseconds[trace].get_or_insert(0) += worked;
            }
            work[trace].turns += u64::from(!turn.excluded);
        } else if !turn.excluded && !covered {
            work[trace].turns += 1;
        }
    }
    for (work, milliseconds) in work.iter_mut().zip(milliseconds) {
        work.seconds = milliseconds.map(|m: i64| m as f64 / 1000.0);
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_any_length_leads_to_its_prompt() {
        let mut turns = Turns::new();
        let (first, _) = turns.begin(None, 0);
        turns.put(Some("p"), Place { turn: first, thread: 0 });
        let (second, _) = turns.begin(None, 0);
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
        assert_eq!(turns.begin(Some("a"), 0), (1, true));
        assert_eq!(turns.begin(Some("b"), 0), (2, true));
        assert_eq!(turns.begin(Some("a"), 0), (1, false));
        assert_eq!(turns.of_line(Some("b"), None), 2);
        assert_eq!(turns.of_line(Some("unknown"), None), 1);
    }

    #[test]
    fn of_many_long_prompts_the_oldest_are_let_go() {
        let mut turns = Turns::new();
        for _ in 0..1000 {
            let (turn, _) = turns.begin(None, 0);
            turns.hold(turn, Text::from("x".repeat(12_000).as_str()));
        }
        assert!(turns.get(1).prompt.is_none());
        assert!(turns.get(1000).prompt.is_some());
    }
}
