import { expect, test } from 'vitest';
import { answerText, fieldOf, fieldsOf, requestText, rig, type Rig, turns } from '../rig/index.ts';

// docs/fields.md row by row: what goes on, in both directions.

const forwarding = {
  listener: 'filter_chains: [edge]',
  yaml: `pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }]
filter_chains: [{ name: edge, filters: [{ filter: forwarded_headers }] }]`,
} as const;

/** The fields an endpoint gets of those a client sends. */
async function seenUp(gateway: Rig, fields: readonly string[]): Promise<Map<string, string[]>> {
  gateway.upstream.answerAll(({ head }) => answerText(JSON.stringify(head.fields)));
  const client = await gateway.client();
  const response = await client.ask(requestText('GET', '/a', fields));
  const seen = new Map<string, string[]>();
  for (const [name, value] of JSON.parse(response.text) as [string, string][]) {
    seen.set(name, [...(seen.get(name) ?? []), value]);
  }
  return seen;
}

// RFC 9110 section 7.6.1; FAULTS S2.
const neverUp: readonly string[] = [
  ...['http2-settings', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'proxy-authorization', 'forwarded'],
  ...['x-real-ip', 'true-client-ip', 'x-client-ip', 'x-cluster-client-ip', 'cf-connecting-ip', 'x-forwarded-port'],
  ...['x-forwarded-prefix', 'x-forwarded-server', 'x-forwarded-ssl', 'x-forwarded-scheme', 'x-forwarded-client-cert'],
  ...['x-original-forwarded-for', 'x-http-method-override', 'x-method-override', 'x-http-method', 'x-original-url'],
  ...['x-original-uri', 'x-rewrite-url', 'x-portkey-custom-host', 'x-prefiller-url', 'x-prefiller-host-port'],
  ...['x-gateway-destination-endpoint', 'x-gateway-destination-endpoint-subset', 'x-data-parallel-rank'],
  ...['x-data-parallel-host-port', 'x-encoder-hosts-ports', 'x-envoy-original-dst-host', 'helicone-target-url'],
  ...['x-worker-instance-id', 'x-prefill-instance-id', 'x-dynamo-worker-instance-id', 'x-smg-target-worker'],
];

for (const filters of [false, true]) {
  test(`fields: when a client sends what only a hop or a router may say, the endpoint does not hear of it (forwarded_headers ${filters ? 'on' : 'off'})`, async () => {
    const gateway = await rig(filters ? forwarding : {});
    const sent = neverUp.map((name, index) => `${index % 2 === 0 ? name : name.toUpperCase()}: said-${index}`);
    const seen = await seenUp(gateway, [...sent, 'x-kept: 1']);
    for (const name of neverUp) expect(seen.get(name), name).toBeUndefined();
    expect(seen.get('x-kept')).toEqual(['1']);
  });
}

test('fields: when a client sends other fields, they go up as they came, in order and repeated', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const fields = [
    'user-agent: a',
    'accept: */*',
    'openai-organization: o',
    'cookie: a=1',
    'x-b: 1',
    'x-a: 2',
    'x-b: 3',
    'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    'anthropic-version: 2023-06-01',
    'content-type: application/json',
    'proxy-status: a',
    'priority: u=1',
  ];
  const response = await (await gateway.client()).ask(requestText('GET', '/a', fields));
  const lines = response.text.split('\r\n').filter((line) => fields.includes(line));
  expect(lines).toEqual(fields);
});

// CGI and WSGI read `_` as `-`: the line would stand for the field the rules keep away.
test('fields: when a client uses a name with an underscore, the line stays behind', async () => {
  const gateway = await rig(forwarding);
  const seen = await seenUp(gateway, ['x_forwarded_for: 1.2.3.4', 'content_length: 7', 'x_request_id: a', 'x-kept: 1']);
  expect([...seen.keys()].filter((name) => name.includes('_'))).toEqual([]);
  expect(seen.get('x-forwarded-for')).toEqual(['127.0.0.1']);
  expect(seen.get('x-kept')).toEqual(['1']);
});

test('fields: when an operator sets a field by the headers filter, it goes up whatever a client may say', async () => {
  const names = ['x-data-parallel-rank', 'x-real-ip', 'x_legacy_tenant', 'x-forwarded-proto'];
  const gateway = await rig({
    ...forwarding,
    yaml: forwarding.yaml.replace(
      '{ filter: forwarded_headers }',
      `{ filter: headers, request: { set: { ${names.map((name) => `${name}: ours`).join(', ')} } } }`,
    ),
  });
  const seen = await seenUp(
    gateway,
    names.map((name) => `${name}: theirs`),
  );
  for (const name of names) expect(seen.get(name), name).toEqual(['ours']);
});

// A client that nominates what the gateway says would take it away from the endpoint ("hop-by-hop header abuse").
test('fields: when a client nominates a field that the gateway sets, the endpoint gets it all the same', async () => {
  const gateway = await rig(forwarding);
  const nominated = 'connection: close, x-forwarded-for, X-Forwarded-Proto, x-request-id, via, host, x-mine';
  const seen = await seenUp(gateway, [nominated, 'x-mine: 1']);
  expect(seen.get('x-forwarded-for')).toEqual(['127.0.0.1']);
  expect(seen.get('x-forwarded-proto')).toEqual(['http']);
  expect(seen.get('x-request-id')).toHaveLength(1);
  expect(seen.get('via')).toEqual(['1.1 penstock']);
  expect(seen.get('host')).toEqual([`127.0.0.1:${gateway.upstream.port}`]);
  expect(seen.get('x-mine')).toBeUndefined();
});

