/**
 * A quiet rate, then ten times as much for a second, again and again. Refusing is a right answer to that, when it is said
 * with 503 or 429 and retry-after; being slow long after the burst is not.
 */
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { schedule } from '../schedule.mjs';
import { isRightRefusal, noteOutcome } from './outcome.mjs';

const quietMs = 3000;
const burstMs = 1000;
const cycleMs = quietMs + burstMs;
const burstFactor = 10;
const finishTimeoutMs = 30_000;
/** Of the quiet median before the first burst; an answer within it is as good as before. */
const recoveredFactor = 2;

/** @typedef {{ dueMs: number, ms: number, isServed: boolean }} Answer `dueMs` since the start of the phase */

/**
 * @param {import('../types.d.ts').MeasureContext} context `settings.rate`: the quiet rate
 * @returns {Promise<import('../types.d.ts').Phase>}
 */
export async function runBurstPhase({ origin, requests, settings, pids }) {
  const cycleCount = Math.max(1, Math.round((settings.durationS * 1000) / cycleMs));
  const client = new Client(origin);
  const recorder = new PhaseRecorder({
    name: 'burst',
    durationS: (cycleCount * cycleMs) / 1000,
    // Every slice has one burst in it.
    sliceS: cycleMs / 1000,
    pids,
    quantities: ['quiet', 'burst', 'recovery', 'refusal', 'send_lag'],
  });
  const offsets = offsetsOf(settings.rate, cycleCount);
  const startMs = performance.now();
  /** @type {Answer[]} */
  const answers = [];
  /** @type {Record<string, number>} */
  const statuses = {};
  const dueMsOf = (/** @type {number} */ number) => {
    const offset = offsets[number];
    return offset === undefined ? null : startMs + offset;
  };
  await schedule(dueMsOf, (number, dueMs) => {
    const request = requests[number % requests.length];
    if (request === undefined) return;
    recorder.record('send_lag', performance.now() - dueMs);
    const exchange = new CheckedExchange(client, request, {
      onOutcome: (outcome) => {
        const offset = dueMs - startMs;
        const ms = outcome.endMs - dueMs;
        const isServed = outcome.wrong === null;
        const isRefusal = isRightRefusal(outcome);
        statuses[`status_${outcome.status}`] = (statuses[`status_${outcome.status}`] ?? 0) + 1;
        answers.push({ dueMs: offset, ms, isServed });
        if (isServed) recorder.record(isInBurst(offset) ? 'burst' : 'quiet', ms);
        else if (isRefusal) recorder.record('refusal', ms);
        noteOutcome(recorder, isRefusal ? { ...outcome, wrong: null } : outcome);
      },
    });
    recorder.sentBytes += exchange.sentBytes;
  });
  await client.close(finishTimeoutMs);
  const recoveriesMs = recoveriesOf(answers, cycleCount);
  for (const ms of recoveriesMs) recorder.record('recovery', ms);
  const figures = { bursts: cycleCount, burst_rate: settings.rate * burstFactor, ...statuses };
  return recorder.finish({ figures, slices: { recovery_ms: recoveriesMs } });
}

/** @param {number} offsetMs since the start of the phase */
function isInBurst(offsetMs) {
  return offsetMs % cycleMs >= quietMs;
}

/**
 * When requests are due, in ms since the start.
 * @param {number} rate
 * @param {number} cycleCount
 */
function offsetsOf(rate, cycleCount) {
  /** @type {number[]} */
  const offsets = [];
  for (let cycle = 0; cycle < cycleCount; cycle++) {
    const fill = (/** @type {number} */ fromMs, /** @type {number} */ toMs, /** @type {number} */ perSecond) => {
      const count = Math.max(1, Math.round(((toMs - fromMs) / 1000) * perSecond));
      for (let at = 0; at < count; at++) offsets.push(cycle * cycleMs + fromMs + ((toMs - fromMs) * at) / count);
    };
    fill(0, quietMs, rate);
    fill(quietMs, cycleMs, rate * burstFactor);
  }
  return offsets;
}

/**
 * For each burst but the last, which has no quiet time after it: from its end to the last request of the next quiet time
 * that was refused, or slow against the quiet time before the first burst. 0: all were as before.
 * @param {readonly Answer[]} answers
 * @param {number} cycleCount
 */
export function recoveriesOf(answers, cycleCount) {
  const before = answers.filter(({ dueMs, isServed }) => isServed && dueMs < quietMs).map(({ ms }) => ms);
  const quietP50 = before.sort((a, b) => a - b)[before.length >> 1] ?? 0;
  return Array.from({ length: cycleCount - 1 }, (_, cycle) => {
    const endMs = (cycle + 1) * cycleMs;
    const bad = answers.filter(
      ({ dueMs, ms, isServed }) =>
        dueMs >= endMs && dueMs < endMs + quietMs && (!isServed || ms > recoveredFactor * quietP50),
    );
    return Math.max(0, ...bad.map(({ dueMs, ms }) => dueMs + ms - endMs));
  });
}
