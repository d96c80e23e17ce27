/**
 * How late the timers of the shards were, beside how late a timer was that had nothing else to do: a thread with the same
 * period in this process, at the same time. What the second one waited is the machine's doing (other load, a hypervisor
 * that wakes its guests late), and the first one cannot do better.
 */
import { Worker } from 'node:worker_threads';

/** As the shards' own. */
const periodMs = 50;

const bareTimer = `
const { parentPort } = require('node:worker_threads');
const lateMs = [];
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  lateMs.push(Math.max(0, now - last - ${periodMs}));
  last = now;
}, ${periodMs});
parentPort.once('message', () => {
  parentPort.postMessage(lateMs.sort((a, b) => a - b));
  process.exit();
});`;

export class Delays {
  #gateway;
  #before;
  #cpuWaitS;
  #startedMs = performance.now();
  #bare = new Worker(bareTimer, { eval: true });

  /** @param {import('./gateway.mjs').Gateway} gateway @param {import('./gateway.mjs').LagTable} before */
  constructor(gateway, before) {
    this.#gateway = gateway;
    this.#before = before;
    this.#cpuWaitS = gateway.cpuWaitS();
  }

  /** @param {import('./gateway.mjs').Gateway} gateway */
  static async begin(gateway) {
    return new Delays(gateway, await gateway.lag());
  }

  /** Since the beginning. */
  async end() {
    const shards = (await this.#gateway.lag()).since(this.#before);
    const tookS = (performance.now() - this.#startedMs) / 1000;
    const cpuWaitRatio = (this.#gateway.cpuWaitS() - this.#cpuWaitS) / tookS;
    /** @type {number[]} */
    const bareMs = await new Promise((resolve) => {
      this.#bare.once('message', resolve);
      this.#bare.postMessage('end');
    });
    return { shards, cpuWaitRatio, bareP99_9Ms: bareMs[Math.floor(bareMs.length * 0.999)] ?? 0 };
  }
}
