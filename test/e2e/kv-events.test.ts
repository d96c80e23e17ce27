import { writeFile } from 'node:fs/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { startSim } from '../../src/sim/index.ts';
import type { Sim, SimOptions } from '../../src/sim/index.ts';
import { freePort, type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { eventuallyWithin } from '../rig/until.ts';

const eventually = eventuallyWithin(20_000);

// Engines that publish what happens in their KV caches, and the gateway that hears of it: what it believes they hold is what
// they hold.

const model = 'meta-llama/Llama-3.1-8B-Instruct';
// Several processes each, on a machine that may have others to run.
vi.setConfig({ testTimeout: 60_000 });

const sims: Sim[] = [];
let gateway: RunningGateway | null = null;

afterEach(async () => {
  await gateway?.stop();
  await Promise.all(sims.splice(0).map((sim) => sim.close()));
});

interface KvEvents {
  readonly publishers: number;
  readonly connected: number;
  readonly problem: string | null;
  readonly fill_tokens: number | null;
  readonly believed_tokens: number;
  readonly capacity_tokens: number;
  readonly foreign_tokens: number;
  readonly events: Record<'stored' | 'removed' | 'cleared' | 'other' | 'malformed', number>;
  readonly emptied: { readonly cleared: number; readonly restarted: number };
  readonly gaps: number;
  readonly replays: { readonly complete: number; readonly failed: number };
}

async function engine(options: SimOptions = {}): Promise<Sim> {
  const sim = await startSim({ speed: 0, kvBlocks: 4096, kvEvents: 'tcp://127.0.0.1:0', ...options });
  sims.push(sim);
  return sim;
}

/** By endpoint. */
async function kvEvents(): Promise<(KvEvents | null)[]> {
  const page = await gateway!.admin<{ pools: { endpoints: { kv_events: KvEvents | null }[] }[] }>('/status');
  return page.pools[0]!.endpoints.map((endpoint) => endpoint.kv_events);
}

/** Two engines, each with its events; `engine: none`, so that nothing else tells of them. */
async function start(fleet: readonly Sim[], rest = '', replays = true): Promise<void> {
  const endpoints = fleet.map(({ url, kvEvents: events }) =>
    events === null
      ? `{ url: "${url}" }`
      : `{ url: "${url}", kv_events_urls: ["tcp://127.0.0.1:${events.port}"]${replays && events.replayPort > 0 ? `, kv_events_replay_urls: ["tcp://127.0.0.1:${events.replayPort}"]` : ''} }`,
  );
  gateway = await startGateway(`runtime: { shards: 2 }
pools:
  - { name: fleet, engine: none, picker: kv_aware, debug_headers: true, endpoints: [${endpoints.join(', ')}]${rest} }
`);
  await eventually('all publishers are followed', async () =>
    (await kvEvents()).every((events) => events === null || events.connected === events.publishers),
  );
}

interface Answer {
  /** Of the endpoint it came from. */
  readonly endpoint: string;
  /** Tokens that the gateway thought it has. */
  readonly matched: number;
  /** Tokens that it had. */
  readonly cached: number;
  readonly promptTokens: number;
}

function words(seed: string, count: number): string {
  return Array.from({ length: count }, (_, index) => `${seed}${index % 97} water`).join(' ');
}

async function ask(url: string, prompt: string): Promise<Answer> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, max_tokens: 4, messages: [{ role: 'user', content: prompt }] }),
  });
  const page = (await response.json()) as {
    usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } | null };
  };
  expect(response.status, JSON.stringify(page)).toBe(200);
  const pick = response.headers.get('x-penstock-pick') ?? '';
  return {
    endpoint: response.headers.get('x-sim-endpoint') ?? '',
    matched: Number(/matched=(\d+)/.exec(pick)?.[1] ?? NaN),
    cached: page.usage.prompt_tokens_details?.cached_tokens ?? 0,
    promptTokens: page.usage.prompt_tokens,
  };
}

