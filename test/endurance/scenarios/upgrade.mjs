/**
 * Upgrades under load (`npm run soak -- upgrade --seconds 60`), as docs/operations.md says: start the
 * new process, wait until it is ready, SIGTERM the old one. Every third new process fails at its start instead.
 *
 * No request is lost where the kernel hands on what waits at a closing listener (net.ipv4.tcp_migrate_req=1); without that
 * the resets are counted and bounded. In a network namespace of its own the setting can be tried without touching the system:
 *
 *   unshare --net sh -c 'ip link set lo up; sysctl -qw net.ipv4.tcp_migrate_req=1; npm run soak -- upgrade'
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { configField, Engine } from '../operations/engines.mjs';
import { Load, percentile } from '../operations/load.mjs';
import { migratesRequests, scenarioOf } from '../operations/outcome.mjs';
import { freePort, GatewayProcess, leftovers } from '../operations/process.mjs';

/** A stream takes 20 of them, which is less than the drain. */
const eventGapMs = 100;
/** Without the kernel's help: what may be reset by one closing listener, two shards at this load. */
const resetsPerUpgradeMax = 2;

export const upgrade = scenarioOf({
  name: 'upgrade',
  summary: 'one process after the other takes the port over under load; every third fails at its start',
  run: runUpgrade,
});

/** @param {{ seconds: number }} options @returns {Promise<import('../operations/outcome.mjs').Outcome>} */
export async function runUpgrade({ seconds }) {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-upgrade-'));
  const engine = await new Engine(eventGapMs).listen();
  const [port, adminPort] = [await freePort(), await freePort()];
  await writeFile(
    join(folder, 'broken.mjs'),
    'export const createFilter = () => { throw new Error("not this version"); };\n',
  );

  /** @param {number} generation */
  const configOf = async (generation, isBroken = false) => {
    const set = `set: { ${configField}: "${generation}" }`;
    const filters = `{ filter: headers, request: { ${set} }, response: { ${set} } }${isBroken ? ', { filter: broken, module: ./broken.mjs }' : ''}`;
    const path = join(folder, `${generation}${isBroken ? '-broken' : ''}.yaml`);
    await writeFile(
      path,
      `listeners: [{ name: public, address: "127.0.0.1:${port}", filter_chains: [edge] }]
admin: { address: "127.0.0.1:${adminPort}" }
runtime: { shards: 2 }
timeouts: { drain_ms: 15s }
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "${engine.url}" }] }]
filter_chains: [{ name: edge, filters: [${filters}] }]
`,
    );
    return path;
  };
  const adminPid = async () => {
    const page = await (await fetch(`http://127.0.0.1:${adminPort}/live`)).json();
    return Number(page.pid);
  };

  let current = new GatewayProcess(await configOf(0));
  await current.ready();
  const load = new Load(port);
  const endMs = performance.now() + seconds * 1000;
  /** @type {(number | null)[]} */
  const exitCodes = [];
  /** @type {(number | null)[]} */
  const crashCodes = [];
  /** @type {number[]} */
  const startsMs = [];
  /** @type {number[]} */
  const drainsMs = [];
  let areAdminsRight = true;
  let generation = 1;
  for (; performance.now() < endMs; generation++) {
    await sleep(500);
    if (generation % 3 === 0) {
      const pid = await adminPid();
      const crashed = new GatewayProcess(await configOf(generation, true));
      crashCodes.push(await crashed.ended);
      areAdminsRight &&= (await adminPid()) === pid;
      continue;
    }
    const startMs = performance.now();
    const next = new GatewayProcess(await configOf(generation));
    const ready = await next.ready();
    startsMs.push(performance.now() - startMs);
    areAdminsRight &&= (await adminPid()) === ready['pid'];
    const drainMs = performance.now();
    current.kill('SIGTERM');
    exitCodes.push(await current.ended);
    drainsMs.push(performance.now() - drainMs);
    current = next;
  }
  await load.stop();
  const held = await leftovers(adminPort);
  current.kill('SIGTERM');
  exitCodes.push(await current.ended);
  engine.close();
  await rm(folder, { recursive: true });

  const isReset = (/** @type {{ fault: string }} */ { fault }) => /^(?:read ECONNRESET|socket hang up)$/.test(fault);
  const resets = load.failures.filter(isReset);
  const others = load.failures.filter((failure) => !isReset(failure));
  const upgrades = startsMs.length;
  const resetsMax = migratesRequests() ? 0 : upgrades * resetsPerUpgradeMax;
  return {
    promises: [
      {
        text: 'requests that failed but for connections reset unaccepted: 0',
        isKept: others.length === 0,
        seen: others.length,
      },
      {
        text: `connections reset unaccepted: at most ${resetsMax}`,
        isKept: resets.length <= resetsMax,
        seen: `${resets.length} in ${upgrades} upgrades`,
      },
      { text: 'the old process ends with 0', isKept: exitCodes.every((code) => code === 0), seen: exitCodes.join(' ') },
      {
        text: 'a new one that fails at its start says so (exit code 2)',
        isKept: crashCodes.every((code) => code === 2),
        seen: crashCodes.join(' '),
      },
      {
        text: 'the admin port is that of the newest that is ready',
        isKept: areAdminsRight,
        seen: String(areAdminsRight),
      },
      { text: 'left over afterwards: nothing', isKept: Object.keys(held).length === 0, seen: JSON.stringify(held) },
    ],
    figures: {
      upgrades,
      failed_starts: crashCodes.length,
      requests: Object.fromEntries(load.done),
      requests_total: load.doneCount,
      stale_connections_retried: load.staleCount,
      start_ms: { p50: percentile(startsMs, 0.5), max: Math.max(...startsMs) },
      drain_ms: { p50: percentile(drainsMs, 0.5), max: Math.max(...drainsMs) },
      failures: load.failures.slice(0, 20),
    },
  };
}
