import { expect, test } from 'vitest';
import { metrics } from '../../src/account/index.ts';
import { answerText, chatRequest, codeOf, fieldOf, requestText, rig, type Rig, until } from '../rig/index.ts';

function limited(limits: string, listener?: string, pool = ''): Promise<Rig> {
  return rig({
    ...(listener === undefined ? {} : { listener }),
    yaml: `limits: { ${limits} }
pools: [{ name: only, engine: none, picker: round_robin, ${pool} retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }]`,
  });
}

// FAULTS F08.
test('admission: when there are as many connections as may be, the next is closed as it comes, and one more fits when one goes', async () => {
  const gateway = await limited('connections_max: 3');
  gateway.upstream.answerAll(answerText('ok'));
  const clients = [await gateway.client(), await gateway.client(), await gateway.client()];
  await until(() => gateway.admission.connections() === 3, 'three are connected');
  for (let count = 1; count <= 5; count++) {
    const refused = await gateway.client();
    await refused.ended();
    expect(gateway.counts(metrics.connectionsRefused.name)['public connections_max']).toBe(count);
  }
  for (const client of clients) expect((await client.ask(requestText('GET', '/a'))).text).toBe('ok');
  clients[0]!.destroy();
  await until(() => gateway.admission.connections() === 2, 'one has gone');
  expect((await (await gateway.client()).ask(requestText('GET', '/b'))).text).toBe('ok');
});

