import { expect, test } from 'vitest';
import { answerText, chatRequest, fieldOf, requestText, rig, turns } from '../rig/index.ts';

const events = 'data: {"a":1}\n\ndata: {"b":"h\xc3\xa9"}\n\n: ping\n\nevent: x\ndata: 2\n\ndata: [DONE]\n\n';

function chunked(...payloads: readonly string[]): string {
  return payloads.map((each) => `${each.length.toString(16)}\r\n${each}\r\n`).join('') + '0\r\n\r\n';
}

const stream = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

const answers: Record<string, readonly [wire: string, body: string]> = {
  'of known length': [
    answerText('{"usage":{"prompt_tokens":1}}', ['content-type: application/json']),
    '{"usage":{"prompt_tokens":1}}',
  ],
  'in chunks': [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n' + chunked('a', 'bc', 'd'.repeat(300)),
    'abc' + 'd'.repeat(300),
  ],
  'that is an event stream': [stream + chunked(...events.split(/(?<=\n\n)/)), events],
  'that is an event stream in odd chunks': [stream + chunked(...events.match(/[^]{1,5}/g)!), events],
  'with chunk extensions and trailers': [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n003;a="b;c"\r\nabc\r\n2 ;x\r\nde\r\n0;last\r\nx-trailer: 1\r\netag: "x"\r\n\r\n',
    'abcde',
  ],
  'with interim heads before it': [
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n' + answerText('ok'),
    'ok',
  ],
};

// RFC 9112 sections 6 and 7: framing is independent of how TCP cuts it.
for (const [what, [wire, body]] of Object.entries(answers)) {
  test(`response: when an answer ${what} is cut at any byte, the client gets the same body`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    const bytes = Buffer.from(wire, 'latin1');
    for (let cut = 1; cut < bytes.length; cut++) {
      client.send(chatRequest('{"model":"a"}'));
      const peer = gateway.upstream.peers[0] ?? (await gateway.upstream.accept());
      await peer.request();
      await peer.sendPieces([bytes.subarray(0, cut), bytes.subarray(cut)]);
      const response = await client.response();
      expect(response.bytes.toString('latin1'), `cut at ${cut}`).toBe(body);
      expect([response.isComplete, response.trailers]).toEqual([true, '']);
    }
    expect(gateway.upstream.peers.length, 'the connection was reused throughout').toBe(1);
  });

  test(`response: when every byte of an answer ${what} comes alone, the client gets the same body`, async () => {
    const gateway = await rig();
    const client = await gateway.client();
    client.send(chatRequest('{"model":"a"}'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    await peer.sendPieces([...wire]);
    expect((await client.response()).bytes.toString('latin1')).toBe(body);
  });
}

// CONTRACT section 3: no delay, and no merging or splitting of what the client can see as events.
test('response: when an event comes, the client has it before the next one is sent', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  client.send(chatRequest('{"model":"a","stream":true}'));
  const peer = await gateway.upstream.accept();
  await peer.request();
  peer.send(stream);
  for (let event = 0; event < 50; event++) {
    const text = `data: ${event}\n\n`;
    peer.send(`${text.length.toString(16)}\r\n${text}\r\n`);
    // The head goes down with the first event; every write of the gateway is one chunk.
    expect((await client.readUntil(text)).toString()).toContain(text);
  }
  const last = 'data: [DONE]\n\n';
  peer.send(`${last.length.toString(16)}\r\n${last}\r\n`);
  await client.readUntil(last);
  peer.send('0\r\n\r\n');
  expect((await client.readUntil('0\r\n\r\n')).toString()).toBe('\r\n0\r\n\r\n');
});

for (const [method, wire] of [
  ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\netag: "a"\r\n\r\n'],
  ['HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n'],
  ['HEAD', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'],
] as const) {
  // RFC 9110 section 6.4.1.
  test(`response: when ${method} is answered with ${JSON.stringify(wire.slice(9, 40))}, no body follows and both connections serve on`, async () => {
    const gateway = await rig();
    gateway.upstream.answerAll(({ head }) => (head.startLine.includes('/a') ? wire : answerText('next')));
    const client = await gateway.client();
    const response = await client.ask(requestText(method, '/a'), method === 'HEAD');
    expect(response.status).toBe(Number(wire.slice(9, 12)));
    if (method === 'HEAD')
      expect(fieldOf(response.head, 'content-length')).toBe(wire.includes('content-length') ? '100' : undefined);
    expect((await client.ask(requestText('GET', '/b'))).text).toBe('next');
    expect(gateway.upstream.peers.length).toBe(1);
  });
}

// RFC 9112 section 6.3 (8): the end of the connection is the end of the body; downstream it becomes a last chunk.
test('response: when the end of the connection ends the body, the client gets a complete chunked one', async () => {
  const gateway = await rig();
  for (const version of ['1.1', '1.0']) {
    const client = await gateway.client();
    client.send(requestText('GET', '/a'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    await peer.sendPieces([`HTTP/${version} 200 OK\r\n\r\nab`, 'cd']);
    peer.finish();
    const response = await client.response();
    expect([response.text, response.framing, response.isComplete]).toEqual(['abcd', 'chunked', true]);
  }
});

test('response: when the endpoint says close, its connection is not used again', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(answerText('ok', ['connection: close']));
  const client = await gateway.client();
  for (let round = 0; round < 3; round++) expect((await client.ask(requestText('GET', '/a'))).text).toBe('ok');
  expect(gateway.upstream.peers.length).toBe(3);
});

// RFC 9112 section 9.5: an answer may come before the request is complete.
test('response: when the answer comes before the upload ended, the client gets it, and its rest reaches nobody', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  const rest = 'x'.repeat(50_000);
  client.send(requestText('POST', '/a', ['content-length: 50010'], '0123456789'));
  const peer = await gateway.upstream.accept();
  await peer.head();
  peer.send(answerText('early', [], '413 Content Too Large'));
  const response = await client.response();
  expect([response.status, response.text]).toEqual([413, 'early']);
  await peer.ended(); // Half a request was sent on it, so it cannot carry another.
  client.send(rest);
  await turns(5);
  client.send(requestText('GET', '/b'));
  const next = await gateway.upstream.accept();
  expect((await next.request()).head.startLine).toBe('GET /b HTTP/1.1');
  next.send(answerText('b'));
  expect((await client.response()).text).toBe('b');
});

// The rest of an early-answered upload must not reach the record's next user.
test('response: when the answer came early, the rest of the upload does not disturb another exchange', async () => {
  const gateway = await rig();
  const early = await gateway.client();
  early.send(requestText('POST', '/a', ['content-length: 100000'], 'abc'));
  const peer = await gateway.upstream.accept();
  await peer.head();
  peer.send(answerText('early'));
  await early.response();
  const other = await gateway.client();
  other.send(requestText('POST', '/b', ['content-length: 10'], '01234'));
  const next = await gateway.upstream.accept();
  await next.head();
  early.send('X'.repeat(99_000));
  await turns(5);
  early.reset();
  await turns(5);
  other.send('56789');
  expect((await next.read(10)).toString()).toBe('0123456789');
  next.send(answerText('b'));
  expect((await other.response()).text).toBe('b');
});

test('response: when a length is declared and the body is empty, the client gets an empty body', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(answerText('', ['x-a: b']));
  const client = await gateway.client();
  const response = await client.ask(requestText('GET', '/a'));
  expect([response.status, response.bytes.length, fieldOf(response.head, 'content-length')]).toEqual([200, 0, '0']);
});
