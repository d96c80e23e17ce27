import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startSim } from '../../src/sim/index.ts';
import type { Sim, SimOptions } from '../../src/sim/index.ts';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { eventuallyWithin } from '../rig/until.ts';

const eventually = eventuallyWithin(10_000);

// The built program between engines that hand prompts over: what clients get must not depend on who computed what.

let gateway: RunningGateway;
const sims: Sim[] = [];

async function engine(name: string, options: SimOptions): Promise<Sim> {
  const sim = await startSim({ name, speed: 0, models: ['engine-model'], unixMs: () => 1_762_000_000_000, ...options });
  sims.push(sim);
  return sim;
}

beforeAll(async () => {
  const alone = await engine('alone', {});
  const vllm = await Promise.all(['vp0', 'vp1', 'vd0', 'vd1'].map((name) => engine(name, { transfer: 'vllm' })));
  const sglang = await Promise.all(
    ['sp0', 'sp1', 'sd0', 'sd1', 'sb'].map((name) =>
      engine(name, { transfer: 'sglang', role: name[1] === 'p' ? 'prefill' : name[1] === 'd' ? 'decode' : 'both' }),
    ),
  );
  const endpoints = (all: readonly Sim[]): string =>
    all
      .map(({ name, url, port }) => {
        const role = name[1] === 'p' ? 'prefill' : name[1] === 'd' ? 'decode' : 'both';
        return `{ url: "${url}", role: ${role}, bootstrap_port: ${port} }`;
      })
      .join(', ');
  gateway = await startGateway(
    `runtime: { shards: 2 }
models:
  - { name: alone, targets: [{ pool: alone, model: engine-model }] }
  - { name: vllm, targets: [{ pool: vllm, model: engine-model }] }
  - { name: sglang, targets: [{ pool: sglang, model: engine-model }] }
pools:
  - { name: alone, engine: vllm, endpoints: [{ url: "${alone.url}" }] }
  - { name: vllm, engine: vllm, disaggregation: { protocol: vllm }, endpoints: [${endpoints(vllm)}] }
  - { name: sglang, engine: vllm, disaggregation: { protocol: sglang }, endpoints: [${endpoints(sglang)}] }
filter_chains: [{ name: edge, filters: [{ filter: request_id }, { filter: access_log }] }]
`,
    { listener: 'filter_chains: [edge]' },
  );
}, 30_000);

afterAll(async () => {
  await gateway.stop();
  for (const sim of sims) await sim.close();
});

const prompt = (words: number, salt: number): string =>
  Array.from({ length: words }, (_, index) => `${salt}.${index * 7} water`).join(' ');
const chat = (words: number, salt: number, rest: object = {}): object => ({
  messages: [
    { role: 'system', content: 'You are the "pilot" \\ of Zoë\u2019s harbour.' },
    { role: 'user', content: prompt(words, salt) },
  ],
  ...rest,
});
const tool = {
  type: 'function',
  function: {
    name: 'gauge',
    parameters: { type: 'object', properties: { b: { type: 'integer' }, a: { type: 'string' } } },
  },
};

async function ask(model: string, path: string, body: object): Promise<{ status: number; text: string; by: string }> {
  const response = await fetch(gateway.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'one-and-the-same' },
    body: JSON.stringify({ ...body, model }),
  });
  const text = await response.text();
  // How much of a prompt was cached, and how, is what may differ.
  const comparable = text.replace(/"usage":\{[^}]*\{[^}]*\}\}/, '"usage":{}');
  return { status: response.status, text: comparable, by: response.headers.get('x-sim-endpoint') ?? '' };
}

