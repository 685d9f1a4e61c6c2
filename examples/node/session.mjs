// The files of a session: which ones they are, the component says.
import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const HEAD = 64 * 1024;
const BEGINNING = 1 << 20;

/**
 * @param conversion the component's interface
 * @returns {{id: string, folder: string, files: {path: string, role: object}[]}} the main ones first, then by agent's id; all
 * of them are below the folder
 */
export function session(conversion, main) {
  const id = basename(main, '.jsonl');
  const mains = mainsOf(conversion, main);
  const agents = mains.flatMap((path) => agentsOf(conversion, id, dirname(path)));
  agents.sort((a, b) => compare(a.role.val.agentId, b.role.val.agentId) || compare(a.path, b.path));
  const folder = mains.length > 1 ? dirname(dirname(main)) : dirname(main);
  return { id, folder, files: [...mains.map((path) => ({ path, role: { tag: 'main' } })), ...agents] };
}

/** A session whose directory changed has a main transcript in each project's folder. */
function mainsOf(conversion, main) {
  const projects = dirname(dirname(main));
  if (basename(projects) !== 'projects') return [main];
  const mains = list(projects).map((folder) => join(projects, folder, basename(main))).filter(existsSync);
  if (mains.length < 2) return [main];
  const began = new Map(mains.map((path) => [path, conversion.began(beginning(path, BEGINNING)) ?? Infinity]));
  return mains.sort((a, b) => compare(began.get(a), began.get(b)) || compare(a, b));
}

function agentsOf(conversion, id, folder) {
  const below = list(join(folder, id), { recursive: true }).map((path) => `${id}/${path}`);
  const paths = [...list(folder), ...below];
  return conversion.subAgents(id, paths).flatMap(({ file, agentId, workflowRun, metadata, flat }) => {
    const path = join(folder, paths[file]);
    if (flat && !conversion.belongsTo(id, beginning(path, HEAD))) return [];
    const notes = metadata === undefined ? undefined : readFileSync(join(folder, paths[metadata]), 'utf8');
    return [{ path, role: { tag: 'agent', val: { agentId, metadata: notes, workflowRun } } }];
  });
}

const compare = (a, b) => (a < b ? -1 : Number(a > b));

const list = (folder, options) =>
  existsSync(folder) ? readdirSync(folder, options).map((path) => path.replaceAll('\\', '/')) : [];

function beginning(path, most) {
  const [file, bytes] = [openSync(path), new Uint8Array(most)];
  try {
    return bytes.subarray(0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}
