import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Faults, parseFaultFlag, parseFaultSet } from './faults.ts';
import { startSim } from './server.ts';
import type { Sim } from './server.ts';

let sim: Sim;
beforeEach(async () => {
  sim = await startSim({ name: 'faulty', speed: 0 });
});
afterEach(async () => {
  expect(sim.stats().kvBlocksUsed, 'a fault must not leak blocks').toBe(0);
  await sim.close();
});

interface Outcome {
  readonly status: number;
  readonly body: Buffer;
  /** Error code when the connection broke, else null. */
  readonly error: string | null;
}

/** A chat request whose broken end is told from a clean one. */
function chat(stream: boolean, headers: Record<string, string> = {}): Promise<Outcome> {
  const body = JSON.stringify({
    stream,
    stream_options: { include_usage: true },
    messages: [{ role: 'user', content: 'Say something.' }],
  });
  return new Promise((resolve) => {
    const request = httpRequest(
      `${sim.url}/v1/chat/completions`,
      { method: 'POST', headers: { 'x-sim-tokens': '20', ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        const end = (error: string | null): void =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), error });
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => end(null));
        response.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
      },
    );
    request.on('error', (error: NodeJS.ErrnoException) => {
      resolve({ status: 0, body: Buffer.alloc(0), error: error.code ?? error.message });
    });
    request.end(body);
  });
}

const eventCount = (outcome: Outcome): number => outcome.body.toString().split('\n\n').length - 1;

test('faults: when reset_before_head strikes, the client sees a reset and no status; count_max ends it', async () => {
  sim.setFaults({ reset_before_head: { rate: 1, count_max: 1 } });
  expect(await chat(true)).toMatchObject({ status: 0, error: 'ECONNRESET' });
  expect((await chat(true)).status).toBe(200);
  expect(sim.stats().faults).toEqual({ reset_before_head: 1 });
});

test('faults: when reset_mid_stream strikes, the stream breaks after exactly so many tokens', async () => {
  sim.setFaults({ reset_mid_stream: { rate: 1, after_tokens: 6 } });
  const outcome = await chat(true);
  expect(outcome).toMatchObject({ status: 200, error: 'ECONNRESET' });
  expect(eventCount(outcome), 'role and six tokens').toBe(7);
  expect(sim.stats().aborted, 'the client did not leave').toEqual({ queued: 0, prefill: 0, decode: 0 });
  expect(sim.stats().finished.error).toBe(1);
  sim.setFaults({ reset_mid_stream: { rate: 1, after_tokens: 6, fin: 1 } });
  expect(await chat(true), 'a FIN without last-chunk is a truncation too').toMatchObject({ error: 'ECONNRESET' });
  const plain = await chat(false);
  expect(plain).toMatchObject({ status: 200, error: 'ECONNRESET' });
  expect(plain.body.length).toBeGreaterThan(10);
});

test('faults: when half_utf8 strikes, the last byte received starts a character that never ends', async () => {
  sim.setFaults({ half_utf8: { rate: 1, after_tokens: 2 } });
  for (const stream of [true, false]) {
    const outcome = await chat(stream);
    expect(outcome.error).toBe('ECONNRESET');
    if (stream) expect(outcome.body.at(-1)).toBe(0xc3);
    else expect(() => JSON.parse(outcome.body.toString()) as unknown).toThrow();
  }
});

test('faults: when garbage strikes, one data line is not JSON and the rest of the stream follows', async () => {
  sim.setFaults({ garbage: { rate: 1, after_tokens: 3 } });
  const outcome = await chat(true);
  const lines = outcome.body.toString().split('\n\n').filter(Boolean);
  const isJson = (line: string): boolean => {
    try {
      return line === 'data: [DONE]' || JSON.parse(line.slice(6)) !== null;
    } catch {
      return false;
    }
  };
  expect(lines.map((line, index) => (isJson(line) ? -1 : index)).filter((index) => index >= 0)).toEqual([4]);
  expect(lines.at(-1)).toBe('data: [DONE]');
  expect(outcome.error).toBe(null);
});

test('faults: when error_event strikes, the stream carries the error and ends cleanly', async () => {
  sim.setFaults({ error_event: { rate: 1, after_tokens: 3 } });
  const outcome = await chat(true);
  expect(outcome.error).toBe(null);
  expect(outcome.body.toString().split('\n\n').slice(-3)).toEqual([
    'data: {"error":{"message":"The engine stopped while generating.","type":"InternalServerError","param":null,"code":500}}',
    'data: [DONE]',
    '',
  ]);
  expect(sim.stats().finished.error).toBe(1);
});

