/**
 * Conversations side by side, each with one request at a time. Turns are due at instants fixed beforehand: a turn whose
 * predecessor is late goes out late, and its latency counts from when it was due.
 */
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { Conversation, gapMsAt } from '../conversation.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { noteOutcome } from './outcome.mjs';

const finishTimeoutMs = 30_000;

/**
 * @param {import('../types.d.ts').MeasureContext} context `settings.connections`: conversations
 * @returns {Promise<import('../types.d.ts').Phase>}
 */
export async function runConversationPhase({ origin, settings, pids, backend }) {
  const { durationS, connections, model } = settings;
  const client = new Client(origin);
  const quantities = ['latency', 'ttft', 'send_lag'];
  /** @type {number[]} */
  const sizes = [];
  let conversationCount = 0;
  /** @type {number[]} */
  const gaps = [];
  const nextGapMs = () => {
    const gapMs = gapMsAt(gaps.length);
    gaps.push(gapMs);
    return gapMs;
  };
  const begin = (/** @type {boolean} */ isUnderWay) => {
    const conversation = new Conversation({ model, index: conversationCount++, isUnderWay });
    return { conversation, request: conversation.next(backend !== null) };
  };
  // Bodies of megabytes take a while to make: before anything is due.
  const agents = Array.from({ length: connections }, () => begin(true));
  const recorder = new PhaseRecorder({ name: 'conversations', durationS, pids, quantities });
  const startMs = performance.now();
  const endMs = startMs + durationS * 1000;

  /**
   * @param {import('../types.d.ts').CheckedRequest} request
   * @param {number} dueMs
   */
  const ask = (request, dueMs) => {
    recorder.record('send_lag', performance.now() - dueMs);
    sizes.push(request.body.length);
    return new Promise((/** @type {(answered: null) => void} */ resolve) => {
      const exchange = new CheckedExchange(client, request, {
        onText: (atMs, number) => {
          if (number === 0) recorder.record('ttft', atMs - dueMs);
        },
        onOutcome: (outcome) => {
          noteOutcome(recorder, outcome);
          if (outcome.isComplete) recorder.record('latency', outcome.endMs - dueMs);
          resolve(null);
        },
      });
      recorder.sentBytes += exchange.sentBytes;
    });
  };

  await Promise.all(
    agents.map(async ({ conversation, request }, index) => {
      // All are somewhere in a pause when it starts.
      let dueMs = startMs + (nextGapMs() * index) / agents.length;
      let current = conversation;
      let next = request;
      while (dueMs < endMs) {
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
        const answered = ask(next, dueMs);
        dueMs += nextGapMs();
        // While the answer is on its way, or the agent thinks.
        if (current.isOver) ({ conversation: current, request: next } = begin(false));
        else next = current.next(backend !== null);
        await answered;
      }
    }),
  );
  await client.close(finishTimeoutMs);
  const at = (/** @type {number[]} */ values, /** @type {number} */ quantile) =>
    values.sort((a, b) => a - b)[Math.floor(quantile * (values.length - 1))] ?? 0;
  return recorder.finish({
    figures: {
      conversations: conversationCount,
      body_mb_p50: at(sizes, 0.5) / 1e6,
      body_mb_p90: at(sizes, 0.9) / 1e6,
      body_mb_p99: at(sizes, 0.99) / 1e6,
      pause_s_p50: at(gaps, 0.5) / 1000,
    },
  });
}
