//! Threads: the main one, and one for each sub-agent. A thread asks and is answered in turn.

use crate::chat::Input;
use crate::identity::{EventId, FixedMap, IdMap, IdSet};
use crate::index::{Index, Starter};
use crate::lenient;
use crate::session::FileRole;
use crate::turns::{BEFORE_ANY_PROMPT, Turns};
use serde::Deserialize;
use std::rc::Rc;

/// Index of the main thread.
pub const MAIN: u32 = 0;

/// A thread.
#[derive(Debug, Default)]
pub struct Thread {
    /// What is new since its last response.
    pub input: Input,
    /// When the last line was written that a response can answer.
    pub asked: Option<i64>,
    /// The last model that answered.
    pub model: Option<Rc<str>>,
    /// It is a sub-agent's.
    pub is_agent: bool,
    /// Its trace has counted it.
    pub counted: bool,
    /// The kind of sub-agent.
    pub agent_type: Option<Rc<str>>,
    /// The span of the call that started it.
    pub call: Option<EventId>,
    /// The turn in which it was started; meaningless on the main thread.
    pub turn: u32,
}

/// What `agent-<id>.meta.json` says (2.1.197+).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata<'a> {
    #[serde(borrow, deserialize_with = "lenient::str")]
    agent_type: lenient::Str<'a>,
    #[serde(borrow, deserialize_with = "lenient::str")]
    tool_use_id: lenient::Str<'a>,
}

/// What is known of a file's sub-agent.
#[derive(Debug, Default)]
struct Agent {
    name: String,
    agent_type: Option<Rc<str>>,
    call: Option<EventId>,
    thread: Option<u32>,
}

/// All threads of a session.
#[derive(Debug)]
pub struct Threads {
    threads: Vec<Thread>,
    /// By file; the main file's is empty.
    agents: Vec<Agent>,
    /// Sub-agents without a file of their own, by id.
    lost: FixedMap<String, u32>,
    /// Calls that are known to have started a sub-agent: each starts one.
    taken: IdSet,
    /// The turn of each call that may have started one.
    turns: IdMap<u32>,
}

