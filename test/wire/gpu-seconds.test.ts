import { expect, test } from 'vitest';
import { answerText, chatRequest, rig, type Rig, until, type UpstreamPeer } from '../rig/index.ts';

// What requests cost their endpoints: estimated from when their bytes came, through the whole gateway.

const yaml = (picker: string): string => `
models: [{ name: m, targets: [{ pool: fleet }] }]
pools:
  - { name: fleet, engine: none, picker: ${picker}, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM", sku: h100 }] }
filter_chains: [{ name: edge, filters: [{ filter: access_log }] }]
`;

const start = (picker = 'least_load'): Promise<Rig> => rig({ yaml: yaml(picker), listener: 'filter_chains: [edge]' });

const bodyOf = (words: number, isStream = true): string =>
  JSON.stringify({ model: 'm', stream: isStream, messages: [{ role: 'user', content: 'water '.repeat(words) }] });

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const event = chunk('data: {"choices":[{"delta":{"content":"x"}}]}\n\n');
const usage = (prompt: number, completion: number): object => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
});
const end = (prompt: number, completion: number): string =>
  `${chunk(`data: ${JSON.stringify({ choices: [], usage: usage(prompt, completion) })}\n\n`)}${chunk('data: [DONE]\n\n')}0\r\n\r\n`;

async function send(gateway: Rig, body: string): Promise<UpstreamPeer> {
  const client = await gateway.client();
  client.send(chatRequest(body));
  const peer = await gateway.upstream.accept();
  await peer.request();
  return peer;
}

/** Of the last exchange of `count`, by the log; undefined where it has none. */
async function logged(gateway: Rig, count: number): Promise<number | undefined> {
  await gateway.closeReason(count);
  return (gateway.accessLog().at(-1) as { gpu_seconds?: number }).gpu_seconds;
}

const counted = (gateway: Rig): number => (gateway.counts('penstock_gpu_seconds_total')['fleet m h100'] ?? 0) / 1e6;

for (const picker of ['least_load', 'kv_aware']) {
  test(`gpu seconds: when one request streams alone, with ${picker}, they are its prompt and the time it streamed`, async () => {
    const gateway = await start(picker);
    const peer = await send(gateway, bodyOf(10));
    peer.send(head + event);
    await until(() => gateway.phases().includes('streaming'), 'it streams');
    for (let count = 0; count < 4; count++) {
      await gateway.pass(500);
      peer.send(event);
      await until(() => gateway.shard.exchanges()[0]!.response_bytes > 40 * (count + 2), 'the event is here');
    }
    peer.send(end(100, 5));
    const seconds = await logged(gateway, 1);
    // Gaps of half a second, and what the test itself takes.
    expect(seconds).toBeGreaterThan(2);
    expect(seconds).toBeLessThan(4.5);
    expect(counted(gateway)).toBeCloseTo(seconds!, 5);
  });
}

test('gpu seconds: when two stream at once, they share the time', async () => {
  const gateway = await start();
  const peers = [await send(gateway, bodyOf(10)), await send(gateway, bodyOf(10))];
  for (const peer of peers) peer.send(head + event);
  await until(() => gateway.phases().every((phase) => phase === 'streaming'), 'both stream');
  const beganMs = performance.now();
  let passedMs = 0;
  for (let count = 0; count < 4; count++) {
    await gateway.pass(500);
    passedMs += 500;
    for (const peer of peers) peer.send(event);
    await until(() => gateway.shard.exchanges().every((each) => each.response_bytes > 40 * (count + 2)), 'it is here');
  }
  for (const peer of peers) peer.send(end(100, 5));
  await gateway.closeReason(2);
  const each = gateway.accessLog().map((line) => (line as { gpu_seconds?: number }).gpu_seconds!);
  const wentBy = (passedMs + performance.now() - beganMs) / 1000;
  expect(each[0]! + each[1]!).toBeGreaterThan(2);
  expect(each[0]! + each[1]!, 'no more than the endpoint had').toBeLessThan(wentBy + 0.1);
  expect(Math.max(...each) / Math.min(...each)).toBeLessThan(1.5);
});

test('gpu seconds: when a client leaves before the first token, what it had computed until then counts', async () => {
  const gateway = await start();
  const client = await gateway.client();
  client.send(chatRequest(bodyOf(100_000))); // 20 s at the rate that is assumed at first.
  await (await gateway.upstream.accept()).request();
  await gateway.inPhase('waiting');
  await gateway.pass(1000);
  client.reset();
  const seconds = await logged(gateway, 1);
  expect(seconds).toBeGreaterThan(1);
  expect(seconds).toBeLessThan(5);
});

test('gpu seconds: when an endpoint refuses, or is asked for something else, there are none', async () => {
  const gateway = await start();
  gateway.upstream.answerAll(answerText('{"error":{"message":"too long"}}', [], '400 Bad Request'));
  const client = await gateway.client();
  expect((await client.ask(chatRequest(bodyOf(1000)))).status).toBe(400);
  expect(await logged(gateway, 1)).toBeUndefined();
  expect(gateway.counts('penstock_gpu_seconds_total')).toEqual({});
});

