/** The real gateway, as `penstock run` in processes of its own, and everything that is read of it while it runs. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../../loadtest/child.mjs';
import { rssBytesOf } from '../../loadtest/rss.mjs';

const readyTimeoutMs = 15_000;
const askTimeoutMs = 10_000;
const pollMs = 50;

export class Gateway {
  #child;
  #folder;
  /** One connection: what is read must not come and go among the descriptors that are counted. */
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #adminPort = 0;
  port = 0;
  /** The process that moves the bytes. */
  pid = 0;

  /** @param {Child} child @param {string} folder */
  constructor(child, folder) {
    this.#child = child;
    this.#folder = folder;
  }

  /**
   * Two shards, on ports the kernel chooses.
   * @param {string} yaml everything but listeners, admin and runtime
   */
  static async start(yaml) {
    const folder = await mkdtemp(join(tmpdir(), 'penstock-endurance-'));
    const configPath = join(folder, 'gateway.yaml');
    await writeFile(
      configPath,
      `listeners: [{ name: public, address: "127.0.0.1:0", filter_chains: [edge] }]
admin: { address: "127.0.0.1:0" }
runtime: { shards: 2 }
filter_chains: [{ name: edge, filters: [{ filter: request_id }] }]
${yaml}`,
    );
    const gateway = new Gateway(new Child('the gateway', ['run', '-c', configPath]), folder);
    await gateway.#untilReady();
    return gateway;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  async #untilReady() {
    const { listeners, admin } = await this.#child.ready();
    this.port = Number(listeners?.[0]?.address.split(':').at(-1));
    this.#adminPort = Number(admin?.split(':').at(-1));
    const deadlineMs = performance.now() + readyTimeoutMs;
    for (;;) {
      /** @type {{ pid: number, shards?: unknown, ready: boolean }} */
      const { pid, ready } = JSON.parse(await this.ask('/ready'));
      this.pid = pid;
      if (ready) return;
      if (performance.now() > deadlineMs) throw new Error('the gateway is not ready');
      await sleep(pollMs);
    }
  }

  /** A page of the admin port. @param {string} path @returns {Promise<string>} */
  async ask(path) {
    try {
      return await this.#askOnce(path);
    } catch {
      // A kept connection that was idle for long may be closed just as it is used again.
      return this.#askOnce(path);
    }
  }

  /** @param {string} path @returns {Promise<string>} */
  #askOnce(path) {
    return new Promise((resolve, reject) => {
      const request = get(
        { host: '127.0.0.1', port: this.#adminPort, path, agent: this.#agent, timeout: askTimeoutMs },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (/** @type {string} */ chunk) => (text += chunk));
          response.on('end', () => resolve(text));
          response.on('error', reject);
        },
      );
      request.on('timeout', () => request.destroy(new Error(`no answer to ${path} in ${askTimeoutMs} ms`)));
      request.on('error', reject);
    });
  }

  async metrics() {
    return new MetricsPage(await this.ask('/metrics'));
  }

  /** @returns {Promise<Record<string, number>>} by kind */
  async leases() {
    /** @type {{ outstanding: Record<string, number> }} */
    const { outstanding } = JSON.parse(await this.ask('/leases'));
    return outstanding;
  }

  async openExchangeCount() {
    /** @type {{ exchanges: unknown[], silent_shards: unknown[] }} */
    const page = JSON.parse(await this.ask('/exchanges'));
    return page.exchanges.length + page.silent_shards.length;
  }

  /** Shards that died and were replaced; infinite when the whole process was. */
  async restartCount() {
    /** @type {{ pid: number }} */
    const { pid } = JSON.parse(await this.ask('/ready'));
    if (pid !== this.pid) return Infinity;
    /** @type {{ shards: { restarts: number }[] }} */
    const { shards } = JSON.parse(await this.ask('/status'));
    return shards.reduce((sum, { restarts }) => sum + restarts, 0);
  }

  /** The delays of the shards' timers so far, from the finest table there is. */
  async lag() {
    return LagTable.of(await this.ask('/histograms?name=penstock_event_loop_lag_seconds&format=hgrm'));
  }

  rssBytes() {
    return rssBytesOf(this.pid);
  }

  fdCount() {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** What is left over when nobody asks anything any more. Waits for it to become nothing, for a while. @param {number} fdBaseline */
  async leftovers(fdBaseline, timeoutMs = 12_000) {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const leases = Object.values(await this.leases()).reduce((sum, count) => sum + count, 0);
      const page = await this.metrics();
      const left = {
        leases,
        exchanges: await this.openExchangeCount(),
        slabs: page.sum('penstock_slabs_in_use'),
        bufferedBytes: page.sum('penstock_buffered_bytes'),
        connections: page.sum('penstock_shard_connections'),
        inflight: page.sum('penstock_inflight_requests'),
        inflightTokens: page.sum('penstock_inflight_tokens'),
        queued: page.sum('penstock_queue_depth'),
        bugs: page.sum('penstock_bug_total'),
        fdsAboveBaseline: this.fdCount() - fdBaseline,
      };
      const { bugs: _, fdsAboveBaseline, ...counts } = left;
      const isClean = fdsAboveBaseline <= 0 && Object.values(counts).every((count) => count === 0);
      if (isClean || performance.now() > deadlineMs) return left;
      await sleep(pollMs * 4);
    }
  }

  /** How long its threads have waited for a processor, in seconds, all together. */
  cpuWaitS() {
    return cpuWaitSOf(this.pid);
  }

  /** SIGTERM; returns the exit code. */
  async stop() {
    this.#agent.destroy();
    const code = await this.#child.stop();
    await rm(this.#folder, { recursive: true, force: true });
    return code;
  }
}

