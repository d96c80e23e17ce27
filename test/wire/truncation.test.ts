import { expect, test } from 'vitest';
import { chatRequest, type Rig, requestText, type RawClient, rig, type UpstreamPeer } from '../rig/index.ts';

const stream = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

async function streaming(path: string): Promise<{ gateway: Rig; client: RawClient; peer: UpstreamPeer }> {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('POST', path, [], '{"model":"a","stream":true}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(stream + chunk('data: a\n\n'));
  await client.readUntil('data: a\n\n');
  return { gateway, client, peer };
}

const lastEvent = /^data: \{"error":\{"message":"[^"]+","type":"upstream_error","code":"stream_truncated"\}\}\n\n$/;

const ends: Record<string, (peer: UpstreamPeer) => void> = {
  'ends the connection': (peer) => peer.finish(),
  'resets the connection': (peer) => peer.reset(),
  'sends a malformed chunk': (peer) => peer.send('zz\r\n'),
};

/** What is left of the stream: its events, and whether it looked like a clean end. */
async function restOf(client: RawClient): Promise<string> {
  const raw = (await client.readToEnd()).toString('latin1');
  expect(raw, 'a last chunk would claim the completion finished').not.toMatch(/\r\n0\r\n/);
  expect(raw).not.toContain('[DONE]');
  return raw.replace(/\r\n[0-9a-f]+\r\n/g, '');
}

// CONTRACT section 3; RFC 9112 section 8; FAULTS F28, F29.
for (const [how, end] of Object.entries(ends)) {
  test(`truncation: when the endpoint ${how} between two events, the stream gets an error event and is cut`, async () => {
    const { gateway, client, peer } = await streaming('/v1/chat/completions');
    end(peer);
    expect(await restOf(client)).toMatch(lastEvent);
    expect(await gateway.closeReason()).toBe('stream_truncated');
  });

  test(`truncation: when the endpoint ${how} inside an event, that event is closed before the error event`, async () => {
    const { client, peer } = await streaming('/v1/chat/completions');
    peer.send(chunk('data: {"half'));
    await client.readUntil('{"half');
    end(peer);
    const [half, last] = (await restOf(client)).split(/(?<=^\n\n)/);
    expect(half).toBe('\n\n');
    expect(last).toMatch(lastEvent);
  });
}

test('truncation: when a stream of /v1/messages ends early, the error event has the Anthropic form', async () => {
  const { client, peer } = await streaming('/v1/messages');
  peer.finish();
  expect(await restOf(client)).toMatch(
    /^event: error\ndata: \{"type":"error","error":\{"type":"api_error","message":"[^"]+"\}\}\n\n$/,
  );
});

// The endpoint may have finished its events without finishing its body: still not a clean end.
test('truncation: when the body ends behind [DONE] without its last chunk, the client sees a cut', async () => {
  const { client, peer } = await streaming('/v1/chat/completions');
  peer.send(chunk('data: [DONE]\n\n'));
  await client.readUntil('data: [DONE]\n\n');
  peer.finish();
  expect((await client.readToEnd()).toString('latin1')).not.toMatch(/\r\n0\r\n/);
});

test('truncation: when an event stream of known length ends early, it is told so like any other', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  await peer.sendPieces([
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100\r\n\r\ndata: a\n\n',
  ]);
  peer.finish();
  const response = await client.response();
  expect(response.text.startsWith('data: a\n\ndata: {"error":{')).toBe(true);
  expect([response.framing, response.isComplete]).toEqual(['chunked', false]);
});

for (const [how, head] of [
  ['of known length', 'content-type: application/json\r\ncontent-length: 100'],
  ['in chunks', 'content-type: application/json\r\ntransfer-encoding: chunked'],
] as const) {
  test(`truncation: when a body ${how} ends early, it is cut and nothing is added`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    client.send(chatRequest('{"model":"a"}'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    const part = '{"choices":[';
    await peer.sendPieces([`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${how === 'in chunks' ? chunk(part) : part}`]);
    peer.finish();
    const response = await client.response();
    expect([response.status, response.text, response.isComplete]).toEqual([200, part, false]);
    expect(await gateway.closeReason()).toBe('stream_truncated');
  });
}

// Nothing was relayed yet, so there still is a status: but the head had come, so it is not retried either.
test('truncation: when the endpoint ends between its head and its first byte, the client gets 502', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a"}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  await peer.sendPieces([stream]);
  peer.finish();
  const response = await client.response();
  expect(response.status).toBe(502);
  expect(response.text).toContain('upstream_reset');
});
