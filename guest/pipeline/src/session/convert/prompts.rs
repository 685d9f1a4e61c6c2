//! Prompts: how a turn begins, what is queued into it, and the session's title.

use super::Converter;
use crate::events::chat;
use crate::identity::EventId;
use crate::place::Place;
use crate::session::threads::MAIN;
use crate::session::timeline;
use crate::session::turns::Asks;
use crate::session::types::TraceGrouping;
use crate::transcript::entry::{Content, Entry};
use crate::transcript::prompt::{self, Said};
use crate::transcript::text::{Text, TextRules};
use std::collections::VecDeque;
use std::rc::Rc;

/// Maximum number of prompts that wait in the queue, or were taken out of it: a person types a few.
const MOST_QUEUED: usize = 100;

/// What was typed while the model worked, since 2.0.76. Up to about 2.1.49 only `queue-operation` lines record it;
/// newer clients also write what the model was told into an `attachment`.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Queued>,
    /// Taken out to be told to the model: its next response answers them.
    taken: Vec<Queued>,
    /// Are there attachments? They contain the same.
    has_attachments: bool,
}

/// An element of the queue; only a person's prompt is known to be told to the model once it is taken out.
#[derive(Debug)]
struct Queued {
    text: Text,
    is_prompt: bool,
}

/// The session's titles from its own lines.
#[derive(Debug, Default)]
pub(super) struct Titles {
    custom: Option<String>,
    by_model: Option<String>,
    /// Titles of conversations that end in these lines, which may belong to other sessions.
    summaries: VecDeque<(String, String)>,
}

impl Converter {
    /// The place of a user line on the main thread.
    pub(super) fn place_said(&mut self, entry: &Entry<'_>, content: &Content<'_>, said: Said) -> Place {
        let turn = match said {
            Said::Prompt => self.begin_turn(entry, content, Asks::Prompt),
            Said::Command => self.begin_turn(entry, content, Asks::Command),
            Said::Told => {
                self.turns.retire_command();
                let turn = self.place(entry, None).turn;
                let stretch = self.index.timeline.take(timeline::line_key(entry));
                self.turns.get_mut(turn).goes_on(stretch);
                turn
            }
            _ => self.place(entry, None).turn,
        };
        Place { turn, thread: MAIN }
    }

    fn begin_turn(&mut self, entry: &Entry<'_>, content: &Content<'_>, asks: Asks) -> u32 {
        self.notices.prompted();
        let (turn, new) = self.turns.begin(entry.prompt_id.as_deref(), asks, self.at.told);
        if new {
            let id = match (&entry.prompt_id, &entry.uuid) {
                (Some(id), _) => EventId::other("prompt", id),
                (None, Some(uuid)) => EventId::other("prompt-line", uuid),
                (None, None) => {
                    EventId::other("prompt-place", &format!("{}:{}", self.emitter.session_id(), self.at.line))
                }
            };
            self.turns.get_mut(turn).trace = self.emitter.trace_of_prompt(id);
        }
        let stretch = self.index.timeline.take(timeline::line_key(entry));
        self.turns.get_mut(turn).goes_on(stretch);
        let rules = Rc::clone(&self.emitter.rules);
        if rules.privacy {
            return turn;
        }
        let trace = self.emitter.trace(self.turns.get(turn).trace);
        // It is not known yet whether a model answers a command.
        if asks == Asks::Prompt
            && trace.wants_name()
            && let Some((raw, wanted)) = prompt::first_words(content)
        {
            trace.name_after(&rules.beginning_of_json(raw, wanted), rules.limit);
        }
        if self.turns.get(turn).prompt.is_none() {
            let prompt = own_words(content, &rules);
            self.turns.hold(turn, prompt);
        }
        turn
    }

    /// A model answers in this turn of the main thread. If a command began it, it now counts as a turn and may name its
    /// trace.
    pub(super) fn answer(&mut self, turn: u32) {
        self.tell_queued(turn);
        let turn = self.turns.get_mut(turn);
        if !turn.answer(self.at.told) {
            return;
        }
        let rules = Rc::clone(&self.emitter.rules);
        let trace = self.emitter.trace(turn.trace);
        if let Some(command) = turn.prompt.as_ref().map(|prompt| prompt.decoded()).filter(|text| !text.starts_with('!'))
            && trace.wants_name()
        {
            trace.name_after(&command, rules.limit);
        }
    }

    /// Adds a `queue-operation` line.
    pub(super) fn add_queue_operation(&mut self, entry: &Entry<'_>) {
        let rules = Rc::clone(&self.emitter.rules);
        let queue = &mut self.queue;
        match entry.operation.as_deref().unwrap_or_default() {
            "enqueue" if queue.waiting.len() < MOST_QUEUED => {
                let content = Content::of(entry.content);
                let is_prompt = prompt::is_queued_prompt(&content);
                queue.waiting.push_back(Queued { text: own_words(&content, &rules), is_prompt });
            }
            "dequeue" => {
                queue.waiting.pop_front();
            }
            "remove" => {
                let text = entry.content.map(|raw| own_words(&Content::of(Some(raw)), &rules).decoded().into_owned());
                let at = text.and_then(|text| queue.waiting.iter().position(|queued| queued.text.decoded() == text));
                let removed = queue.waiting.remove(at.unwrap_or(0));
                // Newer clients give a reason; if the user took the prompt back, the model was not told.
                let is_told = entry.reason.as_deref().is_none_or(|reason| reason.starts_with("absorbed"));
                if is_told && !queue.has_attachments && queue.taken.len() < MOST_QUEUED {
                    queue.taken.extend(removed.filter(|queued| queued.is_prompt));
                }
            }
            "popAll" => queue.waiting.clear(),
            _ => {}
        }
    }

