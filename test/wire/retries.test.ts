import { expect, test } from 'vitest';
import { wholeRow } from '../../src/shm/index.ts';
import { answerText, chatRequest, codeOf, requestText, rig, type Rig, until } from '../rig/index.ts';

function pools(retries: string, extra = ''): string {
  return `pools:
  - { name: only, engine: none, picker: round_robin, retries: ${retries}${extra}, endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }] }
`;
}

async function two(retries = '{ attempts: 2 }', extra = ''): Promise<Rig> {
  return rig({ yaml: pools(retries, extra), upstreamCount: 2 });
}

// CONTRACT section 3, 502 connect_failed; FAULTS F25.
test('retry: when an endpoint refuses the connection, another one serves the request', async () => {
  const gateway = await two();
  await gateway.upstreams[0]!.stopListening();
  gateway.upstreams[1]!.answerAll(answerText('second'));
  const client = await gateway.client();
  for (let round = 0; round < 4; round++) expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('second');
});

test('retry: when every endpoint refuses, the client gets 502 connect_failed', async () => {
  const gateway = await two();
  for (const upstream of gateway.upstreams) await upstream.stopListening();
  const client = await gateway.client();
  const response = await client.ask(chatRequest('{"model":"a"}'));
  expect([response.status, codeOf(response.text)]).toEqual([502, 'connect_failed']);
});

test('retry: when an endpoint refused as often as the rule says, it is ejected and 503 follows', async () => {
  const gateway = await rig({
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 },
      ejection: { consecutive_failures: 3, base_ms: 60s }, endpoints: [{ url: "$UPSTREAM" }] }]`,
  });
  await gateway.upstream.stopListening();
  const client = await gateway.client();
  for (let round = 0; round < 3; round++) expect((await client.ask(requestText('GET', '/a'))).status).toBe(502);
  const response = await client.ask(requestText('GET', '/a'));
  expect([response.status, codeOf(response.text)]).toEqual([503, 'no_endpoint']);
  // Control looks every half second whether it accepts connections again: nobody need wait for the whole period.
  expect(response.head.raw).toContain('\r\nretry-after: 5\r\n');
  expect(gateway.fleet.isEjected(gateway.slots[0]!, gateway.shard.state.parts.clock.refresh())).toBe(true);
});

test('retry: when a request waits in the queue between its attempts, they are not counted anew', async () => {
  const gateway = await rig({
    upstreamCount: 3,
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, inflight_max: 1, retries: { attempts: 1 }, endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }, { url: "$UPSTREAM2" }] }]`,
  });
  const clients = await Promise.all([0, 1, 2].map(() => gateway.client()));
  for (const client of clients) client.send(chatRequest('{"model":"a"}'));
  const peers = await Promise.all(gateway.upstreams.map((upstream) => upstream.accept()));
  for (const peer of peers) await peer.request();
  peers[0]!.send(answerText('busy', [], '503 Busy'));
  await gateway.inPhase('queued');
  peers[1]!.send(answerText('served'));
  await peers[1]!.request();
  peers[1]!.send(answerText('busy still', [], '503 Busy'));
  await gateway.closeReason(2);
  expect(gateway.phases(), 'but the one that is served').toEqual(['waiting']);
  expect(gateway.accessLog()[1]).toMatchObject({ status: 503, retries: 1 });
  peers[2]!.send(answerText('served'));
  const texts = await Promise.all(clients.map(async (client) => (await client.response()).text));
  expect(texts.toSorted()).toEqual(['busy still', 'served', 'served']);
});

// FAULTS F28: before the head nothing was relayed, and inference may be repeated.
test('retry: when the connection of an inference request is reset before the head, another endpoint gets the whole body', async () => {
  const gateway = await two();
  const client = await gateway.client();
  const body = `{"model":"a","p":"${'x'.repeat(3_000_000)}"}`;
  client.send(chatRequest(body));
  const first = await gateway.upstreams[0]!.accept();
  await first.read(1_000_000);
  first.reset();
  const second = await gateway.upstreams[1]!.accept();
  expect((await second.request()).text === body).toBe(true);
  second.send(answerText('ok'));
  expect((await client.response()).text).toBe('ok');
});

test('retry: when the reset comes while the body is still arriving, another endpoint gets the whole body', async () => {
  const gateway = await two();
  const client = await gateway.client();
  const body = `{"model":"a","p":"${'x'.repeat(1_000_000)}"}`;
  const wire = chatRequest(body);
  client.send(wire.slice(0, 500_000));
  const first = await gateway.upstreams[0]!.accept();
  await first.read(400_000);
  first.reset();
  const second = await gateway.upstreams[1]!.accept();
  client.send(wire.slice(500_000));
  expect((await second.request()).text === body).toBe(true);
  second.send(answerText('ok'));
  expect((await client.response()).text).toBe('ok');
});

