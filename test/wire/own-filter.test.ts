import { join } from 'node:path';
import { expect, test } from 'vitest';
import { answerText, chatRequest, fieldOf, fieldsOf, requestText, rig, type Rig } from '../rig/index.ts';

// FAULTS S8: text of a filter that becomes a field, a target or a status goes through the same rules as a peer's.

const module = join(import.meta.dirname, 'fixtures/careless-filter.js');

function careless(hook: string, code: string): Promise<Rig> {
  return rig({
    listener: 'filter_chains: [edge]',
    yaml: `models: [{ name: a, targets: [{ pool: only }] }]
pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }]
filter_chains: [{ name: edge, filters: [{ filter: own, module: "${module}", options: { hook: ${hook}, code: ${JSON.stringify(code)} } }] }]`,
  });
}

const requests: readonly (readonly [what: string, code: string])[] = [
  ['a line end in a value, by set', String.raw`head.set('x-a', 'b\r\nx-evil: 1')`],
  ['a line end in a value, by add', String.raw`head.add('x-a', 'b\nx-evil: 1')`],
  ['a line end in a value, by append', String.raw`head.append('x-a', 'b\r\nx-evil: 1')`],
  ['a line end in a value, in place', String.raw`head.values[0] = 'b\r\nx-evil: 1'`],
  ['a NUL in a value', String.raw`head.add('x-a', 'b\0c')`],
  ['a value that is no text', `head.add('x-a', ['b'])`],
  ['a value that is missing', `head.count++`],
  ['a name with a line end', String.raw`head.append('x-a: b\r\nx-evil', '1')`],
  ['a name with a colon', `head.add('x-a: evil', '1')`],
  ['an empty name', `head.add('', 'evil')`],
  ['a name in capitals, by append', `head.append('Content-Length', '7')`],
  ['300 fields', `for (let i = 0; i < 300; i++) head.add('x-evil', '1')`],
  ['200 KB of fields', `for (let i = 0; i < 4; i++) head.add('x-evil', 'v'.repeat(50000))`],
  ['a line end in the path', String.raw`head.path = '/a HTTP/1.1\r\nx-evil: 1\r\n'`],
  ['a space in the path', `head.path = '/a evil'`],
  ['a path beyond ASCII', String.raw`head.path = '/evil\u4e0a'`],
  ['a path with a dot segment', `head.path = '/v1/../evil'`],
  ['a path with a query', `head.path = '/evil?b'`],
  ['a relative path', `head.path = 'evil'`],
  ['no path', `head.path = undefined`],
  ['a path of 9 KB', `head.path = '/evil' + 'a'.repeat(9000)`],
  ['a line end in the query', String.raw`head.query = 'a\r\nx-evil: 1'`],
  ['a fragment in the query', `head.query = 'a#evil'`],
  ['another method', `head.method = 'GET'`],
  ['another length', `head.contentLength = 3`],
  ['another framing', `head.isChunked = true`],
  ['a request id with a line end', String.raw`exchange.requestId = 'a\r\nx-evil: 1'`],
  ['an answer with status 100', `return { status: 100 }`],
  ['an answer with a status that is text', String.raw`return { status: '200 OK\r\nx-evil: 1' }`],
  ['an answer with a line end in a value', String.raw`return { status: 200, headers: { 'x-a': 'b\r\nx-evil: 1' } }`],
  ['an answer with a malformed name', `return { status: 200, headers: { 'x evil': 'b' } }`],
  ['an answer with an object as body', `return { status: 200, body: {} }`],
  ['a promise', `return Promise.reject(new Error('evil'))`],
  ['an answer that is text', `return 'evil'`],
];

for (const hook of ['onRequestHead', 'onRequestFacts']) {
  for (const [what, code] of requests) {
    test(`filters: when ${hook} leaves ${what}, the client gets 500 and nothing goes up`, async () => {
      const gateway = await careless(hook, code);
      const client = await gateway.client();
      const response = await client.ask(chatRequest('{"model":"a"}'));
      expect(response.status).toBe(500);
      expect(JSON.parse(response.text)).toMatchObject({ error: { code: 'internal_error' } });
      expect(response.head.raw + response.text).not.toContain('evil');
      expect(fieldsOf(response.head, 'x-request-id')).toHaveLength(1);
      // A busy machine may hand the port of one test to a late connection of another's, so it is asked whose bytes came.
      const [id] = fieldsOf(response.head, 'x-request-id');
      const seen = gateway.upstream.peers.map((peer) => peer.takePending().toString('latin1'));
      expect(seen.filter((text) => text.includes(id!) || text.includes('evil'))).toEqual([]);
      // What went wrong was the exchange's own: the next one on the connection fares the same, and nothing hangs.
      expect((await client.ask(chatRequest('{"model":"a"}'))).status).toBe(500);
    });
  }
}

