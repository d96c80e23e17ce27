import { expect, test } from 'vitest';
import { EndpointState } from '../../src/shm/index.ts';
import {
  answerText,
  chatAnswer,
  chatBody,
  chatRequest,
  codeOf,
  fieldOf,
  longPrompt,
  requestText,
  type Rig,
  roleRig,
  type RoleRigOptions,
  turns,
  until,
  type UpstreamPeer,
} from '../rig/index.ts';

// SGLang's bootstrap protocol: both endpoints are asked at once, and find one another by a room.

function sglang({ roles = ['prefill', 'decode'], extra = '', ...rest }: Partial<RoleRigOptions> = {}): Promise<Rig> {
  return roleRig({
    disaggregation: 'protocol: sglang, bootstrap_port: 8123',
    roles,
    extra: `, ejection: { consecutive_failures: 100 }${extra}`,
    ...rest,
  });
}

interface Pair {
  readonly prefill: UpstreamPeer;
  readonly decode: UpstreamPeer;
  readonly room: string;
}

/** Both requests of the one attempt, to the first two endpoints. */
async function pairOf(gateway: Rig, prefillAt = 0, decodeAt = 1): Promise<Pair> {
  const [prefill, decode] = [await gateway.upstreams[prefillAt]!.accept(), await gateway.upstreams[decodeAt]!.accept()];
  const [first, second] = [await prefill.request(), await decode.request()];
  expect(first.text).toBe(second.text);
  const room = /"bootstrap_room":(\d{1,19})\}$/.exec(first.text)![1]!;
  return { prefill, decode, room };
}

test('sglang: when a prompt is long, both endpoints get the same request at once, with one room', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  const body = chatBody({ stream: true, max_tokens: 50 });
  const rooms: string[] = [];
  for (let round = 0; round < 20; round++) {
    client.send(chatRequest(body));
    const prefill = round === 0 ? await gateway.upstreams[0]!.accept() : gateway.upstreams[0]!.peers[0]!;
    const decode = round === 0 ? await gateway.upstreams[1]!.accept() : gateway.upstreams[1]!.peers[0]!;
    const { text } = await prefill.request();
    expect((await decode.request()).text).toBe(text);
    const [, room] = /"bootstrap_room":(\d+)\}$/.exec(text)!;
    expect(text).toBe(
      `${body.slice(0, -1)},"bootstrap_host":"127.0.0.1","bootstrap_port":8123,"bootstrap_room":${room}}`,
    );
    rooms.push(room!);
    expect(gateway.inflight()).toEqual([1, 1]);
    prefill.send(answerText('{"dropped":1}'));
    await until(() => gateway.inflight()[0] === 0, 'the place of the prompt is free');
    decode.send(answerText(chatAnswer));
    expect((await client.response()).text).toBe(chatAnswer);
  }
  expect(new Set(rooms).size).toBe(20);
  expect(rooms.every((room) => BigInt(room) < 2n ** 63n)).toBe(true);
  expect(
    rooms.some((room) => BigInt(room) > 2n ** 53n),
    'more than a double holds',
  ).toBe(true);
  expect(
    gateway.upstreams.map(({ peers }) => peers.length),
    'connections are used again',
  ).toEqual([1, 1]);
  expect(gateway.counts('penstock_prefill_steps_total')).toEqual({ 'split computed': 20 });
});

test('sglang: when the answer is over before the prompt says so, nobody waits for that', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const { prefill, decode } = await pairOf(gateway);
  decode.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
  await prefill.ended();
  expect(gateway.held()).toEqual({});
});

