import { expect, test } from 'vitest';
import { metrics } from '../../src/account/index.ts';
import { Random } from '../../src/sim/random.ts';
import { answerText, chatRequest, codeOf, fieldOf, requestText, rig, type Rig, until } from '../rig/index.ts';

// Whose turn it is when a pool is full: between tenants, between shards, and what a queue may hold.

function pool(queue: string, shardCount = 1, limit = 'inflight_max: 1'): Promise<Rig> {
  return rig({
    shardCount,
    yaml: `limits: { priority_header: x-priority }
pools:
  - name: only
    engine: none
    picker: round_robin
    ${limit}
    retries: { attempts: 0 }
    queue: { ${queue} }
    endpoints: [{ url: "$UPSTREAM" }]`,
  });
}

type Client = Awaited<ReturnType<Rig['client']>>;

function get(path: string, fields: Record<string, string> = {}): string {
  const lines = Object.entries(fields).map(([name, value]) => `\r\n${name}: ${value}`);
  return requestText('GET', path).replace('\r\n\r\n', `${lines.join('')}\r\n\r\n`);
}

const queued = (gateway: Rig): number => gateway.phases().filter((phase) => phase === 'queued').length;

/** Sends, and waits until the request is in a queue. */
async function enter(gateway: Rig, text: string, shardIndex = 0): Promise<Client> {
  const client = await gateway.client(shardIndex);
  const before = queued(gateway);
  client.send(text);
  await until(() => queued(gateway) === before + 1, 'it waits');
  return client;
}

/** One request that has the only place, at the peer returned. */
async function occupy(gateway: Rig, shardIndex = 0, fields: Record<string, string> = {}): Promise<Peer> {
  const client = await gateway.client(shardIndex);
  client.send(get('/first', fields));
  const peer = await gateway.upstream.accept();
  await peer.request();
  return peer;
}

type Peer = Awaited<ReturnType<Rig['upstream']['accept']>>;

/** Answers what is there, and returns the paths of the next requests, in the order they are served. */
async function serve(gateway: Rig, first: Peer, count: number): Promise<string[]> {
  const served: string[] = [];
  const requests: { readonly path: string; readonly peer: Peer }[] = [];
  const listen = async (peer: Peer): Promise<void> => {
    for (;;) {
      const { startLine } = (await peer.request()).head;
      requests.push({ path: startLine.split(' ')[1]!, peer });
    }
  };
  gateway.upstream.onPeer = listen;
  void listen(first).catch(() => {});
  first.send(answerText('ok'));
  for (let index = 0; index < count; index++) {
    await until(() => requests.length > 0, `request ${index} is served`);
    expect(requests.length, 'one at a time').toBe(1);
    const { path, peer } = requests.pop()!;
    served.push(path);
    peer.send(answerText('ok'));
  }
  return served;
}

test('fair queue: when one tenant has sent much, another is served in turn with it', async () => {
  const gateway = await pool('fair_by: "header:X-Tenant"');
  const peer = await occupy(gateway);
  for (let index = 0; index < 4; index++) await enter(gateway, get(`/a${index}`, { 'x-tenant': 'a' }));
  for (let index = 0; index < 2; index++) await enter(gateway, get(`/b${index}`, { 'x-tenant': 'b' }));
  await enter(gateway, get('/high', { 'x-tenant': 'a', 'x-priority': 'high' }));
  // The high one was a turn of a's, so b is next, and then they take turns.
  expect(await serve(gateway, peer, 7)).toEqual(['/high', '/b0', '/a0', '/b1', '/a1', '/a2', '/a3']);
});

test('fair queue: when nobody is told apart, requests are served as they came', async () => {
  const gateway = await pool('fair_by: none');
  const peer = await occupy(gateway);
  for (const path of ['/a0', '/a1', '/b0']) await enter(gateway, get(path, { 'x-tenant': path[1]! }));
  expect(await serve(gateway, peer, 3)).toEqual(['/a0', '/a1', '/b0']);
});

