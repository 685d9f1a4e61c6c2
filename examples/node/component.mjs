// Starts a transpiled component with these imports and no others.
import { readFile } from 'node:fs/promises';

export async function start(name, imports) {
  const { instantiate } = await import(`./generated/${name}.js`);
  const core = async (path) => WebAssembly.compile(await readFile(new URL(`generated/${path}`, import.meta.url)));
  return instantiate(core, imports);
}

/** How a session is converted, from the variables that `posthog-llma` has, too. */
export const options = {
  distinctId: process.env.POSTHOG_LLMA_DISTINCT_ID,
  traceGrouping: 'session',
  toolSpans: 'all',
  privacyMode: process.env.POSTHOG_LLMA_PRIVACY_MODE === 'true',
  redactSecrets: true,
  maxAttributeLength: 12000,
  holdCalls: false,
};
