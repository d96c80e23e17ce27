/**
 * What the target can serve, then three times as much. An overloaded gateway that tries to serve all serves nobody in time;
 * this one should serve nearly as many as before, and tell the others at once.
 */
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { schedule } from '../schedule.mjs';
import { isRightRefusal, noteOutcome } from './outcome.mjs';

const capacityShare = 0.4;
const overloadFactor = 3;
const finishTimeoutMs = 30_000;
/** The product's promise under three times its capacity. */
const goodputMin = 0.8;
const refusalP99MsMax = 50;

/**
 * @param {import('../types.d.ts').MeasureContext} context `settings.connections`: requests under way while capacity is measured
 * @returns {Promise<import('../types.d.ts').Phase[]>}
 */
export async function runOverloadPhases(context) {
  const durationS = context.settings.durationS * capacityShare;
  const capacity = await runCapacity(context, durationS);
  return [capacity, await runOverload(context, context.settings.durationS - durationS, capacity.requestsPerSecond)];
}

/**
 * @param {import('../types.d.ts').MeasureContext} context
 * @param {number} durationS
 */
async function runCapacity({ origin, requests, settings, pids }, durationS) {
  const client = new Client(origin);
  const recorder = new PhaseRecorder({ name: 'capacity', durationS, pids, quantities: ['served'] });
  const endMs = performance.now() + durationS * 1000;
  let number = 0;
  /** @returns {Promise<void>} */
  const lane = async () => {
    while (performance.now() < endMs) {
      const request = requests[number++ % requests.length];
      if (request === undefined) return;
      const startMs = performance.now();
      await new Promise((resolve) => {
        const exchange = new CheckedExchange(client, request, {
          onOutcome: (outcome) => {
            if (outcome.wrong === null) recorder.record('served', outcome.endMs - startMs);
            noteOutcome(recorder, outcome);
            resolve(null);
          },
        });
        recorder.sentBytes += exchange.sentBytes;
      });
    }
  };
  await Promise.all(Array.from({ length: settings.connections }, lane));
  await client.close(finishTimeoutMs);
  return recorder.finish();
}

/**
 * @param {import('../types.d.ts').MeasureContext} context
 * @param {number} durationS
 * @param {number} capacity requests a second
 */
async function runOverload({ origin, requests, pids }, durationS, capacity) {
  const client = new Client(origin);
  const recorder = new PhaseRecorder({
    name: 'overload',
    durationS,
    pids,
    quantities: ['served', 'refusal', 'send_lag'],
  });
  const rate = capacity * overloadFactor;
  const count = Math.round(rate * durationS);
  const startMs = performance.now();
  const endMs = startMs + durationS * 1000;
  /** Answered right while the load lasted: what comes after it is no longer overload. */
  let servedCount = 0;
  let refusedCount = 0;
  await schedule(
    (number) => (number < count ? startMs + (number / rate) * 1000 : null),
    (number, dueMs) => {
      const request = requests[number % requests.length];
      if (request === undefined) return;
      const sentMs = performance.now();
      recorder.record('send_lag', sentMs - dueMs);
      const exchange = new CheckedExchange(client, request, {
        onOutcome: (outcome) => {
          const isRefusal = isRightRefusal(outcome);
          if (outcome.wrong === null) {
            recorder.record('served', outcome.endMs - dueMs);
            if (outcome.endMs <= endMs) servedCount++;
          } else if (isRefusal) {
            // From the instant it was sent: how late this process was with it is no doing of the gateway.
            recorder.record('refusal', outcome.endMs - sentMs);
            refusedCount++;
          }
          noteOutcome(recorder, isRefusal ? { ...outcome, wrong: null } : outcome);
        },
      });
      recorder.sentBytes += exchange.sentBytes;
    },
  );
  await client.close(finishTimeoutMs);
  const goodput = servedCount / durationS / capacity;
  const figures = {
    capacity_per_s: capacity,
    offered_per_s: rate,
    refused: refusedCount,
    goodput_of_capacity: goodput,
  };
  if (goodput < goodputMin) recorder.errors.add(`goodput is ${goodput.toFixed(2)} of capacity, under ${goodputMin}`);
  const phase = recorder.finish({ durationS, figures });
  const refusalP99Ms = phase.distributions['refusal']?.p99 ?? 0;
  if (refusalP99Ms <= refusalP99MsMax) return phase;
  const text = `a refusal takes ${refusalP99Ms.toFixed(0)} ms at p99, more than ${refusalP99MsMax}`;
  return { ...phase, errors: phase.errors + 1, firstFailures: [...phase.firstFailures, text] };
}
