/**
 * Traffic that no fault is meant for, in a thread of its own so that the suite's own work does not slow it: chats and streams
 * of one engine that is well, three at a time, every byte of every answer checked. What is wrong with one of them, and how
 * long they took, goes back when it is told to stop.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { askReference, bodySha256 } from '../../loadtest/answers.mjs';
import { chatRequest } from '../../loadtest/bodies.mjs';
import { CheckedExchange } from '../../loadtest/client/checked-exchange.mjs';
import { Client } from '../../loadtest/client/client.mjs';

/** Between two requests of a lane. */
const pauseMs = 15;
/** Long enough for any fault of the suite, short enough not to hold up its end. */
const answerBoundMs = 20_000;

/** @type {{ url: string, engineUrl: string, model: string }} */
const { url, engineUrl, model } = workerData;
const wishes = [
  { model, bytes: 2000, seed: 1, tokens: 8 },
  { model, bytes: 300, seed: 2, tokens: 4 },
  { model, bytes: 2000, seed: 3, tokens: 24, isStream: true },
];
const client = new Client(url);
let isOver = false;
/** @type {{ atMs: number, ms: number, wrong: string | null }[]} */
const answers = [];

/** @param {import('../../loadtest/types.d.ts').CheckedRequest} request */
async function ask(request) {
  const startMs = performance.now();
  /** @type {string | null} */
  const wrong = await new Promise((resolve) => {
    const timer = setTimeout(() => resolve(`no answer in ${answerBoundMs} ms`), answerBoundMs);
    // It counts texts only where it is told of them, and calls a stream without any wrong.
    const onText = () => {};
    const onOutcome = (/** @type {{ wrong: string | null }} */ outcome) => {
      clearTimeout(timer);
      resolve(outcome.wrong);
    };
    return new CheckedExchange(client, request, { onText, onOutcome });
  });
  // The instants of two threads are compared by the clock of the machine.
  answers.push({ atMs: performance.timeOrigin + startMs, ms: performance.now() - startMs, wrong });
}

const requests = await Promise.all(
  wishes.map(async (wish) => {
    const request = chatRequest(wish);
    const { content } = await askReference(engineUrl, request);
    return { ...request, reference: { content, bodySha256: bodySha256(request) } };
  }),
);
parentPort?.once('message', () => (isOver = true));
parentPort?.postMessage('begun');
await Promise.all(
  requests.map(async (request) => {
    while (!isOver) {
      await ask(request);
      await sleep(pauseMs);
    }
  }),
);
await client.close(1000);
parentPort?.postMessage(answers);
