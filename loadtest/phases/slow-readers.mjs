/**
 * Clients that ask for a long answer and read it at a trickle, beside normal ones. What they do not read has to wait at the
 * engine: the gateway's memory must not grow with it, and nobody else may notice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CheckedExchange } from '../client/checked-exchange.mjs';
import { Client } from '../client/client.mjs';
import { PhaseRecorder } from '../phase-recorder.mjs';
import { rssBytesOf } from '../rss.mjs';
import { atRate, schedule } from '../schedule.mjs';
import { noteOutcome } from './outcome.mjs';

const finishTimeoutMs = 30_000;
/** More than the kernel's buffers of both connections take, so that the answer backs up into the gateway. */
const answerBytes = 64 * 1024 * 1024;
/** A reader takes what is there this often, at most one read of 64 KiB. */
const readEveryMs = 200;
/** Until the buffers of the kernel are full and the slow readers stand still; that takes the machine for a moment. */
const settleMs = 2000;
const memoryEveryMs = 100;
/** Growth for each slow reader that fails the run; a gateway that reads ahead holds the whole answer. */
const growthBytesMax = 2 * 1024 * 1024;
/** Growth that any load may cause: heap, and pools that are kept. */
const growthBytesFree = 96 * 1024 * 1024;

/** The pattern of sim/byte-answer.ts, which repeats. */
const pattern = Buffer.from(Array.from({ length: 65_536 }, (_, at) => (at * 31 + (at >>> 8) * 7) & 255));

class SlowReader {
  #connection;
  #timer;
  #at = 0;
  /** @type {string | null} */
  wrong = null;

  /** @param {Client} client @param {import('../types.d.ts').LoadRequest} request */
  constructor(client, request) {
    this.#connection = client.take();
    const { head, body } = client.encode(request);
    this.#connection.send([head, body], {
      onHead: (status) => {
        if (status !== 200) this.wrong = `status ${status}`;
      },
      onBody: (bytes) => this.#onBody(bytes),
      onEnd: () => (this.wrong ??= 'the answer was over before its time'),
      onFail: (why) => (this.wrong ??= why),
    });
    this.#timer = setInterval(() => this.#connection.resume(), readEveryMs);
  }

  get readBytes() {
    return this.#at;
  }

  /** What comes now is not looked at any more. */
  leave() {
    clearInterval(this.#timer);
    this.wrong ??= '';
    this.#connection.destroy();
  }

  /** @param {Buffer} bytes */
  #onBody(bytes) {
    this.#connection.pause();
    for (let from = 0; from < bytes.length;) {
      const start = (this.#at + from) % pattern.length;
      const count = Math.min(bytes.length - from, pattern.length - start);
      if (bytes.compare(pattern, start, start + count, from, from + count) !== 0) {
        throw new Error(`wrong bytes after ${this.#at + from}`);
      }
      from += count;
    }
    this.#at += bytes.length;
  }
}

/**
 * Half of the time without slow readers, half with them.
 * @param {import('../types.d.ts').MeasureContext} context `settings.connections`: slow readers
 * @returns {Promise<import('../types.d.ts').Phase[]>}
 */
export async function runSlowReaderPhases(context) {
  const { origin, requests, settings, pids } = context;
  const [request] = requests;
  if (request === undefined) throw new Error('there are no requests');
  const alone = await runNormal(context, 'alone', () => ({}));
  const client = new Client(origin);
  const hook = { 'x-sim-response-bytes': String(answerBytes), 'x-sim-response-framing': 'chunked' };
  const long = { ...request, headers: { ...request.headers, ...hook } };
  const rssBefore = pids === null ? 0 : rssBytesOf(pids.gateway);
  let rssMax = rssBefore;
  const watch = setInterval(() => {
    if (pids !== null) rssMax = Math.max(rssMax, rssBytesOf(pids.gateway));
  }, memoryEveryMs);
  const readers = Array.from({ length: settings.connections }, () => new SlowReader(client, long));
  await sleep(settleMs);
  const beside = await runNormal(context, 'beside_slow', (recorder) => {
    clearInterval(watch);
    const growth = rssMax - rssBefore;
    for (const { wrong } of readers) if (wrong !== null) recorder.errors.add(`a slow reader: ${wrong}`);
    if (pids !== null && growth > growthBytesFree + readers.length * growthBytesMax) {
      recorder.errors.add(`the gateway grew by ${(growth / 1e6).toFixed(0)} MB for ${readers.length} slow readers`);
    }
    const readBytes = readers.reduce((sum, reader) => sum + reader.readBytes, 0);
    for (const reader of readers) reader.leave();
    const memory = pids === null ? {} : { gateway_rss_mb: rssBefore / 1e6, gateway_rss_growth_mb: growth / 1e6 };
    return { slow_readers: readers.length, slowly_read_mb: readBytes / 1e6, ...memory };
  });
  await client.close(0);
  return [alone, beside];
}

/**
 * @param {import('../types.d.ts').MeasureContext} context
 * @param {string} name
 * @param {(recorder: PhaseRecorder) => Record<string, number>} atEnd returns figures
 */
async function runNormal({ origin, requests, settings, pids }, name, atEnd) {
  const durationS = settings.durationS / 2;
  const client = new Client(origin);
  const recorder = new PhaseRecorder({ name, durationS, pids, quantities: ['latency', 'send_lag'] });
  await schedule(atRate(settings.rate, durationS), (number, dueMs) => {
    const request = requests[number % requests.length];
    if (request === undefined) return;
    recorder.record('send_lag', performance.now() - dueMs);
    const exchange = new CheckedExchange(client, request, {
      onOutcome: (outcome) => {
        noteOutcome(recorder, outcome);
        if (outcome.isComplete) recorder.record('latency', outcome.endMs - dueMs);
      },
    });
    recorder.sentBytes += exchange.sentBytes;
  });
  await client.close(finishTimeoutMs);
  return recorder.finish({ figures: atEnd(recorder) });
}
