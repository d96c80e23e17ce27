/**
 * Everything goes wrong at once: clients leave in every phase, engines break in every way they can, and what still arrives
 * whole has to be right to the last byte. Nothing may be left over, and memory must not grow with what has passed.
 */
import { blackHole } from '../black-hole.mjs';
import { Checks } from '../checks.mjs';
import { Delays } from '../delays.mjs';
import { Gateway } from '../gateway.mjs';
import { Sampler } from '../sampler.mjs';
import { slopeOf } from '../slope.mjs';
import { EngineProcess, runClients } from '../traffic/fleet.mjs';

const engineCount = 4;
const concurrency = 160;
const faultRatio = 0.16;
/** What comes before is not looked at for growth: code is compiled, pools are filled, heaps find their size. */
const warmShare = 0.4;
/** Of `mixed`, as a gateway has it that is not full. */
const mixedRate = 300;
/** For short runs, whose slope says nothing. */
const shortRunCount = 50_000;
const rssGrowthMbMax = 400;

/**
 * @param {string[]} origins
 * @param {number} holePort
 */
export function chaosConfig(origins, holePort) {
  const urls = JSON.stringify(origins.map((url) => ({ url })));
  const rules = `engine: none
    picker: least_load
    keepalive_idle_ms: 2s
    ejection: { consecutive_failures: 20, base_ms: 200ms, max_ms: 1s }`;
  return `limits: { buffered_bytes_max: 256MiB }
timeouts: { connect_ms: 500ms, first_byte_ms: 1500ms, stream_idle_ms: 1500ms, request_idle_ms: 3s, drain_ms: 2s }
models:
  - { name: main, targets: [{ pool: main }] }
  - { name: narrow, targets: [{ pool: narrow }] }
  - { name: hole, targets: [{ pool: hole }] }
default_pool: main
pools:
  - name: main
    ${rules}
    endpoints: ${urls}
  - name: narrow
    ${rules}
    inflight_max: 1
    queue: { requests_max: 256, wait_ms: 1s }
    endpoints: ${urls}
  - name: hole
    ${rules}
    endpoints: [{ url: "http://127.0.0.1:${holePort}" }]
`;
}

/** @type {import('../types.d.ts').Scenario} */
export const chaos = {
  name: 'chaos',
  summary: '--exchanges N: clients leave and engines break in every phase; nothing is left over, no byte goes astray',
  run: ({ settings, print }) =>
    runChaos({ seed: settings.seed, print, mix: 'chaos', exchangeCount: settings.exchanges, minutes: 0 }),
};

/** @type {import('../types.d.ts').Scenario} */
export const mixed = {
  name: 'mixed',
  summary: '--minutes N: steady traffic in which a tenth of the clients leave and some answers break',
  run: ({ settings, print }) =>
    runChaos({
      seed: settings.seed,
      print,
      mix: 'mixed',
      exchangeCount: Number.MAX_SAFE_INTEGER,
      minutes: settings.minutes,
    }),
};

/**
 * @param {{ seed: number, print: (line: string) => void, mix: 'chaos' | 'mixed', exchangeCount: number, minutes: number }} options
 * @returns {Promise<import('../types.d.ts').Outcome>}
 */
