//! Turns of the main thread: prompts, what follows them, and what is not a prompt although it looks like one.

use super::Features;
use super::expected::{Prompt, Trace};
use super::lines::{Copies, Json, Line, Members, list, object, text};
use super::session::{Thread, Writer};

impl Writer {
    /// One turn, and what comes before it.
    pub(crate) fn turn(&mut self, thread: &mut Thread) {
        self.wander();
        self.ambient(thread);
        thread.clock += self.chance.between(1_000, 600_000);
        if self.now_and_then(Features::BACKWARDS, 6) {
            self.expected.note("clock backwards before a prompt");
            thread.clock -= self.chance.between(1, 900_000);
        }
        if self.copies && self.chance.one_in(3) {
            self.resume(thread);
        }
        if self.now_and_then(Features::GAPS, 10) {
            self.orphan_result(thread);
        }
        if self.now_and_then(Features::COMMANDS, 5) {
            self.compact(thread);
        } else if self.now_and_then(Features::COMMANDS, 4) {
            thread.prompt_id = self.new_prompt_id();
            self.command(thread, "/cost");
        }
        self.prompt(thread);
        if self.now_and_then(Features::INTERRUPTIONS, 5) {
            self.interrupted(thread);
        } else if self.now_and_then(Features::FAILURES, 6) {
            self.respond(thread, 2);
            self.fail(thread);
        } else {
            for _ in 1..self.chance.between(1, i64::try_from(self.size.responses).unwrap()) {
                if self.now_and_then(Features::INTERLEAVED, 6) {
                    self.respond_twice(thread);
                } else {
                    self.respond(thread, 4);
                }
            }
            self.respond(thread, 0);
        }
        if self.now_and_then(Features::FAILURES, 10) {
            self.expected.note("synthetic answer");
            self.synthetic(thread, "No response requested.", Vec::new());
        }
        if self.era.has_background_agents() && self.now_and_then(Features::DEEP_AGENTS, 6) {
            self.notified(thread);
        }
    }

    fn new_prompt_id(&mut self) -> Option<String> {
        self.era.has_prompt_ids().then(|| self.chance.uuid())
    }

    fn prompt(&mut self, thread: &mut Thread) {
        thread.prompt_id = self.new_prompt_id();
        let words = self.prompt_line(thread);
        let uuid = thread.leaf.clone();
        self.begin(thread, Prompt { prompt_id: None, uuid, text: words, follow_ups: Vec::new(), command: false });
    }

    /// Everything from here on belongs to this turn.
    fn begin(&mut self, thread: &mut Thread, mut prompt: Prompt) {
        prompt.prompt_id.clone_from(&thread.prompt_id);
        thread.place.trace = Trace::Prompt(self.expected.prompts.len());
        self.expected.prompts.push(prompt);
    }

    fn prompt_line(&mut self, thread: &mut Thread) -> String {
        let words = format!("prompt {}: why is a < b && c > d?\n\u{e9}\u{1f980}", self.serial());
        let block = object(&[("type", text("text")), ("text", text(&words))]);
        let content: Json = match self.chance.below(4) {
            0 => list(&[block]),
            1 => {
                let source = object(&[
                    ("type", text("base64")),
                    ("media_type", text("image/png")),
                    ("data", text("iVBORw0KGgo=")),
                ]);
                list(&[block, object(&[("type", text("image")), ("source", source)])])
            }
            _ => text(&words),
        };
        let uuid = self.chance.uuid();
        self.user(thread, Some(uuid), content, Vec::new(), Vec::new());
        words
    }

