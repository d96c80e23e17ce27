/**
 * Processes that this bench starts: each is ended by its own pid, in whatever way the bench itself ends. Nothing is ever
 * looked up by name.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { treeOf } from './process-cost.mjs';

const startTimeoutMs = 20_000;
const stopTimeoutMs = 4000;
const pollMs = 25;
/** Of what a process said, kept to explain a failure. */
const keptCharsMax = 4000;

/** @type {Set<Process>} */
const running = new Set();
// A second line of defence: `stopAll` is the first.
process.once('exit', () => {
  for (const child of running) child.killNow();
});

/** Ends everything that still runs. */
export async function stopAll() {
  await Promise.all([...running].map((child) => child.stop()));
}

export class Process {
  #child;
  #name;
  #output = '';
  #stdout = '';
  #exit;

  /**
   * @param {string} name for messages
   * @param {string} command
   * @param {readonly string[]} argv
   * @param {{ env?: Record<string, string>, cwd?: string }} [options] `env` is added to this process's own
   */
  constructor(name, command, argv, { env = {}, cwd } = {}) {
    this.#name = name;
    this.#child = spawn(command, argv, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    running.add(this);
    this.#exit = once(this.#child, 'close').then(
      () => this.#gone(),
      (/** @type {Error} */ error) => this.#gone(error.message),
    );
    // Both have to be read to the end: a full pipe would stop the child.
    this.#child.stdout.on('data', (/** @type {Buffer} */ chunk) => {
      this.#stdout += chunk.toString();
      this.#keep(chunk);
    });
    this.#child.stderr.on('data', (/** @type {Buffer} */ chunk) => this.#keep(chunk));
  }

  get pid() {
    return this.#child.pid ?? 0;
  }

  get isRunning() {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** The end of what it said, for a message. */
  get lastWords() {
    return this.#output.trim().slice(-600);
  }

  /** All that it wrote there so far. */
  get stdout() {
    return this.#stdout;
  }

  /**
   * The first match in its stdout. Throws when it ends before, or takes too long.
   * @param {RegExp} pattern
   * @param {number} timeoutMs
   */
  async said(pattern, timeoutMs = startTimeoutMs) {
    return this.#until(timeoutMs, () => pattern.exec(this.#stdout), `said ${pattern}`);
  }

  /**
   * Until somebody listens on this port of 127.0.0.1.
   * @param {number} port
   */
  async listens(port) {
    await this.#until(startTimeoutMs, () => isListening(port), `listened on port ${port}`);
  }

  /**
   * Until it ends by itself; it is killed after `timeoutMs`. Returns its stdout. Throws when it fails.
   * @param {number} timeoutMs
   */
  async finished(timeoutMs) {
    const timer = setTimeout(() => this.kill('SIGKILL'), timeoutMs);
    await this.#exit;
    clearTimeout(timer);
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== 0) throw new Error(`${this.#name} ended with ${signalCode ?? exitCode}: ${this.lastWords}`);
    return this.#stdout;
  }

  /** SIGTERM, and SIGKILL when that takes too long. */
  async stop() {
    if (this.isRunning) {
      const timer = setTimeout(() => this.killNow(), stopTimeoutMs);
      this.kill('SIGTERM');
      await this.#exit;
      clearTimeout(timer);
    }
  }

  /**
   * @template T
   * @param {number} timeoutMs
   * @param {() => T | Promise<T>} attempt
   * @param {string} what
   */
  async #until(timeoutMs, attempt, what) {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const value = await attempt();
      if (value) return value;
      if (!this.isRunning) throw new Error(`${this.#name} ended before it ${what}: ${this.lastWords}`);
      if (performance.now() > deadlineMs) {
        throw new Error(`${this.#name} has not ${what} in ${timeoutMs} ms: ${this.lastWords}`);
      }
      await sleep(pollMs);
    }
  }

  /** A supervisor that is killed leaves its children behind, so they are killed first. */
  killNow() {
    const [, ...children] = treeOf(this.pid);
    for (const pid of children) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    this.kill('SIGKILL');
  }

  /** @param {Buffer} chunk */
  #keep(chunk) {
    this.#output = (this.#output + chunk.toString()).slice(-keptCharsMax);
  }

  /** @param {string} why */
  #gone(why = '') {
    running.delete(this);
    this.#output += why;
  }
}

/** @param {number} port */
async function isListening(port) {
  const socket = connect({ port, host: '127.0.0.1' });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Below the range that Linux takes the ports of outgoing connections from (32768 and up), of which a load takes thousands. */
const ports = { from: 20_000, to: 32_000 };
let nextPort = ports.from + Math.floor(Math.random() * (ports.to - ports.from));

/** A port of 127.0.0.1 that nobody uses. */
export async function freePort() {
  for (let tries = ports.from; tries < ports.to; tries++) {
    nextPort = nextPort + 1 < ports.to ? nextPort + 1 : ports.from;
    if (await canListen(nextPort)) return nextPort;
  }
  throw new Error('there is no free port');
}

/** @param {number} port */
async function canListen(port) {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return true;
  } catch {
    return false;
  }
}
