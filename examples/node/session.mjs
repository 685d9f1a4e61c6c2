// The files of a session: which ones they are, the component says.
import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const HEAD = 64 * 1024;

/**
 * @param conversion the component's interface
 * @returns {{id: string, files: {path: string, role: object}[]}} the main one first, then by agent's id
 */
export function session(conversion, main) {
  const [id, folder] = [basename(main, '.jsonl'), dirname(main)];
  const below = list(join(folder, id), { recursive: true }).map((path) => `${id}/${path}`);
  const paths = [...list(folder), ...below];
  const agents = conversion.subAgents(id, paths).flatMap(({ file, agentId, workflowRun, metadata, flat }) => {
    const path = join(folder, paths[file]);
    if (flat && !conversion.belongsTo(id, beginning(path))) return [];
    const notes = metadata === undefined ? undefined : readFileSync(join(folder, paths[metadata]), 'utf8');
    return [{ path, role: { tag: 'agent', val: { agentId, metadata: notes, workflowRun } } }];
  });
  return { id, files: [{ path: main, role: { tag: 'main' } }, ...agents] };
}

const list = (folder, options) =>
  existsSync(folder) ? readdirSync(folder, options).map((path) => path.replaceAll('\\', '/')) : [];

function beginning(path) {
  const [file, bytes] = [openSync(path), new Uint8Array(HEAD)];
  try {
    return bytes.subarray(0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}