test('kv events: when an engine clears its cache, the index holds nothing of it at once, and still all of the other', async () => {
  const fleet = [await engine({ name: 'a' }), await engine({ name: 'b' })];
  await start(fleet);
  const homes = new Map<string, string>();
  // Homes follow from the engines' ports: in one run of 128 the first eight prompts have the same.
  for (let number = 0; homes.size < 8 || new Set(homes.values()).size < 2; number++) {
    expect(number, 'both have some').toBeLessThan(40);
    const prompt = words(`p${number}x`, 800);
    homes.set(prompt, (await ask(gateway!.url, prompt)).endpoint);
  }
  const prompts = [...homes.keys()];
  for (const prompt of prompts) {
    const { matched, endpoint } = await ask(gateway!.url, prompt);
    expect([endpoint, matched > 1000]).toEqual([homes.get(prompt), true]);
  }
  await fetch(`${fleet[0]!.url}/reset_prefix_cache`, { method: 'POST' });
  await eventually('the clear is known', async () => (await kvEvents())[0]!.emptied.cleared === 1);
  expect((await kvEvents())[0]).toMatchObject({ fill_tokens: 0, believed_tokens: 0 });
  for (const prompt of prompts) {
    const { matched, cached } = await ask(gateway!.url, prompt);
    if (homes.get(prompt) === 'a') expect([matched, cached]).toEqual([0, 0]);
    else expect(matched).toBeGreaterThan(1000);
  }
  await eventually('it tells what it holds since', async () => (await kvEvents())[0]!.fill_tokens! > 0);
  const [first, second] = await kvEvents();
  expect(first).toMatchObject({ publishers: 1, connected: 1, problem: null, gaps: 0 });
  expect(first!.events).toMatchObject({ cleared: 1, malformed: 0, other: 0 });
  expect(second!.emptied).toEqual({ cleared: 0, restarted: 0 });
  const metrics = await (await fetch(`${gateway!.adminUrl}/metrics`)).text();
  for (const row of [
    `penstock_kv_emptied_total{pool="fleet",endpoint="${fleet[0]!.url}",cause="cleared"} 1`,
    `penstock_kv_publishers{pool="fleet",endpoint="${fleet[1]!.url}",state="connected"} 1`,
    `penstock_kv_event_gaps_total{pool="fleet",endpoint="${fleet[0]!.url}"} 0`,
  ]) {
    expect(metrics).toContain(row);
  }
  expect(metrics).toMatch(/penstock_kv_fill_ratio\{pool="fleet",endpoint="[^"]+",source="events"\} 0\.\d/);
});

test('kv events: when a reload names other publishers, those are followed, and no others', async () => {
  const fleet = [await engine({ name: 'a' }), await engine({ name: 'b' })];
  await start(fleet);
  await ask(gateway!.url, words('x', 800));
  const subscribers = (): number[] => fleet.map(({ kvEvents: events }) => events!.subscriberCount);
  expect(subscribers()).toEqual([1, 1]);
  const reload = async (text: string): Promise<void> => {
    await writeFile(gateway!.configPath, text);
    const headers = { 'content-type': 'application/json' };
    expect((await fetch(`${gateway!.adminUrl}/reload`, { method: 'POST', headers })).status).toBe(200);
  };
  const second = `, kv_events_urls: ["tcp://127.0.0.1:${fleet[1]!.kvEvents!.port}"]`;
  await reload(gateway!.configText.replace(second, ''));
  await eventually('the second is left', () => subscribers()[1] === 0);
  expect((await kvEvents())[1]).toBeNull();
  expect((await kvEvents())[0], 'the first is followed on').toMatchObject({ connected: 1 });
  await reload(gateway!.configText.replaceAll(/, kv_events_urls: \["[^"]+"\]/g, ''));
  await eventually('both are left', () => subscribers().every((count) => count === 0));
  await reload(gateway!.configText);
  await eventually('both are followed', () => subscribers().every((count) => count === 1));
  await eventually('and known to be', async () => (await kvEvents()).every((events) => events?.connected === 1));
});

test.each([
  ['with replays, as soon as it can be asked', true],
  ['without, with the first of its events', false],
])('kv events: when an engine was started anew, that is known %s', async (_, replays) => {
  const ports = { port: await freePort(), events: await freePort(), replay: await freePort() };
  const addresses = {
    port: ports.port,
    kvEvents: `tcp://127.0.0.1:${ports.events}`,
    kvEventsReplay: `tcp://127.0.0.1:${ports.replay}`,
  };
  const first = await engine({ name: 'a', ...addresses });
  const other = await engine({ name: 'b' });
  await start([first, other], '', replays);
  const prompts = Array.from({ length: 8 }, (_each, number) => words(`p${number}x`, 800));
  for (const prompt of prompts) await ask(gateway!.url, prompt);
  await eventually('both hold some', async () => (await kvEvents()).every((events) => events!.believed_tokens > 1000));
  await first.close();
  sims.splice(sims.indexOf(first), 1);
  await eventually('it is down', async () => (await kvEvents())[0]!.connected === 0);
  expect((await kvEvents())[0]!.problem).toMatch(/closed|ECONN/);
  const again = await engine({ name: 'a', ...addresses });
  await eventually('it is up', async () => (await kvEvents())[0]!.connected === 1);
  if (!replays) await ask(again.url, words('somebody else', 100));
  await eventually('the restart is known', async () => (await kvEvents())[0]!.emptied.restarted === 1);
  expect((await kvEvents())[0]).toMatchObject({ believed_tokens: 0 });
  for (const prompt of prompts) {
    const { matched, cached } = await ask(gateway!.url, prompt);
    expect(Math.abs(matched - cached) / 1000, `matched ${matched}, cached ${cached}`).toBeLessThan(0.2);
  }
  expect((await kvEvents())[1]!.emptied).toEqual({ cleared: 0, restarted: 0 });
});

interface Misprediction {
  /** Tokens that were thought to be cached and were not. */
  readonly tokens: number;
  readonly promptTokens: number;
}

/** Twelve prompts by the gateway, then as much as both caches hold by somebody else, then the twelve again. */
async function behindItsBack(events: boolean): Promise<Misprediction> {
  const settings = { kvBlocks: 2048, ...(events ? {} : { kvEvents: null }) };
  const fleet = [await engine({ name: 'a', ...settings }), await engine({ name: 'b', ...settings })];
  await start(fleet, ', retries: { attempts: 0 }');
  const prompts = Array.from({ length: 12 }, (_, number) => words(`p${number}x`, 800));
  for (const prompt of prompts) await ask(gateway!.url, prompt);
  for (const { url } of fleet) {
    for (let number = 0; number < 26; number++) await ask(url, words(`other${number}x`, 800));
  }
  if (events) {
    await eventually('what others sent is counted', async () =>
      (await kvEvents()).every((each) => each!.foreign_tokens > 30_000),
    );
  }
  let tokens = 0;
  let promptTokens = 0;
  for (const prompt of prompts) {
    const answer = await ask(gateway!.url, prompt);
    tokens += Math.max(0, answer.matched - answer.cached);
    promptTokens += answer.promptTokens;
  }
  return { tokens, promptTokens };
}

test('kv events: when somebody else fills the caches, what they pushed out is not believed to be there', async () => {
  const without = await behindItsBack(false);
  await gateway!.stop();
  await Promise.all(sims.splice(0).map((sim) => sim.close()));
  const withEvents = await behindItsBack(true);
  // Once an engine has answered three long matches with nothing, it is believed nothing any more: without events it is those.
  expect(without.tokens / without.promptTokens, 'without events').toBeGreaterThan(0.3);
  expect(withEvents.tokens / withEvents.promptTokens, 'with events').toBeLessThan(0.05);
  const [first] = await kvEvents();
  expect(first!.fill_tokens).toBeGreaterThan(31_000);
  expect(first!.fill_tokens).toBeLessThanOrEqual(32_768);
  // Nobody told how large the cache is: 300,000 were assumed.
  expect(first!.capacity_tokens).toBeLessThanOrEqual(32_768);
});
