/** The processes of a run that are not the gateway's: scripted engines and clients. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** @typedef {ReturnType<import('./engine.mjs').Engine['stats']>} EngineStats */

/** @param {string} file @param {string[]} argv */
function start(file, argv = []) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), argv, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  // Whatever ends this process, short of SIGKILL, ends the child.
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  child.once('exit', () => process.off('exit', end));
  return child;
}

/** Scripted engines in one process of their own. */
export class EngineProcess {
  #child = start('engines.mjs');
  #nextId = 1;
  /** @type {number[]} */
  ports = [];

  /** @param {{ seed: number, count: number, faultRatio?: number, ports?: number[] }} options */
  async listen({ seed, count, faultRatio = 0, ports = [] }) {
    ({ ports: this.ports } = await this.#ask('listen', { seed, count, faultRatio, ports }));
  }

  get origins() {
    return this.ports.map((port) => `http://127.0.0.1:${port}`);
  }

  /** From now on they refuse connections for moments. @param {number} seed */
  async flap(seed) {
    await this.#ask('flap', { seed, count: 0, faultRatio: 0, ports: [] });
  }

  async calm() {
    await this.#ask('calm', null);
  }

  /** @returns {Promise<EngineStats & { refusalCount: number }>} all engines together */
  async stats() {
    const { stats, refusalCount } = await this.#ask('stats', null);
    /** @type {EngineStats & { refusalCount: number }} */
    const all = {
      activeCount: 0,
      connectionCount: 0,
      requestCount: 0,
      faults: {},
      left: {},
      wrongCount: 0,
      wrong: [],
      refusalCount,
    };
    for (const one of stats) {
      for (const key of /** @type {const} */ (['activeCount', 'connectionCount', 'requestCount', 'wrongCount']))
        all[key] += one[key];
      for (const key of /** @type {const} */ (['faults', 'left'])) {
        for (const [name, count] of Object.entries(one[key])) all[key][name] = (all[key][name] ?? 0) + count;
      }
      all.wrong.push(...one.wrong);
    }
    return all;
  }

  /** SIGKILL, as a machine that is lost. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  /**
   * @param {string} kind
   * @param {import('./engines.mjs').EngineOrder | null} order
   * @returns {Promise<{ ports: number[], stats: EngineStats[], refusalCount: number }>}
   */
  #ask(kind, order) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('the engines ended'));
      /** @param {unknown} message */
      const onMessage = (message) => {
        const answer = /** @type {{ id: number, ports: number[], stats: EngineStats[], refusalCount: number }} */ (
          message
        );
        if (answer.id !== id) return;
        this.#child.off('message', onMessage);
        this.#child.off('exit', onExit);
        resolve(answer);
      };
      this.#child.on('message', onMessage);
      this.#child.once('exit', onExit);
      this.#child.send({ id, kind, order });
    });
  }
}

/**
 * Runs the clients of an order in a process of their own.
 * @param {import('./chaos-client.mjs').ChaosOrder} order
 * @param {(report: import('./chaos-client.mjs').ChaosReport) => void} onReport four times a second
 * @returns {Promise<import('./chaos-client.mjs').ChaosReport>}
 */
export async function runClients(order, onReport) {
  const child = start('chaos-client.mjs', ['--child']);
  return new Promise((resolve, reject) => {
    child.on('message', (message) => {
      const { report, isOver } = /** @type {{ report: import('./chaos-client.mjs').ChaosReport, isOver?: boolean }} */ (
        message
      );
      onReport(report);
      if (isOver === true) resolve(report);
    });
    child.once('exit', (code) => reject(new Error(`the clients ended with code ${code}`)));
    child.send(order);
  });
}
