import { expect, test } from 'vitest';
import { answerText, chatRequest, chunkedText, fieldOf, requestText, rig, turns, until } from '../rig/index.ts';

const routed = `
models:
  - { name: small, aliases: [tiny], targets: [{ pool: only, model: org/Small-8B }] }
  - { name: plain, targets: [{ pool: only }] }
pools:
  - { name: only, engine: none, picker: round_robin, endpoints: [{ url: "$UPSTREAM" }] }
`;
const chat = '{"model":"plain","messages":[{"role":"user","content":"h\\u00e9 \\"}{"}]}';

/** First byte behind the request line, which the library wants whole: see the last test of head-guard. */
function afterRequestLine(wire: string): number {
  return wire.indexOf('\r\n') + 2;
}

// CONTRACT section 3: a body is forwarded byte for byte, however TCP cuts it.
test('request: when a request is cut at any byte behind its first line, the endpoint gets the same body', async () => {
  const gateway = await rig({ yaml: routed });
  gateway.upstream.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  const wire = chatRequest(chat);
  for (let cut = afterRequestLine(wire); cut < wire.length; cut++) {
    await client.sendPieces([wire.slice(0, cut), wire.slice(cut)]);
    expect((await client.response()).text, `cut at ${cut}`).toBe(chat);
  }
});

test('request: when a chunked request is cut at any byte behind its first line, the endpoint gets the same body', async () => {
  const gateway = await rig({ yaml: routed });
  gateway.upstream.answerAll(({ text }) => answerText(text));
  const wire = requestText('POST', '/v1/chat/completions', ['transfer-encoding: chunked']) + chunkedText(chat, 17);
  for (let cut = afterRequestLine(wire); cut < wire.length; cut++) {
    const client = await gateway.client();
    await client.sendPieces([wire.slice(0, cut), wire.slice(cut)]);
    expect((await client.response()).text, `cut at ${cut}`).toBe(chat);
  }
});

test('request: when every byte behind the request line comes alone, the endpoint gets the same body', async () => {
  const gateway = await rig({ yaml: routed });
  gateway.upstream.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  const wire = chatRequest(chat);
  const start = afterRequestLine(wire);
  await client.sendPieces([wire.slice(0, start), ...wire.slice(start)]);
  expect((await client.response()).text).toBe(chat);
});

const filler = 'x'.repeat(3_000_000);

// CONTRACT section 3: the first byte goes up as soon as routing has what it needs.
test('request: when the model comes first in 3 MB, the endpoint has bytes before a tenth was sent', async () => {
  const gateway = await rig({ yaml: routed });
  const client = await gateway.client();
  const wire = chatRequest(`{"model":"plain","messages":[{"role":"user","content":"${filler}"}]}`);
  client.send(wire.slice(0, 10_000));
  const peer = await gateway.upstream.accept();
  const head = await peer.head();
  expect(fieldOf(head, 'content-length')).toBe(String(wire.length - wire.indexOf('\r\n\r\n') - 4));
  expect((await peer.read(9000)).toString('latin1', 0, 16)).toBe('{"model":"plain"');
  client.send(wire.slice(10_000));
  await peer.read(wire.length - wire.indexOf('\r\n\r\n') - 4 - 9000);
  peer.send(answerText('ok'));
  expect((await client.response()).text).toBe('ok');
});

test('request: when the model comes last in 3 MB, nothing goes up before it and then all of it', async () => {
  const gateway = await rig({ yaml: routed });
  const client = await gateway.client();
  const body = `{"messages":[{"role":"user","content":"${filler}"}],"model":"plain"}`;
  const wire = chatRequest(body);
  client.send(wire.slice(0, -20));
  await gateway.inPhase('receiving');
  await until(() => gateway.shard.exchanges()[0]?.request_bytes === body.length - 20, 'all but 20 bytes are here');
  expect(gateway.upstream.peers.length).toBe(0);
  client.send(wire.slice(-20));
  const peer = await gateway.upstream.accept();
  expect((await peer.request()).text === body).toBe(true);
  peer.send(answerText('ok'));
  await client.response();
});

