import { expect, test } from 'vitest';
import { answerText, chatRequest, requestText, rig, turns } from '../rig/index.ts';
import { malformedChunks, malformedHeads } from './malformed-responses.ts';

// RFC 9112 sections 2.2, 4, 5, 6.3; CONTRACT section 3: 502 upstream_invalid.
for (const [what, wire] of Object.entries(malformedHeads)) {
  test(`upstream: when a response has ${what}, the client gets 502 and none of it`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    client.send(chatRequest('{"model":"a"}'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    peer.send(wire);
    const response = await client.response();
    expect(response.status).toBe(502);
    expect(JSON.parse(response.text)).toEqual({
      error: { message: expect.any(String), type: 'upstream_error', param: null, code: 'upstream_invalid' },
    });
    await peer.ended();
    // The client did nothing wrong: its connection serves on.
    client.send(requestText('GET', '/b'));
    const next = await gateway.upstream.accept();
    await next.request();
    next.send(answerText('b'));
    expect((await client.response()).text).toBe('b');
  });
}

// RFC 9112 section 7.1 and 8: what came before stays, and the client can tell that the rest is missing.
for (const [what, wire] of Object.entries(malformedChunks)) {
  test(`upstream: when a chunked body goes on with ${what}, the client sees a truncated body`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    client.send(requestText('GET', '/a'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    await peer.sendPieces(['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n', wire]);
    const response = await client.response();
    expect(response.status).toBe(200);
    expect(response.isComplete).toBe(false);
    expect(response.text.startsWith('ab')).toBe(true);
    await peer.ended();
    expect(await gateway.closeReason()).toBe('stream_truncated');
  });
}

// RFC 9112 section 9.2: bytes behind a complete response belong to no request; they must never answer the next one.
for (const [when, isLate] of [
  ['with it', false],
  ['later', true],
] as const) {
  test(`upstream: when bytes come behind a complete response ${when}, the connection is dropped and no client sees them`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    client.send(requestText('GET', '/a'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    const poison = answerText('poison');
    await peer.sendPieces(isLate ? [answerText('a'), poison] : [answerText('a') + poison]);
    expect((await client.response()).text).toBe('a');
    await peer.ended();
    client.send(requestText('GET', '/b'));
    const next = await gateway.upstream.accept();
    await next.request();
    next.send(answerText('b'));
    expect((await client.response()).text).toBe('b');
  });
}

// The reuse and the unasked bytes meet in one turn: the kernel has them before the request is written.
test('upstream: when bytes lie on an idle connection as it is reused, they are not taken for the answer', async () => {
  const gateway = await rig({
    yaml: 'pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }]',
  });
  const client = await gateway.client();
  client.send(requestText('GET', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(answerText('a'));
  expect((await client.response()).text).toBe('a');
  client.send(requestText('GET', '/b'));
  peer.send(answerText('poison'));
  const next = await gateway.upstream.accept();
  await next.request();
  next.send(answerText('b'));
  expect((await client.response()).text).toBe('b');
  await turns(1);
  expect(gateway.counts('penstock_upstream_oddities_total')).toEqual({ 'only after_response': 1 });
});
