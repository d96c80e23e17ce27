import { expect, test } from 'vitest';
import { requestText, type RawClient, rig, type Rig } from '../rig/index.ts';

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

function chunked(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

const delta = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n';
const finish = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n';

/** Streams `events` to a client and, unless told not to, ends the response in order. */
async function streamed(
  path: string,
  events: readonly string[],
  ends = true,
): Promise<{ gateway: Rig; client: RawClient }> {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('POST', path, [], '{"model":"a","stream":true}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  await peer.sendPieces([head, ...events.map(chunked), ...(ends ? ['0\r\n\r\n'] : [])]);
  return { gateway, client };
}

// FAULTS R6, DIALECTS: where [DONE] is not promised a finish reason is the end.
const whole: Record<string, readonly [path: string, events: readonly string[]]> = {
  'a chat has a finish reason and [DONE]': ['/v1/chat/completions', [delta, finish, 'data: [DONE]\n\n']],
  'a chat has a finish reason only': ['/v1/chat/completions', [delta, finish]],
  'a chat has [DONE] only': ['/v1/chat/completions', [delta, 'data: [DONE]\n\n']],
  '[DONE] has no line end': ['/v1/chat/completions', [delta, 'data: [DONE]']],
  'the finish reason is cut into two pieces': ['/v1/completions', [delta, finish.slice(0, 50), finish.slice(50)]],
  'messages end with message_stop': [
    '/v1/messages',
    ['event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n', 'event: message_stop\ndata: {}\n\n'],
  ],
  'messages name their events in the data only': ['/v1/messages', ['data: {"type": "message_stop"}\n\n']],
  'a response is incomplete by its own word': [
    '/v1/responses',
    ['event: response.incomplete\ndata: {"type":"response.incomplete"}\n\n'],
  ],
  'the engine told of an error': ['/v1/chat/completions', [delta, 'data: {"error":{"message":"out of memory"}}\n\n']],
  'the path is none that we know': ['/v1/other', ['data: a\n\n']],
};
for (const [what, [path, events]] of Object.entries(whole)) {
  test(`stream end: when ${what}, the stream ends in order and nothing is added`, async () => {
    const { gateway, client } = await streamed(path, events);
    const response = await client.response();
    expect([response.text, response.isComplete]).toEqual([events.join(''), true]);
    expect(await gateway.closeReason()).toBe('done');
  });
}

const cut: Record<string, readonly [path: string, events: readonly string[]]> = {
  'a chat ends without finish reason and [DONE]': ['/v1/chat/completions', [delta, delta]],
  'only text speaks of a finish reason': [
    '/v1/chat/completions',
    ['data: {"choices":[{"delta":{"content":"\\"finish_reason\\":\\"stop\\""},"finish_reason":null}]}\n\n'],
  ],
  'a chat ends within the event of its finish reason': ['/v1/chat/completions', [delta, finish.slice(0, -5)]],
  'a chat ends without the blank line behind its finish reason': ['/v1/chat/completions', [delta, finish.slice(0, -1)]],
  'a response ends without its last event': ['/v1/responses', ['event: response.created\ndata: {}\n\n']],
};
for (const [what, [path, events]] of Object.entries(cut)) {
  test(`stream end: when ${what}, the client gets an error event and a cut`, async () => {
    const { gateway, client } = await streamed(path, events);
    const raw = (await client.readToEnd()).toString('latin1');
    expect(raw).not.toMatch(/\r\n0\r\n/);
    expect(raw).toContain('"code":"stream_truncated"');
    expect(await gateway.closeReason()).toBe('stream_truncated');
  });
}

test('stream end: when messages end without message_stop, the error event has the Anthropic form', async () => {
  const { client } = await streamed('/v1/messages', ['event: message_start\ndata: {"type":"message_start"}\n\n']);
  expect((await client.readToEnd()).toString('latin1')).toContain('event: error\ndata: {"type":"error"');
});

test('stream end: when a stream ends before its first event, there still is a status, 502', async () => {
  const { client } = await streamed('/v1/chat/completions', []);
  const response = await client.response();
  expect(response.status).toBe(502);
  expect(response.text).toContain('upstream_invalid');
});

test('stream end: when a truncated stream was framed well, its connection serves the next request', async () => {
  const { gateway } = await streamed('/v1/chat/completions', [delta]);
  expect(await gateway.closeReason()).toBe('stream_truncated');
  const next = await gateway.client();
  next.send(requestText('GET', '/health'));
  await gateway.upstream.peers[0]!.request();
  expect(gateway.upstream.peers.length).toBe(1);
  next.destroy();
});

// Handled as they come, and counted: each says that something between engine and gateway is not right.
const odd: Record<string, readonly [events: readonly string[], counts: Record<string, number>]> = {
  'ends within an event': [[delta, 'data: {"choi'], { 'only half_event': 1 }],
  'goes on behind [DONE]': [[delta, 'data: [DONE]\n\n', delta], { 'only after_done': 1 }],
  'is whole': [[delta, 'data: [DONE]\n\n'], {}],
};
for (const [what, [events, counts]] of Object.entries(odd)) {
  test(`stream end: when a stream ${what}, that is what is counted of it`, async () => {
    const { gateway } = await streamed('/v1/chat/completions', events);
    await gateway.closeReason();
    expect(gateway.counts('penstock_upstream_oddities_total')).toEqual(counts);
  });
}

for (const how of ['in order', 'by breaking off'] as const) {
  test(`stream end: when a stream ends within a character, ${how}, nothing is put into the character and it is counted`, async () => {
    const { gateway, client } = await streamed('/v1/chat/completions', [delta], false);
    const peer = gateway.upstream.peers[0]!;
    const half = Buffer.from('data: {"choices":[{"delta":{"content":"\u20ac').subarray(0, -1);
    peer.send(Buffer.concat([Buffer.from(`${half.length.toString(16)}\r\n`), half, Buffer.from('\r\n')]));
    if (how === 'in order') peer.send('0\r\n\r\n');
    else peer.finish();
    const text = (await client.readToEnd()).toString('latin1').replace(/\r\n[0-9a-f]+\r\n/g, '');
    expect(text).toContain('"content":"\xe2\x82\n\ndata: {"error"');
    expect(gateway.counts('penstock_upstream_oddities_total')).toEqual({
      'only half_event': 1,
      'only half_character': 1,
    });
  });
}

// A length is no end of a stream: it would make half an answer look whole.
test('stream end: when a stream of known length lacks its own end, the client is told and the connection cut', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('POST', '/v1/chat/completions', [], '{"model":"a","stream":true}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${delta.length}\r\n\r\n${delta}`);
  const response = await client.response();
  expect(response.text.startsWith(delta)).toBe(true);
  expect(response.text).toContain('"code":"stream_truncated"');
  expect(response.isComplete).toBe(false);
  expect(await gateway.closeReason()).toBe('stream_truncated');
});

test('stream end: when a stream of known length is whole, it ends in order', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('POST', '/v1/chat/completions', [], '{"model":"a","stream":true}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const events = `${delta}${finish}data: [DONE]\n\n`;
  peer.send(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${events.length}\r\n\r\n${events}`);
  const response = await client.response();
  expect([response.text, response.framing, response.isComplete]).toEqual([events, 'chunked', true]);
  expect(await gateway.closeReason()).toBe('done');
});
