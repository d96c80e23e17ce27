import { expect, test } from 'vitest';
import { answerText, requestText, rig, type Rig } from '../rig/index.ts';

// docs/paths.md: one reading of the path, for routing and for what is sent.

const models = `
models: [{ name: a, targets: [{ pool: only }] }]
default_pool: only
pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "$UPSTREAM" }] }]
`;
const body = '{"model":"other"}';

function postText(path: string): string {
  return requestText('POST', path, [`content-length: ${body.length}`]) + body;
}

// An endpoint that resolves any of these would serve an API whose body the gateway has not looked into.
const disguised = [
  '/v1//chat/completions',
  '//v1/chat/completions',
  '/v1/chat%2Fcompletions',
  '/v1%2fchat/completions',
  '/v1/%63hat/completions',
  '/v1/chat/completion%73',
  '/v1/chat/completions/',
  '/v1/chat/completions;v=1',
  '/v1;a/chat/completions',
  '/V1/Chat/Completions',
  '/v1/messages%2F',
  '//rerank',
];

for (const path of disguised) {
  test(`paths: when an API is asked for as ${path}, it is refused and nothing goes up`, async () => {
    const gateway = await rig({ yaml: models });
    const response = await (await gateway.client()).ask(postText(path));
    expect(response.status).toBe(400);
    expect(JSON.parse(response.text)).toMatchObject({ error: { code: 'head_invalid' } });
    expect(gateway.upstream.receivedBytes).toBe(0);
  });
}

// RFC 3986 sections 5.2.4 and 6.2.2.3.
const refused = [
  '/v1/../admin',
  '/v1/%2e%2e/admin',
  '/v1/.%2E/admin',
  '/v1/..%2fadmin',
  '/v1/..;/admin',
  '/v1/..%5cadmin',
  '/v1/./models',
  '/v1/chat%5Ccompletions',
  '/v1/a%00b',
  '/v1/a%0d%0ab',
  '/v1/a%09b',
  '/v1/%zz',
];

for (const path of refused) {
  test(`paths: when a path is ${path}, it is refused and nothing goes up`, async () => {
    const gateway = await rig();
    expect((await (await gateway.client()).ask(requestText('GET', path))).status).toBe(400);
    expect(gateway.upstream.receivedBytes).toBe(0);
  });
}

const passed = [
  '/files/a%2Fb',
  '/files//a',
  '/files/a;v=1',
  '/files/%41',
  '/Files/',
  '/v1/files/a%20b',
  '/v1/models/org%2Fname',
  '/%C3%A9?q=%2F..%2F',
  '/a?b=../c&d=//',
];

for (const target of passed) {
  test(`paths: when plain HTTP is asked for as ${target}, it goes up byte for byte`, async () => {
    const gateway = await rig();
    gateway.upstream.answerAll(({ head }) => answerText(head.startLine));
    const response = await (await gateway.client()).ask(requestText('GET', target));
    expect(response.text).toBe(`GET ${target} HTTP/1.1`);
  });
}

function guarded(filters: string): Promise<Rig> {
  return rig({
    listener: 'filter_chains: [edge]',
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]
filter_chains: [{ name: edge, filters: [${filters}] }]`,
  });
}

// RFC 3986 section 6.2.2: the endpoint may take any of them for the blocked path.
test('paths: when a filter blocks a path, it blocks every way to write it', async () => {
  const gateway = await guarded('{ filter: static_response, status: 403, when: { path: "/internal/*" } }');
  gateway.upstream.answerAll(answerText('reached'));
  const ways = ['/internal/a', '//internal/a', '/%69nternal/a', '/internal%2Fa', '/internal;x/a', '/internal//a'];
  const client = await gateway.client();
  for (const way of ways) expect((await client.ask(requestText('GET', way))).status, way).toBe(403);
  for (const way of ['/internals', '/a/internal/', '/Internal/a'])
    expect((await client.ask(requestText('GET', way))).status, way).toBe(200);
});

test('paths: when a filter lets a path pass, only its plain form passes', async () => {
  const gateway = await guarded('{ filter: static_response, status: 403, unless: { path: ["/open", "/open/*"] } }');
  gateway.upstream.answerAll(answerText('reached'));
  const client = await gateway.client();
  for (const way of ['/open', '/open/a', '/open/a%2Fb']) {
    expect((await client.ask(requestText('GET', way))).status, way).toBe(200);
  }
  for (const way of ['//open/a', '/open;x', '/%6Fpen', '/closed'])
    expect((await client.ask(requestText('GET', way))).status, way).toBe(403);
});
