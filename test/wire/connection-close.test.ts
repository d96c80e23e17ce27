import { expect, test } from 'vitest';
import { answerText, chatRequest, chunkedText, fieldOf, requestText, rig, turns } from '../rig/index.ts';

/** The last piece completes the response; the gateway reads each on its own. */
const answers: Record<string, readonly string[]> = {
  'of one piece': [answerText('abcd')],
  'of two pieces': ['HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab', 'cd'],
  'in chunks': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n', '2\r\ncd\r\n0\r\n\r\n'],
  'without bytes': [answerText('')],
  'of empty chunks': ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '0\r\n\r\n'],
  'of status 204': ['HTTP/1.1 204 No Content\r\n\r\n'],
};

const closingRequests: Record<string, string> = {
  'asks for close': requestText('GET', '/a', ['connection: close']),
  'asks for close in a list': requestText('GET', '/a', ['connection: te, close']),
  'came in chunks': requestText('POST', '/a', ['transfer-encoding: chunked']) + chunkedText('{"model":"a"}', 5),
};

// RFC 9112 section 9.6. A chunked upload closes too: the library reads chunks leniently, so nothing may follow one.
for (const [request, wire] of Object.entries(closingRequests)) {
  for (const [answer, pieces] of Object.entries(answers)) {
    test(`connection: when a request ${request} and gets an answer ${answer}, the connection says close and ends`, async () => {
      const gateway = await rig();
      const client = await gateway.client();
      client.send(wire);
      const peer = await gateway.upstream.accept();
      await peer.request();
      await peer.sendPieces(pieces);
      // The end of the last chunk may come with a field of its own, which is no part of the content.
      const raw = (await client.readToEnd()).toString('latin1');
      expect(raw).toMatch(/^connection: close\r$/im);
      const content = raw.slice(raw.indexOf('\r\n\r\n') + 4);
      const isChunked = /transfer-encoding: chunked/i.test(raw);
      const isEmpty = /without|empty|204/.test(answer);
      if (isChunked)
        expect(content).toMatch(isEmpty ? /^0\r\n/ : /^(4\r\nabcd|2\r\nab\r\n2\r\ncd)\r\n0\r\n(x-end: 1\r\n)?\r\n$/);
      else expect(content).toBe(isEmpty ? '' : 'abcd');
      expect(gateway.shard.state.open.length).toBe(0);
    });
  }
}

test('connection: when HEAD asks for close, the answer has the length and no body, and the connection ends', async () => {
  for (const value of ['close', 'te, close']) {
    const gateway = await rig();
    gateway.upstream.answerAll('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n');
    const client = await gateway.client();
    const response = await client.ask(requestText('HEAD', '/a', [`connection: ${value}`]), true);
    expect(fieldOf(response.head, 'content-length')).toBe('7');
    expect((await client.readToEnd()).length).toBe(0);
  }
});

// The library keeps a HEAD response open when it is told a length, and reported the end of its connection to the next
// exchange that used the record.
test('connection: when the client of a HEAD leaves, the exchange of another client goes on', async () => {
  const gateway = await rig();
  const first = await gateway.client();
  first.send(requestText('HEAD', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n');
  await first.response(true);
  await gateway.closeReason();
  const second = await gateway.client();
  second.send(requestText('GET', '/b'));
  expect((await peer.request()).head.startLine).toBe('GET /b HTTP/1.1');
  first.destroy();
  await turns(5);
  peer.send(answerText('b'));
  expect((await second.response()).text).toBe('b');
});

test('connection: when HEAD was answered, the next request on the connection is served', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) =>
    head.startLine.startsWith('HEAD') ? 'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n' : answerText('get'),
  );
  const client = await gateway.client();
  await client.ask(requestText('HEAD', '/a'), true);
  expect((await client.ask(requestText('GET', '/b'))).text).toBe('get');
});

test('connection: when requests follow one another, one connection on either side serves them all', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head, text }) => answerText(`${head.startLine} ${text}`));
  const client = await gateway.client();
  for (let round = 0; round < 20; round++) {
    expect((await client.ask(chatRequest(`{"model":"${round}"}`))).text).toContain(`"${round}"`);
  }
  expect(gateway.upstream.peers.length).toBe(1);
});

// Documented: a request that comes while the first is pending closes the connection; RFC 9112 section 9.3.2 allows it.
test('connection: when a second request comes before the first is answered, the connection ends and the first is cancelled', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('GET', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  client.send(requestText('GET', '/b'));
  await client.ended();
  await peer.ended();
  expect(peer.pendingBytes).toBe(0);
  expect(await gateway.closeReason()).toBe('client_gone');
});

test('connection: when the gateway drains, an answer says close and the connection ends', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('GET', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  const drained = gateway.shard.drain(5000);
  await peer.sendPieces(answers['of two pieces']!);
  const raw = (await client.readToEnd()).toString('latin1');
  expect(raw).toContain('connection: close');
  await drained;
});

// HOTPATH section 1.4: the library has no half-open connections.
test('connection: when a client half-closes after its request, the exchange is cancelled', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(requestText('GET', '/a'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  client.finish();
  await peer.ended();
  expect(await gateway.closeReason()).toBe('client_gone');
});