// RFC 9110 section 9.2.2; CONTRACT section 2: responses may be stored and run tools, other POSTs do anything.
for (const path of ['/v1/responses', '/jobs']) {
  test(`retry: when the connection of POST ${path} is reset, it is not sent again and the client gets 502`, async () => {
    const gateway = await two();
    const client = await gateway.client();
    client.send(requestText('POST', path, [], '{"model":"a"}'));
    const first = await gateway.upstreams[0]!.accept();
    await first.request();
    first.reset();
    const response = await client.response();
    expect([response.status, codeOf(response.text)]).toEqual([502, 'upstream_reset']);
    expect(gateway.upstreams[1]!.peers.length).toBe(0);
  });
}

test('retry: when the connection of a GET is reset, another endpoint serves it', async () => {
  const gateway = await two();
  gateway.upstreams[1]!.answerAll(answerText('second'));
  const client = await gateway.client();
  client.send(requestText('GET', '/a'));
  const first = await gateway.upstreams[0]!.accept();
  await first.request();
  first.reset();
  expect((await client.response()).text).toBe('second');
});

test('retry: when an endpoint ends after a part of its head, the attempt counts as reset and another endpoint serves', async () => {
  const gateway = await two();
  gateway.upstreams[1]!.answerAll(answerText('second'));
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const first = await gateway.upstreams[0]!.accept();
  await first.request();
  await first.sendPieces(['HTTP/1.1 200 OK\r\ncontent-']);
  first.finish();
  expect((await client.response()).text).toBe('second');
});

// CONTRACT section 2, retries.on.
test('retry: when an endpoint answers 503, another one serves; when all do, the client gets the last answer as it is', async () => {
  const gateway = await two();
  gateway.upstreams[0]!.answerAll(answerText('busy', ['x-a: b'], '503 Service Unavailable'));
  gateway.upstreams[1]!.answerAll(answerText('second'));
  const client = await gateway.client();
  expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('second');
  gateway.upstreams[1]!.peers[0]!.destroy();
  gateway.upstreams[1]!.answerAll(answerText('busy too', [], '503 Service Unavailable'));
  const response = await client.ask(chatRequest('{"model":"a"}'));
  expect(response.status).toBe(503);
  expect(response.text).toMatch(/^busy/);
});

test('retry: when a status is not configured for it, it is passed on at once', async () => {
  const gateway = await two('{ attempts: 2, on: [connect] }');
  gateway.upstreams[0]!.answerAll(answerText('busy', [], '503 Service Unavailable'));
  const client = await gateway.client();
  expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('busy');
  expect(gateway.upstreams[1]!.peers.length).toBe(0);
});

// FAULTS R2: never after the first byte.
test('retry: when a stream breaks after its first event, no other endpoint is asked', async () => {
  const gateway = await two();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const first = await gateway.upstreams[0]!.accept();
  await first.request();
  first.send(
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n',
  );
  await client.readUntil('data: a\n\n');
  first.reset();
  await client.readToEnd();
  expect(gateway.upstreams[1]!.peers.length).toBe(0);
});

// FAULTS F37: the endpoint closed an idle connection; the request meets a fresh one, and is executed once.
test('retry: when an idle connection was closed by the endpoint, the next request takes a fresh one', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  for (let round = 0; round < 4; round++) {
    client.send(requestText('POST', '/jobs', [], String(round)));
    const peer = await gateway.upstream.accept();
    expect((await peer.request()).text).toBe(String(round));
    peer.send(answerText('ok'));
    expect((await client.response()).text).toBe('ok');
    if (round % 2 === 0) peer.finish();
    else peer.reset();
    await until(() => gateway.fleet.connections(gateway.slots[0]!) === 0, 'the end was seen');
  }
});

test('retry: when the end of an idle connection comes as it is used again, a request that may not be repeated still succeeds', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('POST', '/jobs', [], '0'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(answerText('ok'));
  await client.response();
  client.send(requestText('POST', '/jobs', [], '1'));
  peer.finish();
  const next = await gateway.upstream.accept();
  expect((await next.request()).text).toBe('1');
  next.send(answerText('next'));
  expect((await client.response()).text).toBe('next');
});

// CONTRACT section 2: targets in order.
test('retry: when a pool is spent, the next target serves with its own model name', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: `
models: [{ name: a, targets: [{ pool: one }, { pool: two, model: b }] }]
pools:
  - { name: one, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM0" }] }
  - { name: two, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM1" }] }
`,
  });
  gateway.upstreams[1]!.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const first = await gateway.upstreams[0]!.accept();
  expect((await first.request()).text).toBe('{"model":"a"}');
  first.reset();
  expect((await client.response()).text).toBe('{"model":"b"}');
  await gateway.upstreams[0]!.stopListening();
  expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('{"model":"b"}');
});

