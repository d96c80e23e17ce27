/** `penstock run`, as operators run it: one generation of it, with its config file. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../../dist/cli.js', import.meta.url));
const readyTimeoutMs = 20_000;

export class GatewayProcess {
  /** Lines of the log, parsed. @type {Record<string, unknown>[]} */
  log = [];
  #child;
  /** @type {Promise<number | null>} */
  ended;

  /** @param {string} configPath */
  constructor(configPath) {
    this.#child = spawn(process.execPath, [cli, 'run', '-c', configPath], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LOG_LEVEL: 'info' },
    });
    const kill = () => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    this.ended = once(this.#child, 'exit').then(([code]) => {
      process.off('exit', kill);
      return code;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      // Access-log lines are as many as requests.
      if (!line.includes('"msg":"access"')) this.log.push(JSON.parse(line));
    });
    this.#child.stderr.resume();
  }

  /** Its line in the log. Rejects when the process ends before, or takes too long. @returns {Promise<Record<string, unknown>>} */
  async ready() {
    const endMs = performance.now() + readyTimeoutMs;
    let code = /** @type {number | null | undefined} */ (undefined);
    void this.ended.then((ended) => (code = ended));
    while (performance.now() < endMs) {
      const line = this.log.find(({ msg }) => msg === 'ready');
      if (line !== undefined) return line;
      if (code !== undefined)
        throw new Error(`ended with ${code} before it was ready: ${JSON.stringify(this.log.at(-1))}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('was not ready in time');
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    this.#child.kill(signal);
  }

  /** @param {string} message */
  said(message) {
    return this.log.filter(({ msg }) => msg === message);
  }
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * What is still held when nothing is under way; waits for it to be nothing.
 * @param {number} adminPort
 */
export async function leftovers(adminPort) {
  /** @type {Record<string, number>} */
  let held = {};
  for (let attempt = 0; attempt < 50; attempt++) {
    const leases = await (await fetch(`http://127.0.0.1:${adminPort}/leases`)).json();
    const metrics = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    held = Object.fromEntries(Object.entries(leases.outstanding).filter(([, count]) => count !== 0));
    for (const [, name, value] of metrics.matchAll(/^(penstock_(?:bug_total|inflight_requests)\{[^}]*\}) (\d+)$/gm)) {
      if (value !== '0') held[name] = Number(value);
    }
    if (Object.keys(held).length === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return held;
}
