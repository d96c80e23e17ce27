import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { Simulated } from '../faults/simulated.ts';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// A burst of prompts of 200,000 tokens and more: engines compute them one after another whatever they are sent, so all but one
// are better off in the gateway, where the next engine that has done with its own can have them.

const model = 'meta-llama/Llama-3.1-8B-Instruct';
const burst = 8;
let engines: Simulated[] = [];
let gateway: RunningGateway | null = null;

afterEach(async () => {
  await gateway?.stop();
  for (const engine of engines) await engine.stop();
});

async function prompt(number: number): Promise<number> {
  const response = await fetch(`${gateway!.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // What is alike at its beginning would be cached.
    body: JSON.stringify({ model, max_tokens: 1, prompt: `${number} ${'The gauge says seven. '.repeat(36_000)}` }),
  });
  await response.arrayBuffer();
  return response.status;
}

/** The most that were seen at one engine, waiting or running, while the burst was served. */
async function mostAtOnce(poolKeys: string): Promise<number> {
  engines = await Promise.all(['one', 'two'].map((name) => Simulated.start(name, ['--speed', '40'])));
  gateway = await startGateway(`runtime: { shards: 2 }
pools:
  - name: only
    engine: vllm
    picker: round_robin
    queue: { wait_ms: 5m }
    ${poolKeys}
    endpoints: [${engines.map(({ url }) => `{ url: "${url}" }`).join(', ')}]
`);
  let isOver = false;
  const served = Promise.all(Array.from({ length: burst }, (_, number) => prompt(number))).finally(() => {
    isOver = true;
  });
  let most = 0;
  while (!isOver) {
    for (const engine of engines) {
      const { running, waiting } = await engine.counts();
      most = Math.max(most, running + waiting);
    }
    await delay(10);
  }
  expect(await served).toEqual(Array.from({ length: burst }, () => 200));
  return most;
}

test('pending tokens: when prompts of 200,000 tokens come at once, no engine is sent more than it computes', async () => {
  // One that is done, and one that has come for it.
  expect(await mostAtOnce('pending_tokens_max: 100000')).toBeLessThanOrEqual(2);
}, 120_000);

test('pending tokens: when nothing bounds them, they pile up at the engines', async () => {
  expect(await mostAtOnce('')).toBeGreaterThan(2);
}, 120_000);
