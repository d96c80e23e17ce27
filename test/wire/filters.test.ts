import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { answerText, chatRequest, fieldOf, requestText, rig, type Rig, until } from '../rig/index.ts';

const ownFilter = join(import.meta.dirname, 'fixtures/own-filter.js');

const shared = globalThis as { seen?: string[] };
beforeEach(() => {
  shared.seen = [];
});

function chain(filters: string, models = ''): Promise<Rig> {
  return rig({
    listener: 'filter_chains: [edge]',
    yaml: `${models}
pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }]
filter_chains: [{ name: edge, filters: [${filters}] }]`,
  });
}

function own(options: string): Promise<Rig> {
  return chain(
    `{ filter: own, module: "${ownFilter}", options: { ${options} } }`,
    'models: [{ name: a, targets: [{ pool: only }] }]',
  );
}

test('filters: when an exchange passes, a filter sees each point of it in order', async () => {
  const gateway = await own('');
  gateway.upstream.answerAll(answerText('answer'));
  const client = await gateway.client();
  expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('answer');
  await until(() => shared.seen!.length === 6, 'all hooks ran');
  expect(shared.seen).toEqual([
    'onRequestHead /v1/chat/completions',
    'onRequestBody {"model":"a"}',
    'onRequestFacts a',
    'onResponseHead 200',
    'onResponseChunk answer',
    'onEnd',
  ]);
});

for (const hook of ['onRequestHead', 'onRequestBody', 'onRequestFacts', 'onResponseHead', 'onResponseChunk']) {
  // src/filters/filter.ts: a hook that throws ends its exchange with 500; the process goes on. FAULTS F21.
  test(`filters: when ${hook} throws, the client gets 500 internal_error and the gateway goes on`, async () => {
    const gateway = await own(`throws: ${hook}`);
    gateway.upstream.answerAll(answerText('answer'));
    const client = await gateway.client();
    for (let round = 0; round < 2; round++) {
      const response = await client.ask(chatRequest('{"model":"a"}'));
      expect(response.status).toBe(500);
      expect(JSON.parse(response.text)).toEqual({
        error: { message: expect.any(String), type: 'server_error', param: null, code: 'internal_error' },
      });
      expect(response.text, 'what was thrown is for the log').not.toContain('thrown');
    }
  });
}

test('filters: when onResponseChunk throws after the head was relayed, the body is cut', async () => {
  const gateway = await own('throws: onResponseChunk cd');
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  await peer.sendPieces(['HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab']);
  await client.readUntil('\r\n\r\nab');
  peer.send('cd');
  await client.ended();
  expect(client.pendingBytes).toBe(0);
});

test('filters: when onEnd throws, the client has its answer and the gateway goes on', async () => {
  const gateway = await own('throws: onEnd');
  gateway.upstream.answerAll(answerText('answer'));
  const client = await gateway.client();
  for (let round = 0; round < 2; round++) expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('answer');
});

test('filters: when a filter answers, no endpoint is asked and its fields are sent', async () => {
  const gateway = await own(
    'answers: { status: 403, headers: { x-why: "no", content-type: text/plain }, body: "denied" }',
  );
  const client = await gateway.client();
  const response = await client.ask(chatRequest('{"model":"a"}'));
  expect([response.status, response.text, fieldOf(response.head, 'x-why')]).toEqual([403, 'denied', 'no']);
  expect(fieldOf(response.head, 'x-request-id')).toMatch(/./);
  expect(gateway.upstream.peers.length).toBe(0);
  expect((await client.ask(requestText('HEAD', '/a'), true)).status).toBe(403);
  expect((await client.ask(requestText('GET', '/a'))).text).toBe('denied');
});

// RFC 9110 section 6.4.1.
test('filters: when a filter answers 204, the answer has no length and the connection serves on', async () => {
  const gateway = await chain('{ filter: static_response, status: 204 }');
  const client = await gateway.client();
  for (let round = 0; round < 2; round++) {
    const response = await client.ask(requestText('GET', '/a'));
    expect([response.status, fieldOf(response.head, 'content-length')]).toEqual([204, undefined]);
  }
});

