// Delivers a session, batch by batch, and says what arrived: `node deliver.mjs TRANSCRIPT`
//
// This program decides what the component can do. It reads the session's files through handles, and of `wasi:http` it has
// what `allowing` below lets through: no other host, path or method, whatever is in the component.
import { filesystem, http } from '@bytecodealliance/preview2-shim';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { relative } from 'node:path';
import { options, start } from './component.mjs';
import { session as find } from './session.mjs';

const PATHS = ['/i/v1/ai/events', '/i/v0/ai/batch/', '/batch/'];

/** `wasi:http/outgoing-handler`, for POST to these paths of this origin. */
function allowing(origin) {
  const { protocol, host } = new URL(origin);
  return {
    handle(request, requestOptions) {
      const scheme = request.scheme()?.tag;
      const allowed =
        request.method().tag === 'post' &&
        scheme?.toLowerCase() === protocol.slice(0, -1) &&
        // `URL` leaves out a default port, so that both are compared without it.
        new URL(`${scheme}://${request.authority()}`).host === host &&
        PATHS.includes(request.pathWithQuery());
      if (!allowed) throw { tag: 'HTTP-request-denied' };
      return http.outgoingHandler.handle(request, requestOptions);
    },
  };
}

/** Handles for reading these files, all below `folder`. The component gets the handles, never the folder. */
function open(folder, paths) {
  const { preopens } = filesystem.createFilesystem({ preopens: { '/': folder } });
  const [[directory]] = preopens.getDirectories();
  return paths.map((path) => directory.openAt({ symlinkFollow: true }, relative(folder, path), {}, { read: true }));
}

const [transcript] = process.argv.slice(2);
const destination = {
  origin: process.env.POSTHOG_HOST ?? 'https://us.i.posthog.com',
  apiKey: process.env.POSTHOG_API_KEY ?? '',
};
const patience = {
  connectTimeout: 10_000,
  firstByteTimeout: 30_000,
  requestTimeout: 60_000,
  maxRetries: Number(process.env.MAX_RETRIES ?? 3),
  firstDelay: 500,
};

// No directory, no variable, no argument.
const imports = new WASIShim({ sandbox: { preopens: {}, env: {}, args: [] } }).getImportObject();
imports['wasi:http/outgoing-handler'] = allowing(process.env.ALLOWED_ORIGIN ?? destination.origin);
const { conversion, delivery } = await start('exporter', imports);

const { id, folder, files } = find(conversion, transcript);
const handles = open(folder, files.map(({ path }) => path));
// Nothing of it was delivered before.
const sessionFiles = files.map(({ role }, index) => ({ role, contents: handles[index], readBefore: 0n }));
try {
  const transfer = delivery.Transfer.start(id, sessionFiles, options, destination, patience);
  let accepted = 0;
  // What a batch says is the place to write down what was accepted: the next one has not left yet.
  for (let batch; (batch = transfer.next()) !== undefined; ) {
    for (const { kind, verdict } of batch.events) {
      if (verdict.tag === 'rejected') console.error(`rejected: ${kind}: ${verdict.val.status} ${verdict.val.message}`);
      else accepted += 1;
    }
  }
  console.log(`${id}: ${accepted} events accepted by ${destination.origin}`);
} catch (error) {
  // What an interface says went wrong is the payload: `{tag: 'refused', val: {status: 401, message: '…'}}`.
  console.error(error.payload ?? error);
  process.exitCode = 1;
}