const renames: Record<string, readonly [sent: string, got: string]> = {
  first: ['{"model":"small","a":1}', '{"model":"org/Small-8B","a":1}'],
  last: ['{"a":"model","model" : "small" }', '{"a":"model","model" : "org/Small-8B" }'],
  'by its alias': ['{"a":1,"model":"tiny"}', '{"a":1,"model":"org/Small-8B"}'],
  'with an escaped value': ['{"model":"sm\\u0061ll","a":1}', '{"model":"org/Small-8B","a":1}'],
  'with an escaped key': ['{"mod\\u0065l":"small","a":1}', '{"mod\\u0065l":"org/Small-8B","a":1}'],
  'beside decoys': [
    '{"a":{"model":"x"},"b":"\\"model\\":\\"y\\"","model":"small"}',
    '{"a":{"model":"x"},"b":"\\"model\\":\\"y\\"","model":"org/Small-8B"}',
  ],
};

for (const [where, [sent, got]] of Object.entries(renames)) {
  test(`request: when the model to rename stands ${where}, only its bytes change, at any cut`, async () => {
    const gateway = await rig({ yaml: routed });
    gateway.upstream.answerAll(({ text }) => answerText(text));
    const client = await gateway.client();
    const wire = chatRequest(sent);
    for (let cut = wire.length - sent.length; cut <= wire.length; cut++) {
      await client.sendPieces([wire.slice(0, cut), wire.slice(cut)]);
      expect((await client.response()).text, `cut at ${cut}`).toBe(got);
    }
    const chunked = await gateway.client();
    chunked.send(requestText('POST', '/v1/chat/completions', ['transfer-encoding: chunked']));
    await chunked.sendPieces(chunkedText(sent, 3).match(/[^]{1,7}/g)!);
    expect((await chunked.response()).text).toBe(got);
  });
}

test('request: when a renamed model stands before or behind 3 MB, Content-Length counts the new bytes', async () => {
  const gateway = await rig({ yaml: routed });
  for (const [sent, got] of [
    [`{"model":"small","p":"${filler}"}`, `{"model":"org/Small-8B","p":"${filler}"}`],
    [`{"p":"${filler}","model":"small"}`, `{"p":"${filler}","model":"org/Small-8B"}`],
  ] as const) {
    const client = await gateway.client();
    client.send(chatRequest(sent));
    const peer = gateway.upstream.peers[0] ?? (await gateway.upstream.accept());
    const request = await peer.request();
    expect(fieldOf(request.head, 'content-length')).toBe(String(got.length));
    expect(request.text === got).toBe(true);
    peer.send(answerText('ok'));
    await client.response();
  }
});

// HOTPATH section 6: two parsers could read such a body differently, so nobody gets it whole.
test('request: when a second model follows after dispatch began, the client gets 400 and the endpoint no complete body', async () => {
  for (const second of ['"model":"small"', '"mod\\u0065l":"small"']) {
    for (const fields of [[], ['transfer-encoding: chunked']]) {
      const gateway = await rig({ yaml: routed });
      const client = await gateway.client();
      const body = `{"model":"plain","p":"${'x'.repeat(1000)}",${second}}`;
      const wire = requestText(
        'POST',
        '/v1/chat/completions',
        fields,
        fields.length > 0 ? chunkedText(body, 400) : body,
      );
      client.send(wire.slice(0, 700));
      const peer = await gateway.upstream.accept();
      await peer.head();
      client.send(wire.slice(700));
      const response = await client.response();
      expect(response.status).toBe(400);
      expect(response.text).toContain('"code":"body_invalid"');
      await peer.ended();
      const got = peer.takePending().toString('latin1');
      expect(got).not.toContain('}');
      expect(got).not.toContain('\r\n0\r\n');
      gateway.close();
    }
  }
});

