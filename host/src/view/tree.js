// The events of one Claude Code session as a tree, its time scale, and words for both. Needs no page: trace.js draws it.
"use strict";

const traceTree = (() => {
  const PAUSE = 60000; // Milliseconds without anything, within a turn.
  const DEEPEST = 64; // Sub-agents nest a few levels; a circle would never end.
  const COUNTS = [
    ["in", "$ai_input_tokens"],
    ["out", "$ai_output_tokens"],
    ["cache read", "$ai_cache_read_input_tokens"],
    ["cache written", "$ai_cache_creation_input_tokens"],
  ];

  // ---- From events to a tree

  function toTree(events) {
    const nodes = [];
    const byId = new Map();
    const traces = new Map();
    for (const event of events) {
      if (event === null || typeof event !== "object") continue;
      const p = event.properties ?? {};
      // Of a session that is attached to somebody else's trace, the span that it is stands for its trace.
      if (event.event === "$ai_trace" || p.$ai_span_type === "agent") {
        const id = String(p.$ai_trace_id);
        if (!traces.has(id)) traces.set(id, newNode("trace", event, p));
        continue;
      }
      const node = newNode(event.event === "$ai_span" ? "tool" : "model", event, p);
      nodes.push(node);
      if (typeof p.$ai_span_id === "string" && !byId.has(p.$ai_span_id)) byId.set(p.$ai_span_id, node);
    }
    nodes.sort((a, b) => a.start - b.start);
    for (const node of nodes) {
      const id = String(node.p.$ai_trace_id);
      if (!traces.has(id)) traces.set(id, newNode("trace", null, { $ai_trace_id: id }));
      const parent = byId.get(node.p.$ai_parent_id);
      const above = parent === undefined || isAbove(node, parent) ? traces.get(id) : parent;
      node.parent = above;
      above.children.push(node);
    }
    const roots = [...traces.values()];
    for (const trace of roots) {
      addTurns(trace);
      finish(trace, 0);
    }
    return roots.sort((a, b) => a.start - b.start);
  }

  function newNode(kind, event, p) {
    const end = Date.parse(event?.timestamp);
    const seconds = typeof p.$ai_latency === "number" ? p.$ai_latency : null;
    const waited = kind !== "trace" && p.claude_code_wait_seconds > 0 ? p.claude_code_wait_seconds * 1000 : 0;
    return {
      kind, event, p, seconds, end, waited,
      start: kind === "trace" ? NaN : end - (seconds ?? 0) * 1000 - waited,
      error: p.$ai_is_error === true,
      children: [], parent: null, depth: 0, open: true, hit: true, text: null, errors: [], marks: [], sums: null,
    };
  }

  // Is `node` at or above `other`? Then `other` cannot be its parent.
  function isAbove(node, other) {
    let at = other;
    for (let i = 0; at !== null; at = at.parent, i++) {
      if (at === node || i > DEEPEST) return true;
    }
    return false;
  }

  // Puts what follows from a prompt below a row of its own, and what was queued into it in between. A turn is not an event: its
  // generations tell of it. In privacy mode they do not, and there are no turns.
  function addTurns(trace) {
    const turns = [];
    let turn = null;
    const before = [];
    for (const node of trace.children) {
      const prompt = node.p.$ai_user_prompt;
      if (node.kind === "model" && !node.p.$ai_agent_name && typeof prompt === "string") {
        const added = turn === null ? null : queuedInto(turn.latest, prompt);
        if (added !== null) {
          turn.children.push({ ...newNode("queued", null, {}), prompt: added, start: node.start, end: node.start, parent: turn });
        } else if (turn === null || turn.latest !== prompt || asks(node.p, prompt)) {
          turn = { ...newNode("turn", null, {}), prompt, parent: trace };
          turns.push(turn);
        }
        turn.latest = prompt;
      }
      (turn?.children ?? before).push(node);
      if (turn !== null) node.parent = turn;
    }
    if (turns.length === 0) return;
    trace.children = [...before, ...turns];
    // A trace that is called as its only prompt says it once.
    if (turns.length === 1 && before.length === 0 && sameWords(titleOf(trace), titleOf(turns[0]))) {
      trace.children = turns[0].children;
      trace.prompt = turns[0].prompt;
      for (const child of trace.children) child.parent = trace;
    }
  }

  // What was queued into a turn, if that is how its prompt grew.
  function queuedInto(before, now) {
    return now.startsWith(`${before}\n\n`) ? now.slice(before.length + 2) : null;
  }

  // A name is cut where a prompt goes on.
  function sameWords(name, prompt) {
    return name === prompt || (name.endsWith("…") && prompt.startsWith(name.slice(0, -1)));
  }

  // Does a response answer the prompt itself, and not a tool's result?
  function asks(p, prompt) {
    return Array.isArray(p.$ai_input) && p.$ai_input.some((m) => m?.role === "user" && m.content === prompt);
  }

  // What a node has of its descendants: times, sums, errors.
  function finish(node, depth) {
    node.depth = depth;
    node.sums = COUNTS.map(([, name]) => (node.kind === "model" && Number.isFinite(node.p[name]) ? node.p[name] : 0));
    node.calls = node.kind === "model" ? 1 : 0;
    node.tools = node.kind === "tool" ? 1 : 0;
    node.size = 1;
    let first = Infinity;
    let last = -Infinity;
    node.waits = node.waited > 0 ? [[node.start, node.start + node.waited]] : [];
    for (const child of node.children) {
      finish(child, depth + 1);
      // A pause within a turn is waiting, too: for a background job, a teammate, a timer.
      if (node.kind === "turn" && last !== -Infinity && child.start - last >= PAUSE) node.waits.push([last, child.start]);
      for (const wait of child.waits) node.waits.push(wait);
      child.sums.forEach((sum, i) => (node.sums[i] += sum));
      node.calls += child.calls;
      node.tools += child.tools;
      node.size += child.size;
      if (child.error && child.event !== null) node.errors.push(child);
      for (const error of child.errors) node.errors.push(error);
      for (const mark of [...marksOf(child), ...child.marks]) node.marks.push(mark);
      if (child.start < first) first = child.start;
      if (child.until > last) last = child.until;
    }
    if (node.kind === "turn" || node.kind === "trace") {
      node.start = first === Infinity ? node.end : first;
      node.end = last === -Infinity ? node.end : last;
      if (node.kind === "turn") node.error = false;
    }
    node.until = Math.max(node.end, last);
  }

  // Milliseconds that were waited in a node; what waited side by side counts once.
  function waitedIn(node) {
    if (node.kind === "trace") return (node.p.claude_code_wait_seconds ?? 0) * 1000;
    if (node.kind !== "turn") return node.waited;
    let [sum, until] = [0, -Infinity];
    for (const [from, to] of node.waits.sort((a, b) => a[0] - b[0])) {
      sum += Math.max(0, to - Math.max(from, until));
      until = Math.max(until, to);
    }
    return sum;
  }

  // What stands where a secret was.
  const REDACTED = /\[redacted:[^\]\s]{1,100}\]/g;
  const TEXTS = ["$ai_input", "$ai_output_choices", "$ai_input_state", "$ai_output_state", "$ai_error"];

  // How many secrets were replaced in an event's own texts.
  function redactionsIn(node) {
    if (node.event === null || node.kind === "trace") return 0;
    const texts = TEXTS.map((name) => node.p[name]).filter((text) => text !== undefined);
    return JSON.stringify(texts).match(REDACTED)?.length ?? 0;
  }

  // What a person looks for in a long session: where it was stopped, and where its context was compacted.
  function marksOf(node) {
    const marks = [];
    if (node.p.claude_code_interrupted === true) marks.push({ kind: "stop", at: node.end });
    if (node.p.claude_code_rejected === true) marks.push({ kind: "refused", at: node.end });
    if (node.p.claude_code_compacted === true) marks.push({ kind: "compaction", at: node.start });
    return marks;
  }

  // In its row, a trace that is called as its first prompt is just the session: the prompt's row follows.
  function rowTitleOf(node) {
    const first = node.kind === "trace" ? node.children.find((child) => child.kind === "turn") : undefined;
    return first !== undefined && sameWords(titleOf(node), titleOf(first)) ? "Session" : titleOf(node);
  }

  function titleOf(node) {
    switch (node.kind) {
      case "queued": return `+ ${oneLine(node.prompt)}`;
      case "trace": return node.p.$ai_span_name || node.p.$ai_trace_name || "Claude Code session";
      case "turn": return oneLine(node.prompt) || "(empty prompt)";
      case "tool": return node.p.$ai_span_name || "(tool)";
      default: return node.p.$ai_span_name || node.p.$ai_model || "(model)";
    }
  }

  // The first words of what a row stands for.
  function previewOf(node) {
    if (node.kind === "tool") return oneLine(inputWords(node.p.$ai_input_state));
    if (node.kind !== "model") return "";
    if (node.error) return oneLine(node.p.$ai_error || node.p.$ai_error_type);
    let thinking = "";
    for (const message of listOf(node.p.$ai_output_choices)) {
      if (typeof message?.content === "string") return oneLine(message.content);
      for (const part of listOf(message?.content)) {
        if (typeof part?.text === "string") return oneLine(part.text);
        if (typeof part?.thinking === "string") thinking ||= part.thinking;
      }
    }
    return oneLine(thinking) || String(node.p.$ai_tools_called ?? "");
  }

  // Arguments that tell what a tool does, the most telling first.
  const TELLING = [
    "command", "file_path", "notebook_path", "pattern", "query", "url", "description", "skill", "subject", "plan", "path",
    "prompt", "name", "task_id", "message", "text", "content", "id",
  ];

  // Of a tool's input, the argument that tells what it does.
  function inputWords(input) {
    const value = parsed(input);
    if (value === null || typeof value !== "object") return input;
    const isText = (member) => typeof member === "string" && member.trim() !== "";
    const telling = TELLING.find((name) => isText(value[name]));
    const question = listOf(value.questions)[0]?.question ?? listOf(value.todos)[0]?.content;
    return telling !== undefined ? value[telling] : question ?? Object.values(value).find(isText) ?? "";
  }

  const listOf = (value) => (Array.isArray(value) ? value : []);
  const oneLine = (text) => (typeof text === "string" ? text.slice(0, 400).replace(/\s+/g, " ").trim() : "");

  function parsed(text) {
    if (typeof text !== "string" || !/^\s*[[{]/.test(text)) return null;
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }

  // All text of an event in lower case, for the search.
  function textOf(node) {
    if (node.text === null) {
      const texts = [];
      const collect = (value, name) => {
        if (value !== null && typeof value === "object") for (const key of Object.keys(value)) collect(value[key], key);
        else texts.push(name, String(value));
      };
      if (node.event !== null) collect(node.event, "");
      else if (node.prompt) texts.push(node.prompt);
      node.text = texts.join("\n").toLowerCase();
    }
    return node.text;
  }

  // ---- Time: a session can pause for a night, so idle time and waiting are folded

  function timeScale(nodes) {
    const timed = nodes.filter((n) => n.event !== null && n.kind !== "trace" && Number.isFinite(n.start));
    const waits = timed.filter((n) => n.waited > 0).map((n) => [n.start, n.start + n.waited]);
    // A sub-agent's call waits where the sub-agent's own call does: what works meanwhile is seen.
    const spans = timed
      .flatMap((n) => (n.waited > 0 ? [[n.start, n.start], [n.start + n.waited, n.end]] : [[n.start, n.end]]))
      .sort((a, b) => a[0] - b[0]);
    const busy = [];
    for (const [start, end] of spans) {
      const last = busy[busy.length - 1];
      if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
      else busy.push([start, end]);
    }
    const work = busy.reduce((sum, [start, end]) => sum + end - start, 0) || 1;
    const long = Math.min(Math.max(work * 0.03, 5000), 60000);
    const gaps = busy.filter(([start], i) => i > 0 && start - busy[i - 1][1] > long).length;
    const folded = Math.min(long, (work * 0.15) / Math.max(gaps, 1));
    const pieces = [];
    let x = 0;
    busy.forEach(([start, end], i) => {
      if (i > 0) {
        const from = busy[i - 1][1];
        const isLong = start - from > long;
        const width = isLong ? folded : start - from;
        const isWait = waits.some(([a, b]) => a < start && b > from);
        pieces.push({ from, to: start, x, width, idle: isLong, why: isWait ? "waiting" : "idle" });
        x += width;
      }
      pieces.push({ from: start, to: end, x, width: end - start, idle: false });
      x += end - start;
    });
    const position = (time) => {
      if (pieces.length === 0) return 0;
      let low = 0;
      let high = pieces.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (pieces[middle].from <= time) low = middle;
        else high = middle - 1;
      }
      const { from, to, x, width } = pieces[low];
      return x + (to > from ? Math.min(1, Math.max(0, (time - from) / (to - from))) * width : 0);
    };
    return { position, length: Math.max(x, 1), idle: pieces.filter((piece) => piece.idle) };
  }

  // A round number near `rough` milliseconds.
  function roundStep(rough) {
    const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5];
    return steps.find((step) => step >= rough) ?? Math.ceil(rough / 36e5) * 36e5;
  }

  // ---- Words

  const number = new Intl.NumberFormat("en");
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
  const count = (n, word) => `${number.format(n)} ${word}${n === 1 ? "" : "s"}`;

  function duration(ms) {
    if (!Number.isFinite(ms)) return "–";
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (ms < 59950) return `${(ms / 1000).toFixed(1)} s`;
    const minutes = Math.floor(Math.round(ms / 1000) / 60);
    const two = (n) => String(n).padStart(2, "0");
    if (minutes < 60) return `${minutes} min ${two(Math.round(ms / 1000) % 60)} s`;
    if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
    return `${Math.floor(minutes / 1440)} days ${Math.floor((minutes % 1440) / 60)} h`;
  }

  function clock(time) {
    return Number.isFinite(time) ? new Date(time).toISOString().replace("T", " ").replace("Z", " UTC") : "–";
  }

  return {
    COUNTS, toTree, titleOf, rowTitleOf, previewOf, textOf, timeScale, roundStep, number, short, count, duration, clock, listOf, parsed, marksOf, waitedIn,
    REDACTED, redactionsIn,
  };
})();
