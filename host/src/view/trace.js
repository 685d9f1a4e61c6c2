// Draws the events of one Claude Code session: its tree, a waterfall, filters, and what is sent of each.
//
//   drawTrace(element, events)
//
//   element  an empty block element with a height of its own; everything is drawn into it. Needs tree.js, detail.js and trace.css.
//   events   an array of PostHog events, as `posthog-llma convert` prints them, one JSON object a line:
//            {event: "$ai_generation" | "$ai_span" | "$ai_trace", uuid, distinct_id, timestamp, properties}
//
// A plain script: no module, no library, no network, no storage. Everything in the events is data: it reaches the page by
// `textContent` alone, so a strict Content-Security-Policy (no inline style, no eval) can stand beside it. Rows are drawn
// only where they are seen, so that a session may have many thousands.
"use strict";

const drawTrace = (() => {
  const ROW = 28; // Pixels; `--row` in trace.css.
  const EDGE = 24; // Pixels right of the bars, as in trace.css.
  const OVERSCAN = 10; // Rows that are drawn above and below those that are seen.
  const COLLAPSE_ABOVE = 150; // A session with more rows begins with its turns closed.

  const { COUNTS, toTree, titleOf, rowTitleOf, previewOf, textOf, timeScale, roundStep } = traceTree;
  const { number, short, count, duration, clock, marksOf, redactionsIn, waitedIn } = traceTree;

  // What the colors and marks mean; only those that the session has are told.
  const has = (property) => (nodes) => nodes.some((node) => node.p[property] === true);
  const LEGEND = {
    model: { text: "model", when: () => true },
    tool: { text: "tool", when: (nodes) => nodes.some((node) => node.kind === "tool") },
    agent: { text: "sub-agent", when: (nodes) => nodes.some((node) => node.p.$ai_agent_name) },
    error: { text: "error", when: (nodes) => nodes.some((node) => node.error) },
    wait: { text: "waiting", when: (nodes) => nodes.some((node) => node.waited > 0) },
    stop: { text: "stopped", when: has("claude_code_interrupted") },
    refused: { text: "refused", when: has("claude_code_rejected") },
    compaction: { text: "compaction", when: has("claude_code_compacted") },
  };

  // ---- Elements

  function el(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  function place(element, left, width) {
    element.style.left = `${left}%`;
    if (width !== undefined) element.style.width = `${width}%`;
    return element;
  }

  // ---- The view

  return function drawTrace(element, events) {
    const roots = toTree(events);
    const all = [];
    const walk = (node) => {
      node.index = all.length;
      all.push(node);
      node.children.forEach(walk);
    };
    roots.forEach(walk);
    const sent = all.filter((node) => node.event !== null);
    const scale = timeScale(all);
    const state = { rows: [], selected: null, query: "", kind: "", errors: false, from: 0, to: scale.length, tab: "content" };
    if (all.length > COLLAPSE_ABOVE) for (const node of all) node.open = node.kind !== "turn";

    const detail = traceDetail(el, () => state.query);
    const ui = frame();
    element.classList.add("trace");
    element.replaceChildren(ui.header, ui.bar, ui.main, ui.keys);

    function frame() {
      const tools = new Map();
      for (const node of sent) if (node.kind === "tool") tools.set(titleOf(node), (tools.get(titleOf(node)) ?? 0) + 1);
      const models = sent.filter((node) => node.kind === "model").length;
      const errors = sent.filter((node) => node.error && node.kind !== "trace").length;
      const option = (value, text) => el("option", { value, text });
      const kind = el("select", { "aria-label": "Kind of event", onchange: () => filter({ kind: kind.value }) },
        option("", "All events"), option("model", `Model calls (${models})`),
        option("tool", `Tool calls (${sent.filter((node) => node.kind === "tool").length})`));
      if (tools.size > 0) {
        const names = [...tools].sort((a, b) => b[1] - a[1]);
        kind.append(el("optgroup", { label: "One tool" }, ...names.map(([name, n]) => option(`tool:${name}`, `${name} (${n})`))));
      }
      const search = el("input", {
        type: "search", placeholder: "Search", "aria-label": "Search all text", spellcheck: "false",
        oninput: () => filter({ query: search.value.trim().toLowerCase() }), onkeydown: searchKey,
      });
      const onlyErrors = el("button", {
        type: "button", class: "errors", "aria-pressed": "false", disabled: errors === 0,
        text: count(errors, "error"), onclick: () => filter({ errors: !state.errors }),
      });
      const button = (text, label, onclick) => el("button", { type: "button", text, title: label, "aria-label": label, onclick });
      const matches = el("span", { class: "matches", role: "status" });
      const canOpen = all.some((node) => node.kind === "turn");
      const fold = canOpen ? button("", "Open or close all turns (o)", foldAll) : null;
      const bar = el("div", { class: "bar", role: "toolbar", "aria-label": "Filters" },
        search, kind, onlyErrors, matches, el("span", { class: "space" }), fold,
        el("span", { class: "group" }, button("−", "Zoom out (-)", () => zoom(2)), button("Fit", "Show all time (0)", fit),
          button("+", "Zoom in (+)", () => zoom(0.5))),
        button("?", "Keys (?)", () => keys.showModal()));
      const axis = el("div", { class: "axis", "aria-hidden": "true" });
      const grid = el("div", { class: "grid", "aria-hidden": "true" });
      const rows = el("div", { class: "rows", role: "presentation" });
      const list = el("div", {
        class: "list", role: "tree", tabindex: "0", "aria-label": "Events", onkeydown: listKey, onscroll: () => requestAnimationFrame(draw),
        onwheel: wheel,
      }, grid, rows);
      const detail = el("section", { class: "detail", "aria-label": "Details", tabindex: "-1" });
      const shortcuts = [
        ["↑ ↓ or k j", "previous, next row"], ["← →", "close, open; parent, first child"], ["Home End", "first, last row"],
        ["Enter", "details"], ["Esc", "back to the list; clear the filters"], ["/", "search"], ["n N", "next, previous match"],
        ["e", "next error"], ["o", "open or close all turns"], ["z", "zoom to the row (or double-click its bar)"], ["+ − 0", "zoom in, out, all time"],
        ["t", "content, or what is sent"],
      ];
      const keys = el("dialog", { class: "keys", "aria-label": "Keys" },
        el("h2", { text: "Keys" }),
        el("dl", {}, ...shortcuts.flatMap(([key, what]) => [el("dt", { text: key }), el("dd", { text: what })])),
        el("form", { method: "dialog" }, el("button", { text: "Close" })));
      const legend = el("div", { class: "legend", "aria-hidden": "true" },
        ...["model", "tool", "agent", "error", "wait", "stop", "refused", "compaction"].filter((name) => LEGEND[name].when(all))
          .map((name) => el("span", { class: name, text: LEGEND[name].text })));
      const head = el("div", { class: "head" }, legend, axis);
      const main = el("div", { class: "main" }, el("div", { class: "events" }, head, list), detail);
      return { header: header(models, errors), bar, main, keys, list, grid, rows, head, axis, detail, search, kind, onlyErrors, matches, fold };
    }

    function header(models, errors) {
      const sums = COUNTS.map((_, i) => roots.reduce((sum, root) => sum + root.sums[i], 0));
      const of = (name) => roots.reduce((sum, root) => sum + (Number.isFinite(root.p[name]) ? root.p[name] : 0), 0);
      const one = (name) => sent.find((node) => typeof node.p[name] === "string")?.p[name];
      const work = roots.reduce((sum, root) => sum + (root.seconds ?? 0), 0) * 1000;
      const wait = of("claude_code_wait_seconds") * 1000;
      const [added, removed] = [of("claude_code_lines_added"), of("claude_code_lines_removed")];
      const stat = (value, name, exact) => el("div", { class: name.startsWith("error") ? "bad" : null, title: exact }, el("b", { text: value }), el("span", { text: name }));
      const counted = (n, name) => (n > 0 ? stat(number.format(n), n === 1 ? name : `${name}s`) : null);
      const about = [
        one("$ai_project_name"), one("$ai_git_branch"), one("$ai_git_repo"),
        roots.some((root) => root.p.$ai_span_type === "agent") && `attached to the trace ${roots[0].p.$ai_trace_id}`,
        one("claude_code_version") && `Claude Code ${one("claude_code_version")}`,
        roots.length > 0 && Number.isFinite(roots[0].start) ? clock(roots[0].start).replace(/:\d\d\.\d+/, "") : null,
      ].filter(Boolean);
      const named = roots.length > 0 ? titleOf(roots[0]) : "No events";
      const isUnknown = models > 0 && sent.every((n) => n.kind !== "model" || COUNTS.every(([, name]) => !Number.isFinite(n.p[name])));
      const isPrivate = models > 0 && sent.every((n) => !n.p.$ai_input && !n.p.$ai_output_choices && !n.p.$ai_input_state);
      return el("header", {},
        el("div", { class: "name" },
          el("h1", { text: named, title: named }), el("p", { text: about.join("  ·  ") }),
          isPrivate ? el("p", { class: "private", text: "Privacy mode: prompts, answers and tool texts are not sent" }) : null),
        el("div", { class: "stats" },
          stat(duration(work), "work"), wait > 0 ? stat(duration(wait), "waiting") : null, counted(of("claude_code_turns"), "turn"), counted(models, "model call"),
          counted(sent.filter((n) => n.kind === "tool").length, "tool call"), counted(of("claude_code_subagents"), "sub-agent"),
          ...COUNTS.map(([name], i) => isUnknown
            ? stat("?", i < 2 ? `tokens ${name}` : name, "unknown: the transcript has no counts")
            : stat(short.format(sums[i]), i < 2 ? `tokens ${name}` : name, `${number.format(sums[i])} tokens`)),
          added + removed > 0 ? stat(`+${number.format(added)} −${number.format(removed)}`, "lines") : null,
          counted(of("claude_code_rejected"), "refusal"), counted(errors, "error")));
    }

    // -- Which rows

    function filter(change) {
      Object.assign(state, change);
      refresh();
      if (state.selected !== null && !state.rows.includes(state.selected)) {
        select(state.rows.find((node) => node.hit) ?? state.rows[0] ?? null, false);
      } else {
        showDetail();
      }
      reveal();
    }

    function isFiltered() {
      return state.query !== "" || state.kind !== "" || state.errors;
    }

    function matches(node) {
      if (state.errors && (!node.error || node.kind === "trace")) return false;
      if (state.kind.startsWith("tool:") && (node.kind !== "tool" || titleOf(node) !== state.kind.slice(5))) return false;
      if ((state.kind === "model" || state.kind === "tool") && node.kind !== state.kind) return false;
      return state.query === "" || textOf(node).includes(state.query);
    }

    function refresh() {
      const filtered = isFiltered();
      const rows = [];
      const add = (node) => {
        node.hit = !filtered || matches(node);
        const at = rows.length;
        rows.push(node);
        if (filtered || node.open) node.children.forEach(add);
        // Of what does not match, only the way to a match stays.
        if (filtered && !node.hit && rows.length === at + 1) rows.pop();
      };
      roots.forEach(add);
      state.rows = rows;
      const hits = rows.filter((node) => node.hit).length;
      ui.matches.textContent = filtered ? `${number.format(hits)} of ${number.format(all.length)} rows` : "";
      ui.onlyErrors.setAttribute("aria-pressed", String(state.errors));
      ui.kind.value = state.kind;
      if (ui.fold) ui.fold.textContent = anyClosed() ? "Open all" : "Close all";
      ui.rows.style.height = `${rows.length * ROW}px`;
      draw();
    }

    const anyClosed = () => all.some((node) => node.kind === "turn" && !node.open);

    function foldAll() {
      const open = anyClosed();
      for (const node of all) if (node.kind === "turn") node.open = open;
      while (state.selected !== null && !isShown(state.selected)) state.selected = state.selected.parent;
      refresh();
      select(state.selected, true);
    }

    function isShown(node) {
      for (let above = node.parent; above !== null; above = above.parent) if (!above.open) return false;
      return true;
    }

    function toggle(node, open = !node.open) {
      if (node.children.length === 0 || isFiltered()) return;
      node.open = open;
      refresh();
    }

    // -- Rows

    function draw() {
      const first = Math.max(0, Math.floor(ui.list.scrollTop / ROW) - OVERSCAN);
      const last = Math.min(state.rows.length, Math.ceil((ui.list.scrollTop + ui.list.clientHeight) / ROW) + OVERSCAN);
      ui.rows.replaceChildren(...state.rows.slice(first, last).map((node, i) => row(node, first + i)));
      const selected = state.rows.indexOf(state.selected);
      if (selected >= first && selected < last) ui.list.setAttribute("aria-activedescendant", rowId(selected));
      else ui.list.removeAttribute("aria-activedescendant");
      drawAxis();
    }

    const rowId = (index) => `trace-row-${index}`;
    const percent = (x) => ((x - state.from) / (state.to - state.from)) * 100;

    function row(node, index) {
      const isAgent = Boolean(node.p.$ai_agent_name);
      const group = node.kind === "trace" || node.kind === "turn" || node.kind === "queued";
      const tone = node.error && node.kind !== "trace" ? "error" : isAgent && node.kind === "model" ? "agent" : group ? "" : node.kind;
      const title = rowTitleOf(node);
      const caret = node.children.length > 0
        ? el("span", { class: "caret", text: node.open || isFiltered() ? "▾" : "▸", onclick: (e) => (e.stopPropagation(), toggle(node)) })
        : el("span", { class: "caret" });
      const name = el("div", { class: "label" }, caret, el("i", { class: "dot" }), el("span", { class: "title", text: title, title }),
        isAgent && node.kind === "model" ? el("span", { class: "tag", text: node.p.$ai_agent_name }) : null,
        ...factsOf(node).map(([name, text]) => el("span", { class: `fact ${name}`, text })),
        el("span", { class: "preview", text: node.kind === "queued" ? "queued" : group ? summary(node) : previewOf(node) }),
        group && node.errors.length > 0 ? el("span", { class: "count", text: node.errors.length }) : null);
      name.style.paddingInlineStart = `${node.depth * 14 + 4}px`;
      const track = el("div", { class: "track", ondblclick: (e) => (e.stopPropagation(), zoomTo(node)) });
      if (node.kind !== "queued" && Number.isFinite(node.start) && Number.isFinite(node.end)) bars(track, node, group);
      const element = el("div", {
        class: `row ${tone}${group ? " group" : ""}${node.hit ? "" : " dim"}${node === state.selected ? " selected" : ""}`,
        id: rowId(index), role: "treeitem", "aria-level": node.depth + 1, "aria-selected": String(node === state.selected),
        "aria-expanded": node.children.length > 0 ? String(node.open || isFiltered()) : null,
        "aria-setsize": node.parent ? node.parent.children.length : roots.length,
        "aria-posinset": (node.parent ? node.parent.children : roots).indexOf(node) + 1,
        onclick: () => select(node, true), ondblclick: () => toggle(node),
      }, name, track);
      element.style.top = `${index * ROW}px`;
      return element;
    }

    const summary = (node) => (node.kind === "trace"
      ? `${count(node.calls, "model call")}, ${count(node.tools, "tool call")}`
      : `${short.format(node.sums[0] + node.sums[2] + node.sums[3])} in, ${short.format(node.sums[1])} out`);

    // What a row says beside its words.
    function factsOf(node) {
      const p = node.p;
      const facts = [];
      if (p.claude_code_rejected === true) facts.push(["refused", "refused"]);
      if (p.claude_code_interrupted === true) facts.push(["stop", "stopped"]);
      if (node.kind === "model" && p.claude_code_retries > 0) facts.push(["bad", p.claude_code_retries === 1 ? "1 retry" : `${p.claude_code_retries} retries`]);
      if (p.claude_code_compacted === true) facts.push(["compaction", "compacted"]);
      const [added, removed] = [p.claude_code_lines_added ?? 0, p.claude_code_lines_removed ?? 0];
      if (node.kind !== "turn" && added + removed > 0) facts.push(["lines", `+${number.format(added)} −${number.format(removed)}`]);
      const redacted = redactionsIn(node);
      if (redacted > 0) facts.push(["redacted", `${number.format(redacted)} redacted`]);
      return facts;
    }

    function bars(track, node, group) {
      const left = percent(scale.position(node.start));
      const right = percent(scale.position(node.end));
      if (right < 0 || left > 100) return;
      const from = Math.max(left, -1);
      const worked = Math.max(percent(scale.position(node.start + node.waited)), from);
      if (node.waited > 0) track.append(place(el("i", { class: "span wait" }), from, Math.max(Math.min(worked, 101) - from, 0)));
      track.append(place(el("i", { class: "span" }), worked, Math.max(Math.min(right, 101) - worked, 0)));
      for (const mark of [...(group ? node.marks : []), ...marksOf(node)]) {
        const at = percent(scale.position(mark.at));
        if (at >= 0 && at <= 100) track.append(place(el("i", { class: `mark ${mark.kind}` }), at));
      }
      if (group) {
        // Where its errors are, as far as pixels can tell them apart.
        const seen = new Set();
        for (const error of node.errors) {
          const at = percent(scale.position(error.end));
          const pixel = Math.round(at * 4);
          if (at >= 0 && at <= 100 && !seen.has(pixel)) {
            seen.add(pixel);
            track.append(place(el("i", { class: "mark" }), at));
          }
        }
      }
      // Beside the bar, on the side that has room.
      const took = node.kind === "trace" && node.seconds !== null ? node.seconds * 1000 : node.end - node.start - waitedIn(node);
      const waited = waitedIn(node) > 0 ? ` + ${duration(waitedIn(node))} waiting` : "";
      const text = (group || node.seconds !== null ? duration(took) : "–") + waited;
      if (right < 82) track.append(place(el("span", { class: "time", text }), right));
      else if (left > 18) track.append(place(el("span", { class: "time before", text }), left));
      else if (!group) track.append(place(el("span", { class: "time before inside", text }), Math.min(right, 100)));
    }

    function drawAxis() {
      const span = state.to - state.from;
      // The list has a scroll bar, the head has none.
      ui.head.style.paddingInlineEnd = `${ui.list.offsetWidth - ui.list.clientWidth + EDGE}px`;
      const width = ui.axis.clientWidth || 400;
      const step = roundStep((span * 90) / width);
      const ticks = [];
      const lines = [];
      for (const piece of scale.idle) {
        const left = percent(piece.x);
        const w = (piece.width / span) * 100;
        // Hundreds of short ones would be noise.
        if (left + w < 0 || left > 100 || (w * width) / 100 < 4) continue;
        lines.push(place(el("i", { class: "idle" }), left, w));
        if ((w * width) / 100 > 52) ticks.push(place(el("span", { class: "pause", text: `${duration(piece.to - piece.from)} ${piece.why}`, title: "Time in which nothing ran is folded" }), left + w / 2));
      }
      for (let x = Math.ceil(state.from / step) * step; x <= state.to; x += step) {
        const left = percent(x);
        lines.push(place(el("i", { class: "line" }), left));
        if (left < 94) ticks.push(place(el("span", { class: "tick", text: tickLabel(x, step) }), left));
      }
      ui.axis.replaceChildren(...ticks);
      ui.grid.replaceChildren(el("div", { class: "lines" }, ...lines));
      ui.grid.style.height = `${Math.max(state.rows.length * ROW, ui.list.clientHeight)}px`;
    }

    function tickLabel(x, step) {
      if (x === 0) return "0";
      if (step < 1000) return x < 1000 ? `${x} ms` : `${(x / 1000).toFixed(step < 100 ? 2 : 1)} s`;
      if (x < 60000) return `${Math.round(x / 1000)} s`;
      return duration(x).replace(" 00 s", "").replace(" 00 min", "");
    }

    // -- Zoom

    function zoom(factor, around) {
      const node = state.selected;
      const middle = around ?? (node !== null && Number.isFinite(node.start) ? (scale.position(node.start) + scale.position(node.end)) / 2 : (state.from + state.to) / 2);
      const span = Math.min(scale.length, Math.max((state.to - state.from) * factor, 5));
      show(middle - span / 2, span);
    }

    function show(from, span) {
      state.from = Math.max(0, Math.min(from, scale.length - span));
      state.to = state.from + span;
      draw();
    }

    function fit() {
      show(0, scale.length);
    }

    function zoomTo(node) {
      if (node === null || !Number.isFinite(node.start)) return;
      const from = scale.position(node.start);
      const span = Math.max(scale.position(node.end) - from, 5);
      show(from - span * 0.08, Math.min(span * 1.3, scale.length));
    }

    function wheel(e) {
      const across = e.shiftKey ? e.deltaY : e.deltaX;
      if (state.to - state.from >= scale.length || Math.abs(across) < 1) return;
      e.preventDefault();
      show(state.from + (across / ui.axis.clientWidth) * (state.to - state.from), state.to - state.from);
    }

    // -- Selection and keys

    function select(node, scroll) {
      state.selected = node;
      if (scroll) reveal();
      draw();
      showDetail();
      if (scroll) element.classList.add("reading");
    }

    function reveal() {
      const top = state.rows.indexOf(state.selected) * ROW;
      if (top < 0) return;
      if (top < ui.list.scrollTop) ui.list.scrollTop = top;
      else if (top + ROW > ui.list.scrollTop + ui.list.clientHeight) ui.list.scrollTop = top + ROW - ui.list.clientHeight;
    }

    function step(by, wanted = () => true) {
      const from = state.rows.indexOf(state.selected);
      for (let i = from + by; i >= 0 && i < state.rows.length; i += by) {
        if (wanted(state.rows[i])) return move(state.rows[i]);
      }
    }

    // The next error may be in a closed turn.
    function nextError() {
      const errors = all.filter((node) => node.error && node.kind !== "trace" && (!isFiltered() || node.hit));
      if (errors.length === 0) return;
      const at = state.selected?.index ?? -1;
      const node = errors.find((error) => error.index > at) ?? errors[0];
      for (let above = node.parent; above !== null; above = above.parent) above.open = true;
      refresh();
      move(node);
    }

    // The keyboard moves without covering the list where the screen is narrow.
    function move(node) {
      state.selected = node;
      reveal();
      draw();
      showDetail();
    }

    function listKey(e) {
      const node = state.selected;
      const page = Math.max(1, Math.floor(ui.list.clientHeight / ROW) - 1);
      const keys = {
        ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
        PageDown: () => state.rows.length > 0 && move(state.rows[Math.min(state.rows.indexOf(node) + page, state.rows.length - 1)]),
        PageUp: () => state.rows.length > 0 && move(state.rows[Math.max(state.rows.indexOf(node) - page, 0)]),
        Home: () => state.rows.length > 0 && move(state.rows[0]), End: () => state.rows.length > 0 && move(state.rows[state.rows.length - 1]),
        ArrowRight: () => node !== null && (node.children.length > 0 && !node.open && !isFiltered() ? toggle(node, true) : node.children.length > 0 && step(1)),
        ArrowLeft: () => node !== null && (node.children.length > 0 && node.open && !isFiltered() ? toggle(node, false) : node.parent !== null && move(node.parent)),
        Enter: () => { element.classList.add("reading"); ui.detail.focus(); }, " ": () => node !== null && toggle(node),
        n: () => step(1, (row) => row.hit), N: () => step(-1, (row) => row.hit),
      };
      act(e, keys);
    }

    function searchKey(e) {
      act(e, {
        Enter: () => ui.list.focus(), ArrowDown: () => ui.list.focus(),
        Escape: () => { ui.search.value = ""; filter({ query: "" }); ui.list.focus(); },
      });
      e.stopPropagation();
    }

    function act(e, keys) {
      if (e.ctrlKey || e.metaKey || e.altKey || !Object.hasOwn(keys, e.key)) return;
      e.preventDefault();
      e.stopPropagation();
      keys[e.key]();
    }

    element.addEventListener("keydown", (e) => {
      if (e.target instanceof HTMLSelectElement || ui.keys.open) return;
      act(e, {
        "/": () => ui.search.focus(), "?": () => ui.keys.showModal(), e: nextError, o: () => ui.fold && foldAll(), z: () => zoomTo(state.selected),
        "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: fit, t: () => tab(state.tab === "content" ? "sent" : "content"),
        Escape: () => {
          const reading = element.classList.contains("reading") && (ui.detail.contains(document.activeElement) || isNarrow());
          if (reading) back();
          else if (isFiltered()) { ui.search.value = ""; filter({ query: "", kind: "", errors: false }); }
          ui.list.focus();
        },
      });
    });

    const isNarrow = () => getComputedStyle(ui.detail).position === "fixed";

    function back() {
      element.classList.remove("reading");
      ui.list.focus();
    }

    // -- Details

    function tab(name) {
      state.tab = name;
      showDetail();
    }

    function showDetail() {
      const node = state.selected;
      if (node === null) {
        ui.detail.replaceChildren(el("p", { class: "none", text: all.length === 0 ? "Nothing to send: no model was called in this session." : "Nothing matches." }));
        return;
      }
      const kinds = { trace: "Trace", turn: "Turn", queued: "Queued while the model worked", tool: "Tool call", model: node.p.$ai_agent_name ? "Sub-agent’s model call" : "Model call" };
      const tabs = [["content", "Content"], ["sent", "What is sent"]].map(([name, text]) =>
        el("button", { type: "button", role: "tab", "aria-selected": String(state.tab === name), text, onclick: () => tab(name) }));
      const body = state.tab === "content" ? detail.content(node) : detail.whatIsSent(node);
      ui.detail.replaceChildren(
        el("div", { class: "top" },
          el("button", { type: "button", class: "close", text: "←", "aria-label": "Back to the list", onclick: back }),
          el("div", {}, el("p", { class: "kind", text: kinds[node.kind] }), el("h2", { text: titleOf(node) }))),
        el("div", { class: "tabs", role: "tablist" }, ...tabs),
        el("div", { class: "body", role: "tabpanel", tabindex: "0" }, ...body));
    }

    refresh();
    select(roots[0] ?? null, false);
    new ResizeObserver(() => draw()).observe(ui.list);
  };
})();
