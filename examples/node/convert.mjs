// Prints the events of sessions, one JSON object a line: `node convert.mjs TRANSCRIPT…`
import { createReadStream } from 'node:fs';
import { options, start } from './component.mjs';
import { session as find } from './session.mjs';

// No import: whatever is in the component, it can reach nothing.
const { conversion } = await start('converter', {});

async function convert(transcript) {
  const { id, files } = find(conversion, transcript);
  const session = conversion.Session.open(id, files.map(({ role }) => role), options);
  for (const [index, { path }] of files.entries()) {
    for await (const piece of createReadStream(path)) session.scan(index, piece);
  }
  for (const [index, { path }] of files.entries()) {
    for await (const piece of createReadStream(path)) {
      session.convert(index, piece);
      print(session);
    }
  }
  session.finish();
  print(session);
  session[Symbol.dispose]();
}

function print(session) {
  for (let events; (events = session.takeEvents(1 << 20)).length; ) process.stdout.write(events);
}

for (const transcript of process.argv.slice(2)) await convert(transcript);
