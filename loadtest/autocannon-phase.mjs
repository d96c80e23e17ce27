/** Closed connections driven by autocannon: requests a second, latency, and whether every answer is right. */
import autocannon from 'autocannon';
import { wrongOf } from './answers.mjs';
import { CpuMeter } from './cpu.mjs';
import { DistributionRecorder } from './distribution.mjs';
import { FailureList } from './failure-list.mjs';

const requestTimeoutS = 30;
/** How soon autocannon notices that its time is up. */
const sampleMs = 100;

/**
 * @param {{ name: string, origin: string, requests: import('./types.d.ts').CheckedRequest[],
 *   requestsOf: import('./types.d.ts').Scenario['requestsOf'], connections: number, rate: number, durationS: number,
 *   pids: import('./types.d.ts').BackendPids | null }} options
 * @returns {Promise<import('./types.d.ts').Phase>}
 */
export async function runAutocannonPhase(options) {
  const { name, origin, requests, requestsOf, rate, durationS, pids } = options;
  // autocannon itself opens no more connections than requests a second.
  const connections = rate > 0 ? Math.min(options.connections, rate) : options.connections;
  const non2xx = new FailureList();
  const mismatches = new FailureList();
  const latency = new DistributionRecorder();
  // autocannon's own correction passes seconds (`1 / rate`, rounded up to 1) where its histogram takes milliseconds: it
  // assumes a request every millisecond and pulls every percentile down. Hence off there, and done here.
  const expectedIntervalMs = rate > 0 ? (1000 * connections) / rate : 0;
  let sentBytes = 0;
  let answeredCount = 0;
  let receivedBytes = 0;
  let errors = 0;
  let unanswered = 0;

  const prepared = requests.map((request) => ({
    method: 'POST',
    path: request.path,
    headers: { ...request.headers },
    body: request.body,
    /** @type {import('autocannon').Request['onResponse']} */
    onResponse(status, text, _context, headers) {
      sentBytes += request.body.length;
      const wrong = wrongOf(request, status, (wanted) => headerOf(headers, wanted), text);
      // Anything but 2xx is counted as that.
      if (wrong !== null) (status >= 200 && status < 300 ? mismatches : non2xx).add(wrong);
    },
  }));
  let clientCount = 0;
  const cpu = new CpuMeter(pids);
  const { duration, timeouts } = await autocannon({
    url: origin,
    connections,
    duration: durationS,
    timeout: requestTimeoutS,
    sampleInt: sampleMs,
    ...(rate > 0 ? { overallRate: rate, ignoreCoordinatedOmission: true } : {}),
    // Called before the connection opens.
    setupClient(client) {
      const order = requestsOf(requests.length, clientCount++, connections);
      client.setRequests(order.flatMap((index) => prepared[index] ?? []));
      // Left alone, autocannon keeps a request whose connection was lost, and takes the next answer for that request's.
      // It reconnects without a word, too, when the other side ends a connection before its answer.
      const connect = client._connect.bind(client);
      let isErrorCounted = false;
      client._connect = () => {
        if (!isErrorCounted) unanswered += client.pipelinedRequests.size();
        isErrorCounted = false;
        client.pipelinedRequests.clear();
        connect();
      };
      client.on('connError', () => {
        errors++;
        isErrorCounted = true;
      });
      client.on('timeout', () => errors++);
      client.on('response', (/** @type {number} */ _status, /** @type {number} */ bytes, /** @type {number} */ ms) => {
        answeredCount++;
        receivedBytes += bytes;
        latency.record(ms, expectedIntervalMs);
      });
    },
  });
  return {
    name,
    durationS: duration,
    requests: answeredCount,
    requestsPerSecond: answeredCount / duration,
    sentMBps: sentBytes / 1e6 / duration,
    receivedMBps: receivedBytes / 1e6 / duration,
    errors,
    timeouts,
    non2xx: non2xx.count,
    mismatches: mismatches.count,
    unanswered,
    firstFailures: [...non2xx.first, ...mismatches.first],
    distributions: { latency: latency.finish() },
    ...cpu.read(answeredCount),
  };
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
