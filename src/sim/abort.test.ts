import { request as httpRequest } from 'node:http';
import type { ClientRequest } from 'node:http';
import { expect, test } from 'vitest';
import { startSim } from './server.ts';
import type { Sim } from './server.ts';

/** Resolves when the condition holds; polls between event-loop turns, for 5 s at most. */
async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error('condition did not hold within 5 s');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A chat request that will be left; resolves its `head` when the response head came. */
function ask(sim: Sim, content: string, stream: boolean): { request: ClientRequest; firstBytes: Promise<void> } {
  const body = JSON.stringify({ messages: [{ role: 'user', content }], stream, ignore_eos: true, max_tokens: 100_000 });
  const request = httpRequest(`${sim.url}/v1/chat/completions`, { method: 'POST', agent: false });
  const firstBytes = new Promise<void>((resolve) => {
    request.on('response', (response) => {
      response.once('data', () => resolve());
      response.on('error', () => {});
    });
  });
  request.on('error', () => {});
  request.end(body);
  return { request, firstBytes };
}

test('abort: when clients leave while queued, in prefill and in decode, each is counted and all blocks are free', async () => {
  const sim = await startSim({
    name: 'abort',
    maxBatchSize: 2,
    prefillTokensPerSecond: 20_000,
    maxBatchedTokens: 1000,
  });
  const decoding = ask(sim, 'short', true);
  await decoding.firstBytes;
  const prefilling = ask(sim, 'a long prompt that takes seconds to read '.repeat(20_000), true);
  await until(() => sim.stats().running === 2);
  const queued = ask(sim, 'waits', false);
  await until(() => sim.stats().waiting === 1);

  queued.request.destroy();
  await until(() => sim.stats().aborted.queued === 1);
  expect(sim.stats().waiting).toBe(0);
  prefilling.request.destroy();
  await until(() => sim.stats().aborted.prefill === 1);
  expect(sim.stats().running).toBe(1);
  decoding.request.destroy();
  await until(() => sim.stats().aborted.decode === 1);

  const stats = sim.stats();
  expect(stats.kvBlocksUsed).toBe(0);
  expect(stats.running + stats.waiting + stats.active).toBe(0);
  expect(stats.finished.abort).toBe(3);
  await sim.close();
});

test('abort: when the client of a choice of two leaves, both sequences end', async () => {
  const sim = await startSim({ name: 'abort' });
  const request = httpRequest(`${sim.url}/v1/chat/completions`, { method: 'POST', agent: false });
  request.on('error', () => {});
  request.end(JSON.stringify({ messages: [{ role: 'user', content: 'x' }], n: 2, ignore_eos: true, max_tokens: 9999 }));
  await until(() => sim.stats().running === 2);
  request.destroy();
  await until(() => sim.stats().finished.abort === 2);
  expect(sim.stats().kvBlocksUsed).toBe(0);
  await sim.close();
});

test('abort: when the engine closes under open streams, they break and the port is free again', async () => {
  const sim = await startSim({ name: 'abort' });
  const open = ask(sim, 'short', true);
  await open.firstBytes;
  await sim.close();
  const again = await startSim({ name: 'again', port: sim.port });
  await again.close();
});

test('server: when a thousand streams run at once, every one ends with [DONE]', async () => {
  const sim = await startSim({ name: 'many', maxBatchSize: 2000, speed: 20 });
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'hello' }], stream: true });
  const ends = await Promise.all(
    Array.from(
      { length: 1000 },
      () =>
        new Promise<string>((resolve, reject) => {
          const request = httpRequest(
            `${sim.url}/v1/chat/completions`,
            { method: 'POST', agent: false, headers: { 'x-sim-tokens': '20' } },
            (response) => {
              let tail = '';
              response.setEncoding('utf8');
              response.on('data', (chunk: string) => (tail = (tail + chunk).slice(-14)));
              response.on('end', () => resolve(tail));
              response.on('error', reject);
            },
          );
          request.on('error', reject);
          request.end(body);
        }),
    ),
  );
  expect(new Set(ends)).toEqual(new Set(['data: [DONE]\n\n']));
  expect(sim.stats().completionTokens).toBe(20_000);
  await sim.close();
}, 20_000);
