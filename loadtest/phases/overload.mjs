/**
 * What the target can serve, then as much, and up to three times as much. An overloaded gateway that tries to serve all
 * serves nobody in time; this one should serve nearly as many as before, and tell the others at once.
 */
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { schedule } from '../schedule.mjs';
import { isRightRefusal, noteOutcome } from './outcome.mjs';

/** Of what it was measured to serve: at the knee, a little behind it, and far behind. */
const factors = [1, 1.5, 3];
const finishTimeoutMs = 30_000;
/** The product's promise: behind the knee it serves nearly as many in time as it ever does. */
const goodputMin = 0.9;
/** After the request was due; an answer that comes later is of no use to its client. */
const deadlineMs = 2000;
const refusalP99MsMax = 50;

/**
 * @param {import('../types.d.ts').MeasureContext} context `settings.connections`: requests under way while capacity is measured
 * @returns {Promise<import('../types.d.ts').Phase[]>}
 */
export async function runOverloadPhases(context) {
  const durationS = context.settings.durationS / (factors.length + 1);
  const capacity = await runCapacity(context, durationS);
  const phases = [];
  for (const factor of factors) phases.push(await runOffered(context, durationS, factor, capacity.requestsPerSecond));
  const best = Math.max(capacity.requestsPerSecond, ...phases.map(({ goodput }) => goodput));
  return [capacity, ...phases.map(({ phase, goodput }) => judged(phase, goodput / best))];
}

/**
 * @param {import('../types.d.ts').Phase} phase
 * @param {number} goodputOfBest
 * @returns {import('../types.d.ts').Phase}
 */
function judged(phase, goodputOfBest) {
  const failures = [];
  if (goodputOfBest < goodputMin)
    failures.push(`goodput is ${goodputOfBest.toFixed(2)} of the best, under ${goodputMin}`);
  const refusalP99Ms = phase.distributions['refusal']?.p99 ?? 0;
  if (refusalP99Ms > refusalP99MsMax)
    failures.push(`a refusal takes ${refusalP99Ms.toFixed(0)} ms at p99, more than ${refusalP99MsMax}`);
  return {
    ...phase,
    figures: { ...phase.figures, goodput_of_best: goodputOfBest },
    errors: phase.errors + failures.length,
    firstFailures: [...phase.firstFailures, ...failures],
  };
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
 * @param {number} factor of the capacity
 * @param {number} capacity requests a second
 */
async function runOffered({ origin, requests, pids }, durationS, factor, capacity) {
  const client = new Client(origin);
  const recorder = new PhaseRecorder({
    name: `${factor}x`,
    durationS,
    pids,
    quantities: ['served', 'refusal', 'send_lag'],
  });
  const rate = capacity * factor;
  const count = Math.round(rate * durationS);
  const startMs = performance.now();
  const endMs = startMs + durationS * 1000;
  /** Answered right, in time, and while the load lasted: what comes after it is no longer overload. */
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
            if (outcome.endMs <= endMs && outcome.endMs - dueMs <= deadlineMs) servedCount++;
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
  const goodput = servedCount / durationS;
  const figures = { capacity_per_s: capacity, offered_per_s: rate, refused: refusedCount, goodput_per_s: goodput };
  return { phase: recorder.finish({ durationS, figures }), goodput };
}
