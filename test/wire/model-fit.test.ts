import { expect, test } from 'vitest';
import { hashText } from '../../src/pick/index.ts';
import { ModelTable } from '../../src/shm/index.ts';
import { answerText, chatRequest, type RawClient, rig, type Rig, until } from '../rig/index.ts';

// Requests go to endpoints that say they have the model, and the room for its prompt.

const endpoints = 'endpoints: [{ url: "$UPSTREAM0" }, { url: "$UPSTREAM1" }, { url: "$UPSTREAM2" }]';
const pool = `pools: [{ name: p, engine: none, picker: PICKER, retries: { attempts: 0 }, ejection: { consecutive_failures: 100 }, ${endpoints} }]`;

type Lists = readonly (Record<string, number> | null)[];

/** Upstreams answer with their number; `lists`: what each says it has, with how many tokens. */
async function fleet(lists: Lists, yaml = pool, picker = 'round_robin'): Promise<Rig> {
  const gateway = await silentFleet(lists, yaml.replace('PICKER', picker));
  for (const [index, upstream] of gateway.upstreams.entries()) upstream.answerAll(answerText(`${index}`));
  return gateway;
}

async function silentFleet(lists: Lists, yaml: string, shardCount = 1): Promise<Rig> {
  const gateway = await rig({ upstreamCount: lists.length, shardCount, yaml });
  const table = new ModelTable(gateway.memory, -1);
  for (const [index, list] of lists.entries()) {
    const models = Object.entries(list ?? {});
    table.publish(
      gateway.slots[index]!,
      list === null
        ? null
        : models.map(([name, contextTokens]) => ({
            key: hashText(name),
            contextTokens,
            isAdapter: false,
            loads: false,
          })),
    );
  }
  return gateway;
}

async function answers(gateway: Rig, body: object, count = 6): Promise<string[]> {
  const client = await gateway.client();
  const from = new Set<string>();
  for (let turn = 0; turn < count; turn++) from.add((await client.ask(chatRequest(JSON.stringify(body)))).text);
  client.destroy();
  return [...from].sort();
}

const messages = [{ role: 'user', content: 'What does the gauge say?' }];

test.each(['round_robin', 'kv_aware', 'least_load', 'consistent_hash'])(
  'models: when endpoints list different ones, %s sends each request where its model is, with no models configured',
  async (picker) => {
    const gateway = await fleet([{ a: 0 }, { b: 0 }, { b: 0 }], pool, picker);
    expect(await answers(gateway, { model: 'a', messages })).toEqual(['0']);
    const others = await answers(gateway, { messages, model: 'b' });
    expect(others).not.toContain('0');
    await gateway.assertIdle();
  },
);

test('models: when nobody lists the model of a request, or one list is not known, nobody is left out for it', async () => {
  const gateway = await fleet([{ a: 0 }, { b: 0 }, null]);
  expect(await answers(gateway, { model: 'x', messages })).toEqual(['0', '1', '2']);
  expect(await answers(gateway, { model: 'a', messages })).toEqual(['0', '2']);
});

test('models: when a target renames the model, the name that is sent decides', async () => {
  const yaml = `models: [{ name: m, targets: [{ pool: p, model: real }] }]\n${pool}`;
  const gateway = await fleet([{ m: 0 }, { real: 0 }, { other: 0 }], yaml);
  expect(await answers(gateway, { model: 'm', messages })).toEqual(['1']);
});

test('models: when the only endpoint with the model is down, the request fails instead of going where it is not', async () => {
  const gateway = await fleet([{ a: 0 }, { b: 0 }, { b: 0 }]);
  gateway.fleet.setState(gateway.slots[0]!, 2);
  const client = await gateway.client();
  const { status, text } = await client.ask(chatRequest(JSON.stringify({ model: 'a', messages })));
  expect([status, text]).toEqual([503, expect.stringContaining('no_endpoint')]);
});

test('models: when a request may be tried again, endpoints without its model are not who is left', async () => {
  const yaml = pool.replace('attempts: 0', 'attempts: 2');
  const gateway = await fleet([{ a: 0 }, { b: 0 }, { b: 0 }], yaml);
  gateway.upstreams[0]!.answerAll('HTTP/1.1 503 Unwell\r\ncontent-length: 4\r\n\r\nbusy');
  const client = await gateway.client();
  const { status, text } = await client.ask(chatRequest(JSON.stringify({ model: 'a', messages })));
  expect([status, text], 'what the one endpoint said').toEqual([503, 'busy']);
});

test.each(['round_robin', 'kv_aware'])(
  'models: when a prompt is too long for some, %s sends it where it fits; too long for all, anywhere',
  async (picker) => {
    const gateway = await fleet([{ a: 1000 }, { a: 1000 }, { a: 5000 }], pool, picker);
    const long = (bytes: number): object => ({ model: 'a', messages: [{ role: 'user', content: 'x'.repeat(bytes) }] });
    expect(await answers(gateway, long(8000))).toEqual(['2']);
    const anywhere = await answers(gateway, long(40_000), 4);
    expect(anywhere.length).toBeGreaterThan(0);
    await gateway.assertIdle();
  },
);

