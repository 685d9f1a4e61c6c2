//! Sessions from gateways that break every assumption about IDs, written with known counts: nothing is lost, nothing counted
//! twice, each result is with its call.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conversion;

use conversion::{Converted, Run, convert};
use posthog_llma_pipeline::session::{AgentFile, FileRole};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What a gateway writes as an id.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ids {
    /// Always the same.
    Constant,
    /// The same, in Anthropic's shape.
    Imitated,
    /// A number that begins anew with each prompt.
    Restarting,
    /// As Anthropic's.
    Unique,
    /// None. A line is a call of its own then.
    Missing,
}

#[derive(Debug, Clone, Copy)]
struct Gateway {
    messages: Ids,
    tools: Ids,
    requests: bool,
    /// Counts are all 0.
    counts_nothing: bool,
    /// The last line of a call says 0.
    ends_with_zero: bool,
    /// Results stand between the lines of a call.
    early_results: bool,
    source: bool,
}

fn gateways() -> impl Strategy<Value = Gateway> {
    let ids = || prop_oneof![Just(Ids::Constant), Just(Ids::Imitated), Just(Ids::Restarting), Just(Ids::Unique)];
    let messages = prop_oneof![4 => ids(), 1 => Just(Ids::Missing)];
    (messages, ids(), any::<[bool; 5]>()).prop_map(
        |(messages, tools, [requests, counts_nothing, ends_with_zero, early_results, source])| Gateway {
            messages,
            tools,
            requests,
            counts_nothing,
            ends_with_zero,
            early_results,
            source,
        },
    )
}

/// Turns of calls, each with so many tools.
type Plan = Vec<Vec<usize>>;

