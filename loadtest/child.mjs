/** A child process that prints JSON lines: waiting for one of them, and ending it for certain. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const startTimeoutMs = 15_000;
const stopTimeoutMs = 5000;
/** Log lines kept to explain a failed start. */
const keptLineCountMax = 20;
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

/** @typedef {{ msg?: string, url?: string, admin?: string, listeners?: { address: string }[] }} ReadyLine */

export class Child {
  #process;
  #name;

  /**
   * `penstock` with these arguments. An engine ends when its IPC channel does, so also when this process is killed.
   * @param {string} name
   * @param {string[]} argv
   * @param {readonly string[]} nodeFlags `penstock run` hands them on to the gateway process
   */
  constructor(name, argv, nodeFlags = []) {
    this.#name = name;
    this.#process = spawn(process.execPath, [...nodeFlags, cli, ...argv], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      // The log line that says `ready` has level info.
      env: { ...process.env, LOG_LEVEL: 'info' },
    });
    // Whatever ends this process, short of SIGKILL, ends the child.
    const end = () => this.#process.kill('SIGTERM');
    process.once('exit', end);
    this.#process.once('exit', () => process.off('exit', end));
  }

  get pid() {
    return this.#process.pid;
  }

  /**
   * The first line with `msg: "ready"`. Throws when the process ends before, or takes too long.
   * @returns {Promise<ReadyLine>}
   */
  async ready() {
    /** @type {string[]} */
    const seen = [];
    // The listener stays on after this: a full pipe would stop the child.
    const { stdout } = this.#process;
    if (stdout === null) throw new Error(`${this.#name} has no stdout`);
    const lines = createInterface({ input: stdout });
    return new Promise((resolve, reject) => {
      /** @param {string} why */
      const give = (why) => reject(new Error([`${this.#name} ${why}`, ...seen].join('\n  ')));
      const timer = setTimeout(() => give(`was not ready after ${startTimeoutMs} ms`), startTimeoutMs);
      this.#process.once('error', (error) => give(`could not start: ${error.message}`));
      this.#process.once('exit', (code) => {
        clearTimeout(timer);
        give(`ended with code ${code}`);
      });
      lines.on('line', (line) => {
        if (seen.length < keptLineCountMax) seen.push(line);
        const value = parsed(line);
        if (value?.msg !== 'ready') return;
        clearTimeout(timer);
        resolve(value);
      });
    });
  }

  /** SIGTERM, and SIGKILL when that takes too long. Returns the exit code, null when a signal ended it. */
  async stop() {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      // An open channel keeps an engine from ending.
      if (child.connected) child.disconnect();
      await exit;
      clearTimeout(timer);
    }
    return child.exitCode;
  }
}

/**
 * @param {string} line
 * @returns {ReadyLine | null}
 */
function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
