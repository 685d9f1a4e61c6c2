//! The session generator keeps its word: a naive recount of the lines finds what it says is in them. The recount knows
//! nothing of turns, threads or times; it joins on IDs and takes the last line of a message.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod generator;

use std::collections::{BTreeMap, BTreeSet};

use generator::{Expected, Features, GeneratedSession, Size, Tokens, ToolOutcome, generate, sizes};
use proptest::prelude::{ProptestConfig, proptest};
use serde_json::Value;

/// What a reader without any cleverness finds in a session.
#[derive(Default)]
struct Recount {
    /// Last usage by `message.id`, or by the line's `uuid`.
    usages: BTreeMap<String, Value>,
    failed: BTreeSet<String>,
    interrupted: BTreeSet<String>,
    /// Name by id of the call.
    calls: BTreeMap<String, String>,
    /// Whether it is an error, by id of the call.
    results: BTreeMap<String, bool>,
    texts: BTreeSet<String>,
    compactions: BTreeSet<String>,
    unknown_types: BTreeMap<String, u64>,
    /// Texts of all user lines of the main thread.
    main_user_texts: BTreeSet<String>,
    not_one_object: u64,
    /// Times of calls and of their results, in milliseconds, by id of the call.
    called_at: BTreeMap<String, i64>,
    resulted_at: BTreeMap<String, i64>,
    /// Times of `api-request` lines by their id.
    requested_at: BTreeMap<String, i64>,
    /// Time of the latest user line by thread: the agent's id and whether it is a sidechain.
    asked_at: BTreeMap<(String, bool), i64>,
    /// Start of a response and time of its last line, by key.
    started_at: BTreeMap<String, Option<i64>>,
    ended_at: BTreeMap<String, i64>,
}