// RFC 9110 section 7.6.1: not for fields meant for all recipients of the content. Both sides read the body by the same type.
test('fields: when a client nominates the type or coding of its body, they go up', async () => {
  const gateway = await rig();
  const fields = ['connection: content-type, content-encoding', 'content-type: a/b', 'content-encoding: gzip'];
  const seen = await seenUp(gateway, fields);
  expect([seen.get('content-type'), seen.get('content-encoding')]).toEqual([['a/b'], ['gzip']]);
});

test('fields: when a client sends Expect, it is answered here and not sent up', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const client = await gateway.client();
  client.send(requestText('POST', '/a', ['expect: 100-continue', 'content-length: 2']));
  await client.readUntil('HTTP/1.1 100 Continue\r\n\r\n');
  client.send('ab');
  const response = await client.response();
  expect(response.text).not.toMatch(/expect/i);
  expect(response.text).toContain('content-length: 2\r\n');
});

test('fields: when the forwarded_headers filter is on, earlier hops of every line are kept and what cannot be is replaced', async () => {
  const gateway = await rig(forwarding);
  const hops = ['x-forwarded-for: 10.0.0.1, 10.0.0.2', 'X-Forwarded-For: 10.0.0.3'];
  const seen = await seenUp(gateway, [...hops, 'x-forwarded-proto: javascript', 'x-forwarded-host: a@b']);
  expect(seen.get('x-forwarded-for')).toEqual(['10.0.0.1, 10.0.0.2, 10.0.0.3, 127.0.0.1']);
  expect(seen.get('x-forwarded-proto')).toEqual(['http']);
  expect(seen.get('x-forwarded-host')).toEqual(['gateway.test']);
  const trusted = await seenUp(gateway, ['x-forwarded-proto: https', 'x-forwarded-host: api.example:8443']);
  expect([trusted.get('x-forwarded-proto'), trusted.get('x-forwarded-host')]).toEqual([
    ['https'],
    ['api.example:8443'],
  ]);
});

const neverDown = [
  ...['keep-alive: timeout=5', 'proxy-connection: a', 'te: a', 'trailer: x-sum', 'upgrade: h2c', 'http2-settings: a'],
  ...['proxy-authenticate: Basic', 'proxy-authentication-info: a', 'alt-svc: h3=":443"', 'x-private: 1'],
];

test('fields: when an endpoint answers with fields of a hop, or of its own origin, the client does not get them', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(answerText('ok', ['connection: X-Private', ...neverDown, 'x-kept: 1']));
  const { head } = await (await gateway.client()).ask(requestText('GET', '/a'));
  for (const line of neverDown) {
    const name = line.slice(0, line.indexOf(':'));
    expect(fieldOf(head, name), name).toBeUndefined();
  }
  expect(fieldOf(head, 'connection')).toBeUndefined();
  expect(fieldOf(head, 'x-kept')).toBe('1');
});

test('fields: when an endpoint answers with other fields, the client gets them as they came, in order and repeated', async () => {
  const fields = [
    'server: vllm',
    'set-cookie: a=1; Path=/',
    'set-cookie: b=2, c',
    'content-type: text/plain',
    'content-encoding: identity',
    'location: /b',
    'www-authenticate: Bearer',
    'retry-after: 3',
    'x_under_score: 1',
    'vary: a',
    'vary: b',
    'proxy-status: a',
    'x-accel-buffering: no',
  ];
  const gateway = await rig();
  gateway.upstream.answerAll(answerText('ok', fields));
  const { head } = await (await gateway.client()).ask(requestText('GET', '/a'));
  expect(head.raw.split('\r\n').filter((line) => fields.includes(line))).toEqual(fields);
});

test('fields: when an endpoint nominates the type of its answer, or what the gateway says, the client gets both', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(
    answerText('ok', ['connection: content-type, content-length, via, x-request-id', 'content-type: a/b']),
  );
  const response = await (await gateway.client()).ask(requestText('GET', '/a'));
  expect(response.text).toBe('ok');
  expect(fieldOf(response.head, 'content-type')).toBe('a/b');
  expect(fieldsOf(response.head, 'via')).toEqual(['1.1 penstock']);
  expect(fieldsOf(response.head, 'x-request-id')).toHaveLength(1);
});

// RFC 9110 section 6.5.1: a trailer may be discarded; merged into the head it would be read as one.
test('fields: when an endpoint sends trailers, the client gets the body without them', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\nset-cookie: a=1\r\n\r\n',
  );
  const response = await (await gateway.client()).ask(requestText('GET', '/a'));
  expect([response.text, response.isComplete, response.trailers]).toEqual(['ok', true, '']);
  expect(response.head.raw).not.toMatch(/x-sum|set-cookie/);
});

// RFC 9112 section 7.1.2. The acceptor reads what stands behind the last chunk as the start of another request, on a
// connection that serves none (docs/acceptor.md): it closes.
test('fields: when a client sends trailers, its connection closes and the endpoint sees none of them', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  const head = requestText('POST', '/a', ['transfer-encoding: chunked', 'trailer: x-sum']);
  client.send(`${head}2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n`);
  await client.ended();
  await turns(10);
  const seen = gateway.upstream.peers.map((peer) => peer.takePending().toString('latin1')).join();
  expect(seen).not.toContain('x-sum');
});
