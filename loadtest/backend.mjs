/**
 * The own backend of a run without --url: three simulated engines and one gateway with one shard, each a process of its
 * own, so that the gateway's CPU time is nobody else's. Afterwards it is asked whether anything leaked.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from './child.mjs';

const engineNames = ['sim-1', 'sim-2', 'sim-3'];
const readyTimeoutMs = 15_000;
/** The last requests are cut off when the time is up; what they held must come back within this. */
const idleTimeoutMs = 5000;
const pollMs = 50;

export class Backend {
  /** @type {Child[]} */
  #engines = [];
  /** @type {Child | null} */
  #gateway = null;
  /** @type {string[]} */
  #engineOrigins = [];
  #folder = '';
  #admin = '';
  /** Where the gateway listens. */
  origin = '';
  /** The first engine, for answers without the gateway in between. */
  engineOrigin = '';
  /** The gateway's is the process that moves the bytes; `penstock run` itself only supervises. */
  pids = { gateway: 0, supervisor: 0, engines: /** @type {number[]} */ ([]) };

  /**
   * @param {{ scenario: import('./types.d.ts').Scenario, model: string, gatewayNodeFlags?: readonly string[] }} options
   */
  async start({ scenario, model, gatewayNodeFlags = [] }) {
    const { speed, flags = [] } = scenario.engines;
    const engineFlags = ['--model', model, '--speed', String(speed), ...flags];
    const engineUrls = await Promise.all(engineNames.map((name) => this.#startEngine(name, engineFlags)));
    this.#engineOrigins = engineUrls;
    this.engineOrigin = engineUrls[0] ?? '';
    this.#folder = await mkdtemp(join(tmpdir(), 'penstock-loadtest-'));
    const configPath = join(this.#folder, 'loadtest.yaml');
    await writeFile(configPath, gatewayConfig(model, engineUrls, scenario.poolSettings));
    this.#gateway = new Child('the gateway', ['run', '-c', configPath], gatewayNodeFlags);
    const { listeners, admin } = await this.#gateway.ready();
    this.origin = `http://${listeners?.[0]?.address}`;
    this.#admin = `http://${admin}`;
    this.pids = {
      gateway: await this.#pidOnceReady(),
      supervisor: this.#gateway.pid ?? 0,
      engines: this.#engines.flatMap(({ pid }) => pid ?? []),
    };
  }

  /** What is left after the load: polled until nothing is, or time is up. */
  async leftovers() {
    const deadlineMs = performance.now() + idleTimeoutMs;
    for (;;) {
      /** @type {{ outstanding: Record<string, number> }} */
      const { outstanding } = JSON.parse(await ask(`${this.#admin}/leases`));
      const isIdle = Object.values(outstanding).every((count) => count === 0);
      if (isIdle || performance.now() > deadlineMs) {
        return {
          leasesOutstanding: outstanding,
          bugTotal: sumOf(await ask(`${this.#admin}/metrics`), 'penstock_bug_total'),
        };
      }
      await sleep(pollMs);
    }
  }

  /** Over all engines: generations whose client went away since the start, and generations under way or waiting. */
  async engineTotals() {
    const totals = { aborted: 0, running: 0 };
    for (const origin of this.#engineOrigins) {
      /** @type {{ aborted: Record<string, number>, running: number, waiting: number }} */
      const { aborted, running, waiting } = JSON.parse(await ask(`${origin}/sim/stats`));
      totals.aborted += Object.values(aborted).reduce((sum, count) => sum + count, 0);
      totals.running += running + waiting;
    }
    return totals;
  }

  /** Ends every process, the gateway first, by pid; at any time, more than once. Returns whether the gateway drained. */
  async stop() {
    const code = await this.#gateway?.stop();
    await Promise.all(this.#engines.map((engine) => engine.stop()));
    if (this.#folder !== '') await rm(this.#folder, { recursive: true, force: true });
    return code === undefined || code === 0;
  }

  /** For a reader who wants to look around. */
  get description() {
    return `gateway ${this.origin} (pid ${this.pids.gateway}), admin ${this.#admin}, first engine ${this.engineOrigin}`;
  }

  /**
   * @param {string} name
   * @param {readonly string[]} flags
   */
  async #startEngine(name, flags) {
    const engine = new Child(name, ['sim', '--port', '0', '--host', '127.0.0.1', '--name', name, ...flags]);
    this.#engines.push(engine);
    return String((await engine.ready()).url);
  }

  async #pidOnceReady() {
    const deadlineMs = performance.now() + readyTimeoutMs;
    for (;;) {
      const text = await ask(`${this.#admin}/ready`, true);
      /** @type {{ ready: boolean, pid: number }} */
      const { ready, pid } = JSON.parse(text);
      if (ready) return pid;
      if (performance.now() > deadlineMs) throw new Error(`the gateway is not ready: ${text}`);
      await sleep(pollMs);
    }
  }
}

/**
 * @param {string} url
 * @param {boolean} isAnyStatus
 */
async function ask(url, isAnyStatus = false) {
  const response = await fetch(url, { signal: AbortSignal.timeout(readyTimeoutMs) });
  const text = await response.text();
  if (!isAnyStatus && !response.ok) throw new Error(`${url} answers ${response.status}: ${text.slice(0, 200)}`);
  return text;
}

/**
 * Names are JSON, which YAML contains. The model keeps its name upstream, so that bodies pass unchanged.
 * @param {string} model
 * @param {string[]} engineUrls
 * @param {string} poolSettings further lines of the pool
 */
function gatewayConfig(model, engineUrls, poolSettings = '') {
  return `listeners:
  - { name: public, address: "127.0.0.1:0", filter_chains: [edge] }
admin: { address: "127.0.0.1:0" }
runtime: { shards: 1 }
timeouts: { drain_ms: 2s }
models:
  - { name: ${JSON.stringify(model)}, targets: [{ pool: sims }] }
pools:
  - name: sims
    engine: vllm
    picker: least_load
    health: { path: /health, interval_ms: 1s }
    ${poolSettings}
    endpoints: ${JSON.stringify(engineUrls.map((url) => ({ url })))}
filter_chains:
  - { name: edge, filters: [{ filter: request_id }] }
`;
}

/**
 * Sum of a counter's samples in Prometheus text; 0 when it has none yet.
 * @param {string} page
 * @param {string} name
 */
function sumOf(page, name) {
  let sum = 0;
  for (const line of page.split('\n')) {
    if (line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}
