//! Sub-agents: which call started them, and what is known of them.

use super::lines::*;
use posthog_llma_pipeline::session::AgentFile;
use serde_json::{Value, json};

/// A turn whose response starts a sub-agent by the call `t`.
fn started() -> [Line; 3] {
    [user(0, "go"), reply(1, "m", json!([task("t", "look")])), result(9, "t", "x")]
}

fn agent_lines() -> [Line; 2] {
    [user(2, "look"), reply(3, "n", json!([call("u")]))]
}

/// Parents of the generations, in order.
fn parents(case: Case) -> Vec<Value> {
    case.run().generations().iter().map(|p| p["$ai_parent_id"].clone()).collect()
}

#[test]
fn the_parent_of_its_generations_is_the_span_of_the_call() {
    let case = session(started()).agent("a", Some(json!({"toolUseId": "t", "agentType": "Explore"})), agent_lines());
    let converted = case.run();
    let [main, agent] = converted.generations()[..] else { panic!("not two generations") };
    assert_eq!((&main["$ai_parent_id"], &agent["$ai_parent_id"]), (&json!(SESSION), &json!(span_id("t"))));
    assert_eq!((main.get("$ai_agent_name"), &agent["$ai_agent_name"]), (None, &json!("Explore")));
    let span = converted.spans().into_iter().find(|p| p["$ai_span_name"] == "Bash").unwrap().clone();
    assert_eq!((&span["$ai_agent_name"], &span["$ai_parent_id"]), (&json!("Explore"), &json!(generation_id("n"))));
}

#[test]
fn the_metadata_is_believed_first() {
    let lines = [
        user(0, "go"),
        reply(1, "m", json!([task("t1", "look"), task("t2", "look")])),
        result(9, "t1", "x").with(json!({"toolUseResult": {"agentId": "a"}})),
        result(9, "t2", "x"),
    ];
    let case = |metadata| session(lines.clone()).agent("a", metadata, agent_lines());
    assert_eq!(parents(case(Some(json!({"toolUseId": "t2"}))))[1], span_id("t2"));
    // A call that is not there.
    assert_eq!(parents(case(Some(json!({"toolUseId": "nowhere"}))))[1], span_id("t1"));
    assert_eq!(parents(case(None))[1], span_id("t1"));
}

#[test]
fn the_result_of_the_call_names_its_sub_agent() {
    let lines = [
        user(0, "go"),
        reply(1, "m", json!([task("t1", "same"), task("t2", "same")])),
        result(9, "t1", "x").with(json!({"toolUseResult": {"agentId": "b", "status": "async_launched"}})),
        result(9, "t2", "x").with(json!({"toolUseResult": {"agentId": "a"}})),
    ];
    let case = session(lines).agent("a", None, [user(2, "same"), reply(3, "n1", json!([]))]).agent(
        "b",
        None,
        [user(2, "same"), reply(3, "n2", json!([]))],
    );
    assert_eq!(parents(case)[1..], [span_id("t2"), span_id("t1")]);
}

