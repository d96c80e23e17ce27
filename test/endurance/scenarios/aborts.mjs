/**
 * From the moment a client goes to the moment its engine knows. Clients and engine are in this process, so both ends of each
 * interval are read off one clock; the gateway between them is the real program. An engine that generates for nobody is
 * what this costs, so the phases are those in which one can be busy or be about to be.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from '../../../loadtest/child.mjs';
import { blackHole } from '../black-hole.mjs';
import { Checks } from '../checks.mjs';
import { Delays } from '../delays.mjs';
import { percentilesOf, percentilesText } from '../distribution.mjs';
import { cpuWaitSOf, Gateway } from '../gateway.mjs';
import { Sampler } from '../sampler.mjs';
import { Engine } from '../traffic/engine.mjs';
import { randomOf, wholeBetween } from '../traffic/random.mjs';
import { planOf, SingleClient, wireOf } from '../traffic/single-client.mjs';

const sampleCountDefault = 200;
const targetP99Ms = 5;
const promisedMaxMs = 100;
/** Of one sample, over all threads of both processes. On a full machine it is the scheduler that is measured otherwise. */
const waitedMsMax = 0.5;
/** Fewer say nothing about a 99th percentile. */
const freeCountMin = 50;
const stepTimeoutMs = 10_000;
const longMs = 60_000;
const simName = 'sim-model';
const direct = 'waiting, no gateway in between';

/** @typedef {{ ms: number, waitedMs: number }} Interval `waitedMs`: of it, or just after it, for a processor */

/** @type {import('../types.d.ts').Scenario} */
export const aborts = {
  name: 'aborts',
  summary: '--count N: from a client that leaves to the close at its engine, phase by phase',
  run: ({ settings, print }) =>
    runAborts(settings.count === 0 ? sampleCountDefault : settings.count, settings.seed, print),
};

/**
 * @param {number} count
 * @param {number} seed
 * @param {(line: string) => void} print
 * @returns {Promise<import('../types.d.ts').Outcome>}
 */
