/**
 * One case: its engines are started once, then each variant of the gateway gets the same requests in turn, A B C A B C ..., with
 * a new gateway and empty caches each time.
 */
import { cpuUsage } from 'node:process';
import { costOf, treeOf } from '../../process-cost.mjs';
import { endpointCount } from './cases.mjs';
import { disturb } from './disturbance.mjs';
import { Engines, Gateway } from './fleet.mjs';
import { measuresOfRun } from './measures.mjs';
import { predict } from './prediction.mjs';
import { startStore, storeProgram } from './store.mjs';
import { drive } from './traffic.mjs';

const failuresKept = 5;
/** Somebody else's seeds begin here, above all of the rounds. */
const strangerSeed = 1000;

/**
 * @typedef {object} HttpRound
 * @property {number} seed
 * @property {import('./measures.mjs').HttpMeasures} measured
 * @property {import('../measures.mjs').Measures[]} predicted by naming
 * @property {import('./disturbance.mjs').Aftermath | null} aftermath
 * @property {string[]} failures the first few, and why
 *
 * @typedef {object} VariantResult
 * @property {import('./cases.mjs').Variant} variant
 * @property {HttpRound[]} rounds
 *
 * @typedef {{ name: string, title: string, seconds: number, variants: VariantResult[] }} HttpCaseResult
 */

/**
 * @param {import('./cases.mjs').HttpCase} spec
 * @param {number} firstSeed
 * @param {(line: string) => void} print
 * @returns {Promise<HttpCaseResult>}
 */
export async function runHttpCase(spec, firstSeed, print) {
  const { name, title, seconds } = spec;
  const possible = spec.variants.filter(({ isSharing = false }) => storeProgram !== null || !isSharing);
  if (possible.length < spec.variants.length)
    print(`  ${name}: SKIPPED what shares: no valkey-server or redis-server here`);
  const variants = possible.map((variant) => ({ variant, rounds: /** @type {HttpRound[]} */ ([]) }));
  const engines = new Engines();
  try {
    const publishes = spec.variants.some(({ kvEvents }) => kvEvents === true);
    await engines.start(endpointCount, spec.workload({ seed: firstSeed, seconds }).engine, publishes);
    for (let round = 0; round < spec.rounds; round++) {
      const seed = firstSeed + round;
      for (const { variant, rounds } of variants) {
        const workload = spec.workload({ seed, seconds });
        await engines.reset();
        const { measured, aftermath, failures } = await runOnce(spec, variant, workload, engines, seed);
        const predicted = predict(workload, variant.picker, endpointCount, seed, {
          routers: routersOf(variant),
        });
        rounds.push({ seed, measured, predicted, aftermath, failures });
        print(`  ${name}, round ${round + 1}, ${variant.name}: ${summaryOf(measured)}`);
        if (spec.disturbance === null) for (const failure of failures) print(`    ${failure}`);
      }
    }
  } finally {
    await engines.stop();
  }
  return { name, title, seconds, variants };
}

/**
 * @param {import('./cases.mjs').HttpCase} spec
 * @param {import('./cases.mjs').Variant} variant
 * @param {import('./workloads.mjs').HttpWorkload} workload
 * @param {Engines} engines
 * @param {number} seed
 */
async function runOnce(spec, variant, workload, engines, seed) {
  const { picker, shards, gateways: count = 1, isSharing = false, kvEvents = false } = variant;
  const store = isSharing ? await startStore() : null;
  /** @type {Gateway[]} */
  const gateways = [];
  try {
    const eventPorts = kvEvents ? engines.eventPorts : null;
    const options = { picker, shards, engineUrls: engines.urls, storeUrl: store?.url ?? null, eventPorts };
    for (let index = 0; index < count; index++) gateways.push(await Gateway.start(options));
    const [gateway] = gateways;
    const pids = gateways.flatMap(({ pid }) => treeOf(pid));
    const before = { gateway: costOf(pids).cpuS, engines: costOf(engines.pids).cpuS, client: cpuUsage() };
    const startMs = performance.now();
    const exchangesPromise = drive({ port: gateways.map(({ port }) => port), workload, seed });
    const others = engines.ports.map((port, index) => {
      const otherSeed = seed + strangerSeed + index;
      const other = spec.beside?.({ seed: otherSeed, seconds: spec.seconds });
      return other === undefined ? null : drive({ port, workload: other, seed: otherSeed });
    });
    const disturbed =
      spec.disturbance === null
        ? null
        : disturb(spec.disturbance, { gateway, engines, atMs: spec.seconds * 1000 * spec.disturbance.atShare });
    // Both, so that neither is left to fail alone; and there is a gateway again to be asked.
    const [exchanges, incident] = await Promise.all([exchangesPromise, disturbed, ...others]);
    const client = cpuUsage(before.client);
    // Who is killed takes its CPU time along.
    const known = spec.disturbance === null ? 1 : Number.NaN;
    const cpu = {
      gatewayS: known * (costOf(pids).cpuS - before.gateway),
      enginesS: known * (costOf(engines.pids).cpuS - before.engines),
      clientS: (client.user + client.system) / 1e6,
      wallS: (performance.now() - startMs) / 1000,
    };
    const metrics = (await Promise.all(gateways.map((each) => each.metrics()))).join('\n');
    await Promise.all(gateways.map((each) => each.stop()));
    const lines = gateways.flatMap((each) => each.accessLines());
    const reasons = new Map(lines.map(({ request_id: id, reason }) => [id, reason]));
    const failures = exchanges
      .filter(({ failure }) => failure !== '')
      .slice(0, failuresKept)
      .map(({ id, endpoint, sentMs, endMs, failure }) => {
        const when = `${Math.round(sentMs)} to ${Math.round(endMs)} ms`;
        return `${id} to ${endpoint || 'nobody'}, ${when}: ${failure} (${reasons.get(id) ?? 'not in the log'})`;
      });
    const measured = measuresOfRun({ exchanges, lines, metrics, cpu });
    return { measured, aftermath: incident === null ? null : incident(exchanges), failures };
  } finally {
    await Promise.all(gateways.map((each) => each.stop()));
    await store?.stop();
  }
}

/** As the simulation calls it. Told after 75 ms in the mean: up to 50 ms until it is sent, and as much until it is read. @param {import('./cases.mjs').Variant} variant @returns {import('../routers.mjs').RouterOptions} */
function routersOf({ shards, gateways = 1, isSharing = false }) {
  if (gateways === 1) return { count: shards, sharing: 'shared', lagMs: 0 };
  return { count: gateways, sharing: isSharing ? 'synced' : 'private', lagMs: 75 };
}

/** @param {import('./measures.mjs').HttpMeasures} measured */
function summaryOf({ hit, ttftP50, ttftP90, failures, requests, mispredicted }) {
  const ms = (/** @type {number} */ seconds) => `${Math.round(seconds * 1000)} ms`;
  return `hit ${(hit * 100).toFixed(1)} %, mispredicted ${(mispredicted * 100).toFixed(1)} %, TTFT p50 ${ms(ttftP50)}, p90 ${ms(ttftP90)}, ${requests} counted, ${failures} failed`;
}
