import { createServer } from 'node:http';
import type { RequestListener, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { ProbeClient, probeFailure } from './probe-client.ts';
import type { ProbeTarget } from './probe-client.ts';

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

async function serve(listener: RequestListener, pool = ''): Promise<{ client: ProbeClient; target: ProbeTarget }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new ProbeClient();
  endings.push(
    () => client.close(),
    () => server.close(),
    () => server.closeAllConnections(),
  );
  const { port } = server.address() as AddressInfo;
  const parsed = parseConfig(
    `{ listeners: [{ name: a, address: "127.0.0.1:0" }],
       pools: [{ name: p, endpoints: [{ url: "http://127.0.0.1:${port}/base" }] ${pool} }] }`,
    'test.yaml',
    {},
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const config = parsed.config.pools[0]!;
  return { client, target: { slot: 0, pool: config, endpoint: config.endpoints[0]! } };
}

test('probe: when asked, it gets the base path plus the path on a connection of its own, with the pool credential', async () => {
  const seen: (string | undefined)[] = [];
  const { client, target } = await serve((request, response) => {
    seen.push(request.url, request.headers.authorization, request.headers.connection);
    response.end('fine');
  }, ', credential: secret');
  expect(await client.get(target, '/health', 1000)).toEqual({ status: 200, text: 'fine' });
  expect(seen).toEqual(['/base/health', 'Bearer secret', 'close']);
});

test('probe: when the answer is a redirect, it is the answer and is not followed', async () => {
  const { client, target } = await serve((_, response) => response.writeHead(302, { location: 'http://other' }).end());
  expect((await client.get(target, '/health', 1000)).status).toBe(302);
});

test('probe: when head or body do not come in time, it fails as a timeout', async () => {
  for (const listener of [() => {}, (_: unknown, response: { write(text: string): void }) => response.write('half')]) {
    const { client, target } = await serve(listener);
    const error: unknown = await client.get(target, '/health', 50).catch((thrown: unknown) => thrown);
    expect(probeFailure(error)).toBe('timeout');
  }
});

test('probe: when nobody listens or the answer is endless, it fails with a short reason', async () => {
  const { client, target } = await serve((_, response) => response.end());
  const dead = { ...target, endpoint: { ...target.endpoint, url: 'http://127.0.0.1:1' } };
  expect(probeFailure(await client.get(dead, '/', 1000).catch((error: unknown) => error))).toBe('ECONNREFUSED');
  const endless = await serve((_, response) => {
    const chunk = Buffer.alloc(64 * 1024);
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
  });
  const error: unknown = await endless.client.get(endless.target, '/', 5000).catch((thrown: unknown) => thrown);
  expect(probeFailure(error)).toMatch(/longer than \d+ bytes/);
});

test('probe: when an endpoint of two pools is asked for both on kept connections, neither question waits for the other', async () => {
  const waiting: ServerResponse[] = [];
  const { client, target } = await serve((_, response) => {
    if (waiting.push(response) === 2) for (const each of waiting) each.end('fine');
  });
  const other = { ...target, pool: { ...target.pool, name: 'other' } };
  const answers = await Promise.all([client.getKept(target, '/', 2000), client.getKept(other, '/', 2000)]);
  expect(answers.map(({ text }) => text)).toEqual(['fine', 'fine']);
});

test('probe: when asked on a kept connection, the next question goes the same way, and a check does not', async () => {
  const ports = new Set<number | undefined>();
  const { client, target } = await serve((request, response) => {
    ports.add(request.socket.remotePort);
    response.end('fine');
  });
  for (let count = 0; count < 3; count++) expect((await client.getKept(target, '/metrics', 1000)).text).toBe('fine');
  expect(ports.size).toBe(1);
  await client.get(target, '/health', 1000);
  expect(ports.size).toBe(2);
});
