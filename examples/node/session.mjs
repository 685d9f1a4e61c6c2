// The files of a session, as Claude Code writes them: the main transcript, and those of its sub-agents.
import { createReadStream, existsSync, readFileSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { basename, dirname, join } from 'node:path';

/** @returns {Promise<{id: string, files: {path: string, role: object}[]}>} the main one first, then by agent's id */
export async function session(main) {
  const id = basename(main, '.jsonl');
  const subagents = join(dirname(main), id, 'subagents');
  const agents = agentsIn(subagents);
  for (const run of list(join(subagents, 'workflows'))) {
    if (run.startsWith('wf_')) agents.push(...agentsIn(join(subagents, 'workflows', run), run));
  }
  // Claude Code 2.0.28 to 2.1.1 put them beside the session's own.
  for (const agent of agentsIn(dirname(main))) {
    if ((await sessionOf(agent.path)) === id) agents.push(agent);
  }
  const key = ({ path, role }) => `${role.val.agentId}\0${path}`;
  agents.sort((a, b) => Buffer.compare(Buffer.from(key(a)), Buffer.from(key(b))));
  return { id, files: [{ path: main, role: { tag: 'main' } }, ...agents] };
}

const list = (folder) => (existsSync(folder) ? readdirSync(folder) : []);

function agentsIn(folder, workflowRun) {
  return list(folder).flatMap((name) => {
    const agentId = /^agent-(.*)\.jsonl$/.exec(name)?.[1];
    if (agentId === undefined) return [];
    const path = join(folder, name);
    const notes = path.replace(/jsonl$/, 'meta.json');
    const metadata = existsSync(notes) ? readFileSync(notes, 'utf8') : undefined;
    return [{ path, role: { tag: 'agent', val: { agentId, metadata, workflowRun } } }];
  });
}

/** The session that a sub-agent's transcript says it belongs to. */
async function sessionOf(path) {
  for await (const line of createInterface({ input: createReadStream(path, { end: 65535 }) })) {
    try {
      const { sessionId } = JSON.parse(line);
      if (sessionId) return sessionId;
    } catch {
      // A damaged line says nothing.
    }
  }
}
