/**
 * Three engines, each a process of its own, under a mixed load; one is killed as a machine that is lost, and comes back.
 * Whoever was not in the middle of a stream from it must not notice, and whoever was must be told the truth.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Checks } from '../checks.mjs';
import { Delays } from '../delays.mjs';
import { percentilesOf, percentilesText } from '../distribution.mjs';
import { Gateway } from '../gateway.mjs';
import { Sampler } from '../sampler.mjs';
import { EngineProcess } from '../traffic/fleet.mjs';
import { SteadyLoad } from '../traffic/steady-load.mjs';

const engineCount = 3;
const ratePerSecond = 120;
const spellMs = 10_000;
/** Load before it counts, and after the engine is back, until it has been found healthy. */
const warmMs = 3000;

/** @type {import('../types.d.ts').Scenario} */
export const kill = {
  name: 'kill',
  summary: 'one of three engines is killed under load and comes back; who notices',
  run: ({ print }) => runKill(print),
};

/** In 20: 14 plain chats of 3 KB, 1 of 1 MB, 5 streams. @param {number} number @returns {Partial<import('../traffic/content.mjs').Plan>} */
function planFor(number) {
  const kind = number % 20;
  if (kind % 4 === 3) return { fillBytes: 3000, eventCount: 30, gapMs: 10, firstDelayMs: 10 };
  const answer = /** @type {const} */ ({ kind: 'plain', framing: 'length', answerBytes: 800 });
  return { ...answer, fillBytes: kind === 0 ? 1_000_000 : 3000, firstDelayMs: 5 + (number % 15) };
}

/** @param {(line: string) => void} print @returns {Promise<import('../types.d.ts').Outcome>} */
async function runKill(print) {
  const checks = new Checks();
  const engines = Array.from({ length: engineCount }, () => new EngineProcess());
  /** @type {Gateway | null} */
  let gateway = null;
  try {
    await Promise.all(engines.map((engine, index) => engine.listen({ seed: index + 1, count: 1 })));
    const urls = engines.flatMap(({ origins }) => origins).map((url) => ({ url }));
    gateway = await Gateway.start(`timeouts: { drain_ms: 2s }
pools:
  - name: main
    engine: none
    picker: least_load
    health: { path: /health, interval_ms: 500ms }
    endpoints: ${JSON.stringify(urls)}
`);
    const load = new SteadyLoad({ port: gateway.port, ratePerSecond, planFor });
    await sleep(warmMs);
    const delays = await Delays.begin(gateway);
    const sampler = new Sampler(gateway);
    const fromMs = performance.now();
    await sleep(spellMs);
    const [, victim] = engines;
    if (victim === undefined) throw new Error('there is no second engine');
    const { ports } = victim;
    const streamsThere = (await victim.stats()).activeCount;
    const killedMs = performance.now();
    await victim.kill();
    print(`  killed with ${streamsThere} exchanges on it`);
    await sleep(spellMs);
    const downMs = performance.now();
    const again = new EngineProcess();
    engines[1] = again;
    await again.listen({ seed: 4, count: 1, ports });
    const backMs = performance.now();
    await sleep(warmMs);
    const settledMs = performance.now();
    await sleep(spellMs);
    const endMs = performance.now();
    const answers = await load.stop();
    const delaysSeen = await delays.end();
    // Health checks have connections of their own, which come and go: descriptors are not compared.
    const left = await gateway.leftovers(Infinity);
    const page = await gateway.metrics();
    await sampler.stop();
    const servedAgain = (await again.stats()).requestCount;

    const within = (/** @type {number} */ low, /** @type {number} */ high) =>
      answers.filter(({ dueMs }) => dueMs >= low && dueMs < high);
    const p = (/** @type {typeof answers} */ some, /** @type {boolean} */ isStream) =>
      percentilesOf(
        some.filter((answer) => answer.isStream === isStream && answer.ending === 'right').map(({ ms }) => ms),
      );
    const plainFailed = answers.filter(({ isStream, ending }) => !isStream && ending !== 'right');
    const streamsFailed = answers.filter(({ isStream, ending }) => isStream && ending !== 'right');
    const untold = streamsFailed.filter(({ ending }) => ending !== 'error_event');
    const late = answers.filter(({ dueMs, ending }) => dueMs > killedMs + 1000 && ending !== 'right');
    checks.promise('plain requests that fail: 0', plainFailed.length === 0, describe(plainFailed));
    checks.promise(
      'streams that break, and whose client is not told by an error event: 0',
      untold.length === 0,
      describe(untold),
    );
    checks.promise(
      `streams that break: no more than the engine had (${streamsThere} a moment before)`,
      streamsFailed.length <= streamsThere + 10,
      streamsFailed.length,
    );
    checks.promise(
      'failures of whatever was asked more than a second after the kill: 0',
      late.length === 0,
      describe(late),
    );
    checks.promise('the engine that came back serves again', servedAgain > 0, `${servedAgain} requests`);
    for (const isStream of [false, true]) {
      const name = isStream ? 'streams' : 'plain requests';
      const usual = p(within(fromMs, killedMs), isStream);
      const down = p(within(killedMs, downMs), isStream);
      const ratio = down.p99 / usual.p99;
      checks.target(
        `99th percentile of the other ${name} while it is gone: at most 1.5 times what it was`,
        ratio <= 1.5,
        `${ratio.toFixed(2)} times: before ${percentilesText(usual)}; gone ${percentilesText(down)}; back ${percentilesText(p(within(settledMs, endMs), isStream))}`,
      );
    }
    checks.nothingLeft(left);
    checks.delays(delaysSeen);
    return {
      figures: {
        requests: answers.length,
        requests_per_second: ratePerSecond,
        exchanges_on_the_engine_when_killed: streamsThere,
        plain_requests_failed: plainFailed.length,
        streams_told_by_an_error_event: streamsFailed.length - untold.length,
        retries: JSON.stringify(page.by('penstock_retries_total', 'reason')),
        seconds_gone: ((backMs - killedMs) / 1000).toFixed(1),
      },
      checks: checks.list,
      samples: sampler.kept(),
      notes: ['1 in 20 requests has 1 MB, 5 in 20 are streams of 0.3 s, the rest plain chats of 3 KB.'],
    };
  } finally {
    await gateway?.stop();
    await Promise.all(engines.map((engine) => engine.kill()));
  }
}

/** @param {readonly import('../traffic/steady-load.mjs').SteadyAnswer[]} answers */
function describe(answers) {
  const first = answers[0];
  return first === undefined ? '0' : `${answers.length}; first: ${first.ending} ${first.detail}`;
}