async function runAborts(count, seed, print) {
  const checks = new Checks();
  const random = randomOf(seed);
  const seen = new EngineLog();
  const engine = new Engine({ random, events: seen.events });
  const hole = await blackHole();
  const sim = new Child('the simulated engine', [
    'sim',
    '--port',
    '0',
    '--host',
    '127.0.0.1',
    '--name',
    'sim',
    '--model',
    simName,
  ]);
  /** @type {Gateway | null} */
  let gateway = null;
  try {
    await engine.listen(0);
    const simOrigin = String((await sim.ready()).url);
    gateway = await Gateway.start(configOf(engine.port, hole.port, simOrigin));
    const { port } = gateway;
    // Code is compiled, a connection of each shard is open.
    for (let round = 0; round < 50; round++) await new SingleClient(port, wireOf(planOf({ gapMs: 0 }))).over();
    const delays = await Delays.begin(gateway);
    const fdBaseline = gateway.fdCount();
    const sampler = new Sampler(gateway);
    /** @type {Record<string, Interval[]>} */
    const values = {};
    const measure = async (/** @type {string} */ phase, /** @type {() => Promise<Interval>} */ once) => {
      const each = [];
      for (let round = 0; round < count; round++) each.push(await once());
      values[phase] = each;
      print(`  ${phase}: ${percentilesText(percentilesOf(each.map(({ ms }) => ms)))}`);
    };
    const watch = new Stopwatch([gateway.pid, process.pid]);
    // What the machine itself takes for it, without a gateway.
    await measure(direct, async () => {
      const plan = planOf({ firstDelayMs: longMs });
      const client = new SingleClient(engine.port, wireOf(plan));
      await seen.when(plan.token, 'request');
      return leave(client, seen, plan.token, watch);
    });
    await measure('uploading', async () => {
      const plan = planOf({ fillBytes: wholeBetween(random, 2000, 600_000) });
      const client = new SingleClient(port, wireOf(plan, 0.5));
      await seen.when(plan.token, 'head');
      return leave(client, seen, plan.token, watch);
    });
    await measure('waiting', async () => {
      const plan = planOf({ firstDelayMs: longMs });
      const client = new SingleClient(port, wireOf(plan));
      await seen.when(plan.token, 'request');
      return leave(client, seen, plan.token, watch);
    });
    await measure('streaming', async () => {
      const plan = planOf({ eventCount: 1000, gapMs: 2 });
      const client = new SingleClient(port, wireOf(plan));
      await client.firstBytes();
      await sleep(wholeBetween(random, 0, 10));
      return leave(client, seen, plan.token, watch);
    });
    await measure('streaming, paused by backpressure', async () => {
      const plan = planOf({ eventCount: 500, answerBytes: 60_000 });
      const client = new SingleClient(port, wireOf(plan), () => client.connection.pause());
      await client.firstBytes();
      await seen.standstill(plan.token);
      return leave(client, seen, plan.token, watch);
    });
    const idle = gateway;
    await measure('connecting', async () => {
      const fdCount = idle.fdCount();
      const client = new SingleClient(port, wireOf(planOf({ model: 'hole' })));
      // The client's connection and the attempt.
      await until('a connection attempt', () => idle.fdCount() === fdCount + 2);
      watch.start();
      client.connection.destroy();
      await until('the end of the attempt', () => idle.fdCount() === fdCount);
      return watch.stop();
    });
    const holder = new SingleClient(port, wireOf(planOf({ model: 'narrow', firstDelayMs: longMs })));
    const admin = gateway;
    const queued = async () => (await admin.leases())['queue_place'] ?? 0;
    await until('the place to be taken', async () => ((await admin.leases())['endpoint'] ?? 0) === 1);
    await measure('queued', async () => {
      const client = new SingleClient(port, wireOf(planOf({ model: 'narrow' })));
      await until('a place in the queue', async () => (await queued()) === 1);
      watch.start();
      client.connection.destroy();
      await until('the queue to be empty', async () => (await queued()) === 0);
      return watch.stop();
    });
    holder.connection.destroy();
    const simulated = await leaveSimulated(port, simOrigin, count);
    const delaysSeen = await delays.end();
    const left = await gateway.leftovers(fdBaseline);
    await sampler.stop();
    for (const [phase, each] of Object.entries(values)) {
      if (phase === direct) continue;
      const all = percentilesOf(each.map(({ ms }) => ms));
      const free = percentilesOf(each.filter(({ waitedMs }) => waitedMs <= waitedMsMax).map(({ ms }) => ms));
      checks.target(
        `${phase}: closed within ${targetP99Ms} ms of the client's leaving, 99th percentile of the samples in which nobody waited for a processor`,
        free.p99 <= targetP99Ms && free.count >= freeCountMin,
        `${percentilesText(free)}; of all samples ${percentilesText(all)}`,
      );
      checks.promise(
        `${phase}: closed within ${promisedMaxMs} ms, in every one of those samples`,
        free.max <= promisedMaxMs,
        `${free.max.toFixed(2)} ms`,
      );
    }
    checks.promise(
      'generations that the simulated engine aborts: as many as clients left',
      simulated.aborted === count && simulated.running === 0,
      `${simulated.aborted} of ${count}, ${simulated.running} still running`,
    );
    checks.promise(
      'requests that reached the engine otherwise than sent: 0',
      engine.wrongCount === 0,
      engine.wrong.join('; ') || 0,
    );
    checks.promise('exchanges active at the engine afterwards: 0', engine.activeCount === 0, engine.activeCount);
    checks.nothingLeft(left);
    checks.delays(delaysSeen);
    return {
      figures: {
        samples_per_phase: count,
        ...Object.fromEntries(
          Object.entries(values).map(([phase, each]) => [
            phase,
            percentilesText(percentilesOf(each.map(({ ms }) => ms))),
          ]),
        ),
      },
      checks: checks.list,
      samples: sampler.kept(),
      notes: [
        "uploading, waiting, streaming: from destroy() in the client to `end` or `close` at the engine's socket, one process and one clock.",
        `On a machine that others use too a sample may measure the scheduler: those in which the threads of both processes waited more than ${waitedMsMax} ms for a processor (proc_pid_schedstat) are told apart, and what the same takes without a gateway is said as well.`,
        'connecting: until the gateway has as few file descriptors as before: both connections are gone; queued: until the admin port says that the place is given back, so one round trip to it is included.',
        'Not measured here: a client whose upload is paused because the memory for bodies is used up is not looked at meanwhile; that pause ends after 5 s at the most (docs/acceptor.md). A client that vanishes without FIN or RST is not seen before something is written to it.',
      ],
    };
  } finally {
    await gateway?.stop();
    await sim.stop();
    hole.close();
    engine.stopListening(true);
  }
}

