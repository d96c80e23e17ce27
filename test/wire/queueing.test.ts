import { expect, test } from 'vitest';
import { answerText, chatRequest, codeOf, requestText, rig, type Rig, until } from '../rig/index.ts';

function limited(limits: string): Promise<Rig> {
  return rig({
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, ${limits}, endpoints: [{ url: "$UPSTREAM" }] }]`,
  });
}

for (const limit of ['inflight_max: 1', 'connections_max: 1']) {
  // CONTRACT section 2.
  test(`queue: when ${limit} is reached, requests wait and are served in the order they came`, async () => {
    const gateway = await limited(limit);
    const clients = [];
    for (let index = 0; index < 5; index++) {
      const client = await gateway.client();
      client.send(requestText('GET', `/${index}`));
      await until(() => gateway.shard.state.open.length === index + 1, 'the request is here');
      clients.push(client);
    }
    expect(gateway.phases().filter((phase) => phase === 'queued').length).toBe(4);
    const peer = await gateway.upstream.accept();
    for (const [index, client] of clients.entries()) {
      expect((await peer.request()).head.startLine).toBe(`GET /${index} HTTP/1.1`);
      expect(gateway.fleet.inflight(gateway.slots[0]!)).toBe(1);
      peer.send(answerText(String(index)));
      expect((await client.response()).text).toBe(String(index));
    }
    expect(gateway.upstream.peers.length).toBe(1);
  });
}

test('queue: when the place of an aborted exchange is free, the next one has it at once', async () => {
  const gateway = await limited('inflight_max: 1');
  const first = await gateway.client();
  first.send(requestText('GET', '/first'));
  await (await gateway.upstream.accept()).request();
  const second = await gateway.client();
  second.send(requestText('GET', '/second'));
  await gateway.inPhase('queued');
  first.reset();
  const peer = await gateway.upstream.accept();
  expect((await peer.request()).head.startLine).toContain('/second');
  peer.send(answerText('ok'));
  expect((await second.response()).text).toBe('ok');
});

// CONTRACT section 3, 503 saturated.
test('queue: when no place comes free in time, the client gets 503 saturated with retry-after', async () => {
  const gateway = await limited('inflight_max: 1, queue: { wait_ms: 100 }');
  const first = await gateway.client();
  first.send(requestText('GET', '/first'));
  await (await gateway.upstream.accept()).request();
  const second = await gateway.client();
  const response = await second.ask(requestText('GET', '/second'));
  expect([response.status, codeOf(response.text)]).toEqual([503, 'saturated']);
  expect(response.head.raw).toMatch(/\r\nretry-after: 1\r\n/);
});

test('queue: when the queue is full or switched off, the client gets 503 saturated at once', async () => {
  for (const queue of ['requests_max: 0', 'wait_ms: 0']) {
    const gateway = await limited(`inflight_max: 1, queue: { ${queue} }`);
    const first = await gateway.client();
    first.send(requestText('GET', '/first'));
    await (await gateway.upstream.accept()).request();
    const second = await gateway.client();
    const response = await second.ask(requestText('GET', '/second'));
    expect([response.status, codeOf(response.text)]).toEqual([503, 'saturated']);
  }
});

// CONTRACT section 2: the next target when one is saturated.
test('queue: when the first target is full, a request spills to the next one', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `
models: [{ name: a, targets: [{ pool: one }, { pool: two, model: b }] }]
pools:
  - { name: one, engine: none, picker: round_robin, inflight_max: 1, endpoints: [{ url: "$UPSTREAM0" }] }
  - { name: two, engine: none, picker: round_robin, inflight_max: 1, endpoints: [{ url: "$UPSTREAM1" }] }
`,
  });
  const clients = [await gateway.client(), await gateway.client(), await gateway.client()] as const;
  for (const client of clients.slice(0, 2)) client.send(chatRequest('{"model":"a"}'));
  const first = await gateway.upstreams[0]!.accept();
  const second = await gateway.upstreams[1]!.accept();
  expect((await first.request()).text).toBe('{"model":"a"}');
  expect((await second.request()).text).toBe('{"model":"b"}');
  // Both are full: the third waits, and takes the first target's place when that is free.
  clients[2].send(chatRequest('{"model":"a"}'));
  await gateway.inPhase('queued');
  first.send(answerText('1'));
  expect((await first.request()).text).toBe('{"model":"a"}');
  first.send(answerText('3'));
  second.send(answerText('2'));
  const texts = await Promise.all(clients.slice(0, 2).map(async (client) => (await client.response()).text));
  expect(texts.sort()).toEqual(['1', '2']);
  expect((await clients[2].response()).text).toBe('3');
});

// A body that arrives while its exchange waits is kept, and sent whole when a place is free.
test('queue: when the body goes on arriving in the queue, the endpoint gets all of it', async () => {
  const gateway = await limited('inflight_max: 1');
  const first = await gateway.client();
  first.send(requestText('GET', '/first'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const second = await gateway.client();
  const body = `{"model":"a","p":"${'x'.repeat(600_000)}"}`;
  const wire = chatRequest(body);
  second.send(wire.slice(0, 100_000));
  await gateway.inPhase('queued');
  second.send(wire.slice(100_000, 300_000));
  await until(() => gateway.shard.exchanges().some((each) => each.request_bytes > 250_000), 'more of the body is here');
  peer.send(answerText('first'));
  second.send(wire.slice(300_000));
  expect((await peer.request()).text === body).toBe(true);
  peer.send(answerText('second'));
  expect((await second.response()).text).toBe('second');
});

// The deadline of a failed attempt must not end the wait for a place at another endpoint.
test('queue: when the first attempt could not connect, the request waits as long as any other', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `timeouts: { connect_ms: 60ms }
pools: [{ name: only, engine: none, picker: round_robin, inflight_max: 1, queue: { wait_ms: 5s },
  endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }] }]`,
  });
  const [refusing, busy] = gateway.upstreams;
  await refusing!.stopListening();
  const first = await gateway.client();
  first.send(chatRequest('{"model":"a"}'));
  const peer = await busy!.accept();
  await peer.request();
  const second = await gateway.client();
  second.send(chatRequest('{"model":"a"}'));
  await until(() => gateway.phases().includes('queued'), 'the second request waits');
  const queuedAtMs = performance.now();
  // Several sweeps after the deadline of the attempt that failed.
  await until(() => performance.now() - queuedAtMs > 250, 'the old deadline has passed');
  peer.send(answerText('one'));
  expect((await first.response()).text).toBe('one');
  expect((await peer.request()).text).toBe('{"model":"a"}');
  peer.send(answerText('two'));
  expect((await second.response()).text).toBe('two');
  expect(await gateway.closeReason(2)).toBe('done');
  expect(gateway.accessLog().at(-1)!.retries).toBe(1);
});
