import { afterEach, expect, test } from 'vitest';
import { type Sim, startSim } from '../../src/sim/index.ts';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// What engines list is what the gateway lists, and where it sends.

const endings: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

async function engine(name: string, models: readonly string[], rest: object = {}): Promise<Sim> {
  const sim = await startSim({ name, models, speed: 0, ...rest });
  endings.push(() => sim.close());
  return sim;
}

interface StatusPage {
  readonly pools: readonly {
    readonly endpoints: readonly { readonly catalogue: { readonly models: readonly string[] } | null }[];
  }[];
}

async function gatewayOf(sims: readonly Sim[], rest = ''): Promise<RunningGateway> {
  const endpoints = sims.map(({ url }) => `{ url: "${url}" }`).join(', ');
  const health = 'health: { interval_ms: 100ms, unhealthy_after: 1 }';
  const gateway = await startGateway(
    `pools: [{ name: p, engine: vllm, ${health}, endpoints: [${endpoints}] ${rest} }]`,
  );
  endings.push(() => gateway.stop());
  return gateway;
}

async function listed(gateway: RunningGateway): Promise<string[]> {
  const answer = await fetch(`${gateway.url}/v1/models`);
  const { data } = (await answer.json()) as { readonly data: readonly { readonly id: string }[] };
  return data.map(({ id }) => id);
}

/** Names of the engines that served so many requests for the model. */
async function servers(gateway: RunningGateway, model: string, count = 6): Promise<string[]> {
  const names = new Set<string>();
  for (let turn = 0; turn < count; turn++) {
    const messages = [{ role: 'user', content: `${turn}: what does the gauge say?` }];
    const body = JSON.stringify({ model, messages, max_tokens: 2 });
    const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    await answer.text();
    names.add(answer.ok ? (answer.headers.get('x-sim-endpoint') ?? '') : String(answer.status));
  }
  return [...names].sort();
}

test('catalogue: when engines have different models, each is listed and served where it is, and follows an engine that is replaced', async () => {
  const first = await engine('first', ['shared', 'one'], { maxModelLen: 4096 });
  const second = await engine('second', ['shared', 'two']);
  const gateway = await gatewayOf([first, second]);
  await expect.poll(() => listed(gateway), { timeout: 5000 }).toEqual(['shared', 'one', 'two']);
  const { pools } = await gateway.admin<StatusPage>('/status');
  expect(pools[0]!.endpoints.map(({ catalogue }) => catalogue)).toEqual([
    expect.objectContaining({ models: ['shared', 'one'], adapters: [], context_tokens: 4096, further: 0 }),
    expect.objectContaining({ models: ['shared', 'two'], adapters: [], context_tokens: 2_097_152, further: 0 }),
  ]);
  expect(await servers(gateway, 'one')).toEqual(['first']);
  expect(await servers(gateway, 'two')).toEqual(['second']);
  expect(await servers(gateway, 'none'), 'in the engine’s own words').toEqual(['404']);
  const { port } = second;
  await second.close();
  await engine('third', ['shared', 'three'], { port });
  await expect.poll(() => listed(gateway), { timeout: 10_000 }).toEqual(['shared', 'one', 'three']);
  expect(await servers(gateway, 'three')).toEqual(['third']);
});