/** @param {number} port @param {number} holePort @param {string} simOrigin */
function configOf(port, holePort, simOrigin) {
  const pool = (/** @type {string} */ name, /** @type {string} */ url, rest = '') =>
    `  - { name: ${name}, engine: none, picker: least_load, keepalive_idle_ms: 30s, ${rest} endpoints: [{ url: "${url}" }] }\n`;
  const engine = `http://127.0.0.1:${port}`;
  const models = ['main', 'narrow', 'hole', simName].map(
    (name) => `  - { name: ${name}, targets: [{ pool: ${name} }] }\n`,
  );
  return `timeouts: { connect_ms: 30s, drain_ms: 1s }
models:
${models.join('')}pools:
${pool('main', engine)}${pool('narrow', engine, 'inflight_max: 1, queue: { wait_ms: 60s },')}${pool('hole', `http://127.0.0.1:${holePort}`)}${pool(simName, simOrigin)}`;
}

/** @param {SingleClient} client @param {EngineLog} seen @param {string} token @param {Stopwatch} watch @returns {Promise<Interval>} */
async function leave(client, seen, token, watch) {
  watch.start();
  client.connection.destroy();
  await seen.when(token, 'gone');
  return watch.stop(seen.at(token)?.gone);
}

/** Measures an interval, and how long of it the processes that were measured waited for a processor that others had. */
class Stopwatch {
  #pids;
  #startMs = 0;
  #waitedS = 0;

  /** @param {readonly number[]} pids */
  constructor(pids) {
    this.#pids = pids;
  }

  start() {
    this.#waitedS = this.#waited();
    this.#startMs = performance.now();
  }

  /** @returns {Interval} */
  stop(endMs = performance.now()) {
    return { ms: endMs - this.#startMs, waitedMs: (this.#waited() - this.#waitedS) * 1000 };
  }

  #waited() {
    return this.#pids.reduce((sum, pid) => sum + cpuWaitSOf(pid), 0);
  }
}

/** What the engine saw of each request, and when. */
class EngineLog {
  /** @type {Map<string, { head?: number, request?: number, gone?: number, blocked?: number }>} */
  #seen = new Map();
  /** @type {import('../traffic/engine.mjs').EngineEvents} */
  events = {
    onHead: ({ token }) => this.#note(token, 'head'),
    onRequest: ({ token }) => this.#note(token, 'request'),
    onBlocked: ({ token }) => this.#note(token, 'blocked'),
    onGone: ({ token }, _, atMs) => this.#note(token, 'gone', atMs),
  };

  /** @param {string} token */
  at(token) {
    return this.#seen.get(token);
  }

  /** @param {string} token @param {'head' | 'request' | 'gone'} what */
  when(token, what) {
    return until(`${what} of ${token} at the engine`, () => this.#seen.get(token)?.[what] !== undefined);
  }

  /** Every buffer on the way is full: the engine could write nothing for a while. @param {string} token */
  standstill(token) {
    return until(`${token} to stand still`, () => {
      const blocked = this.#seen.get(token)?.blocked;
      return blocked !== undefined && performance.now() - blocked > 60;
    });
  }

  /** @param {string} token @param {'head' | 'request' | 'gone' | 'blocked'} what */
  #note(token, what, atMs = performance.now()) {
    const row = this.#seen.get(token) ?? {};
    row[what] = atMs;
    this.#seen.set(token, row);
  }
}

/** Looks once a turn of the event loop. @param {string} what @param {() => boolean | Promise<boolean>} holds */
async function until(what, holds) {
  const deadlineMs = performance.now() + stepTimeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`waited ${stepTimeoutMs} ms for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/**
 * Streams of the simulated engine that are left after their first bytes, and what it counted of them.
 * @param {number} port
 * @param {string} simOrigin
 * @param {number} count
 */
async function leaveSimulated(port, simOrigin, count) {
  const body = JSON.stringify({
    model: simName,
    stream: true,
    ignore_eos: true,
    max_tokens: 5000,
    messages: [{ role: 'user', content: 'go on' }],
  });
  const wire = Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  let leftCount = 0;
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      while (leftCount < count) {
        leftCount++;
        const client = new SingleClient(port, [wire]);
        await client.firstBytes();
        client.connection.destroy();
      }
    }),
  );
  const stats = async () => {
    const answer = await fetch(`${simOrigin}/sim/stats`);
    const { aborted, running, waiting } =
      /** @type {{ aborted: Record<string, number>, running: number, waiting: number }} */ (await answer.json());
    return { aborted: Object.values(aborted).reduce((sum, each) => sum + each, 0), running: running + waiting };
  };
  const deadlineMs = performance.now() + stepTimeoutMs;
  for (;;) {
    const now = await stats();
    if ((now.aborted >= count && now.running === 0) || performance.now() > deadlineMs) return now;
    await sleep(20);
  }
}
