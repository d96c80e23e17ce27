/**
 * Streams that run as long as the phase does, all open together. What is looked for is what only time brings: a stream cut
 * by a timeout or a sweep, gaps that grow, a token that is missing after a minute.
 */
import { chatRequest } from '../bodies.mjs';
import { bodySha256 } from '../answers.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { schedule } from '../schedule.mjs';
import { startStream, streamQuantities } from './streams.mjs';

const finishTimeoutMs = 60_000;
/** All are started within this share of the time, so that the engines do not step in one beat. */
const startRatio = 0.1;
/** What a stream lasts, of the time that is left when the last one has started: a busy engine is slower than it should be. */
const lengthRatio = 0.85;
const requestCount = 4;

/**
 * @param {import('../types.d.ts').MeasureContext} context `settings.connections`: streams
 * @param {number} tokensPerSecond of one stream
 * @returns {Promise<import('../types.d.ts').Phase>}
 */
export async function runLongStreamPhase({ origin, settings, pids, backend }, tokensPerSecond) {
  const { connections, durationS, model } = settings;
  const name = 'long-stream';
  const tokens = Math.max(2, Math.floor(durationS * (1 - startRatio) * lengthRatio * tokensPerSecond));
  const requests = Array.from({ length: requestCount }, (_, index) => {
    const request = chatRequest({ model, bytes: 3000, seed: index + 1, tokens, isStream: true });
    // Asking for the right answer would take as long as the run: the streams are compared with one another.
    const reference = { content: null, bodySha256: bodySha256(request), tokens, isLearned: true };
    return { ...request, reference: backend === null ? { content: null, bodySha256: null } : reference };
  });
  const client = new Client(origin);
  const recorder = new PhaseRecorder({ name, durationS, pids, quantities: streamQuantities });
  const startMs = performance.now();
  const intervalMs = (durationS * 1000 * startRatio) / connections;
  const dueMsOf = (/** @type {number} */ number) => (number < connections ? startMs + number * intervalMs : null);
  await schedule(dueMsOf, (number, dueMs) => {
    const request = requests[number % requestCount];
    if (request !== undefined) startStream(recorder, client, request, dueMs);
  });
  await client.close(durationS * 1000 + finishTimeoutMs);
  return recorder.finish({ figures: { streams: connections, tokens_per_stream: tokens } });
}