    /// The user stops what is going on; newer clients give what follows the same `promptId`.
    fn interrupted(&mut self, thread: &mut Thread) {
        if self.chance.one_in(2) {
            self.respond(thread, 2);
        }
        let mut after: Members = Vec::new();
        if self.era.has_api_requests() && self.chance.one_in(2) {
            let id = self.respond_interrupted(thread);
            after.push(("interruptedMessageId", text(&id)));
        }
        self.expected.note("interruption");
        thread.clock += self.chance.between(1, 9_000);
        // Without an id, these words alone would say that the response before was stopped.
        let words = if after.is_empty() {
            "[Request interrupted by user for tool use]"
        } else {
            "[Request interrupted by user]"
        };
        let content = list(&[object(&[("type", text("text")), ("text", text(words))])]);
        let uuid = self.any_uuid();
        self.user(thread, uuid, content, Vec::new(), after);
        if self.era.has_prompt_ids() && self.chance.one_in(2) {
            self.expected.note("follow-up");
            thread.clock += self.chance.between(1, 60_000);
            let words = self.prompt_line(thread);
            self.expected.prompts.last_mut().unwrap().follow_ups.push(words);
            self.respond(thread, 2);
        }
    }

    /// Lines of the client's own about a command, the command, and its output.
    fn command(&mut self, thread: &mut Thread, name: &str) {
        self.expected.note("slash command");
        let caveat = text("Caveat: The messages below were generated by the user while running local commands.");
        let uuid = self.any_uuid();
        self.user(thread, uuid, caveat, vec![("isMeta", "true".to_owned())], Vec::new());
        let short = name.trim_start_matches('/');
        let words = format!(
            "<command-name>{name}</command-name>\n            <command-message>{short}</command-message>\n            <command-args></command-args>"
        );
        let uuid = self.chance.uuid();
        self.user(thread, Some(uuid.clone()), text(&words), Vec::new(), Vec::new());
        let prompt =
            Prompt { prompt_id: None, uuid: Some(uuid), text: name.to_owned(), follow_ups: Vec::new(), command: true };
        self.begin(thread, prompt);
        let output = text("<local-command-stdout>\u{1b}[2mdone\u{1b}[22m</local-command-stdout>");
        if self.chance.one_in(2) {
            let uuid = self.any_uuid();
            self.user(thread, uuid, output, Vec::new(), Vec::new());
        } else {
            self.aside(
                thread,
                vec![
                    ("type", text("system")),
                    ("subtype", text("local_command")),
                    ("content", output),
                    ("level", text("info")),
                ],
            );
        }
    }

    fn compact(&mut self, thread: &mut Thread) {
        self.expected.note("compaction");
        self.expected.compactions += 1;
        let before = thread.leaf.take();
        self.aside(
            thread,
            vec![
                ("logicalParentUuid", super::lines::optional(before.as_deref())),
                ("type", text("system")),
                ("subtype", text("compact_boundary")),
                ("content", text("Conversation compacted")),
                ("level", text("info")),
                ("compactMetadata", object(&[("trigger", text("manual")), ("preTokens", "8000000".to_owned())])),
            ],
        );
        thread.prompt_id = self.new_prompt_id();
        let summary = text("This session is being continued from a previous conversation that ran out of context.");
        let flags = vec![("isVisibleInTranscriptOnly", "true".to_owned()), ("isCompactSummary", "true".to_owned())];
        let uuid = self.any_uuid();
        self.user(thread, uuid, summary, flags, Vec::new());
        if self.chance.one_in(2) {
            self.command(thread, "/compact");
        }
    }

    /// An agent in the background ended. The line has a `promptId` of its own but is not a prompt: what follows belongs to the
    /// turn before it.
    fn notified(&mut self, thread: &mut Thread) {
        self.expected.note("notification");
        thread.clock += self.chance.between(1, 30_000);
        let turn = thread.prompt_id.take();
        thread.prompt_id = self.new_prompt_id();
        let content = self.notification();
        let uuid = self.any_uuid();
        self.user(thread, uuid, content, Vec::new(), Vec::new());
        self.respond(thread, 0);
        thread.prompt_id = turn;
    }

    /// A resumption that copies all earlier lines, with the same IDs.
    fn resume(&mut self, thread: &mut Thread) {
        let earlier = thread.lines.iter().filter(|line| line.copies != Copies::Never);
        let copies: Vec<Line> = earlier.map(|line| Line { text: line.text.clone(), copies: Copies::Never }).collect();
        if !copies.is_empty() {
            self.expected.note("copied lines");
        }
        thread.lines.extend(copies);
    }
}
