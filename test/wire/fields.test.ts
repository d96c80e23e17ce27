import { expect, test } from 'vitest';
import { answerText, fieldOf, fieldsOf, requestText, rig } from '../rig/index.ts';

function pool(extra: string): string {
  return `pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }]${extra} }]`;
}

// RFC 9110 section 7.6.1.
test('fields: when either side sends hop-by-hop or nominated fields, they stay behind', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  const hops = ['keep-alive: 1', 'te: trailers', 'trailer: x', 'proxy-connection: a', 'upgrade: h2c', 'x-private: 1'];
  client.send(requestText('GET', '/a', ['connection: Upgrade, X-Private , te', ...hops, 'x-kept: 1']));
  const peer = await gateway.upstream.accept();
  const { head } = await peer.request();
  for (const name of ['connection', ...hops.map((hop) => hop.split(':')[0]!)])
    expect(fieldOf(head, name), name).toBeUndefined();
  expect(fieldOf(head, 'x-kept')).toBe('1');
  peer.send(answerText('ok', ['connection: x-private, keep-alive', ...hops.slice(0, 4), 'x-private: 1', 'x-kept: 1']));
  const response = await client.response();
  for (const name of ['connection', 'keep-alive', 'te', 'trailer', 'proxy-connection', 'x-private']) {
    expect(fieldOf(response.head, name), name).toBeUndefined();
  }
  expect(fieldOf(response.head, 'x-kept')).toBe('1');
});

// RFC 9110 section 5.3: a list may be spread over several fields. Found by fuzzing.
test('fields: when a second Connection field nominates others, they stay behind too', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  const fields = [
    'connection: keep-alive',
    'connection: x-one',
    'x-one: 1',
    'connection: x-two',
    'x-two: 2',
    'x-kept: 1',
  ];
  client.send(requestText('GET', '/a', fields));
  const peer = await gateway.upstream.accept();
  const { head } = await peer.request();
  expect([fieldOf(head, 'x-one'), fieldOf(head, 'x-two'), fieldOf(head, 'x-kept')]).toEqual([
    undefined,
    undefined,
    '1',
  ]);
  peer.send(answerText('ok', fields));
  const response = await client.response();
  const down = ['x-one', 'x-two', 'x-kept'].map((name) => fieldOf(response.head, name));
  expect(down).toEqual([undefined, undefined, '1']);
});

// RFC 9110 section 7.6.3.
test('fields: when a message passes, each side sees our via behind those of earlier hops, and one date', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('GET', '/a', ['via: 1.0 first, 1.1 second', 'via: 1.1 third']));
  const peer = await gateway.upstream.accept();
  expect(fieldsOf((await peer.request()).head, 'via')).toEqual(['1.0 first, 1.1 second, 1.1 third, 1.1 penstock']);
  peer.send(answerText('ok', ['date: Thu, 01 Jan 1970 00:00:00 GMT', 'server: vllm']));
  const response = await client.response();
  expect(fieldsOf(response.head, 'via')).toEqual(['1.1 penstock']);
  expect(fieldsOf(response.head, 'date').length).toBe(1);
  expect(fieldOf(response.head, 'server')).toBe('vllm');
});