test('filters: when onRequestBody leaves a malformed field, the client gets 500 and nothing goes up', async () => {
  const gateway = await careless('onRequestBody', String.raw`head.values[0] = 'b\r\nx-evil: 1'`);
  expect((await (await gateway.client()).ask(chatRequest('{"model":"a"}'))).status).toBe(500);
  expect(gateway.upstream.receivedBytes).toBe(0);
});

const responses: readonly (readonly [what: string, code: string])[] = [
  ['a line end in a value', String.raw`responseHead.append('x-a', 'b\r\nx-evil: 1')`],
  // Written as latin1 the second character is a line feed.
  [
    'a line end in a name of many bytes',
    String.raw`responseHead.names[0] = 'x\u4e0aevil'; responseHead.values[0] = '1'`,
  ],
  ['status 1000', `responseHead.status = 1000`],
  ['status 100', `responseHead.status = 100`],
  ['a status that is text', String.raw`responseHead.status = '200 OK\r\nx-evil: 1'`],
  ['204 for an answer with a body', `responseHead.status = 204`],
  ['another length', `responseHead.contentLength = 1`],
];

for (const hook of ['onResponseHead', 'onResponseChunk']) {
  for (const [what, code] of hook === 'onResponseHead' ? responses : responses.slice(0, 2)) {
    test(`filters: when ${hook} leaves ${what}, the client gets 500 and sees nothing of it`, async () => {
      const gateway = await careless(hook, code);
      gateway.upstream.answerAll(answerText('answer', ['x-b: c']));
      const response = await (await gateway.client()).ask(chatRequest('{"model":"a"}'));
      expect(response.status).toBe(500);
      expect(response.head.raw + response.text).not.toContain('evil');
    });
  }
}

// U+4E0A written as latin1 is a line feed; beside a character below U+0100 the value must not be taken for latin1.
test('filters: when a filter sets a field beyond latin1, both sides get it as UTF-8 and on one line', async () => {
  const value = 'caf\u00e9 \u4e0a\u4e0dx-evil: 1';
  const set = (head: string): string => `${head}.set('x-a', ${JSON.stringify(value)})`;
  const down = await careless('onResponseHead', set('responseHead'));
  down.upstream.answerAll(answerText('answer'));
  const response = await (await down.client()).ask(chatRequest('{"model":"a"}'));
  expect(Buffer.from(fieldOf(response.head, 'x-a') ?? '', 'latin1').toString()).toBe(value);
  expect(fieldOf(response.head, 'x-evil')).toBeUndefined();
  const up = await careless('onRequestHead', set('head'));
  up.upstream.answerAll(({ head }) => answerText(fieldOf(head, 'x-a') ?? ''));
  const echoed = await (await up.client()).ask(chatRequest('{"model":"a"}'));
  expect(Buffer.from(echoed.bytes).toString('latin1')).toBe(Buffer.from(value).toString('latin1'));
});

test('filters: when a hook returns null, the exchange goes on', async () => {
  for (const hook of ['onRequestHead', 'onRequestFacts', 'onResponseHead']) {
    const gateway = await careless(hook, 'return null');
    gateway.upstream.answerAll(answerText('answer'));
    expect((await (await gateway.client()).ask(chatRequest('{"model":"a"}'))).text).toBe('answer');
  }
});

test('filters: when a filter changes path, query and status as it may, both sides see the change', async () => {
  const up = await careless('onRequestHead', `head.path = '/v1/completions'; head.query = 'a=b%20c'`);
  up.upstream.answerAll(({ head }) => answerText(head.startLine));
  const response = await (await up.client()).ask(chatRequest('{"model":"a"}'));
  expect(response.text).toBe('POST /v1/completions?a=b%20c HTTP/1.1');
  const down = await careless('onResponseHead', `responseHead.status = 418`);
  down.upstream.answerAll(answerText('answer'));
  expect((await (await down.client()).ask(chatRequest('{"model":"a"}'))).status).toBe(418);
});

// A second length or coding beside ours would split the answer in two.
test('filters: when an answer names framing or connection fields, the gateway writes its own', async () => {
  const headers = {
    'Content-Length': '999',
    'transfer-encoding': 'chunked',
    connection: 'close',
    'x-request-id': 'mine',
  };
  const gateway = await careless(
    'onRequestHead',
    `return { status: 200, headers: ${JSON.stringify({ ...headers, 'x-kept': '1' })}, body: 'denied' }`,
  );
  const client = await gateway.client();
  for (let round = 0; round < 2; round++) {
    const response = await client.ask(requestText('GET', '/a'));
    expect([response.text, response.isComplete]).toEqual(['denied', true]);
    expect(fieldsOf(response.head, 'content-length')).toEqual(['6']);
    expect(fieldsOf(response.head, 'x-request-id')).not.toContain('mine');
    expect([fieldOf(response.head, 'transfer-encoding'), fieldOf(response.head, 'x-kept')]).toEqual([undefined, '1']);
  }
});
