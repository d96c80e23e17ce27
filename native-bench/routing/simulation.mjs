/**
 * One run: requests arrive, a router chooses, engines serve, and what clients saw is written down. Time is simulated, so a
 * run is the same on every machine; the order of events of one instant is that of the endpoints.
 */
import { RateGauge } from '../../dist/core/index.js';
import { writeRateAssumed } from '../../dist/shm/index.js';
import { Draw } from './draw.mjs';
import { Engine } from './engine.mjs';
import { ArrivalQueue } from './arrival-queue.mjs';
import { keysOf } from './prompt-keys.mjs';
import { oneRouter, Routers } from './routers.mjs';

/** How often routers look at the engines' metrics. */
const pollMs = 1000;
/** Throughput is looked at every second time, over ten seconds, as in the gateway (src/control/throughput). */
const gaugePolls = 2;
const gaugeWindow = 5;

/**
 * @typedef {object} RunOptions
 * @property {import('./workloads/index.mjs').Workload} workload
 * @property {import('./policies/index.mjs').Policy} policy
 * @property {number} seed
 * @property {number} [endpointCount]
 * @property {import('./routers.mjs').RouterOptions} [routers]
 * @property {{ endpoint: number, atMs: number, downMs: number }} [restart] an endpoint loses everything, and is away for a while
 */

/**
 * @typedef {object} Run
 * @property {import('./view.mjs').Flight[]} flights in the order of their arrival
 * @property {number} durationMs
 * @property {number} preemptionCount
 * @property {number[]} busyRatios of the engines
 * @property {number[]} dispatchCounts
 */

/** @param {RunOptions} options @returns {Run} */
export function simulate({ workload, policy, seed, endpointCount = 8, routers: routerOptions = oneRouter, restart }) {
  const draw = new Draw(seed ^ 0x5eed);
  const routers = new Routers(routerOptions, workload.profile, endpointCount);
  const queue = new ArrivalQueue(workload.specs);
  const stepEnds = new Float64Array(endpointCount).fill(Number.POSITIVE_INFINITY);
  const polled = Array.from({ length: endpointCount }, () => 0);
  const gauges = Array.from({ length: endpointCount }, () => new RateGauge(gaugeWindow));
  const usedRatios = Array.from({ length: endpointCount }, () => 0);
  let pollCount = 0;
  const dispatchCounts = Array.from({ length: endpointCount }, () => 0);
  const downUntil = new Float64Array(endpointCount);
  const candidates = new Int32Array(endpointCount);
  /** @type {import('./view.mjs').Flight[]} */
  const flights = [];
  let nowMs = 0;
  let nextPollMs = 0;
  let restartAtMs = restart?.atMs ?? Number.POSITIVE_INFINITY;

  const engines = Array.from(
    { length: endpointCount },
    () =>
      new Engine(workload.profile, {
        blockTokens: workload.blockTokens,
        nameCount: workload.nameCount,
        onFirstToken: (flight, sequence) => {
          flight.ttftMs = nowMs - flight.atMs;
          flight.hitTokens = sequence.hitTokens;
          routers.onFirstByte(nowMs, flight);
          flight.hasFirstByte = true;
        },
        onEnd: (flight) => {
          routers.onEnd(nowMs, flight, true);
          const { following } = flight.spec;
          if (following !== null) queue.add(nowMs + following.atMs, following);
        },
      }),
  );
  const choosers = Array.from({ length: routers.count }, () =>
    policy.create({ endpointCount, engines, draw, workload }),
  );

  /** @param {number} endpoint */
  const step = (endpoint) => {
    const ms = engines[endpoint].begin();
    if (ms === 0 && !engines[endpoint].isIdle) throw new Error('a prompt does not fit into the KV cache');
    stepEnds[endpoint] = ms === 0 ? Number.POSITIVE_INFINITY : nowMs + ms;
  };
  /** @param {import('./request.mjs').Spec} spec @param {number} atMs */
  const dispatch = (spec, atMs) => {
    const router = draw.below(routers.count);
    const view = routers.viewOf(router, nowMs);
    view.refresh(polled, usedRatios);
    let count = 0;
    for (let endpoint = 0; endpoint < endpointCount; endpoint++) {
      if (downUntil[endpoint] <= nowMs) candidates[count++] = endpoint;
    }
    const keys = keysOf(spec, workload.blockTokens);
    const matched = view.matchedTokens(keys);
    const endpoint = choosers[router].choose({ spec, keys, matched, view, candidates, count, nowMs });
    const matchedTokens = matched[endpoint];
    const flight = {
      spec,
      keys,
      atMs,
      router,
      endpoint,
      matchedTokens,
      uncachedTokens: Math.max(1, spec.promptTokens - matchedTokens),
      hasFirstByte: false,
      ttftMs: -1,
      hitTokens: -1,
    };
    flights.push(flight);
    dispatchCounts[endpoint]++;
    routers.onDispatch(nowMs, flight);
    choosers[router].onDispatch?.(flight);
    engines[endpoint].add(spec, flight);
    if (stepEnds[endpoint] === Number.POSITIVE_INFINITY) step(endpoint);
  };

  for (;;) {
    let endpoint = 0;
    for (let other = 1; other < endpointCount; other++) if (stepEnds[other] < stepEnds[endpoint]) endpoint = other;
    const eventMs = Math.min(queue.nextMs, stepEnds[endpoint]);
    if (eventMs === Number.POSITIVE_INFINITY) break;
    if (restart !== undefined && restartAtMs <= eventMs) {
      nowMs = restartAtMs;
      restartAtMs = Number.POSITIVE_INFINITY;
      const lost = engines[restart.endpoint].restart();
      stepEnds[restart.endpoint] = Number.POSITIVE_INFINITY;
      downUntil[restart.endpoint] = nowMs + restart.downMs;
      routers.onRestart(restart.endpoint);
      // Those without a first byte are sent elsewhere, and their clients have waited since they came.
      const again = lost.filter((flight) => !flight.hasFirstByte);
      for (const flight of lost) routers.onEnd(nowMs, flight, false);
      for (const flight of again) flights.splice(flights.indexOf(flight), 1);
      for (const flight of again) dispatch(flight.spec, flight.atMs);
    } else if (nextPollMs <= eventMs) {
      nowMs = nextPollMs;
      nextPollMs += pollMs;
      for (let index = 0; index < endpointCount; index++) polled[index] = engines[index].kvUsageRatio;
      if (pollCount++ % gaugePolls === 0) {
        for (const [index, gauge] of gauges.entries()) gauge.sample(engines[index].generatedCount | 0, nowMs);
        // All are alike, so the best of any is what each can do.
        const best = Math.max(writeRateAssumed, ...gauges.map((gauge) => gauge.best));
        for (const [index, { now }] of gauges.entries()) usedRatios[index] = Math.min(1, now / best);
      }
    } else if (queue.nextMs <= stepEnds[endpoint]) {
      nowMs = queue.nextMs;
      dispatch(queue.take(), nowMs);
    } else {
      nowMs = stepEnds[endpoint];
      engines[endpoint].end();
      step(endpoint);
    }
  }
  return {
    flights,
    durationMs: nowMs,
    preemptionCount: engines.reduce((sum, engine) => sum + engine.preemptionCount, 0),
    busyRatios: engines.map((engine) => engine.busyMs / nowMs),
    dispatchCounts,
  };
}