test('models: when usage says that bytes are fewer tokens than was thought, prompts are measured by that', async () => {
  const gateway = await fleet([{ a: 1000 }, { a: 1000 }, { a: 5000 }]);
  const usage = JSON.stringify({ choices: [], usage: { prompt_tokens: 500, completion_tokens: 1, total_tokens: 501 } });
  gateway.upstreams[2]!.answerAll(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${usage.length}\r\n\r\n${usage}`,
  );
  const body = { model: 'a', messages: [{ role: 'user', content: 'x'.repeat(8000) }] };
  expect(await answers(gateway, body, 1)).toEqual([usage]);
  expect(await answers(gateway, body, 6), 'they fit everywhere').toContain('0');
});

test('models: when no models are configured, GET /v1/models is what endpoints list; of one that nobody lists they are asked', async () => {
  const gateway = await fleet([{ a: 0 }, { a: 0 }, { a: 0 }]);
  const client = await gateway.client();
  const get = (path: string) => client.ask(`GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
  expect((await get('/v1/models')).text, 'nothing is known').toBe('0');
  const table = new ModelTable(gateway.memory, -1);
  table.publishPage(Buffer.from('[{"id":"a","max_model_len":100},{"id":"org/b","parent":"a"}]'));
  const { head, text } = await get('/v1/models');
  expect(head.fields).toContainEqual(['content-type', 'application/json']);
  expect(JSON.parse(text)).toEqual({
    object: 'list',
    data: [
      { id: 'a', object: 'model', created: 0, owned_by: 'penstock', max_model_len: 100 },
      { id: 'org/b', object: 'model', created: 0, owned_by: 'penstock', parent: 'a' },
    ],
  });
  expect(JSON.parse((await get('/v1/models/org%2Fb')).text)).toMatchObject({ id: 'org/b', parent: 'a' });
  expect((await get('/v1/models/x')).text).toMatch(/^[012]$/);
});

// A pool is one queue, and those in it have use for different endpoints.
test.each([0, 1])(
  'models: when many wait for the endpoint with their model, requests for others are served at once, from shard %d too',
  async (shardIndex) => {
    const yaml = pool.replace('PICKER', 'round_robin, inflight_max: 1').replace(', { url: "$UPSTREAM2" }', '');
    const gateway = await silentFleet([{ a: 0 }, { b: 0 }], yaml, 2);
    gateway.upstreams[1]!.answerAll(answerText('1'));
    const send = async (model: string, shard: number): Promise<RawClient> => {
      const before = gateway.phases().length;
      const client = await gateway.client(shard);
      client.send(chatRequest(JSON.stringify({ model, messages })));
      await until(() => gateway.phases().length > before, 'it is here');
      return client;
    };
    const queued = (): number => gateway.phases().filter((phase) => phase === 'queued').length;
    const clients: RawClient[] = [];
    for (let count = 0; count < 12; count++) clients.push(await send('a', 0));
    expect(queued()).toBe(11);
    for (let count = 0; count < 4; count++) {
      const client = await send('b', shardIndex);
      expect(queued(), 'no turn is left to anybody').toBe(11);
      expect((await client.response()).text).toBe('1');
      client.destroy();
      await until(() => gateway.phases().length === 12, 'it is over');
    }
    const peer = await gateway.upstreams[0]!.accept();
    for (const client of clients) {
      await peer.request();
      peer.send(answerText('0'));
      expect((await client.response()).text).toBe('0');
    }
  },
);

test('models: when one that is too long for what is free waits first, a short one behind it is served', async () => {
  const yaml = pool.replace('PICKER', 'round_robin, inflight_max: 1').replace(', { url: "$UPSTREAM2" }', '');
  const gateway = await silentFleet([{ a: 1000 }, { a: 5000 }], yaml);
  const send = async (bytes: number, phase: string): Promise<RawClient> => {
    const before = gateway.phases().filter((each) => each === phase).length;
    const client = await gateway.client();
    client.send(chatRequest(JSON.stringify({ model: 'a', messages: [{ role: 'user', content: 'x'.repeat(bytes) }] })));
    await until(() => gateway.phases().filter((each) => each === phase).length > before, `it is ${phase}`);
    return client;
  };
  await send(8000, 'waiting');
  const short = await send(100, 'waiting');
  await send(8000, 'queued');
  const next = await send(100, 'queued');
  const peer = await gateway.upstreams[0]!.accept();
  await peer.request();
  peer.send(answerText('first'));
  expect((await short.response()).text).toBe('first');
  await peer.request();
  peer.send(answerText('second'));
  expect((await next.response()).text).toBe('second');
  expect(gateway.phases().filter((phase) => phase === 'queued').length, 'the long one').toBe(1);
});
