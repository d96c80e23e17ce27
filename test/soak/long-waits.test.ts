import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

/**
 * The waits here are the thing under test: minutes of silence in which nothing may give up. The acceptor closes idle
 * connections after 10 s, so each of these would fail if the gateway took a waiting request for an idle one.
 */
let upstream: Server;
let gateway: RunningGateway;

beforeAll(async () => {
  upstream = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      void (async () => {
        if (request.headers['x-test'] === 'first-token') {
          await delay(65_000);
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          response.end('data: late\n\ndata: [DONE]\n\n');
          return;
        }
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (let event = 0; event <= 9; event++) {
          response.write(`data: ${event}\n\n`);
          await delay(20_000);
        }
        response.end('data: [DONE]\n\n');
      })();
    });
  });
  upstream.requestTimeout = 0;
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const { port } = upstream.address() as AddressInfo;
  gateway = await startGateway(`
pools:
  - { name: slow, engine: none, picker: least_load, endpoints: [{ url: "http://127.0.0.1:${port}" }] }
`);
});

afterAll(async () => {
  await gateway.stop();
  upstream.close();
});

function ask(kind: string): Promise<Response> {
  return fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-test': kind },
    body: JSON.stringify({ model: 'm', stream: true, messages: [] }),
  });
}

test.concurrent('relay: when the first token takes 65 s, it arrives', { timeout: 90_000 }, async () => {
  const response = await ask('first-token');
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('data: late\n\ndata: [DONE]\n\n');
});

test.concurrent(
  'relay: when a stream of 3 minutes is silent for 20 s at a time, every event arrives',
  { timeout: 260_000 },
  async () => {
    const response = await ask('gaps');
    const events = (await response.text()).split('\n\n').filter((event) => event !== '');
    expect(events).toEqual([...Array.from({ length: 10 }, (_, event) => `data: ${event}`), 'data: [DONE]']);
  },
);
