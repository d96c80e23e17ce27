import { expect, test } from 'vitest';
import { answerText, chatRequest, requestText, rig, type Rig, until, type UpstreamPeer } from '../rig/index.ts';

// `pending_tokens_max` and `pending_prefill_ms`: prompts that wait for their first token bound what an endpoint is sent, whatever
// the picker.

const pickers = ['kv_aware', 'least_load', 'round_robin', 'consistent_hash'] as const;

/** About 2,700 tokens by the initial ratio. */
const longBody = (model: string): string =>
  JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'water '.repeat(1600) }] });

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
const event = chunk('data: {"choices":[{"delta":{"content":"x"}}]}\n\n');
const end = `${chunk('data: [DONE]\n\n')}0\r\n\r\n`;

function limited(picker: string, rest = '', shardCount = 1, tokensMax = 1000): Promise<Rig> {
  return rig({
    upstreamCount: 2,
    shardCount,
    yaml: `
models:
  - { name: only, targets: [{ pool: local }] }
  - { name: spilling, targets: [{ pool: local }, { pool: spare }] }
pools:
  - { name: local, engine: none, picker: ${picker}, pending_tokens_max: ${tokensMax}, ${rest} endpoints: [{ url: "$UPSTREAM0" }] }
  - { name: spare, engine: none, endpoints: [{ url: "$UPSTREAM1" }] }
`,
  });
}

const pending = (gateway: Rig): number => gateway.fleet.pendingTokens(gateway.slots[0]!);
const queued = (gateway: Rig): number => gateway.phases().filter((phase) => phase === 'queued').length;

/** Sends a prompt larger than the maximum to an endpoint with nothing pending, which takes it. */
async function fill(gateway: Rig): Promise<UpstreamPeer> {
  const client = await gateway.client();
  client.send(chatRequest(longBody('only')));
  const peer = await gateway.upstreams[0]!.accept();
  await peer.request();
  expect(pending(gateway)).toBeGreaterThan(2000);
  return peer;
}

for (const picker of pickers) {
  test(`pending tokens: when one prompt is more than the maximum, ${picker} sends it, and the next one waits for its first token`, async () => {
    const gateway = await limited(picker);
    const first = await fill(gateway);
    const client = await gateway.client();
    client.send(chatRequest(longBody('only')));
    await gateway.inPhase('queued');
    first.send(head);
    await gateway.pass(250);
    expect(queued(gateway), 'a head is no token').toBe(1);
    first.send(event);
    const second = await gateway.upstreams[0]!.accept();
    await second.request();
    expect(gateway.fleet.inflight(gateway.slots[0]!), 'the first goes on').toBe(2);
    for (const peer of [first, second]) peer.send((peer === first ? '' : head + event) + end);
    expect((await client.response()).status).toBe(200);
    await gateway.assertIdle();
    expect(pending(gateway)).toBe(0);
  });
}

test('pending tokens: when the first target has as many as it may, the next target serves', async () => {
  const gateway = await limited('least_load');
  gateway.upstreams[1]!.answerAll(answerText('{"choices":[{"message":{"content":"spare"}}]}'));
  await fill(gateway);
  const client = await gateway.client();
  expect((await client.ask(chatRequest(longBody('spilling')))).text).toContain('spare');
});

test('pending tokens: when a client leaves before its first token, those who wait have the endpoint', async () => {
  const gateway = await limited('round_robin');
  const leaving = await gateway.client();
  leaving.send(chatRequest(longBody('only')));
  await (await gateway.upstreams[0]!.accept()).request();
  const client = await gateway.client();
  client.send(chatRequest(longBody('only')));
  await gateway.inPhase('queued');
  leaving.reset();
  const peer = await gateway.upstreams[0]!.accept();
  await peer.request();
  peer.send(answerText('{"choices":[{"message":{"content":"x"}}]}'));
  expect((await client.response()).status).toBe(200);
});