// FAULTS F41: the endpoint is left alone as long as it asked for, by every request.
test('retry: when an endpoint answers 503 with retry-after, others serve until it is over', async () => {
  const gateway = await two();
  const [busy, free] = gateway.upstreams;
  busy!.answerAll('HTTP/1.1 503 Busy\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n');
  free!.answerAll(answerText('free'));
  const client = await gateway.client();
  for (let round = 0; round < 6; round++) expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('free');
  const { fleet, slots, shard } = gateway;
  const outMs = fleet.health.outForMs(slots[0]!, wholeRow, shard.state.parts.clock.refresh());
  expect(outMs).toBeGreaterThan(25_000);
  expect(outMs).toBeLessThanOrEqual(30_100);
});

test('retry: when every endpoint asked to be left alone, the client is told how long', async () => {
  const gateway = await two('{ attempts: 0 }');
  for (const upstream of gateway.upstreams) {
    upstream.answerAll('HTTP/1.1 429 Slow down\r\nretry-after: 40\r\ncontent-length: 0\r\n\r\n');
  }
  const client = await gateway.client();
  for (let round = 0; round < 2; round++) expect((await client.ask(chatRequest('{"model":"a"}'))).status).toBe(429);
  const response = await client.ask(chatRequest('{"model":"a"}'));
  expect([response.status, codeOf(response.text)]).toEqual([503, 'no_endpoint']);
  expect(response.head.raw).toMatch(/\r\nretry-after: (?:39|40|41)\r\n/);
});

// FAULTS F12: an overloaded pool is not given more to do, and neither is it by the official clients.
test('retry: when the budget of retries is spent, the refusal is relayed at once and says not to try again', async () => {
  const gateway = await two('{ attempts: 2, budget_percent: 0, budget_min: 1 }');
  const [busy, free] = gateway.upstreams;
  busy!.answerAll('HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n');
  free!.answerAll(answerText('free'));
  const client = await gateway.client();
  const answers = [];
  for (let round = 0; round < 5; round++) answers.push(await client.ask(chatRequest('{"model":"a"}')));
  const refused = answers.filter(({ status }) => status === 503);
  expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
  expect(refused.length).toBeGreaterThan(0);
  for (const { head } of refused) expect(head.raw).toMatch(/\r\nx-should-retry: false\r\n/);
});

test('retry: when no attempt is left, the error says not to try again; without any it says nothing', async () => {
  for (const [attempts, expected] of [
    [1, true],
    [0, false],
  ] as const) {
    const gateway = await two(`{ attempts: ${attempts} }`);
    for (const upstream of gateway.upstreams) await upstream.stopListening();
    const client = await gateway.client();
    const response = await client.ask(chatRequest('{"model":"a"}'));
    expect(response.status).toBe(502);
    expect(/\r\nx-should-retry: false\r\n/.test(response.head.raw)).toBe(expected);
  }
});

// Seen under load: the second head met the half of the first, and the shard stopped.
test('retry: when an attempt breaks between its head and its body, the client gets the next answer and nothing of the first', async () => {
  const gateway = await two();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const first = await gateway.upstreams[0]!.accept();
  await first.request();
  first.send('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-first: 1\r\ntransfer-encoding: chunked\r\n\r\n');
  await gateway.inPhase('streaming');
  first.reset();
  const second = await gateway.upstreams[1]!.accept();
  await second.request();
  second.send('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-second: 1\r\ncontent-length: 2\r\n\r\n{}');
  const response = await client.response();
  expect([response.status, response.text, response.isComplete]).toEqual([200, '{}', true]);
  expect(response.head.raw).toMatch(/\r\nx-second: 1\r\n/);
  expect(response.head.raw).not.toMatch(/x-first|event-stream/);
  expect(response.head.raw.match(/content-type/g)).toHaveLength(1);
});

test('retry: when the attempt after a head that broke off stays silent, it is the first byte that was late', async () => {
  const gateway = await rig({
    yaml: `timeouts: { first_byte_ms: 100ms, stream_idle_ms: 60s }\n${pools('{ attempts: 2 }')}`,
    upstreamCount: 2,
  });
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const first = await gateway.upstreams[0]!.accept();
  await first.request();
  first.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n');
  await gateway.inPhase('streaming');
  first.reset();
  await (await gateway.upstreams[1]!.accept()).request();
  const response = await client.response();
  expect([response.status, codeOf(response.text)]).toEqual([504, 'first_byte_timeout']);
});
