// Makes the page, one file that can be opened from a disk: `node build.mjs CONVERTER [OUTPUT [DRAWING]]`
//
// Everything is in it, the component as base64, and its policy lets it connect to nothing, not even to where it came from.
import { transpile } from '@bytecodealliance/jco-transpile';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The trace is drawn as `posthog-llma view --html` draws it.
const [component, output = 'dist/index.html', drawing = '../../host/src/view'] = process.argv.slice(2);
const source = (name) => readFile(fileURLToPath(new URL(name, import.meta.url)), 'utf8');
const { files } = await transpile(component, { name: 'converter', instantiation: 'async', nodejsCompat: false });
const named = (ending) => Object.entries(files).filter(([name]) => name.endsWith(ending));
const [[, javascript]] = named('converter.js');
const modules = named('.wasm').map(([name, bytes]) => [name.split('/').pop(), Buffer.from(bytes).toString('base64')]);

// Modules in one script: what they export is theirs alone, but for what they return here.
const inline = (code, result) => `await (async () => {\n${code.replace(/^export /gm, '')}\nreturn ${result};\n})()`;
const script = `
const instantiate = ${inline(Buffer.from(javascript).toString('utf8'), 'instantiate')};
const page = ${inline(await source('page.mjs'), 'page')};
${await readFile(join(drawing, 'tree.js'), 'utf8')}
${await readFile(join(drawing, 'detail.js'), 'utf8')}
${await readFile(join(drawing, 'trace.js'), 'utf8')}
const modules = ${JSON.stringify(Object.fromEntries(modules))};
const bytes = (name) => Uint8Array.from(atob(modules[name]), (c) => c.charCodeAt(0));
await page(instantiate, (name) => WebAssembly.compile(bytes(name)), drawTrace);
`;
if (script.includes('</script')) throw new Error('the script would end before its end');
const style = (await readFile(join(drawing, 'trace.css'), 'utf8')) + (await source('style.css'));

const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)} 'wasm-unsafe-eval'`,
  `style-src ${hash(style)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');
const parts = { policy, style, script };
const page = (await source('index.html')).replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]);
await mkdir(dirname(output), { recursive: true });
await writeFile(output, page);
console.log(output);
