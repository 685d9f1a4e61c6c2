//! A session from its first line to its last, and the state that its parts share.

use super::chance::Chance;
use super::damage::Damage;
use super::era::Era;
use super::expected::{Expected, Place, Trace};
use super::lines::{Copies, Envelope, Json, Line, Members, list, object, text};
use super::{Features, GeneratedAgent, GeneratedSession, Size};

/// 2026-01-01T00:00:00Z, in milliseconds.
const START: i64 = 1_767_225_600_000;

/// What is common to all threads of a session.
pub(crate) struct Writer {
    pub(crate) chance: Chance,
    pub(crate) size: Size,
    pub(crate) era: Era,
    pub(crate) session: String,
    pub(crate) cwd: &'static str,
    pub(crate) branch: &'static str,
    /// The session is resumed, and lines are copied.
    pub(crate) copies: bool,
    /// Lines without a `uuid` turn up only where no copies do: a copy without them would end a response too early.
    pub(crate) without_uuids: bool,
    /// Agents' files, still without damage.
    pub(crate) files: Vec<AgentFile>,
    pub(crate) expected: Expected,
    serial: u64,
}

/// An agent's file, still without damage.
pub(crate) struct AgentFile {
    pub(crate) id: String,
    pub(crate) metadata: Option<String>,
    pub(crate) workflow_run: Option<String>,
    pub(crate) lines: Vec<Line>,
}

/// The main thread, or a sub-agent.
pub(crate) struct Thread {
    pub(crate) lines: Vec<Line>,
    pub(crate) clock: i64,
    /// `uuid` of its latest line.
    pub(crate) leaf: Option<String>,
    /// Time of its latest user line.
    pub(crate) asked_at: Option<i64>,
    /// Model of its latest response.
    pub(crate) model: Option<String>,
    pub(crate) prompt_id: Option<String>,
    pub(crate) place: Place,
    /// `agentId` of its lines, where they have one.
    pub(crate) agent_id: Option<String>,
    /// 0 is the main thread.
    pub(crate) depth: u32,
}

impl Thread {
    pub(crate) fn is_main(&self) -> bool {
        self.depth == 0
    }

    /// Adds a line; the next one hangs on it.
    pub(crate) fn push(&mut self, text: String, uuid: Option<String>, copies: Copies) {
        let copies = if uuid.is_some() { copies } else { Copies::Never };
        self.lines.push(Line { text, copies });
        if uuid.is_some() {
            self.leaf = uuid;
        }
    }
}

const SURROUNDINGS: [&str; 5] =
    ["/home/dev/shop", "/Users/dev/Code/web shop", r"C:\Users\dev\shop", r"D:\work\über-projekt", "/srv/a.b-c"];

