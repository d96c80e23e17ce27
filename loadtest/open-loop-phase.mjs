/**
 * Streams started on a schedule, whatever the answers do: TTFT and gaps between tokens as a client sees them. TTFT counts
 * from the instant a stream was due, so that a slow target cannot slow down the measuring (coordinated omission).
 */
import { contentOfEvent } from './answers.mjs';
import { CpuMeter } from './cpu.mjs';
import { DistributionRecorder } from './distribution.mjs';
import { FailureList } from './failure-list.mjs';
import { SseConnection } from './sse-connection.mjs';

/** Streams open at once; a stream due beyond that counts as an error, and is not waited for. */
const openCountMax = 2000;
/** After the last start; streams still open then have failed. */
const finishTimeoutMs = 30_000;

class OpenLoop {
  #requests;
  #host;
  #port;
  #intervalMs;
  #count;
  /** @type {SseConnection[]} */
  #idle = [];
  /** @type {Set<SseConnection>} */
  #all = new Set();
  #openCount = 0;
  errors = new FailureList();
  non2xx = new FailureList();
  mismatches = new FailureList();
  ttft = new DistributionRecorder();
  gap = new DistributionRecorder();
  total = new DistributionRecorder();
  sendLag = new DistributionRecorder();
  doneCount = 0;
  sentBytes = 0;
  receivedBytes = 0;

  /**
   * @param {{ origin: string, requests: import('./types.d.ts').CheckedRequest[], rate: number, durationS: number }} options
   */
  constructor({ origin, requests, rate, durationS }) {
    const { host, hostname, port } = new URL(origin);
    this.#host = hostname.replace(/^\[|\]$/g, '');
    this.#port = Number(port === '' ? 80 : port);
    this.#intervalMs = 1000 / rate;
    this.#count = Math.max(1, Math.floor(durationS * rate));
    this.#requests = requests.map((request) => ({ reference: request.reference, bytes: bytesOf(request, host) }));
  }

  /** Resolves when every stream has ended, or the time for that is up. */
  async run() {
    const startMs = performance.now();
    /** @type {Promise<void>} */
    const started = new Promise((resolve) => {
      let next = 0;
      const tick = () => {
        const nowMs = performance.now();
        while (next < this.#count && startMs + next * this.#intervalMs <= nowMs) {
          this.#start(startMs + next * this.#intervalMs, next);
          next++;
        }
        if (next === this.#count) resolve();
        else setTimeout(tick, Math.max(0, startMs + next * this.#intervalMs - performance.now()));
      };
      tick();
    });
    await started;
    const deadlineMs = performance.now() + finishTimeoutMs;
    while (this.#openCount > 0 && performance.now() < deadlineMs)
      await new Promise((resolve) => setTimeout(resolve, 20));
    for (const connection of this.#all) connection.destroy();
    // `close` events come a turn later, and fail what was still open.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /**
   * @param {number} dueMs
   * @param {number} number
   */
  #start(dueMs, number) {
    if (this.#openCount >= openCountMax) {
      this.errors.add(`more than ${openCountMax} streams open at once`);
      return;
    }
    const request = this.#requests[number % this.#requests.length];
    if (request === undefined) throw new Error('there are no requests');
    const { reference, bytes } = request;
    const connection = this.#idle.pop() ?? this.#connect();
    const receivedBefore = connection.receivedBytes;
    let lastMs = 0;
    let content = '';
    let isDone = false;
    let status = 0;
    this.#openCount++;
    this.sendLag.record(performance.now() - dueMs);
    this.sentBytes += bytes.length;
    const leave = () => {
      this.#openCount--;
      this.receivedBytes += connection.receivedBytes - receivedBefore;
    };
    connection.send(bytes, {
      onHead: (code) => (status = code),
      onEvent: (event, atMs) => {
        if (isDone) throw new Error('an event after [DONE]');
        if (event === 'data: [DONE]') {
          isDone = true;
          return;
        }
        const text = contentOfEvent(event);
        if (text === '') return;
        content += text;
        if (lastMs === 0) this.ttft.record(atMs - dueMs);
        else this.gap.record(atMs - lastMs);
        lastMs = atMs;
      },
      onEnd: () => {
        leave();
        this.#idle.push(connection);
        this.doneCount++;
        this.total.record(performance.now() - dueMs);
        if (!isDone || content === '') this.mismatches.add('a stream without text, or without [DONE], ended cleanly');
        else if (reference.content !== null && content !== reference.content) {
          this.mismatches.add(`another answer: ${JSON.stringify(content)}, not ${JSON.stringify(reference.content)}`);
        }
      },
      onFail: (why) => {
        leave();
        (status !== 0 && status !== 200 ? this.non2xx : this.errors).add(why);
      },
    });
  }

  #connect() {
    const connection = new SseConnection(this.#host, this.#port, (closed) => {
      this.#all.delete(closed);
      const at = this.#idle.indexOf(closed);
      if (at !== -1) this.#idle.splice(at, 1);
    });
    this.#all.add(connection);
    return connection;
  }
}

/**
 * @param {{ name: string, origin: string, requests: import('./types.d.ts').CheckedRequest[], rate: number,
 *   durationS: number, pids: import('./types.d.ts').BackendPids | null }} options
 * @returns {Promise<import('./types.d.ts').Phase>}
 */
export async function runOpenLoopPhase({ name, pids, ...options }) {
  const loop = new OpenLoop(options);
  const cpu = new CpuMeter(pids);
  const startMs = performance.now();
  await loop.run();
  const wallS = (performance.now() - startMs) / 1000;
  return {
    name,
    durationS: wallS,
    requests: loop.doneCount,
    requestsPerSecond: loop.doneCount / wallS,
    sentMBps: loop.sentBytes / 1e6 / wallS,
    receivedMBps: loop.receivedBytes / 1e6 / wallS,
    errors: loop.errors.count,
    timeouts: 0,
    non2xx: loop.non2xx.count,
    mismatches: loop.mismatches.count,
    unanswered: 0,
    firstFailures: [...loop.errors.first, ...loop.non2xx.first, ...loop.mismatches.first],
    distributions: {
      ttft: loop.ttft.finish(),
      gap: loop.gap.finish(),
      stream: loop.total.finish(),
      send_lag: loop.sendLag.finish(),
    },
    ...cpu.read(loop.doneCount),
  };
}

/**
 * @param {import('./types.d.ts').LoadRequest} request
 * @param {string} host
 */
function bytesOf({ path, headers, body }, host) {
  const fields = Object.entries({ host, ...headers, 'content-length': String(body.length) });
  const head = `POST ${path} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}