fn plans() -> impl Strategy<Value = Plan> {
    proptest::collection::vec(proptest::collection::vec(0_usize..4, 1..5), 1..5)
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Sums {
    calls: usize,
    tools: usize,
    input: u64,
    output: u64,
}

struct Writer {
    gateway: Gateway,
    /// Tells this thread's texts, `uuid`s and times from another's.
    seed: u64,
    lines: Vec<Value>,
    sums: Sums,
    call: u64,
}

impl Writer {
    fn new(gateway: Gateway, seed: u64) -> Self {
        Self { gateway, seed, lines: Vec::new(), sums: Sums::default(), call: 0 }
    }

    fn push(&mut self, kind: &str, mut line: Value) -> String {
        let n = self.lines.len() as u64;
        let uuid = format!("{:08x}-0000-4000-8000-{n:012x}", self.seed);
        let at = 1_767_225_600_000 + (self.seed * 100_000 + n).cast_signed() * 1000;
        for (name, value) in [
            ("type", json!(kind)),
            ("uuid", json!(uuid)),
            ("timestamp", json!(posthog_llma_pipeline::time::format(at))),
            ("sessionId", json!(format!("s{}", self.seed))),
        ] {
            line[name] = value;
        }
        self.lines.push(line);
        uuid
    }

    fn id(&self, ids: Ids, prefix: &str, in_turn: u64) -> Option<String> {
        let seed = self.seed;
        match ids {
            Ids::Constant => Some(format!("{prefix}proxy")),
            Ids::Imitated => Some(format!("{prefix}01AAAAAAAAAAAAAAAAAAAAAA")),
            Ids::Restarting => Some(format!("{prefix}{in_turn}")),
            Ids::Unique => Some(format!("{prefix}01{seed:010}{:010}", self.call * 100 + in_turn)),
            Ids::Missing => None,
        }
    }

    fn turn(&mut self, calls: &[usize]) {
        let text = format!("prompt {} of {}", self.lines.len(), self.seed);
        self.push("user", json!({"message": {"role": "user", "content": text}}));
        let mut tools_in_turn = 0;
        for (i, tools) in calls.iter().enumerate() {
            // A response that calls no tool is a turn's last.
            let tools = if i + 1 < calls.len() { (*tools).max(1) } else { *tools };
            self.response(i as u64, tools, &mut tools_in_turn);
        }
    }

    fn response(&mut self, in_turn: u64, tools: usize, tools_in_turn: &mut u64) {
        self.call += 1;
        let id = self.id(self.gateway.messages, "msg_", in_turn);
        // Within a thread the context grows.
        let (input, output) = if self.gateway.counts_nothing { (0, 0) } else { (100 + self.call, 10 + self.call) };
        self.sums.calls += 1;
        self.sums.tools += tools;
        self.sums.input += input;
        self.sums.output += output;
        // Without an id or counts, only a request's id could join lines.
        let joined = self.gateway.messages != Ids::Missing || self.gateway.requests;
        let text = json!({"type": "text", "text": format!("answer {} of {}", self.call, self.seed)});
        let mut blocks = vec![text];
        let mut names = Vec::new();
        for _ in 0..tools {
            let tool = self.id(self.gateway.tools, "toolu_", *tools_in_turn).unwrap();
            *tools_in_turn += 1;
            // In one response not even these gateways repeat an id.
            let tool = if self.gateway.tools == Ids::Restarting || tools == 1 {
                tool
            } else {
                format!("{tool}{tools_in_turn}")
            };
            let telling = format!("{} {} {}", self.seed, self.call, names.len());
            blocks.push(json!({"type": "tool_use", "id": tool, "name": "Bash", "input": {"command": telling}}));
            names.push((tool, telling));
        }
        let lines: Vec<Vec<Value>> = if joined { blocks.into_iter().map(|b| vec![b]).collect() } else { vec![blocks] };
        let last = lines.len() - 1;
        let mut waiting: Vec<(String, String, String)> = Vec::new();
        for (i, blocks) in lines.into_iter().enumerate() {
            if self.gateway.early_results && !self.gateway.counts_nothing {
                self.results(&mut waiting);
            }
            // A line that counts nothing behind a result is another call, unless a request's id says that it is not.
            let can_end = self.gateway.requests || !self.gateway.early_results;
            let zero = self.gateway.ends_with_zero && can_end && i == last && last > 0;
            let usage =
                json!({"input_tokens": if zero { 0 } else { input }, "output_tokens": if zero { 0 } else { output }});
            let calls: Vec<_> = blocks.iter().filter_map(|b| b["id"].as_str().map(str::to_owned)).collect();
            let mut message = json!({"role": "assistant", "model": "qwen3-coder", "stop_reason": "end_turn", "content": blocks, "usage": usage});
            if let Some(id) = &id {
                message["id"] = json!(id);
            }
            let mut line = json!({"message": message});
            if self.gateway.requests {
                line["requestId"] = json!(format!("req_{}_{}", self.seed, self.call));
            }
            let uuid = self.push("assistant", line);
            for call in calls {
                let at = names.iter().position(|(name, _)| *name == call).unwrap();
                let (name, telling) = names.remove(at);
                waiting.push((name, telling, uuid.clone()));
            }
        }
        self.results(&mut waiting);
    }

    fn results(&mut self, waiting: &mut Vec<(String, String, String)>) {
        for (call, telling, line) in waiting.drain(..) {
            let mut result = json!({"message": {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call, "content": format!("result of {telling}")},
            ]}});
            if self.gateway.source {
                result["sourceToolAssistantUUID"] = json!(line);
            }
            self.push("user", result);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| (line.to_string() + "\n").into_bytes()).collect()
    }
}

fn thread(gateway: Gateway, seed: u64, plan: &Plan) -> Writer {
    let mut writer = Writer::new(gateway, seed);
    for turn in plan {
        writer.turn(turn);
    }
    writer
}

fn sums<'a>(events: impl IntoIterator<Item = &'a Value>) -> Sums {
    let events: Vec<_> = events.into_iter().collect();
    let named = |name: &'static str| events.iter().filter(move |e| e["event"] == name);
    let sum = |name: &str| named("$ai_generation").filter_map(|e| e["properties"][name].as_u64()).sum();
    Sums {
        calls: named("$ai_generation").count(),
        tools: named("$ai_span").count(),
        input: sum("$ai_input_tokens"),
        output: sum("$ai_output_tokens"),
    }
}