// The library does not say which connection has closed: every way a connection may end has to give its place back.
test('admission: when connections of one address end in every way there is, each gives its place back once', async () => {
  const gateway = await limited('connections_per_address_max: 2');
  const key = gateway.admission.addressKey(Uint8Array.from([127, 0, 0, 1]));
  const count = (): number => gateway.admission.addressConnections(key);
  const gone = (): Promise<void> => until(() => count() === 0, 'its place is back', 5000, count);
  const head = requestText('GET', '/a');
  const ways: Record<string, () => Promise<void>> = {
    'silent, FIN': async () => (await gateway.client()).finish(),
    'silent, RST': async () => (await gateway.client()).reset(),
    'half a head': async () => {
      const client = await gateway.client();
      await client.sendPieces([head.slice(0, 20)]);
      client.destroy();
    },
    'idle after three answers': async () => {
      const client = await gateway.client();
      for (let request = 0; request < 3; request++) expect((await client.ask(head)).status).toBe(200);
      expect(count()).toBe(1);
      client.finish();
    },
    'the client asks for the close': async () => {
      const client = await gateway.client();
      client.send(head.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'));
      await client.response();
      await client.ended();
    },
    'the gateway closes behind a refusal': async () => {
      const client = await gateway.client();
      expect((await client.ask('POST /a HTTP/1.1\r\nhost: x\r\n\r\n')).status).toBe(411);
      await client.ended();
    },
    'a method without a route': async () => {
      const client = await gateway.client();
      expect((await client.ask(requestText('PROPFIND', '/a'))).status).toBe(501);
      await client.ended();
    },
    'a chunked body': async () => {
      const client = await gateway.client();
      client.send('POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n');
      await client.response();
      await client.ended();
    },
    'gone in the middle of a request': async () => {
      const client = await gateway.client();
      client.send(head.replace('/a', '/never'));
      await until(() => gateway.shard.state.open.length === 1, 'the request is here');
      client.reset();
    },
    'a second request while the first is pending': async () => {
      const client = await gateway.client();
      client.send(head.replace('/a', '/never'));
      await until(() => gateway.shard.state.open.length === 1, 'the request is here');
      client.send(head);
      await client.ended();
    },
    'cut in the middle of a response': async () => {
      const client = await gateway.client();
      client.send(head.replace('/a', '/half'));
      await client.readToEnd();
    },
    'answered before its body has come': async () => {
      const client = await gateway.client();
      client.send('POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\nhalf');
      expect((await client.response()).status).toBe(413);
      client.destroy();
    },
  };
  void serve(gateway);
  for (const [way, take] of Object.entries(ways)) {
    for (let round = 0; round < 2; round++) {
      await take();
      await gone().catch((error: Error) => expect.fail(`${way}: ${error.message}`));
    }
  }
  expect(gateway.counts(metrics.connectionsRefused.name)['public per_address']).toBeUndefined();
});

/** `/never` is not answered, `/half` by half. */
async function serve(gateway: Rig): Promise<void> {
  for (;;) {
    const peer = await gateway.upstream.accept().catch(() => null);
    if (peer === null) return;
    void (async () => {
      for (;;) {
        const { startLine } = (await peer.request()).head;
        if (startLine.includes('/half')) {
          peer.send('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
          peer.destroy();
        } else if (!startLine.includes('/never')) peer.send(answerText('ok'));
      }
    })().catch(() => {});
  }
}

test('admission: when an address has as many connections as it may, busy or idle, the next is closed as it comes', async () => {
  const gateway = await limited('connections_per_address_max: 3');
  gateway.upstream.answerAll(answerText('ok'));
  const clients = [await gateway.client(), await gateway.client(), await gateway.client()];
  // One idle after an answer, two that have said nothing.
  expect((await clients[0]!.ask(requestText('GET', '/a'))).text).toBe('ok');
  const refused = await gateway.client();
  await refused.ended();
  expect(gateway.counts(metrics.connectionsRefused.name)['public per_address']).toBe(1);
  for (const client of clients) expect((await client.ask(requestText('GET', '/b'))).text).toBe('ok');
  clients[1]!.destroy();
  await until(() => gateway.admission.connections() === 2, 'one has gone');
  expect((await (await gateway.client()).ask(requestText('GET', '/c'))).text).toBe('ok');
});

// CONTRACT section 3, 503 saturated; FAULTS R9: before the body is read.
test('admission: when as many requests are open as may be, the next gets 503 at its head, and the connection stays', async () => {
  const gateway = await limited('requests_max: 1');
  const first = await gateway.client();
  first.send(requestText('GET', '/first'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const second = await gateway.client();
  const response = await second.ask(
    'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\ncontent-length: 5\r\n\r\n',
  );
  expect([response.status, codeOf(response.text), fieldOf(response.head, 'retry-after')]).toEqual([
    503,
    'saturated',
    '1',
  ]);
  expect(fieldOf(response.head, 'x-request-id')).toBe('mine');
  expect(gateway.counts(metrics.shed.name)['requests_max normal']).toBe(1);
  peer.send(answerText('one'));
  expect((await first.response()).text).toBe('one');
  second.send('hello');
  second.send(requestText('GET', '/second'));
  await peer.request();
  peer.send(answerText('two'));
  expect((await second.response()).text).toBe('two');
  await gateway.closeReason(3);
  expect(gateway.accessLog().map(({ reason }) => reason)).toContain('saturated');
});

// FAULTS F52, F53: what is open already is not touched.
test('admission: when memory runs short, low priority gets 429 shed first, and a stream under way goes on', async () => {
  const gateway = await limited('priority_header: X-Priority');
  const stream = await gateway.client();
  stream.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n');
  await stream.readUntil('one');
  gateway.admission.setMemoryPercent(92);
  const asked = async (priority: string): Promise<number> => {
    const client = await gateway.client();
    client.send(requestText('GET', '/a').replace('\r\n\r\n', `\r\nx-priority: ${priority}\r\n\r\n`));
    const { status, text, head } = await client.response();
    if (status === 429) {
      expect(codeOf(text)).toBe('shed');
      expect(Number(fieldOf(head, 'retry-after'))).toBeGreaterThan(0);
    }
    client.destroy();
    return status;
  };
  gateway.upstream.answerAll(answerText('ok'));
  const endMs = performance.now() + 5000;
  while ((await asked('low')) !== 429) expect(performance.now(), 'the shard notices').toBeLessThan(endMs);
  expect([await asked('low'), await asked('normal'), await asked('nonsense'), await asked('high')]).toEqual([
    429, 429, 429, 200,
  ]);
  peer.send('3\r\ntwo\r\n0\r\n\r\n');
  await stream.readUntil('two\r\n0\r\n\r\n');
  peer.destroy();
  gateway.admission.setMemoryPercent(10);
  while ((await asked('low')) !== 200) expect(performance.now(), 'it is over').toBeLessThan(endMs + 5000);
});

// FAULTS F16: the shard runs in this thread, so keeping the thread busy keeps it waiting.
test('admission: when the event loop is late for long, requests get 429 shed; when it is not any more, none', async () => {
  const gateway = await limited('shed_delay_ms: 5ms', 'priority: low');
  gateway.upstream.answerAll(answerText('ok'));
  const client = await gateway.client();
  let isBusy = true;
  const keepBusy = (): void => {
    const endMs = performance.now() + 15;
    while (performance.now() < endMs);
    if (isBusy) setImmediate(keepBusy);
  };
  keepBusy();
  const endMs = performance.now() + 15_000;
  let response = await client.ask(requestText('GET', '/a'));
  while (response.status === 200 && performance.now() < endMs) response = await client.ask(requestText('GET', '/a'));
  expect([response.status, codeOf(response.text)]).toEqual([429, 'shed']);
  expect(gateway.counts(metrics.shed.name)['event_loop low']).toBeGreaterThan(0);
  isBusy = false;
  let good = 0;
  while (good < 20 && performance.now() < endMs + 15_000)
    good = (await client.ask(requestText('GET', '/a'))).status === 200 ? good + 1 : 0;
  expect(good).toBe(20);
});

test('admission: when models have priorities, they decide once the model is known; a header decides at once', async () => {
  const gateway = await rig({
    yaml: `limits: { priority_header: x-priority }
models: [{ name: batch, priority: low, targets: [{ pool: only }] }, { name: chat, priority: high, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]`,
  });
  gateway.upstream.answerAll(answerText('ok'));
  gateway.admission.setMemoryPercent(86);
  const client = await gateway.client();
  const status = async (model: string, header = ''): Promise<number> =>
    (await client.ask(chatRequest(`{"model":"${model}"}`).replace('\r\n\r\n', `${header}\r\n\r\n`))).status;
  await until(() => gateway.admission.memoryPercent() === 86, 'memory is short');
  const endMs = performance.now() + 5000;
  while ((await status('batch')) !== 429) expect(performance.now(), 'the shard notices').toBeLessThan(endMs);
  expect(await status('chat')).toBe(200);
  expect(await status('batch', '\r\nx-priority: high')).toBe(200);
  expect(await status('chat', '\r\nx-priority: low')).toBe(429);
});

// CONTRACT section 5: penstock_queue_depth has a priority.
test('admission: when requests of several priorities wait, the higher are served first, in order of coming within one', async () => {
  const gateway = await limited(
    'priority_header: x-priority',
    undefined,
    'inflight_max: 1, queue: { requests_max: 4 },',
  );
  const first = await gateway.client();
  first.send(requestText('GET', '/first'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const clients = new Map<string, Awaited<ReturnType<Rig['client']>>>();
  const enter = async (name: string, priority: string): Promise<void> => {
    const client = await gateway.client();
    const openCount = gateway.shard.state.open.length;
    client.send(requestText('GET', `/${name}`).replace('\r\n\r\n', `\r\nx-priority: ${priority}\r\n\r\n`));
    await until(() => gateway.shard.state.open.length !== openCount, `${name} is here`);
    clients.set(name, client);
  };
  await enter('low1', 'low');
  await enter('low2', 'low');
  await enter('high1', 'high');
  await enter('normal1', 'normal');
  expect(
    ['low', 'normal', 'high'].map((priority) => gateway.counts(metrics.queueDepth.name)[`only ${priority}`]),
  ).toEqual([2, 1, 1]);
  // The room is full: the last of the lowest makes place for a higher one, a lower one finds none.
  await enter('high2', 'high');
  const evicted = await clients.get('low2')!.response();
  expect([evicted.status, codeOf(evicted.text)]).toEqual([429, 'shed']);
  expect(Number(fieldOf(evicted.head, 'retry-after'))).toBeGreaterThan(0);
  const late = await gateway.client();
  expect((await late.ask(requestText('GET', '/low3').replace('\r\n\r\n', '\r\nx-priority: low\r\n\r\n'))).status).toBe(
    503,
  );
  expect(gateway.counts(metrics.shed.name)).toEqual({ 'queue_evicted low': 1, 'queue_full low': 1 });
  peer.send(answerText('ok'));
  for (const name of ['high1', 'high2', 'normal1', 'low1']) {
    expect((await peer.request()).head.startLine).toBe(`GET /${name} HTTP/1.1`);
    peer.send(answerText(name));
    expect((await clients.get(name)!.response()).text).toBe(name);
  }
});
