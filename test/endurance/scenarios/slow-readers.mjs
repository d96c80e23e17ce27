/**
 * Clients that stop reading in the middle of long answers, half of them streams, half of a known length. What they do not
 * take has to wait at the engine: the gateway may hold no more of it than one read each, nobody else may notice, and
 * those who never come back are cut.
 *
 * Loopback's buffers swallow megabytes before anything backs up, so where the kernel lets us the whole scenario runs in
 * a network namespace of its own, in which sockets hold as little as they do towards a client far away.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { Checks } from '../checks.mjs';
import { Delays } from '../delays.mjs';
import { percentilesOf, percentilesText } from '../distribution.mjs';
import { Gateway } from '../gateway.mjs';
import { Sampler } from '../sampler.mjs';
import { answerEventsOf, ByteCheck } from '../traffic/content.mjs';
import { EngineProcess } from '../traffic/fleet.mjs';
import { planOf, SingleClient, wireOf } from '../traffic/single-client.mjs';
import { smallChat, SteadyLoad } from '../traffic/steady-load.mjs';

const readerCountDefault = 1000;
const steadyRate = 100;
const steadyMs = 5000;
/** Until the buffers are full and all stand still. */
const settleMs = 1500;
/** All in all they stand still for longer than the acceptor's library would let them by itself, which is 12 s. */
const standStillMs = 8000;
const writeMs = 18_000;
/** Of those who stopped, this share goes on later and must get every byte. */
const resumedShare = 0.1;
const resumeTimeoutMs = 20_000;
const cutTimeoutMs = 40_000;
const heldKbMax = 64;
/** Of memory for the connections of a stream themselves, both of them: what `idle` measures, rounded up. */
const connectionsKb = 16;
const isolated = 'PENSTOCK_SOAK_ISOLATED';
const shrink =
  'ip link set lo up && echo "4096 16384 65536" > /proc/sys/net/ipv4/tcp_wmem && echo "4096 16384 65536" > /proc/sys/net/ipv4/tcp_rmem';

/** @type {import('../types.d.ts').Scenario} */
export const slowReaders = {
  name: 'slow-readers',
  summary: '--count N: clients that stop reading long answers; what the gateway holds for them, and who notices',
  run: async ({ settings, print }) => {
    const count = settings.count === 0 ? readerCountDefault : settings.count;
    if (process.env[isolated] !== undefined) return runSlowReaders(count, print, true);
    if (spawnSync('unshare', ['-rn', 'sh', '-c', shrink]).status === 0) return runIsolated(count, settings.seed);
    return runSlowReaders(count, print, false);
  },
};

/** The same scenario once more, in a namespace of its own. @param {number} count @param {number} seed */
async function runIsolated(count, seed) {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-soak-'));
  try {
    const jsonPath = join(folder, 'result.json');
    const run = fileURLToPath(new URL('../run.mjs', import.meta.url));
    const argv = [run, 'slow-readers', '--count', String(count), '--seed', String(seed), '--json', jsonPath];
    const child = spawn('unshare', ['-rn', 'sh', '-c', `${shrink} && exec "$0" "$@"`, process.execPath, ...argv], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, [isolated]: '1' },
    });
    const code = await new Promise((resolve) => child.once('exit', resolve));
    const text = await readFile(jsonPath, 'utf8').catch(() => null);
    if (text === null) throw new Error(`the scenario ended with code ${code} in its namespace`);
    /** @type {import('../types.d.ts').Result} */
    const { figures, checks, samples, notes } = JSON.parse(text);
    return { figures, checks, samples, notes };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Reads up to the first piece of the body, and goes on when it is told to. */
class SlowReader {
  #check;
  #isResumed = false;
  client;
  wrong = '';