// FAULTS S8.
for (const value of ['a\\r\\nx-evil: 1', 'a\\nx-evil: 1', 'a\\0b']) {
  test(`filters: when a filter sets a field to ${value}, the client gets 500 and neither side sees it`, async () => {
    const gateway = await own(`fields: { x-a: "${value}" }`);
    const client = await gateway.client();
    const response = await client.ask(chatRequest('{"model":"a"}'));
    expect(response.status).toBe(500);
    expect(response.head.raw).not.toContain('evil');
    expect(gateway.upstream.receivedBytes).toBe(0);
    const answering = await own(`answers: { status: 200, headers: { x-a: "${value}" } }`);
    expect((await (await answering.client()).ask(chatRequest('{"model":"a"}'))).head.raw).not.toContain('evil');
  });
}

// A name in capitals must not slip past the rules for framing.
test('filters: when a filter sets Content-Length or Transfer-Encoding, the gateway writes its own', async () => {
  const gateway = await own('fields: { Content-Length: "999", Transfer-Encoding: "gzip", X-Kept: "1" }');
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const response = await (await gateway.client()).ask(chatRequest('{"model":"a"}'));
  expect(response.text.match(/content-length/gi)).toHaveLength(1);
  expect(response.text).not.toMatch(/transfer-encoding/i);
  expect(response.text).toContain('x-kept: 1');
  expect(response.isComplete).toBe(true);
  expect(response.head.raw).not.toMatch(/gzip|: 999/);
});

test('filters: when the headers filter changes fields, each side sees its own changes', async () => {
  const gateway = await chain(
    '{ filter: headers, request: { set: { X-Set: "1" }, add: { x-add: "2" }, remove: [X-Drop] }, response: { set: { server: "us" }, remove: [x-secret] } }',
  );
  gateway.upstream.answerAll(({ head }) => answerText(head.raw, ['server: them', 'x-secret: 1']));
  const response = await (await gateway.client()).ask(requestText('GET', '/a', ['x-set: 0', 'x-add: 0', 'x-drop: 0']));
  expect(response.text).toContain('x-set: 1\r\n');
  expect(response.text).toContain('x-add: 0\r\n');
  expect(response.text).toContain('x-add: 2\r\n');
  expect(response.text).not.toContain('x-drop');
  expect([fieldOf(response.head, 'server'), fieldOf(response.head, 'x-secret')]).toEqual(['us', undefined]);
});

const conditions: readonly (readonly [when: string, request: string, isMet: boolean])[] = [
  ['when: { path: "/blocked*" }', requestText('GET', '/blocked/a'), true],
  ['when: { path: "/blocked*" }', requestText('GET', '/open'), false],
  ['when: { method: [PUT, DELETE] }', requestText('DELETE', '/a'), true],
  ['unless: { method: GET }', requestText('GET', '/a'), false],
  ['when: { header: { x-a: "*" } }', requestText('GET', '/a', ['x-a: 1']), true],
  ['when: { header: { x-a: "2" } }', requestText('GET', '/a', ['x-a: 1']), false],
  ['when: { model: a }', chatRequest('{"model":"a"}'), true],
  ['when: { model: a }', chatRequest('{"messages":[],"model":"b"}'), false],
  ['when: { stream: true }', chatRequest('{"model":"a","stream":true}'), true],
  ['when: { stream: true }', chatRequest('{"model":"a"}'), false],
];

for (const [when, request, isMet] of conditions) {
  test(`filters: when a filter has ${when} and ${JSON.stringify(request.slice(0, 18))} comes, it ${isMet ? 'acts' : 'does not act'}`, async () => {
    const gateway = await chain(`{ filter: static_response, status: 418, ${when} }`);
    gateway.upstream.answerAll(answerText('passed'));
    expect((await (await gateway.client()).ask(request)).status).toBe(isMet ? 418 : 200);
  });
}