#[test]
fn a_workflow_s_agents_belong_to_the_call_that_ran_it() {
    let workflow = call_of("Workflow", "w", json!({"script": "…"}));
    let lines = [
        user(0, "go"),
        reply(1, "m", json!([workflow])),
        result(2, "w", "launched").with(json!({"toolUseResult": {"runId": "wf_1"}})),
    ];
    let file = AgentFile {
        agent_id: "a".into(),
        metadata: Some(r#"{"agentType":"workflow-subagent"}"#.into()),
        workflow_run: Some("wf_1".into()),
    };
    let converted = session(lines).file(file, agent_lines()).run();
    let p = converted.generations()[1];
    assert_eq!((&p["$ai_parent_id"], &p["$ai_agent_name"]), (&json!(span_id("w")), &json!("workflow-subagent")));
}

#[test]
fn else_its_first_prompt_is_the_call_s() {
    let lines = [user(0, "go"), reply(1, "m", json!([task("t1", "other"), task("t2", "look")])), result(9, "t2", "x")];
    let case = session(lines).agent("a", None, agent_lines());
    let p = case.clone().run().generations()[1].clone();
    assert_eq!((&p["$ai_parent_id"], &p["$ai_agent_name"]), (&json!(span_id("t2")), &json!("Explore")));
    let blocks = [user(2, json!([text("look")])), reply(3, "n", json!([]))];
    let lines = [user(0, "go"), reply(1, "m", json!([task("t1", "other"), task("t2", "look")]))];
    assert_eq!(parents(session(lines).agent("a", None, blocks))[1], span_id("t2"));
}

#[test]
fn calls_with_the_same_prompt_start_one_sub_agent_each() {
    let lines = [user(0, "go"), reply(1, "m", json!([task("t1", "look"), task("t2", "look")]))];
    let agent = |id| [user(2, "look"), reply(3, id, json!([]))];
    let case = session(lines).agent("a", None, agent("n1")).agent("b", None, agent("n2")).agent("c", None, agent("n3"));
    assert_eq!(parents(case)[1..], [json!(span_id("t1")), json!(span_id("t2")), json!(SESSION)]);
}

#[test]
fn no_sub_agent_starts_itself() {
    let lines = [user(2, "again"), reply(3, "n", json!([task("u", "again")])), result(4, "u", "x")];
    assert_eq!(parents(session([user(0, "go"), reply(1, "m", json!([]))]).agent("a", None, lines))[1], SESSION);
}

#[test]
fn else_it_is_the_only_call_of_its_prompt_without_one() {
    let of = |line: Line| line.with(json!({"promptId": "p"}));
    let lines =
        [of(user(0, "go")), reply(1, "m", json!([task("t", "look")])), user(8, "more").with(json!({"promptId": "q"}))];
    let agent = [of(user(2, "rewritten prompt")), reply(3, "n", json!([]))];
    assert_eq!(parents(session(lines).agent("a", None, agent.clone()))[1], span_id("t"));
    let lines = [of(user(0, "go")), reply(1, "m", json!([task("t1", "look"), task("t2", "here")]))];
    let case = session(lines).agent("a", None, agent).by_prompt();
    let converted = case.run();
    let [main, agent] = converted.generations()[..] else { panic!("not two generations") };
    // Which of the two is unknown, the trace is not.
    assert_eq!(agent["$ai_parent_id"], agent["$ai_trace_id"]);
    assert_eq!(agent["$ai_trace_id"], main["$ai_trace_id"]);
}

#[test]
fn a_sub_agent_that_nothing_links_is_below_the_trace() {
    let case = session(started()).agent("a", None, [user(2, "nobody asked"), reply(3, "n", json!([]))]);
    assert_eq!(parents(case)[1], SESSION);
}

#[test]
fn metadata_of_any_shape_does_no_harm() {
    for metadata in [json!(null), json!([]), json!(5), json!({"toolUseId": 5, "agentType": []})] {
        let case = session(started()).agent("a", Some(metadata), agent_lines());
        assert_eq!(parents(case)[1], span_id("t"));
    }
}

#[test]
fn nested_sub_agents_are_below_the_calls_of_sub_agents() {
    let outer = [user(2, "look"), reply(3, "n1", json!([task("u", "deeper")])), result(8, "u", "x")];
    let inner = [user(4, "deeper"), reply(5, "n2", json!([]))];
    // In the order of the IDs the inner one may come first.
    let case = session(started())
        .agent("a-inner", Some(json!({"toolUseId": "u", "parentAgentId": "z-outer"})), inner)
        .agent("z-outer", Some(json!({"toolUseId": "t"})), outer);
    assert_eq!(parents(case)[1..], [span_id("u"), span_id("t")]);
}

#[test]
fn sub_agents_that_started_each_other_do_no_harm() {
    let agent = |call, calls: &str, id: &str| {
        (Some(json!({"toolUseId": call})), [user(2, "x"), reply(3, id, json!([task(calls, "x")]))])
    };
    let ((m1, l1), (m2, l2)) = (agent("u2", "u1", "n1"), agent("u1", "u2", "n2"));
    let converted = session(started()).agent("a", m1, l1).agent("b", m2, l2).by_prompt().run();
    assert_eq!(converted.generations().len(), 3);
}

#[test]
fn where_nothing_else_names_its_type_its_lines_do() {
    let lines = [user(2, "x"), reply(3, "n", json!([])).with(json!({"attributionAgent": "reviewer"}))];
    let converted = session(started()).agent("a", None, lines).run();
    assert_eq!(converted.generations()[1]["$ai_agent_name"], "reviewer");
    // On the main thread there is none.
    let lines = [user(0, "x"), reply(1, "n", json!([])).with(json!({"attributionAgent": "reviewer"}))];
    assert_eq!(session(lines).generation().get("$ai_agent_name"), None);
}

/// Two sub-agents whose lines stand between those of the main thread.
fn inline() -> Vec<Line> {
    vec![
        user(0, "go").with(json!({"uuid": "p"})),
        reply(1, "m", json!([task("t1", "first"), task("t2", "second")])).with(json!({"parentUuid": "p"})),
        user(2, "second").with(json!({"uuid": "s2"})).inline(None),
        user(3, "first").with(json!({"uuid": "s1"})).inline(None),
        reply(4, "n1", json!([call("u")])).with(json!({"uuid": "r1"})).inline(Some("s1")),
        reply(5, "n2", json!([])).inline(Some("s2")),
        result(6, "u", "x").with(json!({"uuid": "r2"})).inline(Some("r1")),
        reply(7, "n3", json!([])).inline(Some("r2")),
        result(8, "t1", "x"),
        result(9, "t2", "x"),
        reply(10, "m2", json!([])),
    ]
}

#[test]
fn sub_agents_inline_are_told_apart_and_linked_by_their_prompts() {
    let converted = session(inline()).run();
    let of = |id: &str| {
        let generations = converted.generations();
        let p = generations.iter().find(|p| p["$ai_span_id"] == generation_id(id)).unwrap();
        (p["$ai_parent_id"].clone(), p["$ai_input"].clone())
    };
    assert_eq!(of("n1"), (json!(span_id("t1")), json!([{"role": "user", "content": "first"}])));
    assert_eq!(of("n2"), (json!(span_id("t2")), json!([{"role": "user", "content": "second"}])));
    assert_eq!(
        of("n3"),
        (json!(span_id("t1")), json!([{"role": "tool", "tool_call_id": tool_id("u"), "content": "x"}]))
    );
    assert_eq!(of("m2").0, SESSION);
    assert_eq!(converted.traces()[0]["claude_code_subagents"], 2);
    assert_eq!(converted.traces()[0]["claude_code_turns"], 1);
}

#[test]
fn an_inline_line_whose_parent_is_missing_belongs_to_the_sub_agent_before_it() {
    let mut lines = inline();
    lines[7] = lines[7].clone().inline(Some("nowhere"));
    let converted = session(lines).run();
    let p = converted.generations().into_iter().find(|p| p["$ai_span_id"] == generation_id("n3")).unwrap().clone();
    assert_eq!(p["$ai_parent_id"], span_id("t1"));
    assert_eq!(converted.traces()[0]["claude_code_subagents"], 2);
}

/// A `progress` line that repeats a sub-agent's line.
fn progress(agent: &str, line: Line) -> Line {
    let mut inner = line.0;
    for name in ["cwd", "version"] {
        inner.as_object_mut().unwrap().remove(name);
    }
    let data = json!({"type": "agent_progress", "agentId": agent, "message": inner});
    let line = other("progress").with(json!({"data": data, "parentToolUseID": "t", "timestamp": at(5000)}));
    line.with(json!({"uuid": format!("progress-{}", inner["uuid"]), "cwd": "/home/dev/shop", "gitBranch": "main"}))
}

#[test]
fn progress_lines_are_used_where_the_sub_agent_s_file_is_missing() {
    let repeated = [
        progress("a", user(2000, "look")),
        progress("a", reply(3000, "n", json!([call("u")]))),
        progress("a", result(4500, "u", "found")),
    ];
    let [prompt, response, result] = started();
    let lines = [prompt, response].into_iter().chain(repeated.clone()).chain(repeated).chain([result]);
    let converted = session(lines).run();
    let p = converted.generations()[1];
    for (name, value) in [
        ("$ai_parent_id", json!(span_id("t"))),
        ("$ai_agent_name", json!("Explore")),
        ("$ai_latency", json!(1.0)),
        ("$ai_project_name", json!("shop")),
        ("$ai_git_branch", json!("main")),
        ("$ai_input", json!([{"role": "user", "content": "look"}])),
    ] {
        assert_eq!(p[name], value, "{name}");
    }
    let span = converted.spans().into_iter().find(|p| p["$ai_span_name"] == "Bash").unwrap().clone();
    assert_eq!((&span["$ai_output_state"], &span["$ai_latency"]), (&json!("found"), &json!(1.5)));
    assert_eq!(converted.generations().len(), 2);
    assert_eq!(converted.traces()[0]["claude_code_subagents"], 1);
}

#[test]
fn progress_lines_are_left_out_where_it_is_there() {
    let [prompt, response, result] = started();
    let repeated = progress("a", reply(3000, "n", json!([text("from progress")])));
    let case = session([prompt, response, repeated, result]).agent(
        "a",
        None,
        [user(2, "look"), reply(3000, "n", json!([text("own")]))],
    );
    let converted = case.run();
    assert_eq!(converted.generations().len(), 2);
    assert_eq!(converted.generations()[1]["$ai_output_choices"][0]["content"], "own");
    assert_eq!(converted.traces()[0]["$ai_total_output_tokens"], 40);
}

#[test]
fn other_progress_says_nothing() {
    let hook =
        other("progress").with(json!({"data": {"type": "hook_progress", "message": reply(1, "x", json!([])).0}}));
    assert_eq!(session([hook]).run().events, Vec::<Value>::new());
}