    /// Adds an `attachment` line: what the model is told besides the user lines.
    pub(super) fn add_attachment(&mut self, entry: &Entry<'_>) {
        let place = self.place(entry, None);
        let new = self.pass(entry);
        let Some(attachment) = entry.attachment.as_ref().filter(|a| a.kind.as_deref() == Some("queued_command")) else {
            return;
        };
        if !new || attachment.prompt.is_none() {
            return;
        }
        let content = Content::of(attachment.prompt);
        let of_other = attachment.origin.as_ref().and_then(|o| o.kind.as_deref()).is_some_and(|kind| kind != "human");
        let of_mode = attachment.command_mode.as_deref().is_none_or(|mode| mode == "prompt");
        let is_prompt = of_mode && !of_other && !attachment.is_meta && prompt::is_queued_prompt(&content);
        let text = own_words(&content, &self.emitter.rules);
        if place.thread == MAIN {
            self.queue.has_attachments = true;
            self.queue.taken.clear();
        }
        self.tell(place, text, is_prompt);
    }

    /// Adds what was taken out of the queue, and has no line of its own, to the next response's input.
    fn tell_queued(&mut self, turn: u32) {
        for queued in std::mem::take(&mut self.queue.taken) {
            self.tell(Place { turn, thread: MAIN }, queued.text, true);
        }
    }

    /// A prompt that stands in a line of its own was not told beside.
    pub(super) fn forget_queued(&mut self, content: &Content<'_>) {
        if !self.queue.taken.is_empty() {
            let prompt = own_words(content, &self.emitter.rules);
            self.queue.taken.retain(|queued| queued.text.decoded() != prompt.decoded());
        }
    }

    fn tell(&mut self, place: Place, text: Text, is_prompt: bool) {
        let rules = Rc::clone(&self.emitter.rules);
        if rules.privacy {
            return;
        }
        if is_prompt && place.thread == MAIN {
            let turn = self.turns.get(place.turn);
            let prompt = match &turn.prompt {
                Some(prompt) => rules.of(&format!("{}\n\n{}", prompt.decoded(), text.decoded())),
                None => text.clone(),
            };
            let trace = self.emitter.trace(turn.trace);
            if trace.wants_name() {
                trace.name_after(&text.decoded(), rules.limit);
            }
            self.turns.hold(place.turn, prompt);
        }
        self.threads.get_mut(place.thread).input.push_text(text);
    }

    /// Notes a title.
    pub(super) fn add_title(&mut self, entry: &Entry<'_>) {
        let rules = Rc::clone(&self.emitter.rules);
        if self.at.file > 0 || rules.privacy {
            return;
        }
        let title =
            |text: &str| Some(rules.of_within(text, prompt::BEGINNING)).filter(|title| !title.trim().is_empty());
        let titles = &mut self.titles;
        if let Some(custom) = entry.custom_title.as_deref().and_then(title) {
            titles.custom = Some(custom);
        }
        if let Some(by_model) = entry.ai_title.as_deref().and_then(title) {
            titles.by_model = Some(by_model);
        }
        if let (Some(summary), Some(leaf)) = (entry.summary.as_deref().and_then(title), entry.leaf_uuid.as_deref()) {
            titles.summaries.push_back((leaf.to_owned(), summary));
            if titles.summaries.len() > MOST_QUEUED {
                titles.summaries.pop_front();
            }
        }
    }

    /// At the end: the session's own title is a better name than its first prompt.
    pub(super) fn entitle(&mut self) {
        if self.emitter.grouping() == TraceGrouping::Message {
            return;
        }
        let Titles { custom, by_model, summaries } = std::mem::take(&mut self.titles);
        let of_session = |(leaf, title): (String, String)| self.turns.place(&leaf).map(|_| title);
        if let Some(title) = custom.or(by_model).or_else(|| summaries.into_iter().rev().find_map(of_session)) {
            let limit = self.emitter.rules.limit;
            self.emitter.trace(0).entitle(&title, limit);
        }
    }
}

/// A prompt as it is sent: in the person's own words.
fn own_words(content: &Content<'_>, rules: &TextRules) -> Text {
    let text = match content {
        Content::Text(raw) => rules.of_json(*raw),
        Content::Blocks(blocks) => chat::blocks_text(&prompt::own_blocks(blocks), rules),
    };
    let decoded = text.decoded();
    let typed = prompt::typed(&decoded);
    if typed == decoded { text.clone() } else { Text::from(typed.as_ref()) }
}
