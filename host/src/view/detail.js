// What is told of one event: facts, texts, and the event as it is sent. trace.js shows it beside the list.
"use strict";

const traceDetail = (() => {
  const { COUNTS, REDACTED, clock, count, duration, listOf, number, parsed, redactionsIn, waitedIn } = traceTree;

  // What came of a session.
  const OUTCOME = [
    ["Lines added", "claude_code_lines_added"], ["Lines removed", "claude_code_lines_removed"], ["Files changed", "claude_code_files_changed"],
    ["Commits", "claude_code_commits"], ["Refused", "claude_code_rejected"], ["Stopped", "claude_code_interrupted"], ["Retries", "claude_code_retries"],
    ["Compactions", "claude_code_compactions"], ["Secrets replaced", "claude_code_redactions"],
  ];

  // `el` makes elements; `searched` gives the text that is searched for, in lower case.
  return function traceDetail(el, searched) {
    function content(node) {
      const p = node.p;
      const parts = [facts(node)];
      if (node.kind === "trace" ? p.$ai_error : node.error) {
        const what = [p.$ai_error_type, p.$ai_http_status].filter((x) => x !== undefined).join(", ");
        parts.push(block(what ? `Error: ${what}` : node.kind === "trace" ? "Last error" : "Error", p.$ai_error, "bad"));
      }
      if (node.prompt !== undefined) parts.push(block("Prompt", node.prompt));
      if (p.$ai_input_state !== undefined) parts.push(...state_("Input", p.$ai_input_state));
      if (p.$ai_output_state !== undefined) parts.push(...state_("Output", p.$ai_output_state));
      if (p.$ai_input !== undefined) parts.push(el("h3", { text: "New in the input" }), ...messages(p.$ai_input));
      if (p.$ai_output_choices !== undefined) parts.push(el("h3", { text: "Answer" }), ...messages(p.$ai_output_choices));
      const texts = ["$ai_input", "$ai_output_choices", "$ai_input_state", "$ai_output_state"];
      if ((node.kind === "model" || node.kind === "tool") && texts.every((name) => p[name] === undefined)) {
        parts.push(el("p", { class: "note", text: "Of this event no text is sent." }));
      }
      return parts;
    }

    function facts(node) {
      const p = node.p;
      const list = [];
      const fact = (name, value) => value !== undefined && value !== null && value !== "" && list.push(el("dt", { text: name }), el("dd", { text: String(value) }));
      fact("Began", clock(node.start));
      if (node.kind === "trace" && node.seconds !== null) fact("Work", duration(node.seconds * 1000));
      else if (node.kind === "queued") return el("dl", { class: "facts" }, ...list);
      else fact("Took", node.seconds === null && node.event !== null ? "unknown" : duration(node.end - node.start - waitedIn(node)));
      const waited = waitedIn(node);
      if (waited > 0) fact("Waited", duration(waited));
      if (node.kind === "trace" || node.kind === "turn") {
        fact("Model calls", number.format(node.calls));
        fact("Tool calls", number.format(node.tools));
        if (node.errors.length > 0) fact("Errors", number.format(node.errors.length));
        COUNTS.forEach(([name], i) => fact(`Tokens ${name}`, number.format(node.sums[i])));
        const missing = [["input", "in"], ["output", "out"], ["cache_read", "cache read"], ["cache_creation", "cache write"]]
          .map(([name, word]) => [p[`claude_code_unaccounted_${name}_tokens`], word]).filter(([n]) => n > 0);
        fact("Not in the transcript", missing.map(([n, word]) => `${number.format(n)} ${word}`).join(", "));
        for (const [name, property] of OUTCOME) if (p[property] > 0) fact(name, number.format(p[property]));
        fact("Pull request", p.claude_code_pr_url);
        return el("dl", { class: "facts" }, ...list);
      }
      if (node.kind === "model") {
        COUNTS.forEach(([name, property]) => Number.isFinite(p[property]) && fact(`Tokens ${name}`, number.format(p[property])));
        if (p.claude_code_output_tokens_partial) fact("Note", "the count of output tokens is incomplete");
        fact("Stop reason", p.$ai_stop_reason);
        fact("Effort", p.$ai_effort);
        fact("Skill", p.claude_code_skill);
      }
      const redacted = redactionsIn(node);
      if (redacted > 0) fact("Secrets replaced", number.format(redacted));
      fact("Sub-agent", p.$ai_agent_name);
      fact("MCP server", p.claude_code_mcp_server);
      if (p.claude_code_rejected) fact("Refused", "by the user");
      if (p.claude_code_interrupted) fact("Stopped", "by the user");
      if (p.claude_code_retries > 0) fact("Retries", `${number.format(p.claude_code_retries)}, ${duration((p.claude_code_retry_seconds ?? 0) * 1000)} lost`);
      if (p.claude_code_lines_added !== undefined) fact("Lines", `+${number.format(p.claude_code_lines_added)} −${number.format(p.claude_code_lines_removed ?? 0)}`);
      if (p.claude_code_user_modified) fact("Changed", "by the user before it was written");
      if (p.claude_code_no_result) fact("Result", "none in the transcript");
      return el("dl", { class: "facts" }, ...list);
    }

    function block(title, text, tone) {
      return el("div", { class: `block ${tone ?? ""}` }, el("h3", { text: title }),
        text === undefined || text === null || text === "" ? null : marked(String(text)));
    }

    // A tool's input and output are texts; those that are JSON objects are easier to read by their members.
    function state_(title, text) {
      const value = title === "Input" ? parsed(text) : null;
      if (value === null || Array.isArray(value)) return [block(title, text)];
      const members = Object.entries(value).map(([name, member]) =>
        el("div", { class: "member" }, el("span", { class: "role", text: name }), marked(typeof member === "string" ? member : JSON.stringify(member, null, 2))));
      return [el("div", { class: "block" }, el("h3", { text: title }), ...members)];
    }

    function messages(list) {
      if (!Array.isArray(list)) return [marked(JSON.stringify(list, null, 2))];
      return list.map((message) => {
        const parts = [];
        const texts = typeof message?.content === "string" ? [{ type: "text", text: message.content }] : listOf(message?.content);
        let role = String(message?.role ?? "?");
        for (const part of texts) {
          if (part?.type === "thinking") role = "thinking";
          const text = part?.text ?? part?.thinking;
          parts.push(marked(typeof text === "string" ? text : JSON.stringify(part, null, 2)));
        }
        for (const call of listOf(message?.tool_calls)) {
          const input = parsed(call?.function?.arguments);
          parts.push(el("p", { class: "call" }, el("b", { text: call?.function?.name ?? "?" })), marked(input === null ? String(call?.function?.arguments ?? "") : JSON.stringify(input, null, 2)));
        }
        return el("div", { class: `message ${["user", "assistant", "tool", "thinking"].includes(role) ? role : ""}` }, el("span", { class: "role", text: role }), ...parts);
      });
    }

    function whatIsSent(node) {
      if (node.event === null) {
        return [el("p", { class: "none", text: node.kind === "turn" ? "A turn is not an event: it is drawn from the model calls that answer one prompt." : node.kind === "queued" ? "What was queued is no event: it is in the input of the next model call." : "This trace has no event of its own." })];
      }
      const { properties, ...envelope } = node.event;
      const rowOf = ([name, value]) => el("tr", {}, el("th", { scope: "row", text: name }),
        el("td", { class: value === null ? "null" : typeof value }, marked(typeof value === "string" ? value : JSON.stringify(value, null, 2))));
      const json = JSON.stringify(node.event, null, 2);
      const copy = el("button", { type: "button", text: "Copy as JSON", onclick: async () => {
        try {
          await navigator.clipboard.writeText(json);
          copy.textContent = "Copied";
        } catch {
          copy.textContent = "The browser does not allow it";
        }
        setTimeout(() => (copy.textContent = "Copy as JSON"), 1500);
      } });
      const entries = Object.entries(properties ?? {});
      return [
        el("p", { class: "note" }, el("span", { text: `The event as it is sent: ${count(entries.length, "property").replace("propertys", "properties")}` }), copy),
        el("table", {}, el("tbody", {}, ...Object.entries(envelope).map(rowOf))),
        el("table", {}, el("tbody", {}, ...entries.map(rowOf))),
      ];
    }

    // A text with what was redacted and what is searched for marked in it.
    function marked(text) {
      const pre = el("pre", { tabindex: "-1" });
      let at = 0;
      for (const found of text.matchAll(REDACTED)) {
        appendMarked(pre, text.slice(at, found.index));
        const secret = el("span", { class: "redacted", title: "A secret was here: it is not sent" });
        appendMarked(secret, found[0]);
        pre.append(secret);
        at = found.index + found[0].length;
      }
      appendMarked(pre, text.slice(at));
      return pre;
    }

    function appendMarked(element, text) {
      const query = searched();
      const lower = text.toLowerCase();
      let at = 0;
      // A letter whose lower case has another length would shift everything after it.
      for (let found = query !== "" && lower.length === text.length ? lower.indexOf(query) : -1; found >= 0; found = lower.indexOf(query, at)) {
        element.append(text.slice(at, found), el("mark", { text: text.slice(found, found + query.length) }));
        at = found + query.length;
      }
      element.append(text.slice(at));
    }

    return { content, whatIsSent };
  };
})();
