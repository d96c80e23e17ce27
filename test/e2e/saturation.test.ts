import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { Simulated } from '../faults/simulated.ts';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { eventuallyWithin } from '../rig/until.ts';

const eventually = eventuallyWithin(15_000);

// An engine without `inflight_max` before it says itself that it has enough: its queue stays short, and who waits in the
// gateway is served by priority.

const model = 'meta-llama/Llama-3.1-8B-Instruct';
let engine: Simulated | null = null;
let gateway: RunningGateway | null = null;

afterEach(async () => {
  await gateway?.stop();
  await engine?.stop();
});

interface PoolStatus {
  readonly queued: number;
  readonly endpoints: readonly { readonly queue: number | null }[];
}

async function pool(): Promise<PoolStatus> {
  return (await gateway!.admin<{ pools: PoolStatus[] }>('/status')).pools[0]!;
}

/** A quarter of a second in the engine for 40 tokens, two at once. */
async function chat(priority: string, tokens = 40): Promise<number> {
  const body = {
    model,
    max_tokens: tokens,
    ignore_eos: true,
    messages: [{ role: 'user', content: 'how high is the water?' }],
  };
  const response = await fetch(`${gateway!.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-priority': priority },
    body: JSON.stringify(body),
  });
  await response.arrayBuffer();
  return response.status;
}

test('saturation: when the engine says that requests wait there, the next wait in the gateway, and a higher one goes first', async () => {
  engine = await Simulated.start('one', ['--max-seqs', '2']);
  gateway = await startGateway(`runtime: { shards: 2 }
limits: { priority_header: x-priority }
pools:
  - { name: only, engine: vllm, picker: least_load, queue: { wait_ms: 1m, saturated_at: { waiting: 1 } }, endpoints: [{ url: "${engine.url}" }] }
`);
  const first = Array.from({ length: 6 }, () => chat('low'));
  await eventually(
    'the engine was seen to have requests waiting',
    async () => ((await pool()).endpoints[0]!.queue ?? 0) > 0,
  );
  let lowCount = 0;
  const low = Array.from({ length: 20 }, async () => {
    const status = await chat('low');
    lowCount++;
    return status;
  });
  await eventually('they wait in the gateway', async () => (await pool()).queued >= 15);
  expect((await engine.counts()).waiting, 'in the engine no more than had come before it said so').toBeLessThan(6);
  expect(await chat('high')).toBe(200);
  expect(lowCount, 'those that came before it, and wait still').toBeLessThan(14);
  let waitingMost = 0;
  while (lowCount < 18) {
    waitingMost = Math.max(waitingMost, (await engine.counts()).waiting);
    await delay(20);
  }
  expect(waitingMost, 'the engine has one ready, and hardly more').toBeLessThan(8);
  expect(new Set(await Promise.all([...first, ...low]))).toEqual(new Set([200]));
}, 60_000);
