import { afterEach, expect, test } from 'vitest';
import { Random } from '../../src/sim/random.ts';
import { type Sim, startSim } from '../../src/sim/index.ts';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// LoRA adapters over HTTP: real gateway processes before engines whose memory holds a few adapters of many. What is counted is
// what the engines had to load.

const endings: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

const adapterCount = 20;
const engineCount = 4;
/**
 * Homes follow from names and ports: of 20 adapters one engine in ten is home to nine or more, which loads them by turns when it
 * has eight places. With twelve it is one in some thousands.
 */
const placeCount = 12;
const requestCount = 240;
const seed = 71;
const adapters = Array.from({ length: adapterCount }, (_, index) => `adapter-${index}`);

async function fleet(): Promise<Sim[]> {
  const sims: Sim[] = [];
  for (let index = 0; index < engineCount; index++) {
    const options = { models: ['base'], loraAdapters: adapters, loraCountMax: placeCount, loraLoadMs: 300, speed: 50 };
    const sim = await startSim({ name: `engine-${index}`, ...options });
    endings.push(() => sim.close());
    sims.push(sim);
  }
  return sims;
}

interface StatusPage {
  readonly pools: readonly {
    readonly endpoints: readonly {
      readonly catalogue: {
        readonly adapters: readonly string[];
        readonly loaded: readonly string[];
        readonly adapter_slots: number | null;
      } | null;
    }[];
  }[];
}

async function gatewayOf(sims: readonly Sim[], picker: string): Promise<RunningGateway> {
  const endpoints = sims.map(({ url }) => `{ url: "${url}" }`).join(', ');
  const gateway = await startGateway(
    `pools: [{ name: p, engine: vllm, picker: ${picker}, endpoints: [${endpoints}] }]`,
  );
  endings.push(() => gateway.stop());
  const listed = async (): Promise<number[]> =>
    (await status(gateway)).map(({ catalogue }) => catalogue?.adapters.length ?? 0);
  await expect.poll(listed, { timeout: 5000 }).toEqual(sims.map(() => adapterCount));
  return gateway;
}

async function status(gateway: RunningGateway): Promise<StatusPage['pools'][number]['endpoints']> {
  return (await gateway.admin<StatusPage>('/status')).pools[0]!.endpoints;
}

async function ask(gateway: RunningGateway, model: string, text: string): Promise<void> {
  const messages = [{ role: 'user', content: text }];
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages, max_tokens: 4, stream: true }),
  });
  await answer.text();
  expect(answer.status).toBe(200);
}

/** The same requests in the same order for everybody: each for one of the adapters, eight at a time. Returns loads of all engines. */
async function loadsWith(picker: string): Promise<number> {
  const sims = await fleet();
  const gateway = await gatewayOf(sims, picker);
  const random = new Random(seed);
  const wanted = Array.from({ length: requestCount }, () => adapters[random.below(adapterCount)]!);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let turn = next++; turn < requestCount; turn = next++)
      await ask(gateway, wanted[turn]!, `${turn}: what is it?`);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const served = sims.map((sim) => sim.stats().requests['/v1/chat/completions'] ?? 0);
  expect(
    served.reduce((sum, count) => sum + count, 0),
    `seed ${seed}`,
  ).toBe(requestCount);
  return sims.reduce((sum, sim) => sum + sim.stats().adapterLoads, 0);
}

test(
  'adapters: when there are more of them than fit one engine, kv_aware loads each about once, round_robin again and again',
  { timeout: 60_000 },
  async () => {
    const loads = { kv_aware: await loadsWith('kv_aware'), round_robin: await loadsWith('round_robin') };
    expect(loads.kv_aware, JSON.stringify(loads)).toBeLessThanOrEqual(2 * adapterCount);
    expect(loads.round_robin, JSON.stringify(loads)).toBeGreaterThanOrEqual(3 * loads.kv_aware);
  },
);

test('adapters: when they are used, /status shows where they are in memory', { timeout: 30_000 }, async () => {
  const sims = await fleet();
  const gateway = await gatewayOf(sims, 'kv_aware');
  for (let turn = 0; turn < 3; turn++) await ask(gateway, 'adapter-3', `${turn}`);
  const loaded = sims.map((sim) => sim.stats().adaptersLoaded);
  expect(loaded.flat(), 'in one engine').toEqual(['adapter-3']);
  expect((await status(gateway)).map(({ catalogue }) => catalogue!.loaded)).toEqual(loaded);
});
