//! Threads: the main one, and one for each sub-agent. In a thread, inputs and responses alternate.

use crate::events::chat::ChatInput;
use crate::events::generation::Retries;
use crate::identity::{EventId, FixedMap, IdMap, IdSet, key};
use crate::session::index::{Index, Root, Starter};
use crate::session::turns::{BEFORE_ANY_PROMPT, Turns};
use crate::session::types::FileRole;
use crate::transcript::lenient;
use crate::transcript::raw::Raw;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;

/// Index of the main thread.
pub const MAIN: u32 = 0;

/// A thread.
#[derive(Debug, Default)]
pub struct Thread {
    /// What is new since the thread's last response.
    pub input: ChatInput,
    /// When the last line that a response can answer was written.
    pub asked: Option<i64>,
    /// Attempts that failed since its last response.
    pub retries: Retries,
    /// The model that answered last.
    pub model: Option<Rc<str>>,
    /// Was its context compacted since its last response?
    pub compacted: bool,
    /// Is it a sub-agent's?
    pub is_agent: bool,
    /// Has its trace counted it?
    pub counted: bool,
    /// The type of sub-agent.
    pub agent_type: Option<Rc<str>>,
    /// The span of the call that started it.
    pub call: Option<EventId>,
    /// The turn in which it was started; meaningless on the main thread.
    pub turn: u32,
}

/// The contents of `agent-<id>.meta.json` (2.1.197+).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    agent_type: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    tool_use_id: lenient::Str<'a>,
    /// The name of a teammate's team.
    #[serde(borrow, deserialize_with = "lenient::str")]
    name: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    team_name: lenient::Str<'a>,
}

/// What is known about a file's sub-agent.
#[derive(Debug, Default)]
struct Agent {
    agent_type: Option<Rc<str>>,
    call: Option<EventId>,
    /// The name of the teammate that it is, and of the teammate's team.
    teammate: Option<(String, Option<String>)>,
    /// The `promptId` of the turn in which it was started.
    prompt_id: Option<String>,
    /// Did the client start it on its own, to warm up the cache?
    is_warmup: bool,
    thread: Option<u32>,
}

/// All threads of a session.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<Thread>,
    /// By file; the entry of the main file is empty.
    agents: Vec<Agent>,
    /// Sub-agents without a file of their own, by id.
    lost: FixedMap<String, u32>,
    /// The sub-agent that started last in the main file.
    last_inline: Option<u32>,
    starters: Starters,
    /// The turn of each call that may have started a sub-agent, or is known to have.
    turns: IdMap<u32>,
}

/// The calls that may have started a sub-agent. Each starts at most one.
#[derive(Debug, Default)]
struct Starters {
    all: Vec<Starter>,
    by_span: IdMap<u32>,
    /// In file order.
    by_prompt: FixedMap<u128, VecDeque<u32>>,
    /// Those made so far.
    by_turn: FixedMap<u32, Vec<u32>>,
    taken: IdSet,
}

impl Starters {
    fn new(all: Vec<Starter>) -> Self {
        let mut starters = Self { all, ..Self::default() };
        for (i, starter) in (0..).zip(&starters.all) {
            starters.by_span.insert(starter.span, i);
            if let Some(prompt) = starter.prompt {
                starters.by_prompt.entry(prompt).or_default().push_back(i);
            }
        }
        starters
    }

    fn agent_type(&self, span: EventId) -> Option<Rc<str>> {
        self.all[*self.by_span.get(&span)? as usize].agent_type.as_deref().map(Into::into)
    }

    /// The call with this id. If there are several: the one that gave the sub-agent's prompt, otherwise the first that
    /// has no sub-agent yet.
    fn call_with_id(&self, tool_use_id: &str, root: Option<&Root>, index: &Index) -> Option<EventId> {
        let prompt = root.and_then(|root| root.prompt);
        let gave_it = |span: &EventId| {
            prompt.is_some() && self.by_span.get(span).is_some_and(|i| self.all[*i as usize].prompt == prompt)
        };
        let free = || index.called(tool_use_id).filter(|span| !self.taken.contains(span));
        free().find(gave_it).or_else(|| free().next())
    }

    /// Takes the first call that gave this prompt, but not from this file: no sub-agent starts itself.
    fn take_with_prompt(&mut self, prompt: Option<u128>, not_in: Option<u32>) -> Option<EventId> {
        let waiting = self.by_prompt.get_mut(&prompt?)?;
        while waiting.front().is_some_and(|i| self.taken.contains(&self.all[*i as usize].span)) {
            waiting.pop_front();
        }
        let mut fitting = waiting.iter().map(|i| &self.all[*i as usize]);
        let span = fitting.find(|s| Some(s.file) != not_in && !self.taken.contains(&s.span))?.span;
        self.taken.insert(span);
        Some(span)
    }

