// Servers for the scripts that install as a user does: a model that answers every prompt with one sentence, a PostHog that
// keeps what it is sent, and a folder over HTTP.
//
//   node servers.mjs FOLDER [SERVED-FOLDER]
//
// Writes FOLDER/ports (JSON: model, posthog, files) when all listen, and FOLDER/events.jsonl, one event a line. While there is a
// FOLDER/slow, PostHog takes as many seconds as it says to accept a batch; while there is a FOLDER/down, it answers 503.
import { appendFileSync, createReadStream, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join, normalize } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'

const [folder, served = folder] = process.argv.slice(2)
const ANSWER = 'Hello from the model.'
let messages = 0

async function read(request) {
  const pieces = []
  for await (const piece of request) pieces.push(piece)
  return Buffer.concat(pieces)
}

function json(response, body) {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

async function model(request, response) {
  const body = await read(request)
  if (!request.url.startsWith('/v1/messages')) return json(response, {})
  if (request.url.startsWith('/v1/messages/count_tokens')) return json(response, { input_tokens: 10 })
  const asked = JSON.parse(body)
  const message = {
    id: `msg_${process.pid}_${++messages}`,
    type: 'message',
    role: 'assistant',
    model: asked.model,
    content: [{ type: 'text', text: ANSWER }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 3, output_tokens: 7 },
  }
  if (!asked.stream) return json(response, message)
  const events = [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: ANSWER } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 7 } },
    { type: 'message_stop' },
  ]
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''))
}

async function posthog(request, response) {
  const body = await read(request)
  if (existsSync(join(folder, 'down'))) return response.writeHead(503).end()
  const slow = join(folder, 'slow')
  if (existsSync(slow)) await setTimeout(Number(readFileSync(slow)) * 1000)
  let batch = []
  if (request.method === 'POST') {
    const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body
    batch = JSON.parse(text).batch ?? []
    appendFileSync(join(folder, 'events.jsonl'), batch.map((event) => JSON.stringify(event) + '\n').join(''))
  }
  // The newest lane has a verdict for each event.
  const results = Object.fromEntries(batch.map(({ uuid }) => [uuid, { result: 'ok' }]))
  json(response, request.url === '/i/v1/ai/events' ? { results } : { status: 1 })
}

function files(request, response) {
  const stream = createReadStream(join(served, normalize(new URL(request.url, 'http://x').pathname)))
  stream.on('error', () => response.writeHead(404).end())
  stream.on('open', () => stream.pipe(response))
}

const ports = {}
for (const [name, answer] of Object.entries({ model, posthog, files })) {
  const server = createServer((request, response) => {
    Promise.resolve(answer(request, response)).catch((error) => response.writeHead(500).end(`${error}`))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  ports[name] = server.address().port
}
writeFileSync(join(folder, 'ports.part'), JSON.stringify(ports))
renameSync(join(folder, 'ports.part'), join(folder, 'ports'))