impl Writer {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let mut chance = Chance::new(seed);
        let era = chance.pick(&Era::ALL);
        let session = chance.uuid();
        let cwd = chance.pick(&SURROUNDINGS);
        let mut expected = Expected::default();
        expected.note(era.variation());
        if cwd.contains('\\') {
            expected.note("Windows path");
        }
        let copies = size.features.has(Features::COPIES) && chance.one_in(2);
        let without_uuids = size.features.has(Features::GAPS) && !copies;
        let branch = Self::any_branch(&mut chance);
        Self { chance, size, era, session, cwd, branch, copies, without_uuids, files: Vec::new(), expected, serial: 0 }
    }

    fn any_branch(chance: &mut Chance) -> &'static str {
        chance.pick(&["", "HEAD", "main", "fix/checkout-total"])
    }

    pub(crate) fn may(&self, feature: Features) -> bool {
        self.size.features.has(feature)
    }

    /// True once in `n` times if the feature may be there at all.
    pub(crate) fn now_and_then(&mut self, feature: Features, n: u64) -> bool {
        self.may(feature) && self.chance.one_in(n)
    }

    /// A number that no other text of the session has.
    pub(crate) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Writes everything.
    pub(crate) fn write(mut self) -> GeneratedSession {
        let mut main = Thread {
            lines: Vec::new(),
            clock: START + self.chance.between(0, 200 * 86_400_000),
            leaf: None,
            asked_at: None,
            model: None,
            prompt_id: None,
            place: Place { trace: Trace::Session, agent: None, call: None, agent_type: None },
            agent_id: None,
            depth: 0,
        };
        self.ambient(&mut main);
        if self.now_and_then(Features::AGENTS_WITHOUT_CALL, 4) && !self.era.inline_agents() {
            self.warmup(&main);
        }
        if self.now_and_then(Features::GAPS, 8) {
            self.expected.note("response before any prompt");
            main.leaf = Some(self.chance.uuid());
            self.respond(&mut main, 1);
        }
        for _ in 0..self.size.turns {
            self.turn(&mut main);
        }
        if self.now_and_then(Features::AGENTS_WITHOUT_CALL, 4) && !self.era.inline_agents() && !self.without_uuids {
            self.copy_agent(&main);
        }
        self.finish(main)
    }

    fn finish(self, main: Thread) -> GeneratedSession {
        let Self { chance, size, session, mut files, expected, .. } = self;
        let mut damage = Damage { chance, features: size.features, expected, session: session.clone() };
        let main = damage.bytes(main.lines);
        files.sort_by(|a, b| a.id.cmp(&b.id));
        let agents = files
            .into_iter()
            .map(|file| GeneratedAgent {
                agent_id: file.id,
                metadata: file.metadata,
                workflow_run: file.workflow_run,
                bytes: damage.bytes(file.lines),
            })
            .collect();
        GeneratedSession { id: session, main, agents, expected: damage.expected }
    }

    /// What the next line of the thread says of where it was written.
    pub(crate) fn envelope(&self, thread: &Thread) -> Envelope {
        Envelope {
            era: self.era,
            session: self.session.clone(),
            cwd: self.cwd.to_owned(),
            branch: self.branch.to_owned(),
            parent: thread.leaf.clone(),
            sidechain: !thread.is_main(),
            prompt_id: None,
            agent_id: thread.agent_id.clone(),
        }
    }

    /// Moves to another folder or branch, as `cd` and `git switch` do.
    pub(crate) fn wander(&mut self) {
        if self.chance.one_in(5) {
            self.cwd = self.chance.pick(&SURROUNDINGS);
            self.expected.note("cd");
        }
        if self.chance.one_in(5) {
            self.branch = Self::any_branch(&mut self.chance);
        }
    }

    /// The branch as events should have it.
    pub(crate) fn known_branch(&self) -> Option<String> {
        let known = self.era.has_branch() && !matches!(self.branch, "" | "HEAD");
        known.then(|| self.branch.to_owned())
    }

    /// An id for a line that may do without one.
    pub(crate) fn any_uuid(&mut self) -> Option<String> {
        if self.without_uuids && self.chance.one_in(12) {
            self.expected.note("line without uuid");
            return None;
        }
        Some(self.chance.uuid())
    }

    /// A user line: a prompt, a result, or one of the client's own.
    pub(crate) fn user(
        &mut self,
        thread: &mut Thread,
        uuid: Option<String>,
        content: Json,
        flags: Members,
        after: Members,
    ) {
        let message = object(&[("role", text("user")), ("content", content)]);
        let mut body = vec![("type", text("user")), ("message", message)];
        body.extend(flags);
        let mut envelope = self.envelope(thread);
        envelope.prompt_id.clone_from(&thread.prompt_id);
        let line = envelope.line(body, uuid.as_deref(), thread.clock, after);
        thread.asked_at = Some(thread.clock);
        thread.push(line, uuid, Copies::Anywhere);
    }

    /// A line of another type that stands in the chain of parents.
    pub(crate) fn aside(&mut self, thread: &mut Thread, body: Members) {
        let uuid = self.chance.uuid();
        let line = self.envelope(thread).line(body, Some(&uuid), thread.clock, Vec::new());
        thread.push(line, Some(uuid), Copies::OnResume);
    }

    /// A line without an envelope.
    pub(crate) fn bare(thread: &mut Thread, members: &[(&'static str, Json)]) {
        thread.lines.push(Line { text: object(members), copies: Copies::Never });
    }

    /// A few of the lines that hold no part of the conversation.
    pub(crate) fn ambient(&mut self, thread: &mut Thread) {
        for _ in 0..self.chance.below(3) {
            let session = ("sessionId", text(&self.session));
            let id = ("messageId", text(&self.chance.uuid()));
            match self.chance.below(7) {
                0 => Self::bare(
                    thread,
                    &[
                        ("type", text("summary")),
                        ("summary", text("An earlier talk")),
                        ("leafUuid", text(&self.chance.uuid())),
                    ],
                ),
                1 => Self::bare(
                    thread,
                    &[
                        ("type", text("file-history-snapshot")),
                        id.clone(),
                        ("snapshot", object(&[id, ("trackedFileBackups", object(&[]))])),
                        ("isSnapshotUpdate", "false".to_owned()),
                    ],
                ),
                2 => Self::bare(
                    thread,
                    &[
                        ("type", text("queue-operation")),
                        ("operation", text("dequeue")),
                        ("timestamp", text(&super::lines::timestamp(thread.clock))),
                        session,
                    ],
                ),
                3 => Self::bare(
                    thread,
                    &[("type", text("permission-mode")), ("permissionMode", text("default")), session],
                ),
                4 => Self::bare(
                    thread,
                    &[("type", text("last-prompt")), ("lastPrompt", text("not a prompt of its own")), session],
                ),
                5 if self.era.has_attachments() => {
                    let attachment = object(&[("type", text("skill_listing")), ("content", text("(client's text)"))]);
                    self.aside(thread, vec![("attachment", attachment), ("type", text("attachment"))]);
                }
                _ => self.aside(
                    thread,
                    vec![
                        ("type", text("system")),
                        ("subtype", text("turn_duration")),
                        ("durationMs", "1234".to_owned()),
                        ("isMeta", "false".to_owned()),
                    ],
                ),
            }
        }
        if self.now_and_then(Features::UNKNOWN, 4) {
            let kind = self.chance.pick(&["zz-from-the-future", "zz-telemetry", "zz-\u{fc}"]);
            *self.expected.unknown_types.entry(kind.to_owned()).or_default() += 1;
            self.expected.note("unknown line");
            let usage = object(&[("input_tokens", "9000000".to_owned()), ("output_tokens", "9000000".to_owned())]);
            let message = object(&[("id", text("msg_of_another_kind")), ("usage", usage), ("content", list(&[]))]);
            Self::bare(thread, &[("type", text(kind)), ("message", message), ("uuid", text(&self.chance.uuid()))]);
        }
    }
}