test('faults: when a request with several choices is cut at speed 0, no sequence is left behind', async () => {
  sim.setFaults({ reset_mid_stream: { rate: 1, after_tokens: 2 } });
  const body = JSON.stringify({ n: 3, stream: true, messages: [{ role: 'user', content: 'x' }] });
  const response = await fetch(`${sim.url}/v1/chat/completions`, { method: 'POST', body });
  await expect(response.text()).rejects.toThrow();
  expect(sim.stats().running + sim.stats().waiting).toBe(0);
});

test('faults: when no_done and no_usage strike, the stream ends cleanly without them', async () => {
  sim.setFaults({ no_done: 1, no_usage: 1 });
  const outcome = await chat(true);
  expect(outcome.error).toBe(null);
  expect(outcome.body.toString()).not.toMatch(/\[DONE\]|"usage"/);
  expect((await chat(false)).body.toString()).not.toContain('"usage"');
});

test('faults: when stall strikes, the events after it come late, in order and complete', async () => {
  const whole = await chat(true, { 'x-request-id': 'same' });
  sim.setFaults({ stall: { rate: 1, after_tokens: 5, ms: 60 } });
  const startMs = performance.now();
  const stalled = await chat(true, { 'x-request-id': 'same' });
  expect(performance.now() - startMs).toBeGreaterThan(55);
  expect(stalled.error).toBe(null);
  expect(eventCount(stalled)).toBe(eventCount(whole));
  expect((await chat(false)).error).toBe(null);
});

test('faults: when error_rate strikes, the status is the one asked for, and a retryable one says when', async () => {
  sim.setFaults({ error_rate: { rate: 1, status: 503 } });
  const response = await fetch(`${sim.url}/v1/chat/completions`, { method: 'POST', body: '{}' });
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
  expect((await fetch(`${sim.url}/health`)).status, 'request faults spare health').toBe(200);
});

test('faults: when hang_before_head strikes, the server waits until the client goes away', async () => {
  sim.setFaults({ hang_before_head: 1 });
  const leave = new AbortController();
  const asked = fetch(`${sim.url}/v1/chat/completions`, { method: 'POST', body: '{}', signal: leave.signal });
  while (sim.stats().faults['hang_before_head'] !== 1) await new Promise((resolve) => setImmediate(resolve));
  leave.abort();
  await expect(asked).rejects.toThrow();
  while (sim.stats().active > 0) await new Promise((resolve) => setImmediate(resolve));
});

test('faults: when set over HTTP, the whole set is replaced, shown, and checked', async () => {
  const send = (set: unknown): Promise<Response> =>
    fetch(`${sim.url}/sim/faults`, { method: 'POST', body: JSON.stringify(set) });
  expect((await send({ health_fail: 1, no_done: { rate: 0.5, model: 'm' } })).status).toBe(200);
  expect((await fetch(`${sim.url}/health`)).status).toBe(503);
  expect((await send({ no_usage: 0.25 })).status).toBe(200);
  expect(await (await fetch(`${sim.url}/sim/faults`)).json()).toEqual({ no_usage: 0.25 });
  for (const wrong of [{ no_such: 1 }, { stall: 2 }, { stall: { rate: 1, after: 3 } }, { stall: 'x' }, []]) {
    expect((await send(wrong)).status, JSON.stringify(wrong)).toBe(400);
  }
});

test('faults: when a flag is read, parameters follow the rate', () => {
  expect(parseFaultFlag('stall=0.1,ms=2000,path=/v1/chat')).toEqual({
    stall: { rate: 0.1, ms: 2000, path: '/v1/chat' },
  });
  expect(parseFaultFlag('health_fail')).toEqual({ health_fail: { rate: 1 } });
  expect(() => parseFaultFlag('stall=often')).toThrow('stall.rate must be 0 to 1');
});

test('faults: when drawn with one seed, the same requests are hit, about as often as the rate says', () => {
  const drawn = (seed: number): boolean[] => {
    const faults = new Faults(seed);
    faults.replace(parseFaultSet({ no_done: { rate: 0.3, path: '/v1/chat' } }));
    expect(faults.draw('no_done', '/v1/completions')).toBe(false);
    return Array.from({ length: 1000 }, () => faults.draw('no_done', '/v1/chat/completions'));
  };
  expect(drawn(5)).toEqual(drawn(5));
  const count = drawn(5).filter(Boolean).length;
  expect(count).toBeGreaterThan(250);
  expect(count).toBeLessThan(350);
});
