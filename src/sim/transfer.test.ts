/* oxlint-disable typescript/no-unsafe-type-assertion -- Answers are JSON; what they hold is what the tests check. */
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { SimOptions } from './options.ts';
import { startSim } from './server.ts';
import type { Sim } from './server.ts';

const model = 'm';
const sims: Sim[] = [];
afterEach(async () => {
  for (const sim of sims.splice(0)) await sim.close();
});

async function start(options: SimOptions): Promise<Sim> {
  const sim = await startSim({ speed: 0, models: [model], unixMs: () => 1_762_000_000_000, ...options });
  sims.push(sim);
  return sim;
}

const messages = [{ role: 'user', content: 'When does the tide turn? '.repeat(80) }];
const keep = { kv_transfer_params: { do_remote_decode: true, do_remote_prefill: false } };

async function post(sim: Sim, body: object | string, signal?: AbortSignal): Promise<{ status: number; text: string }> {
  const response = await fetch(`${sim.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'x-request-id': 'same' },
    body: typeof body === 'string' ? body : JSON.stringify({ model, messages, ...body }),
    ...(signal === undefined ? {} : { signal }),
  });
  return { status: response.status, text: await response.text() };
}

async function paramsOf(sim: Sim): Promise<Record<string, unknown>> {
  const { text } = await post(sim, { max_tokens: 1, ...keep });
  return (JSON.parse(text) as { kv_transfer_params: Record<string, unknown> }).kv_transfer_params;
}

async function eventually(holds: () => boolean): Promise<void> {
  for (let left = 2000; !holds(); left--) {
    expect(left).toBeGreaterThan(0);
    await turn();
  }
}

test('transfer: when vLLM keeps a prompt for another engine, that one says what one engine alone would, and computes nothing of it', async () => {
  const [prefill, decode, alone] = [
    await start({ name: 'p', transfer: 'vllm' }),
    await start({ name: 'd', transfer: 'vllm' }),
    await start({}),
  ];
  const params = await paramsOf(prefill);
  expect(params).toMatchObject({
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_engine_id: 'p',
    remote_port: prefill.port,
    tp_size: 1,
  });
  const [blocks] = params['remote_block_ids'] as number[][];
  expect(blocks!.length).toBe(Math.floor((params['remote_num_tokens'] as number) / 16));
  expect(prefill.stats().kvBlocksUsed).toBe(blocks!.length);
  const answer = await post(decode, { stream: true, kv_transfer_params: params });
  expect(answer).toEqual(await post(alone, { stream: true }));
  expect(prefill.stats().kvBlocksUsed, 'read, so free').toBe(0);
  expect([prefill.stats().transfers, decode.stats().transfers]).toEqual([
    { kept: 1, fetched: 0, expired: 0, refused: 0, open: 0 },
    { kept: 0, fetched: 1, expired: 0, refused: 0, open: 0 },
  ]);
  expect(decode.stats().cachedTokens).toBe(blocks!.length * 16);
});

test('transfer: when a prompt was never kept, was read already, or for too long, an engine that is to decode it refuses', async () => {
  const prefill = await start({ name: 'p', transfer: 'vllm', transferLeaseMs: 1 });
  const decode = await start({ name: 'd', transfer: 'vllm' });
  const params = await paramsOf(prefill);
  await eventually(() => prefill.stats().transfers.expired === 1);
  expect(prefill.stats().kvBlocksUsed).toBe(0);
  for (const wrong of [params, { ...params, remote_request_id: 'x' }, { ...params, remote_port: 1 }]) {
    expect((await post(decode, { kv_transfer_params: wrong })).status).toBe(500);
  }
  expect(decode.stats().transfers.refused).toBe(3);
});

test('transfer: when an answer ends with its first token, nothing is kept', async () => {
  const prefill = await start({ transfer: 'vllm' });
  const body = { max_tokens: 1, ...keep, response_format: { type: 'json_object' } };
  const { text } = await post(prefill, { ...body, max_tokens: 500 });
  expect((JSON.parse(text) as { choices: { finish_reason: string }[] }).choices[0]!.finish_reason).toBe('stop');
  expect((JSON.parse(text) as { kv_transfer_params: unknown }).kv_transfer_params).toBeNull();
  expect(prefill.stats().transfers.kept).toBe(0);
});

function pairBody(prefill: Sim, room: string, rest: object = {}): string {
  const text = JSON.stringify({ model, messages, ...rest });
  return `${text.slice(0, -1)},"bootstrap_host":"127.0.0.1","bootstrap_port":${prefill.port},"bootstrap_room":${room}}`;
}

test('transfer: when two SGLang engines are asked with one room, they meet whoever comes first; rooms a double would confuse are told apart', async () => {
  const prefill = await start({ transfer: 'sglang', role: 'prefill' });
  const decode = await start({ transfer: 'sglang', role: 'decode' });
  const alone = await start({});
  const expected = await post(alone, { stream: true });
  const rooms = ['4611686018427387903', '4611686018427387902'];
  const prefills = [post(prefill, pairBody(prefill, rooms[0]!, { stream: true }))];
  await eventually(() => prefill.stats().transfers.open === 1);
  const decodes = [post(decode, pairBody(prefill, rooms[1]!, { stream: true }))];
  await eventually(() => prefill.stats().transfers.open === 2);
  decodes.push(post(decode, pairBody(prefill, rooms[0]!, { stream: true })));
  prefills.push(post(prefill, pairBody(prefill, rooms[1]!)));
  for (const answer of await Promise.all(decodes)) expect(answer).toEqual(expected);
  for (const { status } of await Promise.all(prefills)) expect(status).toBe(200);
  expect(prefill.stats().transfers.open).toBe(0);
  expect(prefill.stats().completionTokens, 'one token each').toBe(2);
});

test('transfer: when the other SGLang engine never comes, both wait until their clients leave', async () => {
  const prefill = await start({ transfer: 'sglang', role: 'prefill' });
  const decode = await start({ transfer: 'sglang', role: 'decode' });
  const abort = new AbortController();
  const waiting = [
    post(prefill, pairBody(prefill, '1'), abort.signal),
    post(decode, pairBody(prefill, '2'), abort.signal),
  ];
  await eventually(() => prefill.stats().transfers.open === 2);
  abort.abort();
  for (const each of waiting) await expect(each).rejects.toThrow();
  await eventually(() => prefill.stats().transfers.open === 0 && decode.stats().active === 0);
});

test('transfer: when an SGLang engine with a mode is asked without a room, it refuses', async () => {
  for (const role of ['prefill', 'decode'] as const) {
    const sim = await start({ transfer: 'sglang', role });
    expect((await post(sim, {})).status).toBe(400);
  }
  expect((await post(await start({ transfer: 'sglang' }), {})).status).toBe(200);
});
