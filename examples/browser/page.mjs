// The page: files in, the trace out. `instantiate` is what jco has made of the converter, `compile` gives its core module.

const PIECE = 1 << 20;
const OPTIONS = { traceGrouping: 'session', privacyMode: false, redactSecrets: true, maxAttributeLength: 12000 };

export async function page(instantiate, compile) {
  // No import: whatever is in the component, it can reach nothing.
  const { conversion } = await instantiate(compile, {});
  const drop = document.querySelector('#drop');
  const show = async (files) => {
    say('Converting …');
    try {
      const { events, report } = await convert(conversion, await session(await files));
      draw(events);
      say(summary(events, report));
    } catch (error) {
      draw([]);
      // What an interface says went wrong is the payload.
      say(error.payload ? JSON.stringify(error.payload) : error.message, true);
    }
  };
  drop.querySelector('input').addEventListener('change', ({ target }) => {
    show([...target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  });
  for (const kind of ['dragenter', 'dragover', 'dragleave', 'drop']) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle('over', kind === 'dragenter' || kind === 'dragover');
    });
  }
  drop.addEventListener('drop', ({ dataTransfer }) => {
    const entries = [...dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    show(Promise.all(entries.map(filesIn)).then((files) => files.flat()));
  });
  say('Ready.');
}

/** All files of a dropped entry, with their paths. */
async function filesIn(entry) {
  if (entry.isFile) {
    return [{ path: entry.fullPath, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  }
  const reader = entry.createReader();
  const files = [];
  // A reader gives at most 100 entries at once, and none at the end.
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return files;
    for (const entry of entries) files.push(...(await filesIn(entry)));
  }
}

/** Which of the files is the session's transcript, and which are those of its sub-agents. */
async function session(files) {
  const name = ({ path }) => path.split('/').pop();
  const transcripts = files.filter((file) => name(file).endsWith('.jsonl'));
  const mains = transcripts.filter((file) => !name(file).startsWith('agent-'));
  if (mains.length !== 1) throw new Error(`One session's transcript is needed, and there are ${mains.length}.`);
  const agents = transcripts.filter((file) => name(file).startsWith('agent-')).map(async (file) => {
    const notes = files.find(({ path }) => path === file.path.replace(/jsonl$/, 'meta.json'));
    const agentId = name(file).slice('agent-'.length, -'.jsonl'.length);
    const workflowRun = /\/(wf_[^/]*)\/[^/]*$/.exec(file.path)?.[1];
    return { ...file, role: { tag: 'agent', val: { agentId, metadata: await notes?.file.text(), workflowRun } } };
  });
  const sorted = (await Promise.all(agents)).sort((a, b) => (a.role.val.agentId < b.role.val.agentId ? -1 : 1));
  const [main] = mains;
  return { id: name(main).slice(0, -'.jsonl'.length), files: [{ ...main, role: { tag: 'main' } }, ...sorted] };
}

async function convert(conversion, { id, files }) {
  const session = conversion.Session.open(id, files.map(({ role }) => role), OPTIONS);
  const lines = [];
  const take = () => {
    const decoder = new TextDecoder();
    for (let bytes; (bytes = session.takeEvents(PIECE)).length; ) {
      lines.push(...decoder.decode(bytes).split('\n').filter(Boolean));
    }
  };
  for await (const [index, piece] of pieces(files)) session.scan(index, piece);
  for await (const [index, piece] of pieces(files)) {
    session.convert(index, piece);
    take();
  }
  session.finish();
  take();
  const report = session.report();
  session[Symbol.dispose]?.();
  return { events: lines.map((line) => JSON.parse(line)), report };
}

async function* pieces(files) {
  for (const [index, { file }] of files.entries()) {
    for (let offset = 0; offset < file.size; offset += PIECE) {
      yield [index, new Uint8Array(await file.slice(offset, offset + PIECE).arrayBuffer())];
    }
  }
}

function say(text, failed = false) {
  const said = document.querySelector('#said');
  said.textContent = text;
  said.classList.toggle('error', failed);
}

function summary(events, report) {
  const bad = report.badLines > 0n ? `, ${report.badLines} damaged lines` : '';
  const input = report.inputTokens + report.cacheReadTokens + report.cacheCreationTokens;
  const tokens = `${input} tokens in, ${report.outputTokens} out`;
  const { generations, spans } = report;
  return `${events.length} events: ${generations} model calls, ${spans} tool calls; ${tokens}${bad}`;
}

/** A tree of the events: each below the one whose `$ai_span_id` is its `$ai_parent_id`. */
function draw(events) {
  const children = new Map();
  const roots = [];
  const ids = new Set(events.map(({ properties }) => properties.$ai_span_id ?? properties.$ai_trace_id));
  for (const event of events) {
    const parent = event.event === '$ai_trace' ? undefined : event.properties.$ai_parent_id;
    if (!ids.has(parent)) roots.push(event);
    else if (children.has(parent)) children.get(parent).push(event);
    else children.set(parent, [event]);
  }
  const list = (events) => {
    const sorted = events.sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
    return element('ul', {}, sorted.map((event) => element('li', {}, [item(event)])));
  };
  const item = (event) => {
    const { properties } = event;
    const below = children.get(properties.$ai_span_id ?? properties.$ai_trace_id);
    if (!below) return element('div', { className: 'row' }, row(event));
    return element('details', { open: true }, [element('summary', {}, row(event)), list(below)]);
  };
  document.querySelector('#trace').replaceChildren(...(roots.length ? [list(roots)] : []));
}

function row({ event, properties }) {
  const name = properties.$ai_trace_name ?? properties.$ai_span_name ?? properties.$ai_model ?? event;
  const seconds = properties.$ai_latency === undefined ? '' : `${properties.$ai_latency.toFixed(1)} s`;
  const { $ai_input_tokens: input, $ai_output_tokens: output } = properties;
  // A call that failed has none, and what a trace has are sums.
  const tokens = event === '$ai_generation' && input !== undefined ? `${input} in, ${output} out` : '';
  const text = properties.$ai_error ?? properties.$ai_input_state ?? properties.$ai_output_choices?.[0]?.content ?? '';
  return [
    element('span', { className: properties.$ai_is_error ? 'name failed' : 'name', textContent: name }),
    element('span', { className: 'numbers', textContent: [seconds, tokens].filter(Boolean).join(', ') }),
    element('span', { className: 'text', textContent: shortened(text) }),
  ];
}

function shortened(text) {
  const parts = Array.isArray(text) ? text.map((part) => part.text ?? '').join(' ') : text;
  return (typeof parts === 'string' ? parts : JSON.stringify(parts)).slice(0, 200);
}

function element(name, properties, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
