import { expect, test } from 'vitest';
import { type RawClient, requestText, rig, type UpstreamPeer } from '../rig/index.ts';

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const last = 'data: [DONE]\n\n';

function chunked(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

async function silent(path: string, first: string): Promise<{ client: RawClient; peer: UpstreamPeer }> {
  const gateway = await rig({
    yaml: `timeouts: { stream_ping_ms: 60ms }
pools: [{ name: only, engine: none, endpoints: [{ url: "$UPSTREAM" }] }]`,
  });
  const client = await gateway.client();
  client.send(requestText('POST', path, [], '{"model":"a","stream":true}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  await peer.sendPieces(first === '' ? [head] : [head, chunked(first)]);
  return { client, peer };
}

for (const [when, path, first, ping] of [
  ['between two events', '/v1/chat/completions', 'data: {"a":1}\n\n', ': ping\n\n'],
  ['before the first event', '/v1/chat/completions', '', ': ping\n\n'],
  ['on an Anthropic path', '/v1/messages', 'data: {"a":1}\n\n', 'event: ping\ndata: {"type": "ping"}\n\n'],
] as const) {
  test(`ping: when a stream is silent ${when}, the client gets pings, and else what the endpoint sent`, async () => {
    const { client, peer } = await silent(path, first);
    const before =
      (await client.readUntil(ping)).toString('latin1') + (await client.readUntil(ping)).toString('latin1');
    expect(before).toContain(first);
    peer.send(chunked('event: message_stop\ndata: {}\n\n') + chunked(last) + '0\r\n\r\n');
    const rest = (await client.readUntil('\r\n0\r\n\r\n')).toString('latin1');
    expect(rest).toContain(last);
  });
}

test('ping: when an event is half here, nothing is put into it', async () => {
  const { client, peer } = await silent('/v1/chat/completions', 'data: {"a":1}\n\n');
  await client.readUntil(': ping');
  peer.send(chunked('data: {"half":'));
  await client.readUntil('"half":');
  // The pings before show how long one takes: several of them would have come by now.
  await new Promise((resolve) => setTimeout(resolve, 250));
  peer.send(chunked(`1}\n\n${last}`) + '0\r\n\r\n');
  expect((await client.readUntil('\r\n0\r\n\r\n')).toString('latin1')).not.toContain('ping');
});
