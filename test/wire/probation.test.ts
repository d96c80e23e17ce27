import { expect, test } from 'vitest';
import { wholeRow } from '../../src/shm/index.ts';
import {
  answerText,
  chatRequest,
  type RawClient,
  requestText,
  rig,
  type Rig,
  type UpstreamPeer,
} from '../rig/index.ts';
import { until } from '../rig/until.ts';

const baseMs = 300;
const good = answerText('{"choices":[]}');
const bad = 'HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n';
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

const tokenEvent = (text: string): string =>
  chunk(`data: {"choices":[{"delta":{"content":${JSON.stringify(text)}},"finish_reason":null}]}\n\n`);

async function pool(upstreamCount: number, extra = ''): Promise<Rig> {
  const endpoints = Array.from({ length: upstreamCount }, (_, index) => `{ url: "$UPSTREAM${index}" }`).join(', ');
  return rig({
    upstreamCount,
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 },
      ejection: { consecutive_failures: 1, base_ms: ${baseMs}, share_max_percent: 100 }${extra}, endpoints: [${endpoints}] }]`,
  });
}

/** What the first upstream does with each request, to be changed as the test goes on. */
interface Script {
  answer: (peer: UpstreamPeer) => void | Promise<void>;
  /** Requests that came. */
  count: number;
}

function scripted(gateway: Rig, index: number): Script {
  const script: Script = { answer: (peer) => peer.send(bad), count: 0 };
  gateway.upstreams[index]!.onPeer = async (peer) => {
    for (;;) {
      await peer.request();
      script.count++;
      await script.answer(peer);
    }
  };
  return script;
}

function view(gateway: Rig, index = 0) {
  return gateway.fleet.health.view(gateway.slots[index]!, wholeRow, gateway.shard.state.parts.clock.refresh());
}

async function ask(gateway: Rig): Promise<RawClient> {
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  return client;
}

/** Makes the first endpoint fail once, which ejects it, and waits until its period is over. */
async function eject(gateway: Rig, script: Script): Promise<void> {
  script.answer = (peer) => peer.send(bad);
  while (!view(gateway).isOut) await (await ask(gateway)).response();
  script.count = 0;
  await until(() => view(gateway).isOnProbation, 'the period is over');
}

test('probation: when a period is over, one request goes there, and the others follow once it went well', async () => {
  const gateway = await pool(2);
  const script = scripted(gateway, 0);
  gateway.upstreams[1]!.answerAll(good);
  await eject(gateway, script);
  let probe: UpstreamPeer | null = null;
  script.answer = (peer) => void (probe = peer);
  const first = await ask(gateway);
  await until(() => probe !== null, 'the probe is there');
  for (let round = 0; round < 6; round++) expect((await (await ask(gateway)).response()).status).toBe(200);
  expect(script.count, 'six more requests').toBe(1);
  expect(gateway.held()).toMatchObject({ 'lease probe': 1 });
  script.answer = (peer) => peer.send(good);
  probe!.send(good);
  expect((await first.response()).status).toBe(200);
  expect(view(gateway)).toMatchObject({ isOut: false, isOnProbation: false });
  for (let round = 0; round < 30; round++) await (await ask(gateway)).response();
  expect(script.count).toBeGreaterThan(1);
});

test('probation: when the probe fails, the endpoint is out again at once, for twice as long', async () => {
  const gateway = await pool(2);
  const script = scripted(gateway, 0);
  gateway.upstreams[1]!.answerAll(good);
  await eject(gateway, script);
  const { ejections } = view(gateway);
  expect((await (await ask(gateway)).response()).status).toBe(500);
  const again = view(gateway);
  expect([again.isOut, again.ejections]).toEqual([true, ejections + 1]);
  expect(again.outForMs).toBeLessThanOrEqual(baseMs * 2 ** ejections + 100);
  for (let round = 0; round < 4; round++) expect((await (await ask(gateway)).response()).status).toBe(200);
});

test('probation: when the client of the probe goes away, nothing is known, and the next request probes', async () => {
  const gateway = await pool(2);
  const script = scripted(gateway, 0);
  gateway.upstreams[1]!.answerAll(good);
  await eject(gateway, script);
  script.answer = () => {};
  for (let round = 1; round <= 3; round++) {
    const client = await ask(gateway);
    await until(() => script.count === round, 'the probe is there');
    expect(gateway.held()).toMatchObject({ 'lease probe': 1 });
    client.destroy();
    await until(() => gateway.held()['lease probe'] === undefined, 'the probe is given back');
    expect(view(gateway)).toMatchObject({ isOut: false, isOnProbation: true });
  }
  script.answer = (peer) => peer.send(good);
  await (await ask(gateway)).response();
  expect(view(gateway).isOnProbation).toBe(false);
});

// Stored conversations and tools that ran cannot be repeated.
test('probation: when a request could not be sent again, it goes where all is well', async () => {
  const gateway = await pool(2);
  const script = scripted(gateway, 0);
  gateway.upstreams[1]!.answerAll(good);
  await eject(gateway, script);
  for (let round = 0; round < 6; round++) {
    const client = await gateway.client();
    client.send(requestText('POST', '/v1/responses', ['content-type: application/json'], '{"model":"a"}'));
    expect((await client.response()).status).toBe(200);
  }
  expect(script.count).toBe(0);
});

test('probation: when there is no other endpoint, requests wait for the probe, and are served when it went well', async () => {
  const gateway = await pool(1);
  const script = scripted(gateway, 0);
  await eject(gateway, script);
  let probe: UpstreamPeer | null = null;
  script.answer = (peer) => void (probe = peer);
  const first = await ask(gateway);
  await until(() => probe !== null, 'the probe is there');
  const others = await Promise.all([1, 2, 3].map(() => ask(gateway)));
  await until(() => gateway.phases().filter((phase) => phase === 'queued').length === 3, 'the others wait');
  script.answer = (peer) => peer.send(good);
  probe!.send(good);
  for (const client of [first, ...others]) expect((await client.response()).status).toBe(200);
});

test('probation: when the probe is a long stream, others follow as soon as it has streamed well for a while', async () => {
  const gateway = await pool(1);
  const script = scripted(gateway, 0);
  await eject(gateway, script);
  let probe: UpstreamPeer | null = null;
  script.answer = (peer) => void (probe = peer);
  await ask(gateway);
  await until(() => probe !== null, 'the probe is there');
  probe!.send(streamHead);
  for (let number = 0; number < 31; number++) probe!.send(tokenEvent(` ${number}`));
  const other = await ask(gateway);
  await gateway.inPhase('queued');
  script.answer = (peer) => peer.send(good);
  probe!.send(tokenEvent(' 31'));
  expect((await other.response()).status).toBe(200);
  expect(gateway.phases(), 'the probe goes on').toEqual(['streaming']);
  expect(view(gateway).isOnProbation).toBe(false);
});

test('slow start: when an endpoint is back, it begins with a tenth of its share', async () => {
  const gateway = await pool(2, ', slow_start_ms: 10m');
  const script = scripted(gateway, 0);
  gateway.upstreams[1]!.answerAll(good);
  await eject(gateway, script);
  script.answer = (peer) => peer.send(good);
  for (let round = 0; round < 44; round++) expect((await (await ask(gateway)).response()).status).toBe(200);
  // The probe, and then 1 of 11.
  expect(script.count).toBeGreaterThanOrEqual(3);
  expect(script.count).toBeLessThanOrEqual(7);
});

const twoModels = `
models:
  - { name: a, targets: [{ pool: only }] }
  - { name: b, targets: [{ pool: only }] }
pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 },
  ejection: { consecutive_failures: 2, base_ms: ${baseMs} }, endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }] }]`;

test('models: when an endpoint is bad for one model, it is out for that one, and serves the others', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: twoModels });
  const served = { a: 0, b: 0 };
  let isSick = true;
  gateway.upstreams[0]!.onPeer = async (peer) => {
    for (;;) {
      const { text } = await peer.request();
      const model = text.includes('"a"') ? 'a' : 'b';
      served[model]++;
      peer.send(model === 'a' && isSick ? bad : good);
    }
  };
  gateway.upstreams[1]!.answerAll(good);
  const client = await gateway.client();
  const round = async (): Promise<number> => {
    const statuses = [];
    for (const model of ['b', 'a', 'a', 'b', 'b', 'a']) {
      statuses.push((await client.ask(chatRequest(`{"model":"${model}"}`))).status);
    }
    return statuses.filter((status) => status !== 200).length;
  };
  expect((await round()) + (await round())).toBeGreaterThan(0);
  const rowOf = (model: string): number => gateway.shard.state.runtime.pools[0]!.rowOf(model);
  const state = (model: string) =>
    gateway.fleet.health.view(gateway.slots[0]!, rowOf(model), gateway.shard.state.parts.clock.refresh());
  expect([state('a').isOut, state('b').isOut, view(gateway).isOut]).toEqual([true, false, false]);
  const before = { ...served };
  expect(await round(), 'nobody meets it any more').toBe(0);
  expect(served.a).toBe(before.a);
  expect(served.b).toBeGreaterThan(before.b);
  isSick = false;
  await until(() => state('a').isOnProbation, 'the period is over');
  await round();
  expect(state('a')).toMatchObject({ isOut: false, isOnProbation: false });
  expect(served.a).toBeGreaterThan(before.a);
});

// Providers limit rates by model.
test('models: when an endpoint answers 429 with retry-after for one model, the other goes on', async () => {
  const gateway = await rig({ upstreamCount: 2, yaml: twoModels });
  gateway.upstreams[0]!.answerAll(({ text }) =>
    text.includes('"a"') ? 'HTTP/1.1 429 Slow down\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n' : good,
  );
  gateway.upstreams[1]!.answerAll(good);
  const client = await gateway.client();
  for (let count = 0; count < 3; count++) await client.ask(chatRequest('{"model":"a"}'));
  const { health } = gateway.fleet;
  const pool0 = gateway.shard.state.runtime.pools[0]!;
  const nowMs = gateway.shard.state.parts.clock.refresh();
  const outMs = health.outForMs(gateway.slots[0]!, pool0.rowOf('a'), nowMs);
  expect(outMs).toBeGreaterThan(28_000);
  expect(health.outForMs(gateway.slots[0]!, pool0.rowOf('b'), nowMs)).toBe(0);
  expect(health.isDistrusted(gateway.slots[0]!, pool0.rowOf('a')), 'it has nothing to prove afterwards').toBe(false);
});
