import { expect, test } from 'vitest';
import { patternOf } from '../../src/sim/byte-answer.ts';
import { answerText, chatRequest, chunkedText, requestText, rig, turns, until } from '../rig/index.ts';

const size = 30_000_000;
const pattern = patternOf(size);

/** One read of the shared buffer: what a slow client may leave in our hands, per exchange. */
const heldBytesMax = 64 * 1024;

function chunked(bytes: Buffer, chunkBytes: number): Buffer {
  const parts: (Buffer | string)[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const piece = bytes.subarray(at, at + chunkBytes);
    parts.push(`${piece.length.toString(16)}\r\n`, piece, '\r\n');
  }
  return Buffer.concat([...parts, '0\r\n\r\n'].map((part) => Buffer.from(part as string, 'latin1')));
}

// CONTRACT section 3; FAULTS R8, F05; HOTPATH section 2.
for (const framing of ['length', 'chunked'] as const) {
  test(`backpressure: when 30 MB (${framing}) meet a client that reads in fits and starts, every byte arrives and little is held`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    client.pause();
    client.send(requestText('GET', '/a'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    peer.send(
      `HTTP/1.1 200 OK\r\n${framing === 'length' ? `content-length: ${size}` : 'transfer-encoding: chunked'}\r\n\r\n`,
    );
    peer.send(framing === 'length' ? pattern : chunked(pattern, 100_000));
    const relay = gateway.shard.state.open[0]!.responseRelay;
    await until(() => relay.isBlocked, 'the client holds the response up');
    await turns(20);
    const stoppedAt = gateway.shard.exchanges()[0]!.response_bytes;
    await turns(20);
    expect(gateway.shard.exchanges()[0]!.response_bytes, 'the endpoint is not read meanwhile').toBe(stoppedAt);
    expect(stoppedAt).toBeLessThan(size / 2);
    let heldMost = 0;
    const watch = setInterval(() => (heldMost = Math.max(heldMost, relay.heldBytes)), 1);
    const hiccups = setInterval(() => {
      client.pause();
      setTimeout(() => client.resume(), 3);
    }, 12);
    client.resume();
    const response = await client.response().finally(() => {
      clearInterval(hiccups);
      clearInterval(watch);
    });
    expect(response.isComplete).toBe(true);
    expect(response.bytes.equals(pattern)).toBe(true);
    expect(heldMost).toBeLessThanOrEqual(heldBytesMax);
  });
}

test('backpressure: when a client that did not read leaves, the endpoint is left and nothing is held', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.pause();
  client.send(requestText('GET', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
  peer.send(chunked(pattern, 1_000_000));
  await until(() => gateway.shard.state.open[0]?.responseRelay.isBlocked === true, 'the client holds the response up');
  client.reset();
  await peer.ended();
});

const small = `
limits: { body_bytes_max: 16MiB, buffered_bytes_max: 16MiB }
timeouts: { request_idle_ms: 20s }
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]
`;

// CONTRACT section 2, limits.buffered_bytes_max.
test('backpressure: when the endpoint does not read and memory is spent, intake pauses; when it reads again, all of it arrives', async () => {
  const gateway = await rig({ yaml: small });
  const uploads = await Promise.all(
    [0, 1, 2].map(async (index) => {
      const client = await gateway.client();
      const body = `{"model":"m${index}","p":"${'x'.repeat(15_000_000)}"}`;
      client.send(chatRequest(body));
      const peer = await gateway.upstream.accept();
      peer.pause();
      return { client, body, peer };
    }),
  );
  await until(() => gateway.shard.state.open.some((exchange) => exchange.isDownstreamPaused), 'a client is paused');
  const { budget } = gateway.shard.state.parts;
  // What lay in the kernel's receive buffers when the pause began is delivered all the same: up to 6 MiB a connection.
  await turns(50);
  const used = budget.used();
  expect(used).toBeLessThanOrEqual(budget.max + 3 * 6 * 1024 * 1024);
  await turns(50);
  expect(budget.used(), 'nothing more is taken in').toBe(used);
  for (const { peer } of uploads) peer.resume();
  const byModel = new Map<string, string>();
  await Promise.all(
    uploads.map(async ({ peer }) => {
      const { text } = await peer.request();
      byModel.set(text.slice(10, 12), text);
      peer.send(answerText('ok'));
    }),
  );
  for (const { client, body } of uploads) {
    expect((await client.response()).text).toBe('ok');
    expect(byModel.get(body.slice(10, 12)) === body).toBe(true);
  }
});

test(
  'backpressure: when memory stays spent, a paused client gets 503 saturated, and the memory is given back',
  { timeout: 15_000 },
  async () => {
    const gateway = await rig({ yaml: small });
    const clients = [await gateway.client(), await gateway.client()];
    for (const client of clients) {
      client.send(chatRequest(`{"model":"a","p":"${'x'.repeat(15_000_000)}"}`));
      (await gateway.upstream.accept()).pause();
    }
    await until(() => gateway.shard.state.open.some((exchange) => exchange.isDownstreamPaused), 'a client is paused');
    const refusals = await Promise.race(clients.map((client) => client.response()));
    expect(refusals.status).toBe(503);
    expect(refusals.text).toContain('"saturated"');
  },
);

// A pause takes effect with the next read; one read may hold the rest of the body.
test('backpressure: when the body is over although its client is paused, the request goes on and the client is seen to leave', async () => {
  const gateway = await rig({
    yaml: `
limits: { body_bytes_max: 1MiB, buffered_bytes_max: 1100KiB }
models: [{ name: a, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]
`,
  });
  const hoarder = await gateway.client();
  // Its model does not come: it holds four of the five slabs that there are at most.
  hoarder.send(chatRequest(`{"p":"${'x'.repeat(1_000_000)}","model":"a"}`).slice(0, -20));
  await until(() => gateway.shard.state.parts.budget.used() >= 1_000_000, 'the memory is held');
  const client = await gateway.client();
  const body = `{"model":"a","p":"${'x'.repeat(1000)}"}`;
  const head = requestText('POST', '/v1/chat/completions', ['transfer-encoding: chunked']);
  client.send(head + chunkedText(body, 100));
  const peer = await gateway.upstream.accept();
  expect((await peer.request()).text).toBe(body);
  expect(gateway.shard.state.open.map(({ isDownstreamPaused }) => isDownstreamPaused)).toEqual([false, false]);
  client.destroy();
  await peer.ended();
  expect(await gateway.closeReason()).toBe('client_gone');
});
