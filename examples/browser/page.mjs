// The page: files in, the trace out. `instantiate` is what jco has made of the converter, `compile` gives its core module,
// `drawTrace` is the one of `posthog-llma view --html`.

const PIECE = 1 << 20;
const HEAD = 64 * 1024;
const OPTIONS = { traceGrouping: 'session', toolSpans: 'all', privacyMode: false, redactSecrets: true, maxAttributeLength: 12000,
  holdCalls: false };

export async function page(instantiate, compile, drawTrace) {
  // No import: whatever is in the component, it can reach nothing.
  const { conversion } = await instantiate(compile, {});
  const drop = document.querySelector('#drop');
  const draw = (events) => {
    const trace = document.querySelector('#trace');
    trace.replaceChildren();
    trace.hidden = events.length === 0;
    if (events.length > 0) drawTrace(trace, events);
  };
  const show = async (files) => {
    say('Converting …');
    try {
      const { events, report } = await convert(conversion, await session(conversion, await files));
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

/** Which of the files are the session's transcripts, and which are those of its sub-agents: the component says it. */
async function session(conversion, files) {
  const mains = files.filter(({ path }) => conversion.mainTranscript(path) !== undefined);
  const [id, ...others] = new Set(mains.map(({ path }) => conversion.mainTranscript(path)));
  if (!id || others.length > 0) throw new Error(`One session's transcript is needed, and there are ${mains.length}.`);
  // A session whose directory changed has one in each project's folder.
  for (const main of mains) main.began = conversion.began(await beginning(main.file, PIECE)) ?? Infinity;
  mains.sort((a, b) => compare(a.began, b.began) || compare(a.path, b.path));
  const folders = new Set(mains.map(({ path }) => path.slice(0, path.lastIndexOf('/') + 1)));
  const agents = [];
  for (const folder of folders) agents.push(...(await agentsIn(conversion, id, folder, files)));
  agents.sort((a, b) => compare(a.role.val.agentId, b.role.val.agentId) || compare(a.path, b.path));
  return { id, files: [...mains.map((main) => ({ ...main, role: { tag: 'main' } })), ...agents] };
}

async function agentsIn(conversion, id, folder, files) {
  const below = files.filter(({ path }) => path.startsWith(folder));
  const agents = [];
  for (const found of conversion.subAgents(id, below.map(({ path }) => path.slice(folder.length)))) {
    const { agentId, workflowRun } = found;
    const { file, path } = below[found.file];
    if (found.flat && !conversion.belongsTo(id, await beginning(file, HEAD))) continue;
    const metadata = await below[found.metadata]?.file.text();
    agents.push({ file, path, role: { tag: 'agent', val: { agentId, metadata, workflowRun } } });
  }
  return agents;
}

const beginning = async (file, most) => new Uint8Array(await file.slice(0, most).arrayBuffer());

const compare = (a, b) => (a < b ? -1 : Number(a > b));

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
  const { input, output, cacheRead, cacheCreation } = report.tokens;
  const tokens = `${input + cacheRead + cacheCreation} tokens in, ${output} out`;
  const { generations, spans } = report;
  return `${events.length} events: ${generations} model calls, ${spans} tool calls; ${tokens}${bad}`;
}
