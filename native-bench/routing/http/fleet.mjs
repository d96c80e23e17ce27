/** The processes: simulated engines, and one gateway before them. Engines stay for all runs, a gateway lives for one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort, Process } from '../../process.mjs';
import { flagsOf } from './engine-settings.mjs';

const cli = fileURLToPath(new URL('../../../dist/cli.js', import.meta.url));
const readyTimeoutMs = 15_000;
const requestTimeoutMs = 5000;
const pollMs = 25;
export const modelName = 'sim';

export class Engines {
  /** @type {{ process: Process, port: number, eventPorts: readonly [live: number, replay: number], argv: readonly string[] }[]} */
  #all = [];

  /** @param {number} count @param {import('./engine-settings.mjs').EngineSettings} settings @param {boolean} publishes KV events */
  async start(count, settings, publishes) {
    for (let index = 0; index < count; index++) {
      const port = await freePort();
      const eventPorts = /** @type {const} */ ([await freePort(), await freePort()]);
      const [live, replay] = eventPorts.map((each) => `tcp://127.0.0.1:${each}`);
      const argv = [
        cli,
        'sim',
        '--port',
        String(port),
        '--name',
        `e${index}`,
        '--model',
        modelName,
        ...flagsOf(settings),
        ...(publishes ? ['--kv-events', live, '--kv-events-replay', replay] : []),
      ];
      this.#all.push({ process: spawnEngine(argv), port, eventPorts, argv });
    }
    await Promise.all(this.#all.map(({ process: engine }) => engine.said(/"msg":"ready"/)));
  }

  get urls() {
    return this.#all.map(({ port }) => `http://127.0.0.1:${port}`);
  }

  get ports() {
    return this.#all.map(({ port }) => port);
  }

  /** By engine: where its KV events come from, and where they are asked for again. */
  get eventPorts() {
    return this.#all.map(({ eventPorts }) => eventPorts);
  }

  get pids() {
    return this.#all.map(({ process: engine }) => engine.pid);
  }

  /** Caches are empty again. */
  async reset() {
    await Promise.all(this.urls.map((url) => ask(`${url}/reset_prefix_cache`, 'POST')));
  }

  /** SIGKILL, and a new one on the same port. @param {number} index */
  async restart(index) {
    const engine = this.#all[index];
    engine.process.kill('SIGKILL');
    await engine.process.stop();
    engine.process = spawnEngine(engine.argv);
    await engine.process.said(/"msg":"ready"/);
  }

  async stop() {
    await Promise.all(this.#all.map(({ process: engine }) => engine.stop()));
    this.#all = [];
  }
}

/** @param {readonly string[]} argv */
function spawnEngine(argv) {
  return new Process('an engine', process.execPath, argv);
}

export class Gateway {
  /** @type {Process} */
  #process;
  #folder;
  #adminPort;
  port;

  /**
   * @param {Process} child
   * @param {string} folder
   * @param {number} port
   * @param {number} adminPort
   */
  constructor(child, folder, port, adminPort) {
    this.#process = child;
    this.#folder = folder;
    this.port = port;
    this.#adminPort = adminPort;
  }

  /** The supervisor; the gateway itself is a child of it. */
  get pid() {
    return this.#process.pid;
  }

  /** As users run it, with the access log on: that is where a request's matched tokens are told. */
  static async start(
    /** @type {{ picker: string, shards: number, engineUrls: readonly string[], storeUrl?: string | null, eventPorts?: readonly (readonly [number, number])[] | null }} */ options,
  ) {
    const { picker, shards, engineUrls, storeUrl = null, eventPorts = null } = options;
    const folder = mkdtempSync(join(tmpdir(), 'penstock-routing-'));
    const port = await freePort();
    const adminPort = await freePort();
    const path = join(folder, 'gateway.yaml');
    writeFileSync(
      path,
      `listeners: [{ name: public, address: "127.0.0.1:${port}", filter_chains: [log] }]
admin: { address: "127.0.0.1:${adminPort}" }
runtime: { shards: ${shards} }
sharing: { url: ${storeUrl === null ? '' : JSON.stringify(storeUrl)} }
models: [{ name: ${modelName}, targets: [{ pool: fleet }] }]
pools:
  - name: fleet
    engine: vllm
    picker: ${picker}
    health: { path: /health, interval_ms: 500 }
    endpoints: [${engineUrls.map((url, index) => `{ url: "${url}"${eventKeys(eventPorts?.[index])} }`).join(', ')}]
filter_chains: [{ name: log, filters: [{ filter: request_id }, { filter: access_log }] }]
`,
    );
    const child = new Process('the gateway', process.execPath, [cli, 'run', '-c', path]);
    const gateway = new Gateway(child, folder, port, adminPort);
    await gateway.ready();
    return gateway;
  }

  /** Listens, and every engine is healthy. Resolves with the pid of the gateway process. @returns {Promise<number>} */
  async ready() {
    const deadlineMs = performance.now() + readyTimeoutMs;
    for (;;) {
      const text = await ask(`http://127.0.0.1:${this.#adminPort}/ready`, 'GET').catch(() => null);
      if (text !== null) return JSON.parse(text).pid;
      if (performance.now() > deadlineMs)
        throw new Error(`the gateway was not ready in time: ${this.#process.lastWords}`);
      await sleep(pollMs);
    }
  }

  /** Prometheus text. */
  metrics() {
    return ask(`http://127.0.0.1:${this.#adminPort}/metrics`, 'GET');
  }

  /** Lines of the access log so far. @returns {AccessLine[]} */
  accessLines() {
    return this.#process.stdout
      .split('\n')
      .flatMap((line) => (line.includes('"msg":"access"') ? [JSON.parse(line)] : []));
  }

  async stop() {
    await this.#process.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** @param {readonly [number, number] | undefined} ports */
function eventKeys(ports) {
  if (ports === undefined) return '';
  const [live, replay] = ports.map((port) => `["tcp://127.0.0.1:${port}"]`);
  return `, kv_events_urls: ${live}, kv_events_replay_urls: ${replay}`;
}

/** @typedef {{ request_id: string, shard: number, endpoint?: string, status: number, reason: string, cached_tokens?: number, matched_tokens?: number }} AccessLine */

/** @param {string} url @param {'GET' | 'POST'} method */
async function ask(url, method) {
  const response = await fetch(url, { method, signal: AbortSignal.timeout(requestTimeoutMs) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return text;
}