/** How long the threads of a process have waited for a processor, in seconds. proc_pid_schedstat. @param {number} pid */
export function cpuWaitSOf(pid) {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[1]);
    } catch {
      // It has ended.
    }
  }
  return ns / 1e9;
}

/** Prometheus text. */
export class MetricsPage {
  #lines;

  /** @param {string} text */
  constructor(text) {
    this.#lines = text.split('\n');
  }

  /** Sum over the samples of `name` whose labels contain `label`; 0 when it has none. @param {string} name */
  sum(name, label = '') {
    let sum = 0;
    for (const line of this.#lines) {
      if (!line.startsWith(name)) continue;
      const next = line[name.length];
      if ((next === '{' || next === ' ') && line.includes(label)) sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    }
    return sum;
  }

  /** By the value of one label. @param {string} name @param {string} label @returns {Record<string, number>} */
  by(name, label) {
    /** @type {Record<string, number>} */
    const sums = {};
    for (const line of this.#lines) {
      if (!line.startsWith(`${name}{`)) continue;
      const value = new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? '';
      sums[value] = (sums[value] ?? 0) + Number(line.slice(line.lastIndexOf(' ') + 1));
    }
    return sums;
  }
}

/** A cumulative table of delays, of which two can be subtracted. */
export class LagTable {
  #rows;
  total;

  /** @param {{ ms: number, count: number }[]} rows ascending; `count`: values up to `ms` */
  constructor(rows) {
    this.#rows = rows;
    this.total = rows.at(-1)?.count ?? 0;
  }

  /** @param {string} hgrm */
  static of(hgrm) {
    const rows = [...hgrm.matchAll(/^ *([\d.]+) +[\d.]+ +(\d+)/gm)].map(([, ms, count]) => ({
      ms: Number(ms),
      count: Number(count),
    }));
    return new LagTable(rows);
  }

  /** How many values are above `ms`; where the table does not say, rather more. @param {number} ms */
  #above(ms) {
    let below = 0;
    for (const row of this.#rows) if (row.ms <= ms) below = row.count;
    return this.total - below;
  }

  /** The delay that all but `1 - ratio` of those since `before` did not exceed, and the longest. @param {LagTable} before */
  since(before) {
    const total = this.total - before.total;
    const within = (/** @type {number} */ ratio) => {
      for (const { ms } of this.#rows) if (this.#above(ms) - before.#above(ms) <= total * (1 - ratio)) return ms;
      return this.#rows.at(-1)?.ms ?? 0;
    };
    return { count: total, p50Ms: within(0.5), p99Ms: within(0.99), p99_9Ms: within(0.999), maxMs: within(1) };
  }
}