const refused: Record<string, readonly [body: string, status: number, code: string]> = {
  'an unknown model': ['{"model":"gpt-9"}', 404, 'model_not_found'],
  'no model': ['{"messages":[]}', 404, 'model_not_found'],
  'a model of null': ['{"model":null}', 400, 'body_invalid'],
  'a model that is a number': ['{"model":5}', 400, 'body_invalid'],
  'a duplicate model': ['{"model":"plain","model":"plain"}', 400, 'body_invalid'],
  'a duplicate stream': ['{"model":"plain","stream":true,"stream":false}', 400, 'body_invalid'],
  'no JSON': ['hello', 400, 'body_invalid'],
  'an array': ['[{"model":"plain"}]', 400, 'body_invalid'],
  'a truncated object': ['{"model":"plain","a":', 400, 'body_invalid'],
  'trailing bytes': ['{"model":"plain"}{"model":"small"}', 400, 'body_invalid'],
  'a model that is no UTF-8': ['{"model":"plain\xff"}', 400, 'body_invalid'],
  'NaN as a value': ['{"model":"plain","temperature":NaN}', 400, 'body_invalid'],
  'Infinity inside a value': ['{"model":"plain","a":[-Infinity]}', 400, 'body_invalid'],
  'a limit of -2': ['{"max_tokens":-2,"model":"plain"}', 400, 'body_invalid'],
  'a byte order mark': ['\xef\xbb\xbf{"model":"plain"}', 400, 'body_invalid'],
  'brackets 200 deep': [`{"a":${'['.repeat(200)}${']'.repeat(200)},"model":"plain"}`, 400, 'body_invalid'],
};

// llama.cpp's word for "no limit"; the engine gets it as it was written.
test('request: when max_tokens is -1, the body passes byte for byte', async () => {
  const gateway = await rig({ yaml: routed });
  gateway.upstream.answerAll(({ text }) => answerText(text));
  const body = '{"max_tokens":-1,"model":"plain"}';
  const response = await (await gateway.client()).ask(chatRequest(body));
  expect([response.status, response.text]).toEqual([200, body]);
});

// CONTRACT section 3, errors.
for (const [what, [body, status, code]] of Object.entries(refused)) {
  test(`request: when a body has ${what}, the client gets ${status} ${code} and no endpoint a whole request`, async () => {
    const gateway = await rig({ yaml: routed });
    const client = await gateway.client();
    const response = await client.ask(chatRequest(body));
    expect(response.status).toBe(status);
    expect(JSON.parse(response.text)).toEqual({
      error: { message: expect.any(String), type: 'invalid_request_error', param: null, code },
    });
    expect(gateway.upstream.receivedBytes).toBe(0);
    // The framing was sound, so the connection serves the next request.
    client.send(chatRequest('{"model":"plain"}'));
    const peer = await gateway.upstream.accept();
    await peer.request();
    peer.send(answerText('next'));
    expect((await client.response()).text).toBe('next');
  });
}

test('request: when a body is empty where a model decides, the client gets 400', async () => {
  const gateway = await rig({ yaml: routed });
  const client = await gateway.client();
  const response = await client.ask(requestText('POST', '/v1/chat/completions', ['content-length: 0']));
  expect(response.status).toBe(400);
  expect(response.text).toContain('body_invalid');
});

test('request: when there is a default pool, unknown models, absent ones and other paths go there untouched', async () => {
  const gateway = await rig({ yaml: `default_pool: only\n${routed}` });
  gateway.upstream.answerAll(({ head, text }) => answerText(`${head.startLine}|${text}`));
  const client = await gateway.client();
  for (const body of ['{"model":"gpt-9"}', '{"messages":[]}']) {
    expect((await client.ask(chatRequest(body))).text).toBe(`POST /v1/chat/completions HTTP/1.1|${body}`);
  }
  expect((await client.ask(requestText('PUT', '/files/a?b=c', [], '\x00\xff'))).bytes.toString('latin1')).toBe(
    'PUT /files/a?b=c HTTP/1.1|\x00\xff',
  );
});