test('fair queue: when a tenant has had more tokens lately, others are served first, however many requests they had', async () => {
  const gateway = await pool('fair_by: "body:user", fairness: least_attained_service');
  const chat = (user: string, name: string): string =>
    chatRequest(`{"model":"${name}","user":"${user}","max_tokens":10}`);
  const usage = (prompt: number, completion: number): string =>
    answerText(
      `{"choices":[],"usage":{"prompt_tokens":${prompt},"completion_tokens":${completion},"total_tokens":1}}`,
      ['content-type: application/json'],
    );
  const first = await gateway.client();
  first.send(chat('heavy', 'first'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(usage(100_000, 5000));
  await first.response();
  for (let round = 0; round < 3; round++) {
    first.send(chat('light', 'first'));
    await peer.request();
    peer.send(usage(100, 50));
    await first.response();
  }
  first.send(chat('other', 'first'));
  await peer.request();
  const waiting = ['heavy h0', 'heavy h1', 'light l0', 'light l1', 'new n0'].map((each) => each.split(' '));
  for (const [user, name] of waiting) await enter(gateway, chat(user!, name!));
  const served: string[] = [];
  peer.send(usage(10, 10));
  for (let index = 0; index < 5; index++) {
    served.push((JSON.parse((await peer.request()).text) as { model: string }).model);
    peer.send(usage(10, 10));
  }
  expect(served).toEqual(['n0', 'l0', 'l1', 'h0', 'h1']);
});

// The acceptor gives connections to shards as it likes: whose turn it is must not depend on where a request waits.
test('fair queue: when requests wait in two shards, places go to the first of all, by priority, turn and time', async () => {
  const gateway = await pool('fair_by: "header:x-tenant"', 2);
  const peer = await occupy(gateway, 0);
  await enter(gateway, get('/a0', { 'x-tenant': 'a' }), 0);
  await enter(gateway, get('/a1', { 'x-tenant': 'a' }), 1);
  await enter(gateway, get('/a2', { 'x-tenant': 'a' }), 0);
  await enter(gateway, get('/b0', { 'x-tenant': 'b' }), 1);
  await enter(gateway, get('/b1', { 'x-tenant': 'b' }), 0);
  await enter(gateway, get('/low', { 'x-tenant': 'c', 'x-priority': 'low' }), 0);
  await enter(gateway, get('/high', { 'x-tenant': 'a', 'x-priority': 'high' }), 1);
  expect(await serve(gateway, peer, 7)).toEqual(['/high', '/b0', '/a0', '/b1', '/a1', '/a2', '/low']);
});

// What a tenant has had changes whose turn it is in every shard, also where nothing else has changed.
test('fair queue: when more tenants wait in two shards than one says of itself, they are served in turns all the same', async () => {
  const gateway = await pool('fair_by: "header:x-tenant"', 2);
  const peer = await occupy(gateway, 0);
  const paths: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (let tenant = 0; tenant < 14; tenant++) {
      const path = `/${tenant}-${round}`;
      await enter(gateway, get(path, { 'x-tenant': `t${tenant}` }), (tenant + round) % 2);
      paths.push(path);
    }
  }
  expect(await serve(gateway, peer, paths.length)).toEqual(paths);
});

// A connection that one shard keeps idle counts for all: another shard's turn must not end at it.
for (const limit of ['inflight_max: 1', 'connections_max: 1']) {
  test(`fair queue: when ${limit} is reached and requests wait in two shards, they are served as they came`, async () => {
    const gateway = await pool('wait_ms: 5s', 2, limit);
    const peer = await occupy(gateway, 1);
    for (let index = 0; index < 8; index++) await enter(gateway, get(`/${index}`), index % 3 === 0 ? 1 : 0);
    expect(await serve(gateway, peer, 8)).toEqual(['/0', '/1', '/2', '/3', '/4', '/5', '/6', '/7']);
  });
}

// A request that comes as a place comes free would otherwise have it before those that wait.
test('fair queue: when a place is free that one waits for, a request that comes takes it not, in whatever shard', async () => {
  const gateway = await pool('wait_ms: 5s', 2);
  const { fleet } = gateway.shard.state.parts;
  const slot = gateway.slots[0]!;
  fleet.tryTakeInflight(slot, 1);
  await enter(gateway, get('/waits'), 0);
  const late = await gateway.client(1);
  // Without a word to the shards: the waiting one's looks again with its timer, the late one is here before.
  fleet.giveInflight(slot);
  late.send(get('/late'));
  const peer = await gateway.upstream.accept();
  expect((await peer.request()).head.startLine).toContain('/waits');
  await until(() => queued(gateway) === 1, 'the late one waits');
  expect(await serve(gateway, peer, 1)).toEqual(['/late']);
});

test('fair queue: when the first of all is gone without a word, its place is left to it for a moment only', async () => {
  const gateway = await pool('wait_ms: 5s', 2);
  const peer = await occupy(gateway, 0);
  // What a shard whose event loop stands still leaves behind: a first that takes nothing.
  const { queues } = gateway.shards[1]!.state.parts;
  const { row } = gateway.shard.state.runtime.pools[0]!.waitingRoom.order;
  queues.note(row, 2, 1, 0);
  queues.publish(row, [{ level: 2, flow: 0, ticket: queues.drawTicket(row), part: 0, model: 0 }], 1);
  for (const path of ['/0', '/1', '/2']) await enter(gateway, get(path), 0);
  const startMs = performance.now();
  expect(await serve(gateway, peer, 3)).toEqual(['/0', '/1', '/2']);
  const tookMs = performance.now() - startMs;
  expect(tookMs, 'the place was left to it').toBeGreaterThan(40);
  expect(tookMs, 'and not for each of them again').toBeLessThan(2000);
  queues.publish(row, [], 0);
  queues.note(row, 2, -1, 0);
});

test('fair queue: when the queue of all shards is full, one of the lowest priority is given up, wherever it waits', async () => {
  const gateway = await pool('requests_max: 3', 2);
  const peer = await occupy(gateway, 0);
  await enter(gateway, get('/normal'), 0);
  const low = await enter(gateway, get('/low', { 'x-priority': 'low' }), 1);
  await enter(gateway, get('/high0', { 'x-priority': 'high' }), 0);
  const refused = await gateway.client(1);
  expect((await refused.ask(get('/low2', { 'x-priority': 'low' }))).status).toBe(503);
  const late = await gateway.client(0);
  late.send(get('/high1', { 'x-priority': 'high' }));
  const evicted = await low.response();
  expect([evicted.status, codeOf(evicted.text)]).toEqual([429, 'shed']);
  expect(Number(fieldOf(evicted.head, 'retry-after'))).toBeGreaterThan(0);
  await until(() => queued(gateway) === 3, 'as many wait as may');
  expect(gateway.counts(metrics.shed.name)).toEqual({ 'queue_evicted low': 1, 'queue_full low': 1 });
  expect(await serve(gateway, peer, 3)).toEqual(['/high0', '/high1', '/normal']);
});

test('fair queue: when one was to be given up and the queue is not too full any more, it stays', async () => {
  const gateway = await pool('requests_max: 3', 2);
  const peer = await occupy(gateway, 0);
  await enter(gateway, get('/low', { 'x-priority': 'low' }), 1);
  const { queues, bells } = gateway.shard.state.parts;
  expect(queues.askEviction(0, 0)).toBe(1);
  bells.ring(1);
  await gateway.pass(100);
  expect(queued(gateway)).toBe(1);
  await enter(gateway, get('/low2', { 'x-priority': 'low' }), 1);
  expect(await serve(gateway, peer, 2)).toEqual(['/low', '/low2']);
});

test('fair queue: when waiting bodies are as large as they may be, the next is refused, or costs lower ones their place', async () => {
  const gateway = await pool('bytes_max: 100KiB', 2);
  const peer = await occupy(gateway, 0);
  const post = (path: string, kib: number, priority = 'normal'): string =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\nx-priority: ${priority}\r\ncontent-length: ${kib * 1024}\r\n\r\n${'x'.repeat(kib * 1024)}`;
  const low0 = await enter(gateway, post('/low0', 40, 'low'), 0);
  const low1 = await enter(gateway, post('/low1', 40, 'low'), 1);
  const client = await gateway.client(0);
  const refused = await client.ask(post('/normal', 200));
  expect([refused.status, codeOf(refused.text)]).toEqual([503, 'saturated']);
  await enter(gateway, post('/low2', 20, 'low'), 0);
  const high = await gateway.client(1);
  high.send(post('/high', 90, 'high'));
  expect((await low0.response()).status).toBe(429);
  expect((await low1.response()).status).toBe(429);
  await until(() => queued(gateway) === 1, 'only the high one is left');
  const { queues } = gateway.shard.state.parts;
  expect(queues.kib(0)).toBe(90);
  expect(await serve(gateway, peer, 1)).toEqual(['/high']);
});

test('fair queue: when a body without a length grows while it waits, what has come counts', async () => {
  const gateway = await pool('bytes_max: 100KiB');
  const peer = await occupy(gateway);
  const chunk = (kib: number): string => `${(kib * 1024).toString(16)}\r\n${'x'.repeat(kib * 1024)}\r\n`;
  const head = 'POST /grows HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n';
  const client = await enter(gateway, head + chunk(1));
  const { queues } = gateway.shard.state.parts;
  client.send(chunk(60));
  await until(
    () => queues.kib(0) === 61,
    'it is weighed again',
    5000,
    () => queues.kib(0),
  );
  client.send('0\r\n\r\n');
  expect(await serve(gateway, peer, 1)).toEqual(['/grows']);
  expect(queues.kib(0)).toBe(0);
});

test('fair queue: when the client says how long an answer is of use, it waits no longer, and never longer than it may', async () => {
  const gateway = await pool('wait_ms: 10s');
  await occupy(gateway);
  const impatient = await enter(gateway, get('/a', { 'x-request-timeout-ms': '300' }));
  const patient = await enter(gateway, get('/b', { 'x-request-timeout-ms': '999999999' }));
  await enter(gateway, get('/c', { 'x-request-timeout-ms': 'soon' }));
  await gateway.pass(500);
  expect(codeOf((await impatient.response()).text)).toBe('saturated');
  expect(queued(gateway)).toBe(2);
  await gateway.pass(10_000);
  expect((await patient.response()).status).toBe(503);
  const late = await gateway.client();
  expect((await late.ask(get('/d', { 'x-request-timeout-ms': '0' }))).status).toBe(503);
  expect(gateway.counts(metrics.shed.name)).toEqual({ 'queue_time normal': 4 });
});

test('fair queue: when a client leaves the queue, its shard lets the first of another have the place', async () => {
  const gateway = await pool('wait_ms: 5s', 2);
  const peer = await occupy(gateway, 0);
  const first = await enter(gateway, get('/first'), 0);
  await enter(gateway, get('/second'), 1);
  first.reset();
  await until(() => queued(gateway) === 1, 'it has left');
  expect(await serve(gateway, peer, 1)).toEqual(['/second']);
});

for (const seed of [1, 2, 3]) {
  for (const fairness of ['round_robin', 'least_attained_service']) {
    test(`fair queue: when clients of two shards come and go at random (${fairness}, seed ${seed}), each is answered once, and nothing is held`, async () => {
      const random = new Random(seed);
      const gateway = await rig({
        shardCount: 2,
        yaml: `limits: { priority_header: x-priority }
pools: [{ name: only, engine: none, picker: least_load, inflight_max: 2, retries: { attempts: 0 }, ejection: { consecutive_failures: 1000 },
  queue: { requests_max: 12, bytes_max: 40KiB, wait_ms: 20s, fair_by: "header:x-tenant", fairness: ${fairness} }, endpoints: [{ url: "$UPSTREAM" }] }]`,
      });
      let inflightMost = 0;
      gateway.upstream.onPeer = async (peer) => {
        for (;;) {
          await peer.request();
          inflightMost = Math.max(inflightMost, gateway.fleet.inflight(gateway.slots[0]!));
          for (let turns = random.below(6); turns > 0; turns--) await new Promise((next) => setImmediate(next));
          peer.send(answerText('ok'));
        }
      };
      const outcomes: Record<string, number> = {};
      const one = async (): Promise<void> => {
        const client = await gateway.client(random.below(2));
        const priority = ['low', 'normal', 'high'][random.below(3)];
        const body = 'x'.repeat(random.below(8000));
        client.send(
          `POST /a HTTP/1.1\r\nhost: x\r\nx-tenant: ${random.below(4)}\r\nx-priority: ${priority}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
        if (random.ratio() < 0.2) {
          for (let turns = random.below(20); turns > 0; turns--) await new Promise((next) => setImmediate(next));
          client.reset();
          outcomes['gone'] = (outcomes['gone'] ?? 0) + 1;
          return;
        }
        const { status } = await client.response();
        outcomes[status] = (outcomes[status] ?? 0) + 1;
        client.destroy();
      };
      const lanes = Array.from({ length: 24 }, async () => {
        for (let round = 0; round < 12; round++) await one();
      });
      await Promise.all(lanes);
      expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(24 * 12);
      expect(Object.keys(outcomes).filter((each) => !['200', '429', '503', 'gone'].includes(each))).toEqual([]);
      expect(outcomes['200'], JSON.stringify(outcomes)).toBeGreaterThan(50);
      expect(inflightMost).toBeLessThanOrEqual(2);
      await gateway.assertIdle();
    }, 30_000);
  }
}
