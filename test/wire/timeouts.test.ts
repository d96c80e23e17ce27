import { expect, test } from 'vitest';
import { answerText, blackHole, chatRequest, codeOf, requestText, rig, type Rig } from '../rig/index.ts';

function withTimeouts(timeouts: string, url = '$UPSTREAM'): Promise<Rig> {
  return rig({
    yaml: `timeouts: { ${timeouts} }
pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "${url}" }] }]`,
  });
}

/** Deadlines are looked at every 50 ms; the rest is room for a busy machine. */
const slackMs = 400;

async function tookMs<T>(run: () => Promise<T>): Promise<[T, number]> {
  const startMs = performance.now();
  const result = await run();
  return [result, performance.now() - startMs];
}

// CONTRACT section 2, connect_ms; FAULTS F26.
test('timeout: when a connection does not come about, the client gets 502 connect_failed in time', async () => {
  const hole = await blackHole();
  const gateway = await withTimeouts('connect_ms: 150', hole.url);
  const client = await gateway.client();
  const [response, ms] = await tookMs(() => client.ask(requestText('GET', '/a')));
  expect([response.status, codeOf(response.text)]).toEqual([502, 'connect_failed']);
  expect(ms).toBeGreaterThanOrEqual(145);
  expect(ms).toBeLessThan(150 + slackMs);
  hole.close();
});

test('timeout: when a connection does not come about, another endpoint serves the request', async () => {
  const hole = await blackHole();
  const gateway = await rig({
    yaml: `timeouts: { connect_ms: 100 }
pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "${hole.url}" }, { url: "$UPSTREAM" }] }]`,
  });
  gateway.upstream.answerAll(answerText('second'));
  const client = await gateway.client();
  expect((await client.ask(chatRequest('{"model":"a"}'))).text).toBe('second');
  hole.close();
});

test('timeout: when no response head comes, the client gets 504 first_byte_timeout and the connection closes', async () => {
  const gateway = await withTimeouts('first_byte_ms: 150');
  const client = await gateway.client();
  const [response, ms] = await tookMs(() => client.ask(chatRequest('{"model":"a"}')));
  expect([response.status, codeOf(response.text)]).toEqual([504, 'first_byte_timeout']);
  expect(ms).toBeGreaterThanOrEqual(145);
  expect(ms).toBeLessThan(150 + slackMs);
  await (await gateway.upstream.accept()).ended();
});

// FAULTS R7: interim heads do not reset the first-byte clock.
test('timeout: when only interim heads come, the first-byte timeout still holds', async () => {
  const gateway = await withTimeouts('first_byte_ms: 200');
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  const timer = setInterval(() => peer.send('HTTP/1.1 102 Processing\r\n\r\n'), 40);
  const [response, ms] = await tookMs(() => client.response());
  clearInterval(timer);
  expect(response.status).toBe(504);
  expect(ms).toBeLessThan(200 + slackMs);
});

// FAULTS F30.
test('timeout: when a stream falls silent, it gets an error event and is cut, and the endpoint is left', async () => {
  const gateway = await withTimeouts('stream_idle_ms: 150');
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n',
  );
  const response = await client.response();
  expect(response.isComplete).toBe(false);
  expect(response.text).toContain('"code":"stream_truncated"');
  await peer.ended();
  expect(await gateway.closeReason()).toBe('stream_timeout');
});

test('timeout: when a stream drips slower than the whole but faster than the idle limit, it completes', async () => {
  const gateway = await withTimeouts('stream_idle_ms: 10s, first_byte_ms: 10s');
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n');
  for (let sent = 0; sent < 4; sent++) {
    await gateway.pass(4000);
    peer.send('x');
  }
  expect((await client.response()).text).toBe('xxxx');
});

// CONTRACT section 3, 408.
test('timeout: when a client stops sending its body, it gets 408 and the endpoint no complete request', async () => {
  const gateway = await withTimeouts('request_idle_ms: 150');
  const client = await gateway.client();
  const response = await client.ask(
    requestText('POST', '/v1/chat/completions', ['content-length: 100'], '{"model":"a"'),
  );
  expect([response.status, codeOf(response.text)]).toEqual([408, 'request_timeout']);
  await client.ended();
  await (await gateway.upstream.accept()).ended();
});

test('timeout: when an exchange outlives total_ms, it ends: with 504 before the head, with a cut after it', async () => {
  const gateway = await withTimeouts('total_ms: 200');
  const waiting = await gateway.client();
  const response = await waiting.ask(chatRequest('{"model":"a"}'));
  expect([response.status, codeOf(response.text)]).toEqual([504, 'stream_timeout']);
  await (await gateway.upstream.accept()).ended();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const timer = setInterval(() => peer.send('1\r\nx\r\n'), 20);
  peer.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
  expect((await client.response()).isComplete).toBe(false);
  clearInterval(timer);
});

test('timeout: when idle connections grow old, they close before the endpoint would close them', async () => {
  const gateway = await rig({
    yaml: 'pools: [{ name: only, engine: none, picker: round_robin, keepalive_idle_ms: 100, endpoints: [{ url: "$UPSTREAM" }] }]',
  });
  gateway.upstream.answerAll(answerText('ok'));
  const client = await gateway.client();
  await client.ask(requestText('GET', '/a'));
  await gateway.upstream.peers[0]!.ended();
  expect(gateway.fleet.connections(gateway.slots[0]!)).toBe(0);
});