    /// Takes the first call that started a teammate of this name.
    fn take_teammate(&mut self, name: &str, team: Option<&str>) -> Option<EventId> {
        let fits = |starter: &&Starter| {
            starter.teammate.as_ref().is_some_and(|(of, in_team)| {
                of == name && (team.is_none() || in_team.is_none() || in_team.as_deref() == team)
            })
        };
        let span = self.all.iter().filter(fits).find(|s| !self.taken.contains(&s.span))?.span;
        self.taken.insert(span);
        Some(span)
    }

    /// Takes the call of a turn that has no sub-agent yet, if there is only one.
    fn take_only_one_in(&mut self, turn: u32) -> Option<EventId> {
        let made = self.by_turn.get(&turn)?.iter().map(|i| self.all[*i as usize].span);
        let mut free = made.filter(|span| !self.taken.contains(span));
        let (Some(only), None) = (free.next(), free.next()) else { return None };
        self.taken.insert(only);
        Some(only)
    }
}

impl Threads {
    /// Links each sub-agent's file to the call that started it, as far as the files' IDs and prompts tell.
    pub fn new(files: &[FileRole], index: &mut Index) -> Self {
        let starters = Starters::new(std::mem::take(&mut index.starters));
        let roots = std::mem::take(&mut index.roots);
        let mut threads = Self {
            threads: vec![Thread::default()],
            agents: files.iter().map(|_| Agent::default()).collect(),
            lost: FixedMap::default(),
            last_inline: None,
            turns: starters.all.iter().map(|s| (s.span, BEFORE_ANY_PROMPT)).collect(),
            starters,
        };
        for ((agent, file), root) in threads.agents.iter_mut().zip(files).zip(&roots) {
            let FileRole::Agent(file) = file else { continue };
            let metadata =
                file.metadata.as_deref().map(Raw::whole).and_then(lenient::reparse::<Metadata<'_>>).unwrap_or_default();
            agent.agent_type = metadata.name.as_deref().or(metadata.agent_type.as_deref()).map(Into::into);
            agent.teammate = metadata.name.map(|name| (name.into_owned(), metadata.team_name.map(Cow::into_owned)));
            // The best links first: the metadata (2.1.197+), then the result of the call.
            let by_metadata =
                metadata.tool_use_id.as_deref().and_then(|id| threads.starters.call_with_id(id, root.as_ref(), index));
            let by_result = index.started_by.get(&file.agent_id);
            let by_run = file.workflow_run.as_ref().and_then(|run| index.started_by.get(run));
            agent.call = by_metadata.or_else(|| by_result.or(by_run).copied());
            if let Some(call) = agent.call {
                threads.starters.taken.insert(call);
                threads.turns.insert(call, BEFORE_ANY_PROMPT);
            }
        }
        for ((file, agent), root) in (0..).zip(&mut threads.agents).zip(roots) {
            let Some(root) = root else { continue };
            if agent.teammate.is_none() {
                agent.teammate = root.teammate.map(|name| (name, None));
            }
            if let Some((name, team)) = agent.teammate.as_ref().filter(|_| agent.call.is_none()) {
                agent.call = threads.starters.take_teammate(name, team.as_deref());
            }
            if agent.call.is_none() {
                agent.call = threads.starters.take_with_prompt(root.prompt, Some(file));
            }
            agent.is_warmup = agent.call.is_none() && root.prompt == Some(key("Warmup"));
            agent.prompt_id = root.prompt_id;
        }
        for agent in &mut threads.agents {
            if agent.agent_type.is_none() {
                agent.agent_type = agent.call.and_then(|call| threads.starters.agent_type(call));
            }
        }
        threads
    }

    /// A thread.
    pub fn get(&self, thread: u32) -> &Thread {
        &self.threads[thread as usize]
    }

    /// A thread, for changing it.
    pub fn get_mut(&mut self, thread: u32) -> &mut Thread {
        &mut self.threads[thread as usize]
    }

    /// Notes that a call was made in this turn.
    pub fn called(&mut self, span: EventId, turn: u32) {
        if let Some(known) = self.turns.get_mut(&span) {
            *known = turn;
        }
        if let Some(starter) = self.starters.by_span.get(&span) {
            self.starters.by_turn.entry(turn).or_default().push(*starter);
        }
    }

    /// The turn of the sub-agent whose file this is.
    pub fn turn_of_file(&self, file: u32) -> u32 {
        let thread = self.agents.get(file as usize).and_then(|a| a.thread);
        thread.map_or(BEFORE_ANY_PROMPT, |thread| self.get(thread).turn)
    }

    /// The thread of a sub-agent's file.
    pub fn of_file(&mut self, file: u32, turns: &Turns, index: &Index) -> u32 {
        if let Some(thread) = self.agents[file as usize].thread {
            return thread;
        }
        let prompted = self.agents[file as usize].prompt_id.as_deref().and_then(|id| turns.by_prompt_id(id));
        if self.agents[file as usize].call.is_none()
            && let Some(turn) = prompted
        {
            self.agents[file as usize].call = self.starters.take_only_one_in(turn);
        }
        let turn = self.turn_of_agent(file, index).or(prompted).unwrap_or(BEFORE_ANY_PROMPT);
        let (call, is_warmup) = (self.agents[file as usize].call, self.agents[file as usize].is_warmup);
        let thread = self.push_agent(call, turn);
        // Nobody asked for a warm-up: it costs tokens, but doesn't count as a sub-agent.
        self.get_mut(thread).counted = is_warmup;
        let agent = &mut self.agents[file as usize];
        agent.thread = Some(thread);
        if let Some(agent_type) = agent.agent_type.clone() {
            self.get_mut(thread).agent_type = Some(agent_type);
        }
        thread
    }

    /// The turn in which a sub-agent was started: that of its call, or if a sub-agent made the call, that of the
    /// sub-agent's call.
    fn turn_of_agent(&self, file: u32, index: &Index) -> Option<u32> {
        let mut call = self.agents[file as usize].call?;
        // At most as many steps as there are files: a damaged session may have a cycle.
        for _ in 0..self.agents.len() {
            let caller = index.tools.get(&call)?.file;
            if caller == 0 {
                return self.turns.get(&call).copied();
            }
            call = self.agents[caller as usize].call?;
        }
        None
    }

    /// The thread of a sub-agent inside the main file (before 2.0.28) that begins with this prompt.
    pub fn inline(&mut self, prompt: Option<u128>, last_turn: u32) -> u32 {
        let call = self.starters.take_with_prompt(prompt, None);
        let turn =
            call.and_then(|c| self.turns.get(&c).copied()).filter(|t| *t != BEFORE_ANY_PROMPT).unwrap_or(last_turn);
        let thread = self.push_agent(call, turn);
        self.last_inline = Some(thread);
        thread
    }

    /// The sub-agent that started last in the main file.
    pub fn last_inline(&self) -> Option<u32> {
        self.last_inline
    }

    /// The thread of a sub-agent, started by this call, whose file is missing.
    pub fn lost_agent(&mut self, agent: &str, call: Option<&str>, turn: u32, index: &Index) -> u32 {
        if let Some(thread) = self.lost.get(agent) {
            return *thread;
        }
        let call = call.and_then(|id| self.starters.call_with_id(id, None, index));
        self.starters.taken.extend(call);
        let thread = self.push_agent(call, turn);
        self.lost.insert(agent.to_owned(), thread);
        thread
    }

    fn push_agent(&mut self, call: Option<EventId>, turn: u32) -> u32 {
        let agent_type = call.and_then(|call| self.starters.agent_type(call));
        self.threads.push(Thread { is_agent: true, agent_type, call, turn, ..Thread::default() });
        self.threads.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const MANY: u32 = 20_000;

    /// The threads of a session with this many calls, which have these prompts.
    fn threads(prompt: fn(u32) -> u128) -> Threads {
        let starter = |i| Starter {
            span: EventId(u128::from(i)),
            file: 0,
            prompt: Some(prompt(i)),
            agent_type: Some("Explore".to_owned()),
            teammate: None,
        };
        let mut index = Index::new(&[FileRole::Main], None);
        index.starters = (0..MANY).map(starter).collect();
        Threads::new(&[FileRole::Main], &mut index)
    }

    /// It takes far less than this even without optimization; searching all calls for each sub-agent takes half a
    /// minute.
    #[expect(clippy::disallowed_methods, reason = "a test measures time")]
    fn within_five_seconds(work: impl FnOnce()) {
        let start = Instant::now();
        work();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn twenty_thousand_sub_agents_find_their_calls_at_once() {
        for prompt in [u128::from, |_| 7] {
            let mut threads = threads(prompt);
            within_five_seconds(|| {
                for i in 0..MANY {
                    let thread = threads.inline(Some(prompt(i)), 1);
                    assert_eq!(threads.get(thread).call, Some(EventId(u128::from(i))));
                    assert_eq!(threads.get(thread).agent_type.as_deref(), Some("Explore"));
                }
                assert_eq!(threads.inline(Some(prompt(0)), 1), MANY + 1);
                assert_eq!(threads.get(MANY + 1).call, None);
            });
        }
    }

    #[test]
    fn twenty_thousand_sub_agents_without_a_call_are_told_so_at_once() {
        let mut threads = threads(u128::from);
        within_five_seconds(|| {
            for _ in 0..MANY {
                let thread = threads.inline(Some(u128::MAX), 1);
                assert_eq!(threads.get(thread).call, None);
            }
        });
    }
}
