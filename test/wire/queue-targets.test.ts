import { expect, test } from 'vitest';
import { modelKeyOf } from '../../src/pick/index.ts';
import { ModelTable } from '../../src/shm/index.ts';
import { Random } from '../../src/sim/random.ts';
import { answerText, chatRequest, type RawClient, rig, type Rig, until, type UpstreamPeer } from '../rig/index.ts';

// A request waits in the queue of the first target that had no room, and takes a place of another one that was full if that is
// free before: CONTRACT section 2, "next when saturated".

const two = (rest = ''): string => `
models:
  - { name: a, targets: [{ pool: one }, { pool: two, model: b }] }
  - { name: c, targets: [{ pool: two }] }
  - { name: broken, targets: [{ pool: two, model: b }, { pool: one }] }
pools:
  - { name: one, engine: none, picker: round_robin, inflight_max: 1, ${rest} endpoints: [{ url: "$UPSTREAM0" }] }
  - { name: two, engine: none, picker: round_robin, inflight_max: 1, ${rest} endpoints: [{ url: "$UPSTREAM1" }] }
`;

const body = (model: string): string => `{"model":"${model}"}`;
const answer = (content: string): string => answerText(`{"choices":[{"message":{"content":"${content}"}}]}`);

async function send(gateway: Rig, model: string, shardIndex = 0): Promise<RawClient> {
  const client = await gateway.client(shardIndex);
  client.send(chatRequest(body(model)));
  return client;
}

/** Both pools are full. */
async function full(gateway: Rig): Promise<{ readonly one: UpstreamPeer; readonly two: UpstreamPeer }> {
  await send(gateway, 'a');
  const one = await gateway.upstreams[0]!.accept();
  await one.request();
  await send(gateway, 'c');
  const other = await gateway.upstreams[1]!.accept();
  await other.request();
  return { one, two: other };
}

const queued = (gateway: Rig): number => gateway.phases().filter((phase) => phase === 'queued').length;

/** Sends it, and waits until it waits. */
async function wait(gateway: Rig, model: string, shardIndex = 0): Promise<RawClient> {
  const before = queued(gateway);
  const client = await send(gateway, model, shardIndex);
  await until(() => queued(gateway) === before + 1, 'it waits');
  return client;
}

test('queue: when a place is free at the next target first, one that waits for the first target has it', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: two() });
  const peers = await full(gateway);
  const waiting = await wait(gateway, 'a');
  expect(gateway.counts('penstock_queue_depth')).toEqual({ 'one normal': 1 });
  peers.two.send(answer('c'));
  expect((await peers.two.request()).text, 'by the name it has there').toBe(body('b'));
  expect(gateway.counts('penstock_queue_depth')).toEqual({});
  peers.two.send(answer('spilled'));
  expect((await waiting.response()).text).toContain('spilled');
  expect(gateway.fleet.inflight(gateway.slots[0]!), 'the first goes on').toBe(1);
});

test('queue: when somebody waits for that target already, that one goes first, whoever came first', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: two() });
  const peers = await full(gateway);
  const spilling = await wait(gateway, 'a');
  const own = await wait(gateway, 'c');
  peers.two.send(answer('c'));
  expect((await peers.two.request()).text).toBe(body('c'));
  await gateway.pass(250);
  expect(queued(gateway)).toBe(1);
  peers.two.send(answer('own'));
  expect((await own.response()).text).toContain('own');
  expect((await peers.two.request()).text).toBe(body('b'));
  peers.two.send(answer('spilled'));
  expect((await spilling.response()).text).toContain('spilled');
});

test('queue: when a place is free at its own target, one that was looked at for another has it all the same', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: two() });
  const peers = await full(gateway);
  const waiting = await wait(gateway, 'a');
  await gateway.pass(500); // Looked at ten times.
  peers.one.send(answer('a'));
  expect((await peers.one.request()).text).toBe(body('a'));
  peers.one.send(answer('own'));
  expect((await waiting.response()).text).toContain('own');
});

test('queue: when a target has failed for a request, it is not tried again while that waits for another', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: two('retries: { attempts: 0 }, ejection: { consecutive_failures: 100 },'),
  });
  await send(gateway, 'a');
  const one = await gateway.upstreams[0]!.accept();
  await one.request();
  await send(gateway, 'broken');
  const other = await gateway.upstreams[1]!.accept();
  await other.request();
  other.reset();
  await gateway.inPhase('queued');
  await gateway.pass(250);
  expect(queued(gateway), 'there is room where it failed').toBe(1);
  expect(gateway.upstreams[1]!.peers.length).toBe(1);
  one.send(answer('a'));
  expect((await one.request()).text).toBe(body('broken'));
});

test('queue: when many wait, they are served by both targets, and each once', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: two() });
  const peers = await full(gateway);
  const clients = [];
  for (let count = 0; count < 12; count++) clients.push(await wait(gateway, 'a'));
  for (const upstream of [peers.one, peers.two]) {
    void (async () => {
      for (;;) {
        upstream.send(answer('ok'));
        await upstream.request();
      }
    })().catch(() => {});
  }
  for (const client of clients) expect((await client.response()).status).toBe(200);
  expect(gateway.counts('penstock_queue_depth')).toEqual({});
  expect(queued(gateway)).toBe(0);
});

