/** One scenario from references to result, against a target that is already up. */
import { setTimeout as sleep } from 'node:timers/promises';
import { askReference, bodySha256 } from './answers.mjs';
import { CpuMeter } from './cpu.mjs';
import { runAutocannonPhase } from './phases/autocannon.mjs';

/**
 * Share of the time that is spent before anything counts. As fast as answers come, whatever the rate: sent 300 requests a
 * second, a gateway that just started took 427, 262 and 162 us of CPU a request in its first three spells of 6 s; after
 * 4 s flat out it took 115 to 141 (Node 20.20, 2 cores, 3 KB bodies).
 */
const warmupRatio = 0.4;
const warmupSMax = 4;
const warmupConnectionsMax = 16;
/** How long the gateway is watched doing nothing: health checks, scrapes and timers cost CPU too. */
const idleMs = 1000;

/**
 * @param {{ scenario: import('./types.d.ts').Scenario, settings: import('./types.d.ts').Settings, origin: string,
 *   backend: import('./types.d.ts').OwnBackend | null, onWarm?: () => void }} options `backend`: null when `origin` is not
 *   ours; `onWarm`: from here on it counts
 * @returns {Promise<Pick<import('./types.d.ts').Result, 'phases' | 'gatewayIdleCpuRatio'>>}
 */
export async function runScenario({ scenario, settings, origin, backend, onWarm }) {
  const pids = backend?.pids ?? null;
  const requests = await withReferences(scenario.buildRequests(settings.model), origin, backend?.engineOrigin ?? null);
  const { connections, durationS } = settings;
  await runAutocannonPhase({
    origin,
    requests,
    pids,
    connections: Math.min(warmupConnectionsMax, connections),
    rate: 0,
    name: 'warm-up',
    durationS: Math.min(warmupSMax, durationS * warmupRatio),
  });
  const idle = new CpuMeter(pids);
  if (pids !== null) await sleep(idleMs);
  const { gatewayCpuRatio: gatewayIdleCpuRatio } = idle.read(0);
  onWarm?.();
  /** @type {import('./types.d.ts').Phase[]} */
  const phases = [];
  for (let repeat = 0; repeat < settings.repeatCount; repeat++) {
    phases.push(...(await scenario.measure({ origin, requests, settings, pids, backend })));
  }
  return { phases, gatewayIdleCpuRatio };
}

/**
 * @param {import('./types.d.ts').LoadRequest[]} requests
 * @param {string} origin
 * @param {string | null} engineOrigin
 */
async function withReferences(requests, origin, engineOrigin) {
  /** @type {import('./types.d.ts').CheckedRequest[]} */
  const checked = [];
  for (const request of requests) {
    const reference = await askReference(engineOrigin ?? origin, request);
    if (engineOrigin !== null && reference.bodySha256 !== bodySha256(request)) {
      throw new Error('the engine does not report the hash of the body it was sent');
    }
    checked.push({ ...request, reference });
  }
  return checked;
}