test('pending tokens: when prompts are small, as many go as stay below the maximum', async () => {
  const gateway = await limited('least_load');
  const body = JSON.stringify({ model: 'only', messages: [{ role: 'user', content: 'water '.repeat(200) }] });
  const clients = [];
  for (let count = 1; count <= 6; count++) {
    const client = await gateway.client();
    client.send(chatRequest(body));
    await until(() => gateway.shard.state.open.length === count, 'it is here');
    clients.push(client);
  }
  // 338 tokens each: the third finds 676, the fourth more than 1000.
  expect([gateway.fleet.inflight(gateway.slots[0]!), queued(gateway)]).toEqual([3, 3]);
  expect(pending(gateway)).toBeGreaterThanOrEqual(1000);
  for (const client of clients) client.destroy();
});

// A file that is uploaded has no prompt, however large.
test('pending tokens: when a request has no prompt, it adds nothing, and waits like others where an endpoint is full', async () => {
  const gateway = await rig({
    yaml: 'pools: [{ name: only, engine: none, picker: least_load, pending_tokens_max: 1000, endpoints: [{ url: "$UPSTREAM" }] }]',
  });
  const client = await gateway.client();
  client.send(requestText('POST', '/v1/files', ['content-type: text/plain'], 'x'.repeat(40_000)));
  await (await gateway.upstream.accept()).request();
  expect(pending(gateway)).toBe(0);
  const chatting = await gateway.client();
  chatting.send(chatRequest(longBody('only')));
  await (await gateway.upstream.accept()).request();
  expect(pending(gateway)).toBeGreaterThan(2000);
  const asking = await gateway.client();
  asking.send(requestText('GET', '/version'));
  await gateway.inPhase('queued');
});

/** A second prompt, of a client of `shardIndex`, waits for the first token of the one before, and no longer. */
async function expectTurns(gateway: Rig, shardIndex: number): Promise<void> {
  const first = await fill(gateway);
  const client = await gateway.client(shardIndex);
  client.send(chatRequest(longBody('only')));
  await gateway.inPhase('queued');
  first.send(head + event);
  const second = await gateway.upstreams[0]!.accept();
  await second.request();
  second.send(head + event + end);
  expect((await client.response()).status).toBe(200);
  first.send(end);
}

test('pending tokens: when the first token comes to one shard, who waits in another has the endpoint', async () => {
  await expectTurns(await limited('kv_aware', '', 2), 1);
});

// 16,000 tokens a second until something else is learned: the prompt takes 0.17 s.
test('pending tokens: when they are more work than may wait at an endpoint, the next prompt waits for the first token of the one before', async () => {
  await expectTurns(await limited('least_load', 'pending_prefill_ms: 100ms,', 1, 0), 0);
});

test('pending tokens: when they are less work than may wait at an endpoint, the next prompt goes too', async () => {
  const gateway = await limited('least_load', 'pending_prefill_ms: 300ms,', 1, 0);
  await fill(gateway);
  const client = await gateway.client();
  client.send(chatRequest(longBody('only')));
  await (await gateway.upstreams[0]!.accept()).request();
});

// 16 million tokens each, by their bytes: 130 of them are more than a signed word holds, and a count below 0 ends the thread.
test('pending tokens: when more is announced than can be counted, every request goes on, and nothing is left of them', async () => {
  const lines = ['content-type: application/json', `content-length: ${64 * 1024 * 1024}`];
  const start = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n${lines.join('\r\n')}\r\n\r\n{"model":"only","messages":[`;
  const gateway = await rig({
    yaml: 'pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]',
  });
  for (let count = 1; count <= 150; count++) {
    const client = await gateway.client();
    client.send(start);
    await until(() => gateway.fleet.inflight(gateway.slots[0]!) === count, 'it has its place');
  }
  const [slot] = gateway.slots;
  expect(gateway.fleet.inflightTokens(slot!)).toBeGreaterThan(2_000_000_000);
  expect(gateway.fleet.pendingTokens(slot!)).toBeGreaterThan(2_000_000_000);
  await gateway.assertIdle();
});