test('queue: when a client leaves while it waits, or its time is over, nothing of it is left in either queue', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: two('queue: { wait_ms: 1s },') });
  await full(gateway);
  const leaving = await wait(gateway, 'a');
  const late = await wait(gateway, 'a');
  leaving.reset();
  await until(() => queued(gateway) === 1, 'one has left');
  await gateway.pass(1500);
  expect((await late.response()).status).toBe(503);
  expect(gateway.counts('penstock_queue_depth')).toEqual({});
});

test('queue: when tenants have other names in the next pool, a request leaves the turn it had in the first', async () => {
  const gateway = await rig({
    upstreamCount: 2,
    yaml: two().replace('name: two,', 'name: two, queue: { fair_by: "header:x-tenant" },'),
  });
  const peers = await full(gateway);
  const waiting = await gateway.client();
  waiting.send(chatRequest(body('a'), ['x-tenant: t']));
  await gateway.inPhase('queued');
  peers.two.send(answer('c'));
  expect((await peers.two.request()).text).toBe(body('b'));
  peers.two.send(answer('spilled'));
  expect((await waiting.response()).text).toContain('spilled');
});

test('queue: when the place at the next target comes free in another shard, who waits in this one has it', async () => {
  const gateway = await rig({ upstreamCount: 2, shardCount: 2, yaml: two() });
  const peers = await full(gateway);
  const waiting = await wait(gateway, 'a', 1);
  peers.two.send(answer('c'));
  const next = await gateway.upstreams[1]!.accept();
  expect((await next.request()).text).toBe(body('b'));
  next.send(answer('spilled'));
  expect((await waiting.response()).text).toContain('spilled');
});

/** What endpoints list, where they say anything: no target is left without one that fits and has its model. */
const listed = ['ab', 'abc', 'ac', 'bc'];

for (const seed of [1, 2, 3]) {
  test(`queue: when clients of two shards ask at random for models with targets and kinds (seed ${seed}), each is answered once, and nothing is held`, async () => {
    const random = new Random(seed);
    const gateway = await rig({
      upstreamCount: 4,
      shardCount: 2,
      yaml: `
models:
  - { name: a, targets: [{ pool: one, skus: [x] }, { pool: two }] }
  - { name: b, targets: [{ pool: two, skus: [y] }, { pool: one }] }
  - { name: c, targets: [{ pool: one, skus: [y] }, { pool: two, skus: [x] }, { pool: one }] }
pools:
  - { name: one, engine: none, picker: least_load, inflight_max: 2, pending_tokens_max: 300, retries: { attempts: 1 }, ejection: { consecutive_failures: 1000 },
      queue: { wait_ms: 20s, fair_by: "header:x-tenant" }, endpoints: [{ url: "$UPSTREAM0", sku: x }, { url: "$UPSTREAM1", sku: y }] }
  - { name: two, engine: none, picker: kv_aware, inflight_max: 2, retries: { attempts: 1 }, ejection: { consecutive_failures: 1000 },
      queue: { wait_ms: 20s }, endpoints: [{ url: "$UPSTREAM2", sku: x }, { url: "$UPSTREAM3", sku: y }] }
`,
    });
    const table = new ModelTable(gateway.memory, -1);
    const rest = { contextTokens: 0, isAdapter: false, loads: false };
    for (const [index, names] of listed.entries()) {
      const list = [...names].map((name) => ({ key: modelKeyOf(name), ...rest }));
      if (seed > 1) table.publish(gateway.slots[index]!, list);
    }
    const most = [0, 0, 0, 0];
    for (const [index, upstream] of gateway.upstreams.entries()) {
      upstream.onPeer = async (peer) => {
        for (;;) {
          await peer.request();
          most[index] = Math.max(most[index]!, gateway.fleet.inflight(gateway.slots[index]!));
          for (let left = random.below(8); left > 0; left--) await new Promise((next) => setImmediate(next));
          if (random.ratio() < 0.05) peer.reset();
          else peer.send(answer(String(index)));
        }
      };
    }
    let answered = 0;
    const one = async (): Promise<void> => {
      const client = await gateway.client(random.below(2));
      const model = 'abc'[random.below(3)]!;
      const content = 'water '.repeat(random.below(400));
      const text = JSON.stringify({ model, messages: [{ role: 'user', content }] });
      client.send(chatRequest(text, [`x-tenant: ${random.below(4)}`]));
      if (random.ratio() < 0.2) {
        for (let left = random.below(20); left > 0; left--) await new Promise((next) => setImmediate(next));
        client.reset();
        return;
      }
      const { status } = await client.response();
      expect([200, 502]).toContain(status);
      answered++;
      client.destroy();
    };
    for (let batch = 0; batch < 6; batch++) await Promise.all(Array.from({ length: 25 }, one));
    expect(answered).toBeGreaterThan(90);
    expect(Math.max(...most), 'no endpoint had more than it may').toBe(2);
    await gateway.assertIdle();
    expect(gateway.counts('penstock_queue_depth')).toEqual({});
  });
}
