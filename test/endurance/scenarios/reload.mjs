/**
 * Reloads under load (`npm run soak -- reload --seconds 60`): once a second the file changes in its
 * pools, models, filters and limits, while chats, uploads and streams run that last longer than one configuration.
 */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { configField, Engine } from '../operations/engines.mjs';
import { Load, percentile } from '../operations/load.mjs';
import { scenarioOf } from '../operations/outcome.mjs';
import { freePort, GatewayProcess, leftovers } from '../operations/process.mjs';

const eventGapMs = 100;

export const reload = scenarioOf({
  name: 'reload',
  summary: 'a reload a second that changes pools, models, filters and limits, under load',
  run: runReload,
});

/** @param {{ seconds: number, periodMs?: number }} options @returns {Promise<import('../operations/outcome.mjs').Outcome>} */
export async function runReload({ seconds, periodMs = 1000 }) {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-reload-'));
  const path = join(folder, 'gateway.yaml');
  const engines = await Promise.all([0, 1, 2].map(() => new Engine(eventGapMs).listen()));
  const [port, adminPort] = [await freePort(), await freePort()];

  /** @param {number} version */
  const write = async (version) => {
    const gone = version % 3;
    const urls = engines.flatMap(({ url }, index) =>
      index === gone ? [] : [`{ url: "${url}", weight: ${1 + (version % 2)} }`],
    );
    const set = `set: { ${configField}: "${version}" }`;
    await writeFile(
      `${path}.new`,
      `listeners: [{ name: public, address: "127.0.0.1:${port}", filter_chains: [edge] }]
admin: { address: "127.0.0.1:${adminPort}" }
runtime: { shards: 2 }
limits: { body_bytes_max: ${8 + (version % 2)}MiB, target_bytes_max: ${4 + (version % 4)}KiB }
models: [{ name: m, targets: [{ pool: local }] }, { name: "only-${version}", targets: [{ pool: local }] }]
pools: [{ name: local, engine: none, picker: ${version % 2 === 0 ? 'least_load' : 'round_robin'}, endpoints: [${urls.join(', ')}] }]
filter_chains: [{ name: edge, filters: [{ filter: request_id }, { filter: headers, request: { ${set} }, response: { ${set} } }] }]
`,
    );
    await rename(`${path}.new`, path);
  };

  await write(0);
  const gateway = new GatewayProcess(path);
  await gateway.ready();
  const load = new Load(port);
  const endMs = performance.now() + seconds * 1000;
  /** @type {number[]} */
  const spreadsMs = [];
  /** @type {string[]} */
  const refused = [];
  for (let version = 1; performance.now() < endMs; version++) {
    await sleep(periodMs);
    await write(version);
    const answer = await fetch(`http://127.0.0.1:${adminPort}/reload`, {
      method: 'POST',
      headers: { 'x-penstock-admin': '1' },
    });
    const page = await answer.json();
    if (answer.status === 200) spreadsMs.push(page.spread_ms);
    else refused.push(JSON.stringify(page));
  }
  await load.stop();
  const held = await leftovers(adminPort);
  gateway.kill('SIGTERM');
  const code = await gateway.ended;
  for (const engine of engines) engine.close();
  await rm(folder, { recursive: true });

  const p99Ms = percentile(spreadsMs, 0.99);
  return {
    promises: [
      {
        text: 'requests that failed, or were answered by two configurations: 0',
        isKept: load.failures.length === 0,
        seen: load.failures.length,
      },
      { text: 'reloads refused: 0', isKept: refused.length === 0, seen: refused.length },
      {
        text: 'every configuration answered some',
        isKept: load.configs.size >= spreadsMs.length,
        seen: `${load.configs.size} of ${spreadsMs.length + 1}`,
      },
      {
        text: 'told to the first shard until in force in the last, p99 below 100 ms',
        isKept: p99Ms < 100,
        seen: `${p99Ms} ms`,
      },
      { text: 'left over afterwards: nothing', isKept: Object.keys(held).length === 0, seen: JSON.stringify(held) },
      { text: 'exit code 0', isKept: code === 0, seen: String(code) },
    ],
    figures: {
      reloads: spreadsMs.length,
      spread_ms: { p50: percentile(spreadsMs, 0.5), p99: p99Ms, max: Math.max(...spreadsMs) },
      requests: Object.fromEntries(load.done),
      stale_connections_retried: load.staleCount,
      failures: load.failures.slice(0, 20),
      refused: refused.slice(0, 5),
    },
  };
}