async function runChaos({ seed, print, mix, exchangeCount, minutes }) {
  const checks = new Checks();
  const engines = new EngineProcess();
  const hole = await blackHole();
  /** @type {Gateway | null} */
  let gateway = null;
  try {
    await engines.listen({ seed, count: engineCount, faultRatio: mix === 'chaos' ? faultRatio : faultRatio / 8 });
    gateway = await Gateway.start(chaosConfig(engines.origins, hole.port));
    const order = {
      port: gateway.port,
      seed,
      exchangeCount,
      concurrency,
      durationMs: minutes * 60_000,
      ratePerSecond: 0,
      mix,
    };
    // The first exchanges of all kinds: what they make the process open for good belongs to the baseline.
    await runClients({ ...order, run: 'w', seed: seed + 1, exchangeCount: 300, durationMs: 0 }, () => {});
    await gateway.leftovers(0, 6000);
    const fdBaseline = gateway.fdCount();
    const rssBytesBefore = gateway.rssBytes();
    const delays = await Delays.begin(gateway);
    const sampler = new Sampler(gateway);
    await sampler.take();
    await engines.flap(seed);
    const startedMs = performance.now();
    let printedMs = startedMs;
    const report = await runClients(
      { ...order, run: 'c', ratePerSecond: mix === 'chaos' ? 0 : mixedRate },
      ({ overCount, wrongCount, wrong }) => {
        const nowMs = performance.now();
        if (nowMs - printedMs < 10_000) return;
        printedMs = nowMs;
        print(
          `  ${overCount} exchanges, ${((overCount / (nowMs - startedMs)) * 1000).toFixed(0)}/s, wrong ${withFirst(wrongCount, wrong)}`,
        );
      },
    );
    const tookS = (performance.now() - startedMs) / 1000;
    const delaysSeen = await delays.end();
    await sampler.take();
    const loaded = sampler.all.slice();
    await engines.calm();
    const left = await gateway.leftovers(fdBaseline);
    await sampler.stop();
    const engine = await engines.stats();
    const restartCount = await gateway.restartCount();
    const page = await gateway.metrics();

    const wanted = minutes === 0 ? exchangeCount : Math.floor(minutes * 60 * mixedRate * 0.5);
    checks.promise('exchanges: as many as were to be', report.overCount >= wanted, report.overCount);
    checks.promise(
      'answers with a byte that is not theirs: 0',
      report.wrongCount === 0,
      withFirst(report.wrongCount, report.wrong),
    );
    checks.promise(
      'requests that reach an engine otherwise than they were sent: 0',
      engine.wrongCount === 0,
      withFirst(engine.wrongCount, engine.wrong),
    );
    checks.promise('shards or processes that had to be started again: 0', restartCount === 0, restartCount);
    checks.nothingLeft(left);
    checks.promise('exchanges active at the engines afterwards: 0', engine.activeCount === 0, engine.activeCount);
    const phases = phasesOf(report, engine);
    if (mix === 'chaos' && report.overCount >= 2000) {
      const missed = Object.entries(phases).filter(([, count]) => count === 0);
      checks.promise('clients left in every phase', missed.length === 0, phasesText(phases));
    }
    const growth = growthOf(loaded);
    const isShort = mix === 'chaos' && report.overCount < shortRunCount;
    const rssGrowthMb = Math.max(...loaded.map(({ rssMb }) => rssMb)) - rssBytesBefore / 1e6;
    checks.promise(
      `resident memory: at most ${rssGrowthMbMax} MB above the idle gateway's`,
      rssGrowthMb <= rssGrowthMbMax,
      `${rssGrowthMb.toFixed(0)} MB`,
    );
    if (!isShort) {
      checks.promise(
        'resident memory after warm-up: no growth that can be told from zero',
        Number.isFinite(growth.lowMb) && growth.lowMb <= 0,
        growth.text,
      );
    }
    checks.delays(delaysSeen);
    const { endings } = report;
    return {
      figures: {
        exchanges: report.overCount,
        seconds: round(tookS),
        exchanges_per_second: Math.round(report.overCount / tookS),
        right: endings['right'] ?? 0,
        left_by_the_client: endings['left'] ?? 0,
        refused: endings['refused'] ?? 0,
        refusals: textOf(report.refusals),
        cut_visibly: endings['cut'] ?? 0,
        ended_by_error_event: endings['error_event'] ?? 0,
        lost_before_the_answer: `${endings['lost'] ?? 0} ${textOf(report.losses)}`.trim(),
        wrong: report.wrongCount,
        undisturbed_and_right: `${report.cleanRightCount} of ${report.cleanCount}`,
        undisturbed_and_not_right: textOf(report.cleanOther),
        clients_left_in: phasesText(phases),
        faults_of_engines: textOf(engine.faults),
        spells_of_refused_connections: engine.refusalCount,
        retries: textOf(page.by('penstock_retries_total', 'reason')),
        largest_body_mb: round(report.maxFillBytes / 1e6),
        rss_mb_first_to_last: `${(loaded[0]?.rssMb ?? 0).toFixed(0)} to ${(loaded.at(-1)?.rssMb ?? 0).toFixed(0)}`,
        ...(isShort ? {} : { rss_growth: growth.text, heap_growth: growth.heapText }),
        seed,
      },
      checks: checks.list,
      samples: sampler.kept(),
      notes: [
        `Seed ${seed} draws every plan and fault; what the kernel makes of the timing it cannot repeat.`,
        'Growth: a least-squares line through the lowest memory of each of 20 blocks, over exchanges, after the first ' +
          `${warmShare * 100} %, 95 % interval by Student's t, widened for the autocorrelation of the residuals; kept means that its lower end is not above 0.`,
        'Right is every byte; of a stream that lasts until its connection ends (7 in 100), also every byte but [DONE], because such an engine does not promise it and the finish reason before it is an end (docs/life-of-an-exchange.md).',
        '"connecting" means a listener whose accept queue is full; a connection to an engine that answers is through within a turn of the event loop, and how many clients left in that turn is not known.',
      ],
    };
  } finally {
    const code = await gateway?.stop();
    if (code !== undefined && code !== 0)
      checks.promise('the gateway drains and exits with code 0', false, String(code));
    await engines.kill();
    hole.close();
  }
}

