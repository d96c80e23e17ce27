import { expect, test } from 'vitest';
import { answerText, blackHole, chatRequest, type RawClient, type Rig, requestText, rig, until } from '../rig/index.ts';

const stream =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n';

const leave: Record<string, (client: RawClient) => void> = {
  FIN: (client) => client.destroy(),
  RST: (client) => client.reset(),
};

/** FAULTS R1: the endpoint's connection closes within 100 ms; on loopback it takes a turn or two. */
const boundMs = 100;

/** The gateway in each phase, with a client about to leave. */
const phases: Record<string, (gateway: Rig, client: RawClient) => Promise<void>> = {
  receiving: async (gateway, client) => {
    client.send(requestText('POST', '/v1/chat/completions', ['content-length: 1000'], '{"p":"x'));
    await gateway.inPhase('receiving');
  },
  'sending the body': async (gateway, client) => {
    client.send(requestText('POST', '/v1/chat/completions', ['content-length: 1000'], '{"model":"a","p":"x'));
    await (await gateway.upstream.accept()).head();
  },
  waiting: async (gateway, client) => {
    client.send(chatRequest('{"model":"a"}'));
    await (await gateway.upstream.accept()).request();
  },
  streaming: async (gateway, client) => {
    client.send(chatRequest('{"model":"a"}'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    peer.send(stream);
    await client.readUntil('data: a\n\n');
  },
  'blocked by a client that does not read': async (gateway, client) => {
    client.pause();
    client.send(chatRequest('{"model":"a"}'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    peer.send(`HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n`);
    peer.send(Buffer.alloc(50_000_000));
    await until(() => gateway.shard.state.open[0]?.responseRelay.isBlocked === true, 'the relay is blocked');
  },
};

const yaml = `
models: [{ name: a, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]
`;

// CONTRACT section 3; FAULTS R1, F01 to F03.
for (const [phase, bring] of Object.entries(phases)) {
  for (const [how, go] of Object.entries(leave)) {
    test(`abort: when the client leaves by ${how} while ${phase}, the endpoint's connection closes at once`, async () => {
      const gateway = await rig({ yaml });
      const client = await gateway.client();
      await bring(gateway, client);
      const startMs = performance.now();
      go(client);
      await until(() => gateway.shard.state.open.length === 0, 'the exchange is over');
      for (const peer of gateway.upstream.peers)
        await until(() => peer.isEnded || peer.socket.destroyed, 'the peer is told');
      expect(performance.now() - startMs).toBeLessThan(boundMs);
      expect(await gateway.closeReason()).toBe('client_gone');
      expect(gateway.held()).toEqual({});
      expect(gateway.fleet.connections(gateway.slots[0]!)).toBe(0);
    });
  }
}

test('abort: when the client leaves while its endpoint is being connected to, the attempt ends at once', async () => {
  const hole = await blackHole();
  const gateway = await rig({
    yaml: `timeouts: { connect_ms: 60s }
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "${hole.url}" }] }]`,
  });
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  await gateway.inPhase('connecting');
  const startMs = performance.now();
  client.reset();
  await until(() => gateway.shard.state.open.length === 0, 'the exchange is over');
  expect(performance.now() - startMs).toBeLessThan(boundMs);
  expect(gateway.fleet.connections(gateway.slots[0]!)).toBe(0);
  hole.close();
});

test('abort: when the client leaves in the queue, its request is never sent', async () => {
  const gateway = await rig({
    yaml: 'pools: [{ name: only, engine: none, picker: round_robin, inflight_max: 1, endpoints: [{ url: "$UPSTREAM" }] }]',
  });
  const first = await gateway.client();
  first.send(requestText('GET', '/first'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const second = await gateway.client();
  second.send(requestText('GET', '/second'));
  await gateway.inPhase('queued');
  second.reset();
  await until(() => gateway.shard.state.open.length === 1, 'the queued exchange is over');
  peer.send(answerText('first'));
  expect((await first.response()).text).toBe('first');
  await gateway.assertIdle();
  expect(peer.pendingBytes).toBe(0);
  expect(gateway.upstream.peers.length).toBe(1);
});

// FAULTS F03: at any moment, over many exchanges; the books must balance (assertIdle does).
test('abort: when 200 clients leave at random moments, nothing is left behind', async () => {
  const seed = Date.now() % 100_000;
  let state = seed;
  const random = (): number => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
  const gateway = await rig({ yaml });
  gateway.upstream.answerAll(stream + '0\r\n\r\n');
  const wire = chatRequest(`{"model":"a","p":"${'x'.repeat(40_000)}"}`);
  await Promise.all(
    Array.from({ length: 200 }, async () => {
      const client = await gateway.client();
      client.send(wire.slice(0, Math.ceil(random() * wire.length * 1.5)));
      const turnsLeft = Math.floor(random() * 40);
      for (let turn = 0; turn < turnsLeft; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (random() < 0.5) client.reset();
      else client.destroy();
    }),
  );
  await gateway.assertIdle().catch((error: unknown) => {
    throw new Error(`seed ${seed}`, { cause: error });
  });
});