  /** @param {number} port @param {number} index */
  constructor(port, index) {
    const isStream = index % 2 === 0;
    const plan = planOf(
      isStream ? { eventCount: 60, answerBytes: 50_000 } : { kind: 'plain', framing: 'length', answerBytes: 3_000_000 },
    );
    this.#check = new ByteCheck(answerEventsOf(plan).flat());
    this.client = new SingleClient(port, wireOf(plan), (bytes) => {
      if (!this.#isResumed) this.client.connection.pause();
      if (this.#check.push(bytes) !== bytes.length) this.wrong = `wrong bytes after ${this.#check.position}`;
    });
  }

  get isWhole() {
    return this.client.ended === '' && this.#check.isWhole && this.wrong === '';
  }

  resume() {
    this.#isResumed = true;
    this.client.connection.resume();
  }
}

/**
 * @param {number} count
 * @param {(line: string) => void} print
 * @param {boolean} hasSmallSockets
 * @returns {Promise<import('../types.d.ts').Outcome>}
 */
async function runSlowReaders(count, print, hasSmallSockets) {
  const checks = new Checks();
  const engines = new EngineProcess();
  /** @type {Gateway | null} */
  let gateway = null;
  try {
    await engines.listen({ seed: 1, count: 2 });
    gateway = await Gateway.start(`timeouts: { drain_ms: 1s, downstream_write_ms: ${writeMs} }
pools: [{ name: main, engine: none, picker: least_load, keepalive_idle_ms: 2s, endpoints: ${JSON.stringify(engines.origins.map((url) => ({ url })))} }]
`);
    const { port } = gateway;
    const steady = () => new SteadyLoad({ port, ratePerSecond: steadyRate, planFor: smallChat });
    // The shape of the load, once without counting.
    await steadyFor(steady(), 1500);
    await gateway.leftovers(0, 3000);
    const fdBaseline = gateway.fdCount();
    const delays = await Delays.begin(gateway);
    const sampler = new Sampler(gateway);
    const alone = await steadyFor(steady(), steadyMs);
    print(`  alone: ${percentilesText(percentilesOf(alone.map(({ ms }) => ms)))}`);
    const rssBefore = gateway.rssBytes();
    const readers = Array.from({ length: count }, (_, index) => new SlowReader(port, index));
    await Promise.all(readers.map(({ client }) => client.firstBytes()));
    await sleep(settleMs);
    const rssHeld = gateway.rssBytes();
    const lagFrom = await gateway.lag();
    const beside = await steadyFor(steady(), steadyMs);
    const lagBeside = (await gateway.lag()).since(lagFrom);
    await sleep(standStillMs);
    const rssMax = Math.max(rssHeld, gateway.rssBytes());
    print(`  beside ${count}: ${percentilesText(percentilesOf(beside.map(({ ms }) => ms)))}`);
    const stillOpen = readers.filter(({ client }) => client.ended === null).length;
    const resumed = readers.filter((_, index) => index % (1 / resumedShare) < 1);
    for (const reader of resumed) reader.resume();
    await Promise.race([Promise.all(resumed.map(({ client }) => client.over())), sleep(resumeTimeoutMs)]);
    // The others never read again, so they cannot see that they were cut: their answers leave the books.
    const cutAtMs = performance.now();
    const isCut = await untilHeld(gateway, 0, cutTimeoutMs);
    const cutMs = performance.now() - cutAtMs;
    for (const { client } of readers) client.connection.destroy();
    const delaysSeen = await delays.end();
    const left = await gateway.leftovers(fdBaseline);
    await sampler.stop();
    const engine = await engines.stats();

    const wrong = readers.filter((reader) => reader.wrong !== '');
    const whole = resumed.filter((reader) => reader.isWhole);
    const heldKb = (rssMax - rssBefore) / 1024 / count;
    const [aloneMs, besideMs] = [alone, beside].map((answers) => percentilesOf(answers.map(({ ms }) => ms)));
    const failed = [...alone, ...beside].filter(({ ending }) => ending !== 'right');
    checks.promise(`slow readers that stood still together: ${count}`, stillOpen === count, stillOpen);
    checks.promise(
      `memory of the process for each of them: at most ${heldKbMax} KB of its answer, and ${connectionsKb} KB for its connections`,
      heldKb <= heldKbMax + connectionsKb,
      `${heldKb.toFixed(1)} KB`,
    );
    checks.target(
      `the same, connections and all: at most ${heldKbMax} KB`,
      heldKb <= heldKbMax,
      `${heldKb.toFixed(1)} KB`,
    );
    const falselyWhole = resumed.filter((reader) => reader.client.ended === '' && !reader.isWhole);
    checks.promise(
      'those who read on and are told that their answer is whole, though it is not: 0',
      falselyWhole.length === 0,
      falselyWhole.length,
    );
    checks.promise(
      'those who read on get every byte',
      whole.length === resumed.length && resumed.length > 0,
      `${whole.length} of ${resumed.length}`,
    );
    checks.promise('wrong bytes: 0', wrong.length === 0, wrong[0]?.wrong ?? 0);
    checks.promise(
      'those who do not are cut, and nothing is held for them',
      isCut,
      `all gone ${(cutMs / 1000).toFixed(1)} s after the last of the others was done`,
    );
    checks.promise('answers of the others that are not right: 0', failed.length === 0, failed[0]?.detail ?? 0);
    const ratio = (besideMs?.p99 ?? 0) / (aloneMs?.p99 ?? 1);
    checks.target(
      '99th percentile of the others: at most 1.5 times what it was',
      ratio <= 1.5,
      `${ratio.toFixed(2)} times`,
    );
    checks.promise(
      'requests that reached an engine otherwise than sent: 0',
      engine.wrongCount === 0,
      engine.wrong[0] ?? 0,
    );
    checks.promise('exchanges active at the engines afterwards: 0', engine.activeCount === 0, engine.activeCount);
    checks.nothingLeft(left);
    checks.delays(delaysSeen);
    return {
      figures: {
        slow_readers: count,
        sockets: hasSmallSockets ? 'at most 64 KB of buffers each way' : "loopback's own buffers, of megabytes",
        rss_mb_before: Math.round(rssBefore / 1e6),
        rss_mb_with_them: Math.round(rssMax / 1e6),
        kb_for_each: heldKb.toFixed(1),
        others_alone: aloneMs === undefined ? '' : percentilesText(aloneMs),
        others_beside_them: besideMs === undefined ? '' : percentilesText(besideMs),
        event_loop_delay_beside_them: `p99.9 ${lagBeside.p99_9Ms.toFixed(1)} ms`,
      },
      checks: checks.list,
      samples: sampler.kept(),
      notes: [
        'What is held is told by the resident memory, which also counts the connections themselves, both sides of them.',
        ...(hasSmallSockets
          ? []
          : [
              'No network namespace could be made here: most of each answer lay in the kernel, and the gateway was put to less of a test.',
            ]),
      ],
    };
  } finally {
    await gateway?.stop();
    await engines.kill();
  }
}

/** @param {SteadyLoad} load @param {number} ms */
async function steadyFor(load, ms) {
  await sleep(ms);
  return load.stop();
}

/** Whether no more than `most` exchanges were open in time. @param {Gateway} gateway @param {number} most @param {number} timeoutMs */
async function untilHeld(gateway, most, timeoutMs) {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const { exchange = 0 } = await gateway.leases();
    if (exchange <= most) return true;
    if (performance.now() > deadlineMs) return false;
    await sleep(50);
  }
}