/// Milliseconds since some day, of RFC 3339 in UTC.
fn milliseconds(timestamp: &Value) -> i64 {
    let number = |range: std::ops::Range<usize>| -> i64 { timestamp.as_str().unwrap()[range].parse().unwrap() };
    let (year, month) =
        if number(5..7) > 2 { (number(0..4), number(5..7)) } else { (number(0..4) - 1, number(5..7) + 12) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + number(8..10);
    let seconds = (days * 24 + number(11..13)) * 3_600 + number(14..16) * 60 + number(17..19);
    seconds * 1_000 + number(20..23)
}

fn thread(entry: &Value) -> (String, bool) {
    (entry["agentId"].as_str().unwrap_or_default().to_owned(), entry["isSidechain"] == true)
}

impl Recount {
    fn of(session: &GeneratedSession) -> Self {
        let mut recount = Self::default();
        recount.file(&session.main);
        for agent in &session.agents {
            recount.file(&agent.bytes);
        }
        recount
    }

    fn file(&mut self, bytes: &[u8]) {
        // serde_json refuses half a surrogate pair, which is good enough for this recount.
        let readable = String::from_utf8_lossy(bytes).replace(r"\ud83d ", "");
        for line in readable.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()) {
            let values: Vec<Result<Value, _>> = serde_json::Deserializer::from_str(line).into_iter().collect();
            if !matches!(values[..], [Ok(Value::Object(_))]) {
                self.not_one_object += 1;
            }
            for value in values.into_iter().flatten().filter(Value::is_object) {
                self.entry(&value);
            }
        }
    }

    fn entry(&mut self, entry: &Value) {
        match entry["type"].as_str().unwrap() {
            "assistant" => {
                self.time_of_response(entry);
                self.assistant(entry);
            }
            "user" => {
                self.user(entry);
                self.asked_at.insert(thread(entry), milliseconds(&entry["timestamp"]));
            }
            "api-request" => {
                let id = entry["id"].as_str().unwrap().to_owned();
                self.requested_at.insert(id, milliseconds(&entry["timestamp"]));
            }
            "progress" if entry["data"]["type"] == "agent_progress" => {
                let repeated = &entry["data"]["message"];
                match repeated["type"].as_str().unwrap() {
                    "assistant" => self.assistant(repeated),
                    _ => self.user(repeated),
                }
            }
            "system" if entry["subtype"] == "compact_boundary" => {
                self.compactions.insert(entry["uuid"].as_str().unwrap().to_owned());
            }
            kind if kind.starts_with("zz-") => {
                *self.unknown_types.entry(kind.to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }

    fn time_of_response(&mut self, entry: &Value) {
        let Some(key) = entry.pointer("/message/id").or(entry.get("uuid")).and_then(Value::as_str) else {
            return;
        };
        let requested = entry["requestRef"].as_str().map(|id| self.requested_at[id]);
        let start = requested.or_else(|| self.asked_at.get(&thread(entry)).copied());
        self.started_at.entry(key.to_owned()).or_insert(start);
        self.ended_at.insert(key.to_owned(), milliseconds(&entry["timestamp"]));
    }

    fn assistant(&mut self, entry: &Value) {
        let message = &entry["message"];
        let Some(model) = message["model"].as_str() else {
            return;
        };
        let key = message["id"].as_str().or(entry["uuid"].as_str()).unwrap().to_owned();
        if entry["isApiErrorMessage"] == true {
            self.failed.insert(key);
            return;
        }
        if model == "<synthetic>" {
            return;
        }
        if entry["isAbortedMidStream"] == true {
            self.interrupted.insert(key.clone());
        }
        self.usages.insert(key, message["usage"].clone());
        for block in message["content"].as_array().unwrap() {
            if let Some(id) = block["id"].as_str() {
                self.calls.insert(id.to_owned(), block["name"].as_str().unwrap().to_owned());
                self.called_at.insert(id.to_owned(), milliseconds(&entry["timestamp"]));
            }
            self.texts.extend(block["text"].as_str().map(str::to_owned));
        }
    }

    fn user(&mut self, entry: &Value) {
        let content = &entry["message"]["content"];
        let blocks = content.as_array().into_iter().flatten();
        if entry["isSidechain"] == false {
            self.main_user_texts.extend(content.as_str().map(str::to_owned));
            let texts = blocks.clone().filter(|block| block["type"] == "text");
            self.main_user_texts.extend(texts.map(|block| block["text"].as_str().unwrap().to_owned()));
        }
        for result in blocks.filter(|block| block["type"] == "tool_result") {
            let id = result["tool_use_id"].as_str().unwrap().to_owned();
            self.resulted_at.insert(id.clone(), milliseconds(&entry["timestamp"]));
            self.results.insert(id, result["is_error"] == true);
        }
    }

    fn tokens(&self) -> Tokens {
        let sum = |pointer: &str| Some(self.usages.values().filter_map(|usage| usage.pointer(pointer)?.as_u64()).sum());
        // Without the total, nothing says that the split adds up to it.
        let split = |pointer: &str| {
            let whole = self.usages.values().filter(|usage| usage["cache_creation_input_tokens"].is_u64());
            Some(whole.filter_map(|usage| usage.pointer(pointer)?.as_u64()).sum())
        };
        Tokens {
            input: sum("/input_tokens"),
            output: sum("/output_tokens"),
            cache_read: sum("/cache_read_input_tokens"),
            cache_creation: sum("/cache_creation_input_tokens"),
            cache_creation_5m: split("/cache_creation/ephemeral_5m_input_tokens"),
            cache_creation_1h: split("/cache_creation/ephemeral_1h_input_tokens"),
        }
    }
}

fn compare(session: &GeneratedSession) {
    let (expected, found) = (&session.expected, Recount::of(session));
    let answered = expected.generations.iter().filter(|(_, g)| g.failure.is_none());
    assert_eq!(answered.map(|(id, _)| id).collect::<Vec<_>>(), found.usages.keys().collect::<Vec<_>>());
    assert_eq!(expected.failed_calls(), found.failed.len());
    let interrupted = expected.generations.values().filter(|g| g.interrupted).count();
    assert_eq!(interrupted, found.interrupted.len());
    assert_eq!(expected.tokens(), found.tokens());
    compare_tools(expected, &found);
    compare_times(session, &found);
    for generation in expected.generations.values() {
        for text in &generation.texts {
            assert!(found.texts.contains(text), "{text} is in no line");
        }
    }
    for prompt in &expected.prompts {
        let stands = |text: &str| found.main_user_texts.iter().any(|found| found.contains(text));
        assert!(stands(&prompt.text), "{} is in no line", prompt.text);
        assert!(prompt.follow_ups.iter().all(|text| stands(text)));
    }
    let prompts = found.main_user_texts.iter().filter(|text| text.starts_with("prompt ")).count();
    let typed = |p: &generator::Prompt| usize::from(!p.command) + p.follow_ups.len();
    assert_eq!(expected.prompts.iter().map(typed).sum::<usize>(), prompts);
    assert_eq!(expected.compactions, found.compactions.len() as u64);
    assert_eq!(expected.unknown_types, found.unknown_types);
    assert!(
        expected.bad_lines().contains(&found.not_one_object),
        "{} bad lines found, {:?} expected",
        found.not_one_object,
        expected.bad_lines()
    );
}

fn compare_tools(expected: &Expected, found: &Recount) {
    let calls: BTreeMap<String, String> = expected.spans.iter().map(|(id, s)| (id.clone(), s.name.clone())).collect();
    assert_eq!(calls, found.calls);
    for (id, span) in &expected.spans {
        match span.outcome {
            ToolOutcome::Result { error, .. } => assert_eq!(Some(&error), found.results.get(id)),
            ToolOutcome::None | ToolOutcome::Server => assert!(!found.results.contains_key(id)),
        }
        let generation = &expected.generations[&span.generation];
        assert!(generation.tools.contains(&span.name));
        assert_eq!(generation.place, span.place);
    }
    let in_generations: usize = expected.generations.values().map(|g| g.tools.len()).sum();
    assert_eq!(in_generations, expected.spans.len());
    for (id, agent) in &expected.agents {
        let started = &expected.spans[&agent.call];
        let own: Vec<_> = expected.generations.values().filter(|g| g.place.agent.as_ref() == Some(id)).collect();
        assert!(!own.is_empty(), "an agent without a response");
        assert!(own.iter().all(|g| g.place.call.as_ref() == Some(&agent.call)));
        assert!(own.iter().all(|g| g.place.trace == started.place.trace));
    }
}

fn compare_times(session: &GeneratedSession, found: &Recount) {
    let between = |from: i64, to: i64| u64::try_from(to - from).unwrap_or(0);
    for (id, span) in &session.expected.spans {
        if let ToolOutcome::Result { latency_ms, .. } = span.outcome {
            assert_eq!(latency_ms, between(found.called_at[id], found.resulted_at[id]), "{id}");
        }
    }
    for (key, generation) in &session.expected.generations {
        // Which inline agent a line belongs to takes a walk along its parents: too much cleverness for a recount.
        let agent = generation.place.agent.as_ref();
        if agent.is_some_and(|id| session.agents.iter().all(|file| file.agent_id != *id)) {
            continue;
        }
        let latency = found.started_at[key].map(|start| between(start, found.ended_at[key]));
        assert_eq!(generation.latency_ms, latency, "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_recount_of_the_lines_finds_what_the_generator_promises(seed: u64, size in sizes()) {
        compare(&generate(seed, size));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..50 {
        let (one, other) = (generate(seed, Size::any(4, 4)), generate(seed, Size::any(4, 4)));
        assert_eq!(one.main, other.main);
        let files = |s: &GeneratedSession| -> Vec<_> {
            s.agents.iter().map(|a| (a.agent_id.clone(), a.metadata.clone(), a.bytes.clone())).collect()
        };
        assert_eq!(files(&one), files(&other));
        assert_eq!(one.expected, other.expected);
    }
}

#[test]
fn another_seed_gives_another_session() {
    let sessions: BTreeSet<Vec<u8>> = (0..50).map(|seed| generate(seed, Size::any(2, 2)).main).collect();
    assert_eq!(sessions.len(), 50);
}

#[test]
fn every_variation_turns_up() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..800 {
        for (variation, count) in generate(seed, Size::any(5, 4)).expected.variations {
            *seen.entry(variation).or_default() += count;
        }
    }
    let wanted = [
        "Warmup",
        "Windows path",
        "CRLF",
        "acompact",
        "agent",
        "agent in the background",
        "agent without a file",
        "agent_progress",
        "agents at once",
        "bad line",
        "blank line",
        "call without a result",
        "cd",
        "clock backwards before a prompt",
        "clock backwards before a response",
        "clock backwards before a result",
        "compaction",
        "copied lines",
        "dangling parent",
        "era 1.0.128",
        "era 1.0.31",
        "era 2.0.76",
        "era 2.1.112",
        "era 2.1.197",
        "era 2.1.330",
        "era 2.1.50",
        "era 2.1.6",
        "failed call with a status",
        "failed call without a status",
        "follow-up",
        "glued lines",
        "growing usage",
        "inline agent",
        "interleaved",
        "interrupted response",
        "interruption",
        "last line cut short",
        "line without uuid",
        "lone surrogate",
        "missing count",
        "nested agent",
        "no UTF-8 in a line",
        "no end of the last line",
        "notification",
        "odd message",
        "parallel calls",
        "response before any prompt",
        "response over many lines",
        "response without message.id",
        "result between lines",
        "result without a call",
        "results out of order",
        "server tool",
        "slash command",
        "synthetic answer",
        "unknown line",
        "workflow",
    ];
    for variation in wanted {
        assert!(seen.get(variation).is_some_and(|&count| count >= 5), "{variation}: {:?}", seen.get(variation));
    }
    assert_eq!(seen.len(), wanted.len(), "{:?}", seen.keys().filter(|k| !wanted.contains(k)).collect::<Vec<_>>());
}

#[test]
fn without_features_every_line_is_good_and_nothing_is_missing() {
    for seed in 0..100 {
        let session = generate(seed, Size { turns: 3, responses: 3, features: Features::NONE });
        let expected = &session.expected;
        assert_eq!(expected.prompts.len(), 3);
        assert_eq!(expected.bad_lines(), 0..=0);
        assert!(expected.spans.is_empty() && session.agents.is_empty());
        assert!(expected.generations.values().all(|g| g.tokens.input.is_some() && g.latency_ms.is_some()));
        for line in session.main.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(serde_json::from_slice::<Value>(line).is_ok());
        }
    }
}