test('sglang: when prompts are short, or cannot be split, the endpoint without a mode serves them alone', async () => {
  const gateway = await sglang({ roles: ['prefill', 'decode', 'both'] });
  for (const upstream of gateway.upstreams) upstream.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  for (const [path, body] of [
    ['/v1/chat/completions', '{"model":"m","messages":[]}'],
    ['/v1/chat/completions', chatBody({ n: 3 })],
    ['/v1/completions', JSON.stringify({ model: 'm', prompt: [longPrompt, longPrompt] })],
    ['/v1/embeddings', JSON.stringify({ model: 'm', input: longPrompt })],
  ] as const) {
    expect((await client.ask(requestText('POST', path, [], body))).text).toBe(body);
  }
  expect(gateway.upstreams.map(({ receivedBytes }) => receivedBytes > 0)).toEqual([false, false, true]);
});

test('sglang: when there is no endpoint without a mode, short prompts are split too, and others have nowhere to go', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"m","messages":[]}'));
  const { prefill, decode } = await pairOf(gateway);
  prefill.send(answerText('{}'));
  decode.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
  const response = await client.ask(
    requestText('POST', '/v1/embeddings', [], JSON.stringify({ model: 'm', input: longPrompt })),
  );
  expect([response.status, codeOf(response.text)]).toEqual([503, 'no_endpoint']);
});

test('sglang: when a client names a room, it gets 400', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  expect((await client.ask(chatRequest(chatBody({ bootstrap_room: 5 })))).status).toBe(400);
  expect(gateway.upstreams.map(({ peers }) => peers.length)).toEqual([0, 0]);
});

const broken: readonly [what: string, how: (peer: UpstreamPeer) => void][] = [
  ['refuses', (peer) => peer.send(answerText('busy', [], '503 Busy'))],
  ['resets', (peer) => peer.reset()],
  ['answers no HTTP', (peer) => peer.send('nonsense\r\n\r\n')],
];
for (const side of ['prompt', 'answer'] as const) {
  test.each(broken.slice(0, side === 'prompt' ? 3 : 2))(
    `sglang: when the endpoint of the ${side} %s, the other is let go at once, and a new pair serves`,
    async (_, how) => {
      const gateway = await sglang({
        roles: ['prefill', 'decode', 'prefill', 'decode'],
        extra: ', retries: { attempts: 2 }',
      });
      const client = await gateway.client();
      client.send(chatRequest(chatBody()));
      await until(
        () => gateway.upstreams.filter(({ receivedBytes }) => receivedBytes > 0).length === 2,
        'two are asked',
      );
      const prefillAt = gateway.upstreams[0]!.peers.length > 0 ? 0 : 2;
      const decodeAt = gateway.upstreams[1]!.peers.length > 0 ? 1 : 3;
      const { prefill, decode, room } = await pairOf(gateway, prefillAt, decodeAt);
      const [bad, other] = side === 'prompt' ? [prefill, decode] : [decode, prefill];
      how(bad);
      await other.ended();
      const blamedAt = side === 'prompt' ? prefillAt : decodeAt;
      // The other one may be asked again: it has done nothing wrong.
      const asked = (): UpstreamPeer[] =>
        gateway.upstreams.flatMap(({ peers }) => peers).filter((peer) => peer.pendingBytes > 0);
      await until(() => asked().length === 2, 'two more are asked');
      const next = asked();
      expect(gateway.upstreams[blamedAt]!.peers.length).toBe(1);
      const texts = await Promise.all(next.map(async (peer) => (await peer.request()).text));
      expect(texts[0]).toBe(texts[1]);
      expect(texts[0], 'a room of its own').not.toContain(room);
      for (const peer of next) {
        const isPrefill = [0, 2].some((at) => gateway.upstreams[at]!.peers.includes(peer));
        peer.send(answerText(isPrefill ? '{"dropped":1}' : chatAnswer));
      }
      expect((await client.response()).text).toBe(chatAnswer);
      const blamed = Object.keys(gateway.counts('penstock_endpoint_faults_total'));
      expect(blamed.every((labels) => labels.includes(gateway.upstreams[blamedAt]!.url))).toBe(true);
    },
  );
}