fn check(converted: &Converted, expected: &Sums, at: &dyn std::fmt::Debug) {
    let uuids: BTreeSet<_> = converted.events.iter().map(|e| e["uuid"].as_str().unwrap()).collect();
    assert_eq!(uuids.len(), converted.events.len(), "an event came twice: {at:?}");
    assert_eq!(sums(&converted.events), *expected, "{at:?}");
    for p in converted.spans() {
        let input: Value = serde_json::from_str(p["$ai_input_state"].as_str().unwrap()).unwrap();
        let telling = input["command"].as_str().unwrap();
        assert_eq!(p["$ai_output_state"], format!("result of {telling}"), "{at:?}");
        let generation = converted.generations().into_iter().find(|g| g["$ai_span_id"] == p["$ai_parent_id"]).unwrap();
        let call = telling.split(' ').nth(1).unwrap();
        let said = generation["$ai_output_choices"].to_string();
        assert!(said.contains(&format!("answer {call} of")), "{telling} is below {said}: {at:?}");
    }
    let (mut announced, mut sent) = (converted.identities.clone(), converted.sent());
    announced.sort();
    sent.sort();
    assert_eq!(announced, sent, "{at:?}");
}

fn run(files: &[(FileRole, Vec<u8>)]) -> Converted {
    convert("5e551011-0000-4000-8000-000000000000", files, Run::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_adds_up(gateway in gateways(), plan in plans()) {
        let main = thread(gateway, 1, &plan);
        check(&run(&[(FileRole::Main, main.bytes())]), &main.sums, &(gateway, &plan));
    }

    #[test]
    fn a_session_and_its_sub_agents_add_up(gateway in gateways(), plan in plans(), other in plans()) {
        let threads = [thread(gateway, 1, &plan), thread(gateway, 2, &other)];
        let role = FileRole::Agent(AgentFile { agent_id: "a".to_owned(), metadata: None, workflow_run: None });
        let converted = run(&[(FileRole::Main, threads[0].bytes()), (role, threads[1].bytes())]);
        let mut expected = threads[0].sums.clone();
        expected.calls += threads[1].sums.calls;
        expected.tools += threads[1].sums.tools;
        expected.input += threads[1].sums.input;
        expected.output += threads[1].sums.output;
        check(&converted, &expected, &(gateway, &plan, &other));
    }

    #[test]
    fn what_is_delivered_stays_so_when_the_session_grows(gateway in gateways(), plan in plans(), more in plans()) {
        let mut main = thread(gateway, 1, &plan);
        let before = run(&[(FileRole::Main, main.bytes())]);
        for turn in &more {
            main.turn(turn);
        }
        let sent = before.sent();
        let after = convert(
            "5e551011-0000-4000-8000-000000000000",
            &[(FileRole::Main, main.bytes())],
            Run { exclude: sent, ..Run::default() },
        );
        let all = before.events.iter().chain(&after.events);
        assert_eq!(sums(all), main.sums, "{gateway:?} {plan:?} {more:?}");
    }

    /// A fork copies the beginning of another session, with the same `uuid`s or new ones, and goes on.
    #[test]
    fn two_sessions_and_a_fork_add_up(gateway in gateways(), plan in plans(), more in plans(), renamed in any::<bool>()) {
        // Limits: an id that imitates Anthropic's over two sessions, and a line that only its `uuid` tells apart.
        if [gateway.messages, gateway.tools].contains(&Ids::Imitated) || (gateway.messages == Ids::Missing && renamed) {
            return Ok(());
        }
        let first = thread(gateway, 1, &plan);
        let second = thread(gateway, 2, &more);
        let mut fork = Writer::new(gateway, 3);
        fork.lines.clone_from(&first.lines);
        if renamed {
            for (i, line) in fork.lines.iter_mut().enumerate() {
                line["uuid"] = json!(format!("copy-{i}"));
                if let Some(source) = line.get_mut("sourceToolAssistantUUID") {
                    let at = first.lines.iter().position(|l| l["uuid"] == *source).unwrap();
                    *source = json!(format!("copy-{at}"));
                }
            }
        }
        fork.call = first.call;
        for turn in &more {
            fork.turn(turn);
        }
        let mut events = BTreeMap::new();
        for writer in [&first, &second, &fork] {
            for event in run(&[(FileRole::Main, writer.bytes())]).events {
                if event["event"] != "$ai_trace" {
                    events.insert(event["uuid"].as_str().unwrap().to_owned(), event);
                }
            }
        }
        let mut expected = first.sums.clone();
        for writer in [&second, &fork] {
            expected.calls += writer.sums.calls;
            expected.tools += writer.sums.tools;
            expected.input += writer.sums.input;
            expected.output += writer.sums.output;
        }
        assert_eq!(sums(events.values()), expected, "{gateway:?} {plan:?} {more:?} {renamed}");
    }
}
