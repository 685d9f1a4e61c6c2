// Makes JavaScript of the components: `node transpile.mjs DIRECTORY`, where `cargo xtask components` has written them.
// What comes out, in `generated/`, needs jco no more.
import { fileURLToPath } from 'node:url';
import { transpile, writeFiles } from '@bytecodealliance/jco-transpile';

const [directory = '../../target/components'] = process.argv.slice(2);
for (const name of ['converter', 'exporter']) {
  // `instantiation`: imports are handed over when it starts, instead of being taken from a package.
  const options = { name, instantiation: 'async', outDir: fileURLToPath(new URL('generated', import.meta.url)) };
  const { files } = await transpile(`${directory}/${name}.wasm`, options);
  await writeFiles(files);
}
