/** Closed connections driven by autocannon: requests a second, latency, and whether every answer is right. */
import autocannon from 'autocannon';
import { wrongOf } from '../answers.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';

const requestTimeoutS = 30;
/** How soon autocannon notices that its time is up. */
const sampleMs = 100;

/**
 * @param {{ name: string, origin: string, requests: import('../types.d.ts').CheckedRequest[],
 *   connections: number, rate: number, durationS: number,
 *   pids: import('../types.d.ts').BackendPids | null }} options
 * @returns {Promise<import('../types.d.ts').Phase>}
 */
export async function runAutocannonPhase(options) {
  const { name, origin, requests, rate, durationS, pids } = options;
  // autocannon itself opens no more connections than requests a second.
  const connections = rate > 0 ? Math.min(options.connections, rate) : options.connections;
  // autocannon's own correction passes seconds (`1 / rate`, rounded up to 1) where its histogram takes milliseconds: it
  // assumes a request every millisecond and pulls every percentile down. Hence off there, and done here.
  const expectedIntervalMs = rate > 0 ? (1000 * connections) / rate : 0;
  const recorder = new PhaseRecorder({ name, durationS, pids, quantities: ['latency'] });
  const prepared = requests.map((request) => ({
    method: 'POST',
    path: request.path,
    headers: { ...request.headers },
    body: request.body,
    /** @type {import('autocannon').Request['onResponse']} */
    onResponse(status, text, _context, headers) {
      recorder.sentBytes += request.body.length;
      const wrong = wrongOf(request, status, (wanted) => headerOf(headers, wanted), text);
      // Anything but 2xx is counted as that.
      if (wrong !== null) (status >= 200 && status < 300 ? recorder.mismatches : recorder.non2xx).add(wrong);
    },
  }));
  let clientCount = 0;
  const { duration, timeouts } = await autocannon({
    url: origin,
    connections,
    duration: durationS,
    timeout: requestTimeoutS,
    sampleInt: sampleMs,
    ...(rate > 0 ? { overallRate: rate, ignoreCoordinatedOmission: true } : {}),
    // Called before the connection opens.
    setupClient(client) {
      // Every connection sends every request, each starting at another one.
      const first = clientCount++ % prepared.length;
      client.setRequests([...prepared.slice(first), ...prepared.slice(0, first)]);
      // Left alone, autocannon keeps a request whose connection was lost, and takes the next answer for that request's.
      // It reconnects without a word, too, when the other side ends a connection before its answer.
      const connect = client._connect.bind(client);
      let isErrorCounted = false;
      client._connect = () => {
        if (!isErrorCounted) recorder.unanswered += client.pipelinedRequests.size();
        isErrorCounted = false;
        client.pipelinedRequests.clear();
        connect();
      };
      client.on('connError', () => {
        recorder.errors.add('a connection was lost, or could not be opened');
        isErrorCounted = true;
      });
      client.on('timeout', () => recorder.errors.add(`no answer within ${requestTimeoutS} s`));
      client.on('response', (/** @type {number} */ _status, /** @type {number} */ bytes, /** @type {number} */ ms) => {
        recorder.countAnswer();
        recorder.receivedBytes += bytes;
        recorder.record('latency', ms, expectedIntervalMs);
      });
    },
  });
  recorder.timeouts = timeouts;
  return recorder.finish({ durationS: duration });
}

/**
 * @param {Record<string, string | string[]>} headers
 * @param {string} wanted in lower case
 */
function headerOf(headers, wanted) {
  for (const [name, value] of Object.entries(headers)) {
    if (name.toLowerCase() === wanted) return String(value);
  }
  return undefined;
}
