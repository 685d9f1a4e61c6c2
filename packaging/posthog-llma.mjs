#!/usr/bin/env node
// `npx @posthog/llma …`: runs this platform's program, which npm has installed as an optional dependency.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'

const platform = `${process.platform}-${process.arch}`
const program = process.platform === 'win32' ? 'posthog-llma.exe' : 'posthog-llma'

function find() {
  try {
    const manifest = createRequire(import.meta.url).resolve(`@PACKAGE@-${platform}/package.json`)
    return join(dirname(manifest), 'bin', program)
  } catch {
    console.error(
      `posthog-llma: no program for ${platform} in this installation. If the platform is supported, install again ` +
        'without --omit=optional.',
    )
    process.exit(1)
  }
}

const child = spawn(find(), process.argv.slice(2), { stdio: 'inherit' })
// A terminal sends Ctrl-C to both, and the program decides what it means. Other signals reach this process alone.
process.on('SIGINT', () => {})
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  console.error(`posthog-llma: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