/**
 * By what clients meant and how far the engine had come. @param {import('../traffic/chaos-client.mjs').ChaosReport} report
 * @param {import('../traffic/fleet.mjs').EngineStats} engine
 */
function phasesOf({ left }, engine) {
  const seen = (/** @type {string} */ leave, /** @type {string[]} */ stages) =>
    stages.reduce((sum, stage) => sum + (engine.left[`${leave} ${stage}`] ?? 0), 0);
  return {
    head: left['head'] ?? 0,
    uploading: left['uploading'] ?? 0,
    uploading_seen_by_the_engine: seen('uploading', ['body']),
    queued: Math.max(0, (left['queued'] ?? 0) - seen('queued', ['body', 'waiting', 'answering'])),
    connecting: left['connecting'] ?? 0,
    waiting: seen('waiting', ['waiting']) + seen('queued', ['waiting']),
    streaming: (left['streaming'] ?? 0) + seen('waiting', ['answering']),
    streaming_seen_by_the_engine: seen('streaming', ['answering']),
    paused: left['paused'] ?? 0,
    paused_seen_by_the_engine: seen('paused', ['answering']),
    after: left['after'] ?? 0,
  };
}

/** @param {Record<string, number>} phases */
function phasesText(phases) {
  return textOf(phases);
}

/** @param {import('../types.d.ts').Sample[]} samples */
function growthOf(samples) {
  const warm = samples.slice(Math.floor(samples.length * warmShare));
  const text = (/** @type {'rssMb' | 'heapMb'} */ key) => {
    const { slope, halfWidth, blockCount } = slopeOf(warm.map((sample) => [sample.exchanges / 1e6, sample[key]]));
    const low = slope - halfWidth;
    const high = slope + halfWidth;
    return {
      low,
      text:
        `${slope.toFixed(1)} MB per million exchanges, 95 % interval ${low.toFixed(1)} to ${high.toFixed(1)} (${blockCount} blocks); ` +
        `at most ${Math.max(0, high * 10).toFixed(0)} MB over 10 million if it went on like that`,
    };
  };
  const rss = text('rssMb');
  return { lowMb: rss.low, text: rss.text, heapText: text('heapMb').text };
}

/** @param {Record<string, number>} counts */
function textOf(counts) {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

/** @param {number} count @param {string[]} first */
function withFirst(count, first) {
  return [String(count), ...first.slice(0, 5)].join('; ');
}

/** @param {number} value */
function round(value) {
  return Number(value.toFixed(1));
}