test('sglang: when the request is wrong, the refusal of either side reaches the client as it is, and the other is let go', async () => {
  for (const side of ['prefill', 'decode'] as const) {
    const gateway = await sglang();
    const client = await gateway.client();
    client.send(chatRequest(chatBody()));
    const pair = await pairOf(gateway);
    pair[side].send(answerText('{"error":"too long"}', ['content-type: application/json'], '400 Bad Request'));
    const response = await client.response();
    expect([response.status, response.text, fieldOf(response.head, 'content-type')]).toEqual([
      400,
      '{"error":"too long"}',
      'application/json',
    ]);
    await pair[side === 'prefill' ? 'decode' : 'prefill'].ended();
  }
});

test('sglang: when the endpoint of the prompt fails after the commit point, the answer goes on', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const { prefill, decode } = await pairOf(gateway);
  decode.send('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a"');
  await client.readUntil('{"a"');
  prefill.reset();
  await until(() => gateway.inflight()[0] === 0, 'its place is free');
  decode.send(':12}');
  expect((await client.read(4)).toString()).toBe(':12}');
  expect(await gateway.closeReason()).toBe('done');
  expect(Object.keys(gateway.counts('penstock_endpoint_faults_total'))[0]).toContain(gateway.upstreams[0]!.url);
});

test('sglang: when the endpoint of the answer breaks off after the commit point, the client sees it, and the other is let go', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const { prefill, decode } = await pairOf(gateway);
  decode.send('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a"');
  await client.readUntil('{"a"');
  decode.reset();
  await client.ended();
  await prefill.ended();
  expect(await gateway.closeReason()).toBe('stream_truncated');
});

// The decode engine waits for the other: silence of both says that the prompt is late.
test('sglang: when neither answers in time, the endpoint of the prompt is blamed', async () => {
  const gateway = await sglang({ top: 'timeouts: { first_byte_ms: 300ms }' });
  const client = await gateway.client();
  client.send(chatRequest(chatBody()));
  const { prefill, decode } = await pairOf(gateway);
  expect((await client.response()).status).toBe(504);
  await Promise.all([prefill.ended(), decode.ended()]);
  const faults = Object.keys(gateway.counts('penstock_endpoint_faults_total'));
  expect(faults.length).toBe(1);
  expect(faults[0]).toContain(gateway.upstreams[0]!.url);
});

test.each(['computing', 'streaming'] as const)(
  'sglang: when the client leaves while its request is %s, both are let go at once',
  async (when) => {
    const gateway = await sglang();
    const client = await gateway.client();
    client.send(chatRequest(chatBody()));
    const { prefill, decode } = await pairOf(gateway);
    if (when === 'streaming') {
      decode.send('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a"');
      await client.readUntil('{"a"');
    }
    client.destroy();
    await until(() => gateway.shard.state.open.length === 0, 'the exchange is over');
    expect(gateway.held()).toEqual({});
    await Promise.all([prefill.ended(), decode.ended()]);
    expect(await gateway.closeReason()).toBe('client_gone');
  },
);

// Memory of a body is lent to two sockets: it may not be anybody else's before both have all of it.
test('sglang: when the answer begins while the prompt is still being sent, the rest of the prompt stays what it is', async () => {
  const gateway = await sglang();
  const client = await gateway.client();
  const body = chatBody({ pad: 'x'.repeat(24_000_000) });
  client.send(chatRequest(body));
  const prefill = await gateway.upstreams[0]!.accept();
  const decode = await gateway.upstreams[1]!.accept();
  prefill.pause();
  await decode.request();
  decode.send('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a"');
  await client.readUntil('{"a"');
  expect(gateway.shard.state.parts.slabs.inUse, 'held for the prompt').toBeGreaterThan(0);
  // Somebody else's bytes, which would be what the prompt's endpoint reads if slabs had been given back.
  const other = await gateway.client();
  other.send(
    chatRequest(JSON.stringify({ model: 'm', pad: 'y'.repeat(8_000_000) }).slice(0, -10)).replace(
      /content-length: \d+/,
      'content-length: 9000000',
    ),
  );
  await turns(50);
  prefill.resume();
  const { text } = await prefill.request();
  expect(text.startsWith(body.slice(0, -1))).toBe(true);
  await until(
    () => !text.includes('y') && gateway.shard.exchanges()[0]!.leases.every((lease) => !lease.startsWith('body_slab')),
    'slabs are free',
  );
  prefill.send(answerText('{}'));
  decode.send(':12}');
  expect((await client.read(4)).toString()).toBe(':12}');
});