test('request: when there is no default pool, a path that is not understood gets 404 not_found', async () => {
  const gateway = await rig({ yaml: routed });
  const client = await gateway.client();
  const response = await client.ask(requestText('GET', '/nowhere'));
  expect(response.status).toBe(404);
  expect(response.text).toContain('"not_found"');
});

// CONTRACT section 2: with no models at all, bodies are untouched, whatever they are.
test('request: when no models are configured, any body passes as it is', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ text }) => answerText(text));
  const client = await gateway.client();
  for (const body of ['hello', '{"model":"a","model":"b"}', '\xff\x00', '[1]', '{"model":']) {
    expect((await client.ask(chatRequest(body))).bytes.toString('latin1')).toBe(body);
  }
});

// RFC 7578; OpenAI audio transcriptions send the file first.
test('request: when the model of a multipart form stands behind the file, it decides the route and the body is untouched', async () => {
  const gateway = await rig({ yaml: routed });
  gateway.upstream.answerAll(({ text }) => answerText(String(text.length)));
  const client = await gateway.client();
  const form = (model: string): string =>
    `--B\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n${'\x00\xff\r\n-'.repeat(100_000)}\r\n` +
    `--B\r\ncontent-disposition: form-data; name="model"\r\n\r\n${model}\r\n--B--\r\n`;
  const ask = (model: string): string =>
    requestText('POST', '/v1/audio/transcriptions', ['content-type: multipart/form-data; boundary=B'], form(model));
  expect((await client.ask(ask('plain'))).text).toBe(String(form('plain').length));
  const unknown = await client.ask(ask('gpt-9'));
  expect(unknown.status).toBe(404);
  expect(unknown.text).toContain('model_not_found');
});

test('request: when the model list is asked for, the configured names are answered', async () => {
  const gateway = await rig({ yaml: routed });
  const client = await gateway.client();
  const list = JSON.parse((await client.ask(requestText('GET', '/v1/models'))).text) as { data: { id: string }[] };
  expect(list.data.map(({ id }) => id)).toEqual(['small', 'plain']);
  expect((await client.ask(requestText('GET', '/v1/models/small'))).status).toBe(200);
  expect((await client.ask(requestText('GET', '/v1/models/none'))).status).toBe(404);
  expect((await client.ask(requestText('GET', '/v1/models/%ff'))).status).toBe(404);
});

// CONTRACT section 3: 413 before or while reading; what went up is never complete.
test('request: when a chunked body grows over the limit, the client gets 413 and the endpoint no complete body', async () => {
  const gateway = await rig({ yaml: `limits: { body_bytes_max: 100KiB }\n${routed}` });
  const client = await gateway.client();
  client.send(requestText('POST', '/v1/chat/completions', ['transfer-encoding: chunked']));
  const body = `{"model":"plain","p":"${'x'.repeat(200_000)}"}`;
  await client.sendPieces(chunkedText(body, 20_000).match(/[^]{1,30000}/g)!);
  expect((await client.response()).status).toBe(413);
  const peer = await gateway.upstream.accept();
  await peer.ended();
  expect(peer.takePending().toString('latin1')).not.toContain('\r\n0\r\n');
});

test('request: when an endpoint gets an Expect field, it is not told, and the client was sent 100', async () => {
  const gateway = await rig({ yaml: routed });
  const client = await gateway.client();
  client.send(requestText('POST', '/v1/chat/completions', ['expect: 100-continue', 'content-length: 17']));
  expect((await client.readUntil('\r\n\r\n')).toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  client.send('{"model":"plain"}');
  const peer = await gateway.upstream.accept();
  expect((await peer.request()).head.raw).not.toContain('expect');
  peer.send(answerText('ok'));
  expect((await client.response()).text).toBe('ok');
  await turns(1);
});
