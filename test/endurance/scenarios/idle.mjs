/** Many who want nothing at the moment: connections without a request, and streams in which nothing comes for long. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Checks } from '../checks.mjs';
import { Delays } from '../delays.mjs';
import { percentilesOf, percentilesText } from '../distribution.mjs';
import { Gateway } from '../gateway.mjs';
import { Sampler } from '../sampler.mjs';
import { EngineProcess } from '../traffic/fleet.mjs';
import { planOf, SingleClient, wireOf } from '../traffic/single-client.mjs';
import { smallChat, SteadyLoad } from '../traffic/steady-load.mjs';

const countsDefault = [1000, 5000];
const steadyRate = 100;
const steadyMs = 5000;
/** The library closes idle connections after 8 to 12 s. */
const idleTimeoutMs = 16_000;
/** FAULTS section 5: a client's connection, and a stream with both of its connections. */
const connectionKbMax = 8;
const streamKbMax = 40;
const batch = 200;
const hourMs = 3_600_000;

/** @type {import('../types.d.ts').Scenario} */
export const idle = {
  name: 'idle',
  summary: '--count N: thousands of idle connections, then of silent streams; what each costs, and who notices',
  run: ({ settings, print }) => runIdle(settings.count === 0 ? countsDefault : [settings.count], print),
};

/**
 * @param {readonly number[]} counts
 * @param {(line: string) => void} print
 * @returns {Promise<import('../types.d.ts').Outcome>}
 */
async function runIdle(counts, print) {
  const checks = new Checks();
  const engines = new EngineProcess();
  /** @type {Gateway | null} */
  let gateway = null;
  try {
    await engines.listen({ seed: 1, count: 2 });
    gateway = await Gateway.start(`timeouts: { drain_ms: 1s, stream_idle_ms: 10m }
pools: [{ name: main, engine: none, picker: least_load, keepalive_idle_ms: 2s, endpoints: ${JSON.stringify(engines.origins.map((url) => ({ url })))} }]
`);
    const running = gateway;
    const { port } = running;
    /** @type {import('../traffic/steady-load.mjs').SteadyAnswer[]} */
    const failed = [];
    const load = async () => {
      const steady = new SteadyLoad({ port, ratePerSecond: steadyRate, planFor: smallChat });
      await sleep(steadyMs);
      const answers = await steady.stop();
      failed.push(...answers.filter(({ ending }) => ending !== 'right'));
      return percentilesOf(answers.map(({ ms }) => ms));
    };
    await load();
    await running.leftovers(0, 3000);
    const fdBaseline = running.fdCount();
    const delays = await Delays.begin(running);
    const sampler = new Sampler(running);
    const alone = await load();
    /** @type {Record<string, string | number>} */
    const figures = { others_alone: percentilesText(alone) };
    const note = (
      /** @type {string} */ what,
      /** @type {number} */ kb,
      /** @type {typeof alone} */ beside,
      /** @type {number} */ kbMax,
    ) => {
      print(`  ${what}: ${kb.toFixed(1)} KB each; others ${percentilesText(beside)}`);
      figures[`${what}, each`] = `${kb.toFixed(1)} KB`;
      figures[`others beside ${what}`] = percentilesText(beside);
      checks.promise(`${what}: at most ${kbMax} KB of memory each`, kb <= kbMax, `${kb.toFixed(1)} KB`);
      const ratio = beside.p99 / alone.p99;
      checks.target(
        `99th percentile of the others beside ${what}: at most 1.5 times what it was`,
        ratio <= 1.5,
        `${ratio.toFixed(2)} times`,
      );
    };
    for (const count of counts) {
      const rssBefore = running.rssBytes();
      const sockets = await inBatches(count, () => connected(port));
      const kb = (running.rssBytes() - rssBefore) / 1024 / count;
      const beside = await load();
      note(`${count} idle connections`, kb, beside, connectionKbMax);
      const isClosed = await until(
        async () => (await running.metrics()).sum('penstock_shard_connections') === 0,
        idleTimeoutMs,
      );
      checks.promise(`${count} idle connections: all closed by the gateway`, isClosed, isClosed);
      for (const socket of sockets) socket.destroy();
    }
    for (const count of counts) {
      const rssBefore = running.rssBytes();
      const clients = await inBatches(count, async () => {
        const client = new SingleClient(port, wireOf(planOf({ eventCount: 2, gapMs: hourMs })));
        await client.firstBytes();
        return client;
      });
      await sleep(500);
      const kb = (running.rssBytes() - rssBefore) / 1024 / count;
      const beside = await load();
      note(`${count} silent streams`, kb, beside, streamKbMax);
      const { exchange = 0 } = await running.leases();
      checks.promise(`${count} silent streams: all still open after their silence`, exchange === count, exchange);
      const leftMs = performance.now();
      for (const { connection } of clients) connection.destroy();
      const isFree = await until(async () => ((await running.leases())['exchange'] ?? 0) === 0, idleTimeoutMs);
      const freeMs = performance.now() - leftMs;
      figures[`${count} streams left at once, until nothing was held`] = `${freeMs.toFixed(0)} ms`;
      checks.promise(`${count} streams left at once: everything is given back`, isFree, `${freeMs.toFixed(0)} ms`);
      checks.target(`${count} streams left at once: given back within 1 s`, freeMs <= 1000, `${freeMs.toFixed(0)} ms`);
    }
    const delaysSeen = await delays.end();
    const left = await running.leftovers(fdBaseline);
    await sampler.stop();
    const engine = await engines.stats();
    checks.promise('answers of the others that are not right: 0', failed.length === 0, failed[0]?.detail ?? 0);
    checks.promise('exchanges active at the engines afterwards: 0', engine.activeCount === 0, engine.activeCount);
    checks.nothingLeft(left);
    checks.delays(delaysSeen);
    return {
      figures,
      checks: checks.list,
      samples: sampler.kept(),
      notes: [
        'Memory is the growth of the resident set for the first so many; pages that were freed before are used again, so later ones can look cheaper than they are.',
      ],
    };
  } finally {
    await gateway?.stop();
    await engines.kill();
  }
}

/** @template T @param {number} count @param {() => Promise<T>} make @returns {Promise<T[]>} */
async function inBatches(count, make) {
  /** @type {T[]} */
  const made = [];
  while (made.length < count) {
    made.push(...(await Promise.all(Array.from({ length: Math.min(batch, count - made.length) }, make))));
  }
  return made;
}

/** @param {number} port @returns {Promise<import('node:net').Socket>} */
function connected(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.once('error', reject);
    socket.resume();
  });
}

/** @param {() => Promise<boolean>} holds @param {number} timeoutMs */
async function until(holds, timeoutMs) {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) return false;
    await sleep(20);
  }
  return true;
}
