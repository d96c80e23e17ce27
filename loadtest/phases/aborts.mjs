/**
 * Clients that leave in the middle, at a high rate, beside healthy ones: an abandoned request must give back what it held,
 * here and at the engine, and must not show in anybody else's answer.
 */
import { chatRequest } from '../bodies.mjs';
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { atRate, schedule } from '../schedule.mjs';
import { startStream, streamQuantities } from './streams.mjs';

/** What the clients do, in turn; one in five stays. */
const behaviours = /** @type {const} */ (['stay', 'upload', 'first_token', 'streaming', 'streaming']);
const finishTimeoutMs = 30_000;
/** A client that leaves while uploading has sent half by then, and more would come. */
const uploadLeaveMs = 20;
/** After sending: the prompt takes the engine longer than that. */
const waitLeaveMs = 20;
/** 7500 tokens or so, 150 ms of an engine. */
const unseenPromptBytes = 30_000;
/** Events with text before a client leaves, in turn. */
const eventCounts = [1, 2, 5, 17];

/**
 * @param {import('../types.d.ts').MeasureContext} context `settings.rate`: requests a second, all kinds together
 * @returns {Promise<import('../types.d.ts').Phase>}
 */
export async function runAbortPhase({ origin, requests, settings, pids, backend }) {
  const { durationS, rate, model } = settings;
  const client = new Client(origin);
  const abortedBefore = (await backend?.engineTotals())?.aborted ?? 0;
  const recorder = new PhaseRecorder({ name: 'healthy', durationS, pids, quantities: streamQuantities });
  const left = { upload: 0, first_token: 0, streaming: 0 };
  let answeredFirstCount = 0;
  await schedule(atRate(rate, durationS), (number, dueMs) => {
    const request = requests[number % requests.length];
    const behaviour = behaviours[number % behaviours.length];
    if (request === undefined || behaviour === undefined) return;
    if (behaviour === 'stay') {
      startStream(recorder, client, request, dueMs);
      return;
    }
    let hasLeft = false;
    let eventsLeft = eventCounts[number % eventCounts.length] ?? 1;
    const bodyBytes = behaviour === 'upload' ? request.body.length >> 1 : undefined;
    const exchange = new CheckedExchange(
      client,
      behaviour === 'first_token' ? unseenRequest(model, number) : request,
      {
        onText: () => {
          if (behaviour === 'streaming' && --eventsLeft === 0) leave();
        },
        onOutcome: ({ status, isComplete, wrong, receivedBytes }) => {
          recorder.receivedBytes += receivedBytes;
          if (hasLeft && (status === 0 || status === 200)) left[behaviour]++;
          else if (isComplete && wrong === null) answeredFirstCount++;
          else recorder.errors.add(`a client that wanted to leave (${behaviour}): ${wrong}`);
        },
      },
      bodyBytes,
    );
    const leave = () => {
      hasLeft = true;
      exchange.leave();
    };
    recorder.sentBytes += exchange.sentBytes;
    if (behaviour !== 'streaming') setTimeout(leave, behaviour === 'upload' ? uploadLeaveMs : waitLeaveMs);
  });
  await client.close(finishTimeoutMs);
  const figures = {
    left_uploading: left.upload,
    left_before_first_token: left.first_token,
    left_streaming: left.streaming,
    answered_before_leaving: answeredFirstCount,
  };
  const seen = backend === null ? null : await engineAborts(backend, abortedBefore, left.streaming);
  if (seen !== null && seen < left.streaming) {
    recorder.errors.add(`${left.streaming} clients left a stream, but the engines saw ${seen} aborts`);
  }
  return recorder.finish({ figures: seen === null ? figures : { ...figures, aborts_seen_by_engines: seen } });
}

/**
 * A prompt that no engine has in its cache: reading it takes long enough to leave in. Nobody waits for its answer.
 * @param {string} model
 * @param {number} number
 * @returns {import('../types.d.ts').CheckedRequest}
 */
function unseenRequest(model, number) {
  const request = chatRequest({ model, bytes: unseenPromptBytes, seed: 1000 + number, tokens: 16, isStream: true });
  return { ...request, reference: { content: null, bodySha256: null } };
}

/** How long the engines have to notice. */
const noticeMs = 5000;
const pollMs = 50;

/**
 * Polled until there are as many as there should be, and nothing runs any more, or time is up.
 * @param {import('../types.d.ts').OwnBackend} backend
 * @param {number} before
 * @param {number} wanted
 */
async function engineAborts(backend, before, wanted) {
  const deadlineMs = performance.now() + noticeMs;
  for (;;) {
    const { aborted, running } = await backend.engineTotals();
    if ((aborted - before >= wanted && running === 0) || performance.now() > deadlineMs) {
      if (running > 0) throw new Error(`${running} generations still run at the engines, and nobody waits for them`);
      return aborted - before;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