const requests: readonly [what: string, path: string, body: object][] = [
  ['a stream', '/v1/chat/completions', chat(400, 1, { stream: true })],
  [
    'a stream with usage',
    '/v1/chat/completions',
    chat(500, 2, { stream: true, stream_options: { include_usage: true } }),
  ],
  ['a whole answer', '/v1/chat/completions', chat(700, 3, { max_tokens: 60, min_tokens: 30 })],
  ['a tool call', '/v1/chat/completions', chat(400, 4, { tools: [tool], tool_choice: 'required', stream: true })],
  [
    'a JSON answer',
    '/v1/chat/completions',
    chat(400, 5, { response_format: { type: 'json_object' }, max_completion_tokens: 300 }),
  ],
  ['stop words', '/v1/chat/completions', chat(400, 6, { stop: ['the'] })],
  ['a completion', '/v1/completions', { prompt: prompt(600, 7), max_tokens: 40, stream: true }],
  [
    'tokens',
    '/v1/completions',
    { prompt: Array.from({ length: 2000 }, (_, index) => (index * 31) % 9000), max_tokens: 20 },
  ],
  ['a short prompt', '/v1/chat/completions', chat(3, 8, { stream: true })],
  ['several answers', '/v1/chat/completions', chat(400, 9, { n: 3 })],
  ['3 MB', '/v1/completions', { prompt: prompt(250_000, 10), max_tokens: 5, stream: true }],
];
test.each(requests)(
  'disaggregation: when %s is asked for, pools with roles answer byte for byte what one engine answers',
  async (_, path, body) => {
    const expected = await ask('alone', path, body);
    expect(expected.status, expected.text).toBe(200);
    for (const model of ['vllm', 'sglang']) {
      const answer = await ask(model, path, body);
      expect(answer.text).toBe(expected.text);
      expect(answer.by).toMatch(/^(?:vd|sd|sb)/);
    }
  },
  30_000,
);

test('disaggregation: when many ask at once and some leave, answers stay what they are and nothing is held', async () => {
  const expected = new Map<number, string>();
  for (let salt = 0; salt < 8; salt++) {
    expected.set(salt, (await ask('alone', '/v1/chat/completions', chat(400, 100 + salt, { stream: true }))).text);
  }
  let leftCount = 0;
  await Promise.all(
    Array.from({ length: 160 }, async (_, number) => {
      const salt = number % 8;
      const model = number % 2 === 0 ? 'vllm' : 'sglang';
      if (number % 5 === 4) {
        const abort = new AbortController();
        const body = JSON.stringify({ ...chat(3000, 1000 + number, { stream: true }), model });
        const asked = fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', body, signal: abort.signal });
        await delay(number % 13); // At any moment of its life.
        abort.abort();
        await asked.then((response) => response.text()).catch(() => leftCount++);
        return;
      }
      const { text } = await ask(model, '/v1/chat/completions', chat(400, 100 + salt, { stream: true }));
      expect(text).toBe(expected.get(salt));
    }),
  );
  expect(leftCount).toBeGreaterThan(0);
  let held: unknown[] = [];
  await eventually('nothing is held, and no engine works', async () => {
    const leases = await gateway.admin<{ outstanding: Record<string, number> }>('/leases');
    const { pools } = await gateway.admin<{ pools: { endpoints: { inflight: number; inflight_tokens: number }[] }[] }>(
      '/status',
    );
    held = [
      ...Object.entries(leases.outstanding).filter(([, count]) => count !== 0),
      ...pools
        .flatMap(({ endpoints }) => endpoints)
        .filter(({ inflight, inflight_tokens: tokens }) => inflight + tokens !== 0),
    ];
    return held.length === 0 && sims.every((sim) => sim.stats().running + sim.stats().waiting === 0);
  }).catch((error: unknown) => {
    throw new Error(JSON.stringify(held), { cause: error });
  });
  expect(
    sims.filter(({ name }) => name[0] === 's').map((sim) => sim.stats().transfers.open),
    'rooms that nobody comes to',
  ).toEqual([0, 0, 0, 0, 0]);
  const bugs = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(bugs).not.toMatch(/^penstock_bug_total\{.*\} [1-9]/m);
}, 60_000);

test('disaggregation: when a conversation goes on, the endpoint that answered it has it, and needs nobody to compute it', async () => {
  const steps = async (outcome: string): Promise<number> => {
    const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    return Number(
      new RegExp(`^penstock_prefill_steps_total\\{pool="vllm",outcome="${outcome}"\\} (\\d+)`, 'm').exec(text)?.[1] ??
        0,
    );
  };
  const messages = [{ role: 'user', content: prompt(900, 77) }];
  const first = await ask('vllm', '/v1/chat/completions', { messages, max_tokens: 20 });
  const computed = await steps('computed');
  const alone = await steps('alone');
  expect(computed).toBeGreaterThan(0);
  messages.push({ role: 'assistant', content: 'High.' }, { role: 'user', content: 'And now?' });
  const second = await ask('vllm', '/v1/chat/completions', { messages, max_tokens: 20 });
  expect(second.by).toBe(first.by);
  expect([await steps('computed'), await steps('alone')]).toEqual([computed, alone + 1]);
});