test('gpu seconds: when an endpoint refuses after a while, and another is asked or nobody is left, that time is charged to nobody', async () => {
  const two = yaml('round_robin')
    .replace('attempts: 0', 'attempts: 1')
    .replace('[{ url: "$UPSTREAM",', '[{ url: "$UPSTREAM0", sku: a100 }, { url: "$UPSTREAM1",');
  const gateway = await rig({ upstreamCount: 2, yaml: two, listener: 'filter_chains: [edge]' });
  const client = await gateway.client();
  client.send(chatRequest(bodyOf(100_000))); // 20 s at the rate that is assumed at first.
  const first = await gateway.upstreams[0]!.accept();
  await first.request();
  await gateway.pass(1000);
  first.send('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n');
  const second = await gateway.upstreams[1]!.accept();
  await second.request();
  await gateway.pass(1000);
  second.send('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n');
  expect((await client.response()).status).toBe(503);
  expect(await logged(gateway, 1)).toBeUndefined();
  expect(gateway.counts('penstock_gpu_seconds_total')).toEqual({});
});

test('gpu seconds: when an answer comes whole, they are no more than the time it took', async () => {
  const gateway = await start();
  const peer = await send(gateway, bodyOf(10, false));
  await gateway.pass(1000);
  peer.send(answerText(JSON.stringify({ choices: [{ message: { content: 'x' } }], usage: usage(100, 50) })));
  const seconds = await logged(gateway, 1);
  expect(seconds).toBeGreaterThan(1);
  expect(seconds).toBeLessThan(3);
});

test('throughput: when a stream runs, its tokens count as they come, and as many as its usage says at its end', async () => {
  const gateway = await start();
  const { work } = gateway.shard.state.parts;
  const [slot] = gateway.slots;
  const peer = await send(gateway, bodyOf(1000));
  expect(work.promptTokens(slot!)).toBe(0);
  peer.send(head + event + event);
  await until(() => work.completionTokens(slot!) === 2, 'two events');
  const estimated = work.promptTokens(slot!);
  expect(estimated).toBeGreaterThan(1000);
  for (let count = 0; count < 30; count++) peer.send(event);
  await until(() => work.completionTokens(slot!) === 32, 'one token in each');
  peer.send(end(1500, 128));
  await gateway.closeReason(1);
  expect(work.completionTokens(slot!), 'an engine that writes four into each').toBe(128);
  // The next stream counts so from its beginning.
  const client = await gateway.client();
  client.send(chatRequest(bodyOf(1000)));
  await peer.request();
  peer.send(head + event + event);
  await until(() => work.completionTokens(slot!) > 128, 'it streams');
  expect(work.completionTokens(slot!) - 128).toBeGreaterThanOrEqual(6);
  peer.send(end(1500, 8));
  await gateway.closeReason(2);
  expect(work.completionTokens(slot!)).toBe(136);
  expect(work.promptTokens(slot!) - estimated, 'and so is what a byte of prompt was worth').toBe(1500);
});

test('gpu seconds: when the prompt is computed by one endpoint and answered by another, each is charged for its part', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    listener: 'filter_chains: [edge]',
    yaml: `
models: [{ name: m, targets: [{ pool: split }] }]
pools:
  - { name: split, engine: none, picker: round_robin, retries: { attempts: 0 }, disaggregation: { protocol: vllm },
      endpoints: [{ url: "$UPSTREAM0", role: prefill, sku: h100 }, { url: "$UPSTREAM1", role: decode, sku: l40s }] }
filter_chains: [{ name: edge, filters: [{ filter: access_log }] }]
`,
  });
  const client = await gateway.client();
  client.send(chatRequest(bodyOf(20_000))); // 4 s at the rate that is assumed at first.
  const prefill = await gateway.upstreams[0]!.accept();
  await prefill.request();
  const [first, second] = gateway.slots.map((slot) => gateway.fleet.pendingTokens(slot));
  expect([first! > 20_000, second], 'its tokens wait where they are computed').toEqual([true, 0]);
  await gateway.pass(1000);
  prefill.send(answerText(JSON.stringify({ kv_transfer_params: { remote_host: 'x' }, usage: usage(25_000, 1) })));
  const decode = await gateway.upstreams[1]!.accept();
  await decode.request();
  decode.send(head + event);
  await gateway.inPhase('streaming');
  await gateway.pass(500);
  decode.send(event + end(25_000, 2));
  const seconds = await logged(gateway, 1);
  const counts = gateway.counts('penstock_gpu_seconds_total');
  expect(counts['split m h100']! / 1e6, 'the prompt').toBeGreaterThan(1);
  expect(counts['split m h100']! / 1e6).toBeLessThan(3);
  expect(counts['split m l40s']! / 1e6, 'the answer').toBeGreaterThan(0.5);
  expect(counts['split m l40s']! / 1e6).toBeLessThan(2);
  expect(seconds).toBeCloseTo((counts['split m h100']! + counts['split m l40s']!) / 1e6, 5);
});
