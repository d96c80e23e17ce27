/**
 * Streams started on a schedule, whatever the answers do: TTFT and gaps between tokens as a client sees them. TTFT counts
 * from the instant a stream was due, so that a slow target cannot slow down the measuring (coordinated omission).
 */
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { atRate, schedule } from '../schedule.mjs';
import { noteOutcome } from './outcome.mjs';

/** After the last start; streams still open then have failed. */
const finishTimeoutMs = 30_000;
export const streamQuantities = /** @type {const} */ (['ttft', 'gap', 'stream', 'send_lag']);

/**
 * Starts one stream and records it.
 * @param {PhaseRecorder} recorder of `streamQuantities`
 * @param {Client} client
 * @param {import('../types.d.ts').CheckedRequest} request
 * @param {number} dueMs
 */
export function startStream(recorder, client, request, dueMs) {
  if (client.isFull) {
    recorder.errors.add('too many streams open at once');
    return;
  }
  let lastMs = 0;
  recorder.record('send_lag', performance.now() - dueMs);
  const exchange = new CheckedExchange(client, request, {
    onText: (atMs, number) => {
      if (number === 0) recorder.record('ttft', atMs - dueMs);
      else recorder.record('gap', atMs - lastMs);
      lastMs = atMs;
    },
    onOutcome: (outcome) => {
      noteOutcome(recorder, outcome);
      if (outcome.isComplete) recorder.record('stream', outcome.endMs - dueMs);
    },
  });
  recorder.sentBytes += exchange.sentBytes;
}

/**
 * @param {import('../types.d.ts').MeasureContext & { name: string, rate: number, durationS: number }} options
 * @returns {Promise<import('../types.d.ts').Phase>}
 */
export async function runStreamPhase({ name, origin, requests, rate, durationS, pids }) {
  const client = new Client(origin);
  const recorder = new PhaseRecorder({ name, durationS, pids, quantities: streamQuantities });
  await schedule(atRate(rate, durationS), (number, dueMs) => {
    const request = requests[number % requests.length];
    if (request !== undefined) startStream(recorder, client, request, dueMs);
  });
  await client.close(finishTimeoutMs);
  return recorder.finish();
}
