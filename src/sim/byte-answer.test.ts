import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { patternOf } from './byte-answer.ts';
import { startSim } from './server.ts';
import type { Sim } from './server.ts';

let sim: Sim;
beforeAll(async () => {
  sim = await startSim({ name: 'bytes', speed: 0 });
});
afterAll(() => sim.close());

test('byte-answer: when N bytes are asked for, they follow the pattern in each framing', async () => {
  const count = 200_001;
  const expected = patternOf(count);
  for (let index = 0; index < count; index += 997) {
    expect(expected[index]).toBe((index * 31 + (index >>> 8) * 7) & 255);
  }
  for (const framing of ['length', 'chunked', 'close']) {
    const response = await fetch(`${sim.url}/any/path`, {
      headers: { 'x-sim-response-bytes': String(count), 'x-sim-response-framing': framing },
    });
    expect(response.headers.get('content-length')).toBe(framing === 'length' ? String(count) : null);
    expect(response.headers.get('transfer-encoding')).toBe(framing === 'chunked' ? 'chunked' : null);
    expect(Buffer.from(await response.arrayBuffer()).equals(expected), framing).toBe(true);
  }
});

test('byte-answer: when framing is close, the raw response has neither length nor chunks and ends with the connection', async () => {
  const raw = await new Promise<string>((resolve, reject) => {
    const socket = connect(sim.port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
    socket.write('GET / HTTP/1.1\r\nhost: a\r\nx-sim-response-bytes: 5\r\nx-sim-response-framing: close\r\n\r\n');
  });
  expect(raw.toLowerCase()).toContain('connection: close\r\n');
  expect(raw).toMatch(/\r\n\r\n[^]{5}$/);
  expect(raw.toLowerCase()).not.toMatch(/content-length|transfer-encoding/);
});

test('byte-answer: when the hash of a body is asked for, it is of the bytes that came', async () => {
  const body = patternOf(3_000_000);
  const response = await fetch(`${sim.url}/upload`, {
    method: 'PUT',
    headers: { 'x-sim-echo-hash': '1', 'x-sim-response-bytes': '0' },
    body,
  });
  expect(response.status).toBe(200);
  expect(response.headers.get('x-sim-body-bytes')).toBe('3000000');
  expect(response.headers.get('x-sim-body-sha256')).toBe(createHash('sha256').update(body).digest('hex'));
});

test('byte-answer: when a completion of N bytes is asked for, it is one, of N bytes', async () => {
  for (const count of [300, 65_536, 200_001]) {
    const response = await fetch(`${sim.url}/v1/chat/completions`, {
      headers: { 'x-sim-completion-bytes': String(count) },
    });
    expect(response.headers.get('content-length')).toBe(String(count));
    const text = await response.text();
    expect(text).toHaveLength(count);
    expect(JSON.parse(text)).toMatchObject({ usage: { completion_tokens: Math.floor(count / 4) } });
  }
  const response = await fetch(sim.url, { headers: { 'x-sim-completion-bytes': '10' } });
  expect(response.status).toBe(400);
});
