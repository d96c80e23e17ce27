import { expect, test } from 'vitest';
import { answerText, fieldOf, requestText, rig, turns } from '../rig/index.ts';
import { malformedHeads } from './malformed-heads.ts';

const smuggled = requestText('GET', '/smuggled');

// RFC 9112 sections 2.2, 3, 5, 6; CONTRACT section 3. Each row alone, and with a request behind it in the same segment.
for (const { what, wire, status, code } of malformedHeads) {
  test(`head-guard: when a request has ${what}, it is refused (${status === 0 ? 'in silence' : status}) and nothing goes up`, async () => {
    const gateway = await rig();
    gateway.upstream.answerAll(answerText('reached'));
    const alone = await gateway.client();
    alone.send(wire);
    await turns(6);
    if (status === 0) {
      expect(alone.pendingBytes).toBe(0);
    } else if (code === undefined) {
      expect((await alone.readUntil('\r\n')).toString()).toContain(` ${status} `);
      await alone.ended();
    } else {
      const response = await alone.response(wire.startsWith('HEAD'));
      expect(response.status).toBe(status);
      expect(fieldOf(response.head, 'content-type')).toBe('application/json');
      expect(fieldOf(response.head, 'x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
      if (!wire.startsWith('HEAD')) {
        const body = JSON.parse(response.text) as unknown;
        expect(body).toEqual({
          error: { message: expect.any(String), type: 'invalid_request_error', param: null, code },
        });
      }
      // A body that is merely too long leaves the framing sound: the client may still be sending it.
      if (status !== 413) await alone.ended();
    }
    const followed = await gateway.client();
    followed.send(wire + smuggled);
    await turns(10);
    const answers =
      followed
        .takePending()
        .toString('latin1')
        .match(/HTTP\/1\.1 \d/g) ?? [];
    expect(answers.length, 'answers to a refused request and one behind it').toBeLessThanOrEqual(1);
    expect(gateway.upstream.receivedBytes, 'bytes sent upstream').toBe(0);
  });
}

// CONTRACT section 3: the error shape of the path.
test('head-guard: when a request to /v1/messages is refused, the error has the Anthropic shape', async () => {
  const gateway = await rig();
  const client = await gateway.client();
  const response = await client.ask('POST /v1/messages HTTP/1.1\r\nhost: a\r\n\r\n');
  expect(response.status).toBe(411);
  const id = fieldOf(response.head, 'x-request-id');
  expect(JSON.parse(response.text)).toEqual({
    type: 'error',
    error: { type: 'invalid_request_error', message: expect.any(String) },
    request_id: id,
  });
});

// HTTP Garden bug 27: the library ends its list of fields at an empty name. What it hides never goes up with the request,
// but the hidden length is not known either, so what follows is read as a request of its own.
test('head-guard: when an empty field name hides the rest of a GET, only the fields before it go up', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const client = await gateway.client();
  const response = await client.ask('GET /a HTTP/1.1\r\nhost: a\r\nx-seen: 1\r\n: y\r\nx-hidden: 1\r\n\r\n');
  expect(response.text).toContain('x-seen: 1');
  expect(response.text).not.toContain('x-hidden');
});

// RFC 9110 section 5.6.2: every token is a legal name; RFC 9112 section 3.2: these hosts and targets are legal.
test('head-guard: when a head is unusual but legal, it passes', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.raw));
  const heads = [
    ['/a?b=c&d=%20%e4', 'host: a.test:8080'],
    ['/a//b/;c=d', 'host: [::1]:80'],
    ['/a?', 'host: a'],
    ['/a??', 'host: a'],
    ['/a...b/.c/%41', 'host: 127.0.0.1'],
    ['/a', 'host: a', 'x.dot: 2', "x!#$%&'*+-^`|~: 3"],
    ['/a', 'host: a', 'x-utf8: caf\xc3\xa9 au lait'],
    ['/a', 'host: a', 'x-tab: a\tb'],
    ['/a', 'host: a', ...Array.from({ length: 90 }, (_, index) => `x-${index}: ${'v'.repeat(60)}`)],
  ];
  for (const [target, ...fields] of heads) {
    const client = await gateway.client();
    const response = await client.ask(`GET ${target} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`);
    expect(response.status, `${target} ${fields.join()}`).toBe(200);
    const upstreamHead = response.bytes.toString('latin1');
    expect(upstreamHead).toContain(`GET ${target} HTTP/1.1`);
    for (const field of fields.slice(1)) expect(upstreamHead).toContain(field);
    client.destroy();
  }
});

// FAULTS finding 5: a long head must not depend on how TCP cuts it.
test('head-guard: when a head of 12 KB comes in two segments, it passes', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(answerText('ok'));
  const client = await gateway.client();
  const text = requestText('GET', '/a', [`x-long: ${'v'.repeat(12_000)}`]);
  await client.sendPieces([text.slice(0, 5000), text.slice(5000)]);
  expect((await client.response()).status).toBe(200);
});

// CONTRACT section 2: listeners[].chunked_requests.
test('head-guard: when chunked requests are rejected, one gets 411', async () => {
  const gateway = await rig({ listener: 'chunked_requests: reject' });
  const client = await gateway.client();
  const response = await client.ask(
    requestText('POST', '/v1/chat/completions', ['transfer-encoding: chunked']) + '0\r\n\r\n',
  );
  expect(response.status).toBe(411);
});

// A limit of the library: it takes a first segment that ends in the version for HTTP/1.0. Safe, and documented.
test('head-guard: when the request line itself is cut, it is served or refused with 505, and never misread', async () => {
  const gateway = await rig();
  gateway.upstream.answerAll(({ head }) => answerText(head.startLine));
  const wire = requestText('GET', '/a');
  for (let cut = 1; cut <= wire.indexOf('\n'); cut++) {
    const client = await gateway.client();
    await client.sendPieces([wire.slice(0, cut), wire.slice(cut)]);
    const response = await client.response();
    if (response.status !== 505) expect(response.text, `cut at ${cut}`).toBe('GET /a HTTP/1.1');
    client.destroy();
  }
});
