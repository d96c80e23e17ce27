/** The backend of every peer: a small C program that costs as little as it can, so that the proxy is what is measured. */
import { setTimeout as sleep } from 'node:timers/promises';
import { buildNative } from './native/build.mjs';
import { Process } from './process.mjs';
import { costOf } from './process-cost.mjs';

const requestTimeoutMs = 10_000;
/** Nothing has arrived for so long: the engine is quiet. */
const quietMs = 50;
const quietTimeoutMs = 5000;

/** @typedef {{ requests: number, bodyBytes: number, aborted: number }} EngineCount */

export class Engine {
  /** @type {Process} */
  #process;
  port = 0;

  constructor() {
    this.#process = new Process('the engine', buildNative().engine, ['--port', '0']);
  }

  async start() {
    const [, port] = await this.#process.said(/^listening \S+:(\d+)$/m);
    this.port = Number(port);
  }

  get cpuS() {
    return costOf([this.#process.pid]).cpuS;
  }

  /** Counts from here on, once what an earlier load left behind has ended. */
  async reset() {
    const deadlineMs = performance.now() + quietTimeoutMs;
    for (let before = -1; performance.now() < deadlineMs;) {
      const { requests, aborted, bodyBytes } = await this.count();
      const now = requests + aborted + bodyBytes;
      if (now === before) break;
      before = now;
      await sleep(quietMs);
    }
    await this.#ask('/stats/reset', 'POST');
  }

  /** @returns {Promise<EngineCount>} */
  async count() {
    /** @type {{ requests: number, body_bytes: number, aborted: number }} */
    const { requests, body_bytes: bodyBytes, aborted } = JSON.parse(await this.#ask('/stats', 'GET'));
    return { requests, bodyBytes, aborted };
  }

  stop() {
    return this.#process.stop();
  }

  /** @param {string} path @param {'GET' | 'POST'} method */
  async #ask(path, method) {
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, { method, signal });
    if (!response.ok) throw new Error(`the engine answers ${response.status} to ${path}`);
    return response.text();
  }
}
