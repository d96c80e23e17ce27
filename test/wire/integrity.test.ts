import { createHash } from 'node:crypto';
import { afterAll, expect, test } from 'vitest';
import { patternOf, startSim } from '../../src/sim/index.ts';
import { fieldOf, type Rig, rig } from '../rig/index.ts';

/** Also run by small-sockets.test.ts, where every read and write is a partial one. */
const sim = await startSim({ speed: 0 });
afterAll(() => sim.close());

const megabytes3 = 3_000_000;
const megabytes30 = 30_000_000;
const pattern = patternOf(megabytes30);

function gatewayBefore(url: string): Promise<Rig> {
  return rig({
    upstreamCount: 0,
    yaml: `pools: [{ name: only, engine: none, picker: round_robin, retries: { attempts: 0 }, endpoints: [{ url: "${url}" }] }]`,
  });
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A body whose bytes depend on `salt`, so that a piece of another exchange shows. */
function bodyOf(bytes: number, salt: number): Buffer {
  const body = Buffer.from(pattern.subarray(0, bytes));
  for (let at = salt; at < bytes; at += 4093) body[at] = salt;
  return body;
}

function upload(body: Buffer, isChunked: boolean, answerBytes: number, framing: string): Buffer {
  const fields = `host: a\r\nx-sim-echo-hash: 1\r\nx-sim-response-bytes: ${answerBytes}\r\nx-sim-response-framing: ${framing}\r\n`;
  const start = `POST /echo HTTP/1.1\r\n${fields}`;
  if (!isChunked) return Buffer.concat([Buffer.from(`${start}content-length: ${body.length}\r\n\r\n`), body]);
  const parts: Buffer[] = [Buffer.from(`${start}transfer-encoding: chunked\r\n\r\n`)];
  for (let at = 0; at < body.length; at += 70_000) {
    const piece = body.subarray(at, at + 70_000);
    parts.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}

for (const bytes of [megabytes3, megabytes30]) {
  for (const isChunked of [false, true]) {
    for (const framing of ['length', 'chunked', 'close']) {
      const way = `${bytes / 1e6} MB go up ${isChunked ? 'in chunks' : 'by length'} and as many come down by ${framing}`;
      test(`integrity: when ${way}, both arrive bit by bit`, async () => {
        const gateway = await gatewayBefore(sim.url);
        const client = await gateway.client();
        const body = bodyOf(bytes, 1);
        const wire = upload(body, isChunked, bytes, framing);
        client.send(wire);
        const response = await client.response();
        expect(response.status).toBe(200);
        expect(fieldOf(response.head, 'x-sim-body-bytes')).toBe(String(bytes));
        expect(fieldOf(response.head, 'x-sim-body-sha256')).toBe(hashOf(body));
        expect(response.isComplete).toBe(true);
        expect(response.bytes.equals(pattern.subarray(0, bytes))).toBe(true);
      });
    }
  }
}

test('integrity: when 64 clients send and get 3 MB at once, each gets its own', async () => {
  const gateway = await gatewayBefore(sim.url);
  await Promise.all(
    Array.from({ length: 64 }, async (_, salt) => {
      const client = await gateway.client();
      const body = bodyOf(megabytes3, salt);
      client.send(upload(body, false, megabytes3 - salt, salt % 2 === 0 ? 'length' : 'chunked'));
      const response = await client.response();
      expect(fieldOf(response.head, 'x-sim-body-sha256')).toBe(hashOf(body));
      expect(response.bytes.equals(pattern.subarray(0, megabytes3 - salt))).toBe(true);
      client.destroy();
    }),
  );
});
