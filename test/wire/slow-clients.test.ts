import { expect, test, vi } from 'vitest';
import { metrics } from '../../src/account/index.ts';
import { answerText, chatRequest, codeOf, requestText, rig, type Rig, turns, until } from '../rig/index.ts';

// FAULTS R8, F05, F07. The periods are 7 and 30 s; the rig lets them go by at once.

/** The model comes first, so that the upload is on its way to the endpoint while it lasts. */
const start = '{"model":"a","prompt":"';
const bodyBytes = 1_000_000;

function withModels(limits = ''): Promise<Rig> {
  return rig({
    yaml: `limits: { ${limits} }
models: [{ name: a, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }]`,
  });
}

async function beginUpload(gateway: Rig) {
  const client = await gateway.client();
  client.send(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${bodyBytes}\r\n\r\n${start}`);
  const peer = await gateway.upstream.accept();
  await peer.readUntil(start);
  return { client, peer };
}

test('slow client: when a body comes in drips, the client gets 408, and the endpoint is free', async () => {
  const gateway = await withModels();
  const { client, peer } = await beginUpload(gateway);
  await gateway.pass(100); // The window is open.
  client.send('x'.repeat(50_000));
  await peer.readUntil('x');
  await gateway.pass(5000);
  expect(gateway.phases()).toEqual(['waiting']);
  await gateway.pass(2500);
  const response = await client.response();
  expect([response.status, codeOf(response.text)]).toEqual([408, 'request_timeout']);
  await client.ended();
  await peer.ended();
  expect(gateway.fleet.inflight(gateway.slots[0]!)).toBe(0);
});

test('slow client: when a body comes fast enough in each period, it is left alone, as is one without a floor', async () => {
  for (const limits of ['', 'upload_rate_min_bytes: 0']) {
    const gateway = await withModels(limits);
    const { client, peer } = await beginUpload(gateway);
    let sent = start.length;
    for (let period = 0; period < 3; period++) {
      await gateway.pass(100);
      const piece = limits === '' ? 'x'.repeat(120_000) : 'x';
      client.send(piece);
      sent += piece.length;
      await until(() => gateway.shard.exchanges()[0]?.request_bytes === sent, 'it is here');
      await gateway.pass(7000);
    }
    client.send(`${'x'.repeat(bodyBytes - sent - 2)}"}`);
    await peer.read(100);
    await until(() => gateway.shard.exchanges()[0]?.request_half === 'done', 'all is here');
    client.destroy();
  }
});

/** More than sockets take, and than a client reads in the turns in which it is allowed to. */
const answerBytes = 200_000_000;

/** A response that the client holds up. */
async function blocked(gateway: Rig) {
  const client = await gateway.client();
  client.pause();
  client.send(requestText('GET', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(`HTTP/1.1 200 OK\r\ncontent-length: ${answerBytes}\r\n\r\n`);
  peer.send(Buffer.alloc(answerBytes));
  const exchange = gateway.shard.state.open[0]!;
  await until(() => exchange.responseRelay.isBlocked, 'the client holds the response up');
  await gateway.pass(100); // The period has begun.
  return { client, peer, exchange };
}

test('slow client: when it takes nothing of a response for the whole period, it is cut, and the endpoint is free', async () => {
  const gateway = await rig();
  const { client, peer } = await blocked(gateway);
  await gateway.pass(15_000); // Real time goes by, too, while it does.
  expect(gateway.phases()).toEqual(['streaming']);
  await gateway.pass(15_500);
  expect(gateway.phases()).toEqual([]);
  expect(gateway.counts(metrics.requests.name)['public other only 200 client_stalled']).toBe(1);
  await peer.ended();
  client.resume();
  const bytes = await client.readToEnd();
  expect(bytes.length, 'it can see that this is not all').toBeLessThan(answerBytes);
});

test('slow client: when it takes a little in each period, it is left alone', async () => {
  const gateway = await rig();
  const { client, exchange } = await blocked(gateway);
  for (let period = 0; period < 4; period++) {
    await gateway.pass(15_000);
    const before = exchange.responseBytes;
    client.resume();
    await until(() => exchange.responseBytes > before, 'more was taken');
    client.pause();
    await until(() => exchange.responseRelay.isBlocked, 'it holds the response up again');
    await turns(3);
  }
  expect(gateway.phases()).toEqual(['streaming']);
});

// The library's own timer ends a connection that makes no progress after 8 to 12 s (docs/acceptor.md). The real time of it is
// in `npm run soak -- slow-readers`.
test('slow client: as long as it may hold a response up or send slowly, the library is kept from ending it', async () => {
  const reading = await rig();
  const { exchange } = await blocked(reading);
  const writing = await withModels('upload_rate_min_bytes: 0');
  await beginUpload(writing);
  await writing.pass(100);
  for (const [gateway, downstream] of [
    [reading, exchange.downstream!],
    [writing, writing.shard.state.open[0]!.downstream!],
  ] as const) {
    const calls = { pause: vi.spyOn(downstream, 'pause'), resume: vi.spyOn(downstream, 'resume') };
    for (let period = 1; period <= 4; period++) {
      await gateway.pass(5000);
      const count = calls.pause.mock.calls.length;
      expect(count).toBeGreaterThanOrEqual(period);
      expect(calls.resume).toHaveBeenCalledTimes(count);
      expect(calls.resume.mock.invocationCallOrder.at(-1)).toBeGreaterThan(
        calls.pause.mock.invocationCallOrder.at(-1)!,
      );
    }
  }
});

// What a client has not sent cannot be told from what the shard has not read.
test('slow client: when the whole body is here, nothing is asked of it, however long the answer takes', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  await gateway.pass(35_000); // Longer than both periods.
  expect(gateway.phases()).toEqual(['waiting']);
  client.destroy();
});

// FAULTS F07: a client that drips holds nothing that others need.
for (const [what, models] of [
  ['routing needs the model', 'models: [{ name: a, targets: [{ pool: only }] }]'],
  ['routing needs nothing', ''],
] as const) {
  test(`slow client: when dispatch_min_bytes is set and ${what}, a body gets an endpoint with that many bytes, or its end`, async () => {
    const gateway = await rig({
      yaml: `
limits: { dispatch_min_bytes: 64KiB }
${models}
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]
`,
    });
    const wire = chatRequest(`{"model":"a","p":"${'x'.repeat(100_000)}"}`);
    const slow = await gateway.client();
    slow.send(wire.slice(0, 20_000));
    const quick = await gateway.client();
    // Whole, however short.
    quick.send(chatRequest('{"model":"a"}'));
    const peer = await gateway.upstream.accept();
    expect((await peer.request()).text).toBe('{"model":"a"}');
    expect(gateway.phases().sort()).toEqual(['receiving', 'waiting']);
    slow.send(wire.slice(20_000, 70_000));
    await gateway.upstream.accept();
    slow.send(wire.slice(70_000));
    expect((await gateway.upstream.peers[1]!.request()).text).toBe(wire.slice(wire.indexOf('\r\n\r\n') + 4));
    peer.send(answerText('quick'));
    gateway.upstream.peers[1]!.send(answerText('slow'));
    expect([(await quick.response()).text, (await slow.response()).text]).toEqual(['quick', 'slow']);
  });
}