// CONTRACT section 3: 1 to 128 visible ASCII characters.
for (const [id, isTaken] of [
  ['abc-123', true],
  ['x'.repeat(128), true],
  ['x'.repeat(129), false],
  ['a b', false],
  ['', false],
] as const) {
  test(`fields: when a client names its request with ${id.length} characters, it is ${isTaken ? 'taken' : 'replaced'}, sent up and returned`, async () => {
    const gateway = await rig();
    gateway.upstream.answerAll(({ head }) =>
      answerText(fieldsOf(head, 'x-request-id').join(), ['x-request-id: theirs']),
    );
    const client = await gateway.client();
    const response = await client.ask(requestText('GET', '/a', [`x-request-id: ${id}`]));
    const ids = fieldsOf(response.head, 'x-request-id');
    expect(ids).toEqual([response.text]);
    if (isTaken) expect(ids).toEqual([id]);
    else expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
}

// CONTRACT section 2, credential and pass_authorization.
test('fields: when a client sends credentials, they go up only where the pool passes them on', async () => {
  const credentials = ['authorization: Bearer mine', 'x-api-key: mine', 'api-key: mine', 'x-goog-api-key: mine'];
  const seen = async (extra: string): Promise<string> => {
    const gateway = await rig({ yaml: pool(extra) });
    gateway.upstream.answerAll(({ head }) => answerText(head.raw));
    return (await (await gateway.client()).ask(requestText('GET', '/a', credentials))).text;
  };
  expect(await seen('')).not.toContain('mine');
  const injected = await seen(', credential: "theirs"');
  expect(injected).toContain('authorization: Bearer theirs\r\n');
  expect(injected).not.toContain('mine');
  expect(await seen(', pass_authorization: true')).toContain('authorization: Bearer mine');
  expect(await seen(', dialect: anthropic, credential: "theirs"')).toContain('x-api-key: theirs\r\n');
});

test('fields: when a request goes up, host is the endpoint and the base path comes first', async () => {
  const gateway = await rig({
    yaml: 'pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM/base" }] }]',
  });
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const response = await (await gateway.client()).ask(requestText('GET', '/a?b=c'));
  expect(response.text).toMatch(
    new RegExp(`^GET /base/a\\?b=c HTTP/1\\.1\\r\\nhost: 127\\.0\\.0\\.1:${gateway.upstream.port}\\r\\n`),
  );
});

// RFC 9110 section 5.5: obsolete bytes are opaque; they come back as they went.
test('fields: when a response field holds latin1 or UTF-8 bytes, the client gets those bytes', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(
    answerText('ok', ['x-latin: caf\xe9', 'x-utf: caf\xc3\xa9', 'x-tab: a\tb', 'set-cookie: a=1', 'set-cookie: b=2']),
  );
  const { head } = await (await gateway.client()).ask(requestText('GET', '/a'));
  expect([fieldOf(head, 'x-latin'), fieldOf(head, 'x-utf'), fieldOf(head, 'x-tab')]).toEqual([
    'caf\xe9',
    'caf\xc3\xa9',
    'a\tb',
  ]);
  expect(fieldsOf(head, 'set-cookie')).toEqual(['a=1', 'b=2']);
});

test('fields: when a request field holds characters beyond latin1, the endpoint gets the same bytes', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  // U+4E0A: written as latin1 its low byte would be a line feed.
  const value = Buffer.from('a \u4e0a\u4e0d b').toString('latin1');
  const response = await (await gateway.client()).ask(requestText('GET', '/a', [`x-name: ${value}`]));
  expect(response.bytes.toString('latin1')).toContain(`x-name: ${value}\r\n`);
});

// Anybody can write them; an endpoint must be able to believe them.
test('fields: when a client says itself where it comes from, the endpoint does not hear of it', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const claims = ['x-forwarded-for: 1.2.3.4', 'Forwarded: for=1.2.3.4', 'x-real-ip: 1.2.3.4', 'x-kept: 1'];
  const { text } = await (await gateway.client()).ask(requestText('GET', '/a', claims));
  expect(text).not.toContain('1.2.3.4');
  expect(text).toContain('x-kept: 1');
});

test('fields: when the forwarded_headers filter is on, the client is appended to those before it', async () => {
  const gateway = await rig({
    listener: 'filter_chains: [edge]',
    yaml: `${pool('')}\nfilter_chains: [{ name: edge, filters: [{ filter: forwarded_headers }] }]`,
  });
  gateway.upstream.answerAll(({ head }) => answerText(JSON.stringify(head.fields)));
  const client = await gateway.client();
  const plain = Object.fromEntries(JSON.parse((await client.ask(requestText('GET', '/a'))).text) as [string, string][]);
  expect(plain).toMatchObject({
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': 'gateway.test',
  });
  const chained = await client.ask(requestText('GET', '/a', ['x-forwarded-for: 10.0.0.1']));
  expect(Object.fromEntries(JSON.parse(chained.text) as [string, string][])).toMatchObject({
    'x-forwarded-for': '10.0.0.1, 127.0.0.1',
  });
});