impl Threads {
    /// Links each sub-agent's file to the call that started it, as far as the files' ids and prompts say.
    pub fn new(files: &[FileRole], index: &mut Index) -> Self {
        let mut threads = Self {
            threads: vec![Thread::default()],
            agents: files.iter().map(|_| Agent::default()).collect(),
            lost: FixedMap::default(),
            taken: IdSet::default(),
            turns: IdMap::default(),
        };
        for starter in &index.starters {
            threads.turns.insert(starter.span, BEFORE_ANY_PROMPT);
        }
        for (agent, file) in threads.agents.iter_mut().zip(files) {
            let FileRole::Agent(file) = file else { continue };
            let metadata = file.metadata.as_deref().and_then(lenient::reparse::<Metadata<'_>>).unwrap_or_default();
            agent.name.clone_from(&file.agent_id);
            agent.agent_type = metadata.agent_type.as_deref().map(Into::into);
            // The best link first: the metadata (2.1.197+), the result of the call.
            let by_metadata = metadata.tool_use_id.as_deref().map(EventId::span);
            let by_result = index.started_by.get(&file.agent_id);
            let by_run = file.workflow_run.as_ref().and_then(|run| index.started_by.get(run));
            agent.call = by_metadata.filter(|span| index.tools.get(span).is_some_and(|t| t.called));
            agent.call = agent.call.or_else(|| by_result.or(by_run).copied());
            if let Some(call) = agent.call {
                threads.taken.insert(call);
                threads.turns.insert(call, BEFORE_ANY_PROMPT);
            }
        }
        for file in 0..threads.agents.len() {
            if threads.agents[file].call.is_none()
                && let Some(root) = index.roots.get(file).cloned().flatten()
            {
                threads.agents[file].call = threads
                    .take_starter(index, |s| s.prompt.is_some() && s.prompt == root.prompt && s.file != file as u32);
            }
        }
        for agent in &mut threads.agents {
            if agent.agent_type.is_none()
                && let Some(call) = agent.call
            {
                agent.agent_type = agent_type(index, call);
            }
        }
        threads
    }

    fn take_starter(&mut self, index: &Index, fits: impl Fn(&Starter) -> bool) -> Option<EventId> {
        let starter = index.starters.iter().find(|s| !self.taken.contains(&s.span) && fits(s))?;
        self.taken.insert(starter.span);
        Some(starter.span)
    }

    /// A thread.
    pub fn get(&self, thread: u32) -> &Thread {
        &self.threads[thread as usize]
    }

    /// A thread, to change it.
    pub fn get_mut(&mut self, thread: u32) -> &mut Thread {
        &mut self.threads[thread as usize]
    }

    /// A call was made in this turn.
    pub fn called(&mut self, span: EventId, turn: u32) {
        if let Some(known) = self.turns.get_mut(&span) {
            *known = turn;
        }
    }

    /// The name of a file within its session.
    pub fn name_of_file(&self, file: u32) -> &str {
        self.agents.get(file as usize).map_or("", |a| &a.name)
    }

    /// The turn of the sub-agent whose file this is.
    pub fn turn_of_file(&self, file: u32) -> u32 {
        let thread = self.agents.get(file as usize).and_then(|a| a.thread);
        thread.map_or(BEFORE_ANY_PROMPT, |thread| self.get(thread).turn)
    }

    /// The thread of a sub-agent's file.
    pub fn of_file(&mut self, file: u32, turns: &Turns, index: &mut Index) -> u32 {
        if let Some(thread) = self.agents[file as usize].thread {
            return thread;
        }
        let prompt_id = index.roots.get(file as usize).and_then(Option::as_ref).and_then(|r| r.prompt_id.as_deref());
        let prompted = prompt_id.and_then(|id| turns.by_prompt_id(id));
        if self.agents[file as usize].call.is_none()
            && let Some(turn) = prompted
        {
            // The only call of its turn that has no sub-agent yet must be the one.
            let in_turn = |s: &&Starter| !self.taken.contains(&s.span) && self.turns.get(&s.span) == Some(&turn);
            let mut candidates = index.starters.iter().filter(in_turn).map(|s| s.span);
            if let (Some(only), None) = (candidates.next(), candidates.next()) {
                self.taken.insert(only);
                self.agents[file as usize].call = Some(only);
            }
        }
        let turn = self.turn_of_agent(file, index).or(prompted).unwrap_or(BEFORE_ANY_PROMPT);
        let agent = &self.agents[file as usize];
        let thread = self.threads.len() as u32;
        self.threads.push(Thread {
            is_agent: true,
            agent_type: agent.agent_type.clone().or_else(|| agent_type(index, agent.call?)),
            call: agent.call,
            turn,
            ..Thread::default()
        });
        self.agents[file as usize].thread = Some(thread);
        thread
    }

    /// The turn in which a sub-agent was started: that of its call, or if a sub-agent called, of that one's call.
    fn turn_of_agent(&self, file: u32, index: &Index) -> Option<u32> {
        let mut call = self.agents[file as usize].call?;
        // As many steps as there are files: a circle is possible in a damaged session.
        for _ in 0..self.agents.len() {
            let caller = index.tools.get(&call).filter(|t| t.called)?.file;
            if caller == 0 {
                return self.turns.get(&call).copied();
            }
            call = self.agents[caller as usize].call?;
        }
        None
    }

    /// The thread of a sub-agent that stands in the main file (before 2.0.28). It began with this prompt.
    pub fn inline(&mut self, prompt: Option<u128>, index: &mut Index, last_turn: u32) -> u32 {
        let call = self.take_starter(index, |s| s.prompt.is_some() && s.prompt == prompt);
        let turn =
            call.and_then(|c| self.turns.get(&c).copied()).filter(|t| *t != BEFORE_ANY_PROMPT).unwrap_or(last_turn);
        self.push_agent(call, turn, index)
    }

    /// The thread of a sub-agent whose file is missing, started by this call.
    pub fn lost_agent(&mut self, agent: &str, call: Option<EventId>, turn: u32, index: &Index) -> u32 {
        if let Some(thread) = self.lost.get(agent) {
            return *thread;
        }
        let call = call.filter(|call| index.tools.get(call).is_some_and(|t| t.called));
        let thread = self.push_agent(call, turn, index);
        self.lost.insert(agent.to_owned(), thread);
        thread
    }

    fn push_agent(&mut self, call: Option<EventId>, turn: u32, index: &Index) -> u32 {
        let agent_type = call.and_then(|call| agent_type(index, call));
        self.threads.push(Thread { is_agent: true, agent_type, call, turn, ..Thread::default() });
        self.threads.len() as u32 - 1
    }
}

fn agent_type(index: &Index, call: EventId) -> Option<Rc<str>> {
    index.starters.iter().find(|s| s.span == call)?.agent_type.as_deref().map(Into::into)
}