test('sglang: when memory is short while the prompt is still being sent, it is not given to others', async () => {
  const gateway = await sglang({ top: 'limits: { body_bytes_max: 30MiB, buffered_bytes_max: 30MiB }' });
  const client = await gateway.client();
  const body = chatBody({ pad: 'x'.repeat(24_000_000) });
  client.send(chatRequest(body));
  const prefill = await gateway.upstreams[0]!.accept();
  const decode = await gateway.upstreams[1]!.accept();
  prefill.pause();
  await decode.request();
  const other = await gateway.client();
  const wire = chatRequest(JSON.stringify({ model: 'm', pad: 'y'.repeat(12_000_000) }));
  other.send(wire.slice(0, -10));
  await until(() => gateway.shard.state.open.some((exchange) => exchange.isDownstreamPaused), 'memory is short');
  await turns(50);
  prefill.resume();
  const { text } = await prefill.request();
  expect(text.startsWith(body.slice(0, -1))).toBe(true);
  expect(text.length).toBeLessThan(body.length + 200);
  other.destroy();
  prefill.send(answerText('{}'));
  decode.send(answerText(chatAnswer));
  expect((await client.response()).text).toBe(chatAnswer);
});

// Places.

test('sglang: when the endpoint of the prompt is away while a request waits, it is served when that is back', async () => {
  const gateway = await sglang({ extra: ', inflight_max: 1' });
  const clients = [await gateway.client(), await gateway.client()];
  clients[0]!.send(chatRequest(chatBody()));
  const { prefill, decode } = await pairOf(gateway);
  prefill.send(answerText('{}'));
  clients[1]!.send(chatRequest(chatBody({ seed: 1 })));
  await gateway.inPhase('queued');
  gateway.fleet.setState(gateway.slots[0]!, EndpointState.unhealthy);
  decode.send(answerText(chatAnswer));
  expect((await clients[0]!.response()).text).toBe(chatAnswer);
  await gateway.pass(250); // It was looked at again, and there was nothing for it.
  expect(gateway.phases()).toEqual(['queued']);
  gateway.fleet.setState(gateway.slots[0]!, EndpointState.healthy);
  for (const peer of [prefill, decode]) {
    expect((await peer.request()).text).toContain('"seed":1');
    peer.send(answerText(chatAnswer));
  }
  expect((await clients[1]!.response()).text).toBe(chatAnswer);
});

test('sglang: when the endpoint for an answer has no connection to spare, nothing is taken of who would compute its prompt', async () => {
  const gateway = await sglang({ roles: ['prefill', 'decode, weight: 100', 'decode'], extra: ', connections_max: 1' });
  const clients = [await gateway.client(), await gateway.client()];
  clients[0]!.send(chatRequest(chatBody()));
  const { prefill, decode } = await pairOf(gateway);
  prefill.send(answerText('{}'));
  await until(() => gateway.inflight()[0] === 0, 'the place of the prompt is free');
  clients[1]!.send(chatRequest(chatBody({ seed: 1 })));
  await gateway.inPhase('queued');
  await gateway.pass(500);
  expect(gateway.fleet.connections(gateway.slots[0]!), 'the connection is kept').toBe(1);
  for (const round of [0, 1]) {
    decode.send(answerText(chatAnswer));
    expect((await clients[round]!.response()).text).toBe(chatAnswer);
    if (round === 0) for (const peer of [prefill, decode]) expect((await peer.request()).text).toContain('"seed":1');
  }
});
