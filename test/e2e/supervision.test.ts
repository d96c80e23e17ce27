import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// What happens when a thread, or the process, does not do what it should. A filter of the user's own is how one does that here.
let folder = '';
let upstream: Server;
let upstreamUrl = '';
const held = new Set<ServerResponse>();
const gateways: RunningGateway[] = [];

const core = new URL('../../dist/core/index.js', import.meta.url).href;
/** What the path asks for happens in the shard that gets the request. */
const filterModule = `
import { InvariantError } from ${JSON.stringify(core)};
export function createFilter() {
  return {
    onRequestHead(exchange) {
      const { path } = exchange.head;
      if (path === '/throw-later') setImmediate(() => { throw new TypeError('nobody catches this'); });
      if (path === '/reject-later') void Promise.reject(new TypeError('nor this'));
      if (path === '/die') setImmediate(() => { throw new InvariantError('bytes could cross'); });
      if (path === '/exit') setImmediate(() => process.exit(3));
      if (path === '/hang') for (;;);
      if (path.startsWith('/block/')) {
        const endMs = performance.now() + Number(path.slice(7));
        while (performance.now() < endMs);
      }
    },
    onResponseChunk(exchange) {
      if (exchange.head.path === '/throw-in-chunk') throw new TypeError('in a chunk');
    },
  };
}
`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-supervision-'));
  writeFileSync(join(folder, 'filter.mjs'), filterModule);
  upstream = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (request.url === '/hold') {
        held.add(response);
        response.write('data: begun\n\n');
      } else if (request.url === '/slow') {
        setTimeout(() => response.end('data: slow\n\n'), 900);
      } else {
        response.end(`data: ${request.url}\n\n`);
      }
    });
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  upstreamUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
});

afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
  for (const response of held) response.destroy();
  held.clear();
});

afterAll(() => {
  upstream.close();
  rmSync(folder, { recursive: true });
});

async function start(runtime: string, more = ''): Promise<RunningGateway> {
  const gateway = await startGateway(
    `runtime: { ${runtime} }
timeouts: { first_byte_ms: 1200ms, drain_ms: 2s }
filter_chains: [{ name: edge, filters: [{ filter: request_id }, { filter: mine, module: "${folder}/filter.mjs" }] }]
pools: [{ name: only, engine: none, picker: round_robin, ${more} endpoints: [{ url: "${upstreamUrl}" }] }]
`,
    { listener: 'filter_chains: [edge]' },
  );
  gateways.push(gateway);
  return gateway;
}

/** Status and body; a body of `null` was cut. Resolves with `reset` when there is no head. */
async function get(url: string): Promise<{ status: number; body: string | null } | 'reset'> {
  const request = httpRequest(url, { agent: false });
  request.end();
  try {
    const [response] = await once(request, 'response');
    let body = '';
    try {
      for await (const chunk of response) body += String(chunk);
    } catch {
      return { status: response.statusCode as number, body: null };
    }
    return { status: response.statusCode as number, body };
  } catch {
    return 'reset';
  }
}

interface Page {
  readonly shards: readonly { readonly restarts: number; readonly state: string }[];
}

const restarts = async (gateway: RunningGateway): Promise<number> =>
  (await gateway.admin<Page>('/status')).shards.reduce((sum, shard) => sum + shard.restarts, 0);

async function bugs(gateway: RunningGateway): Promise<Record<string, number>> {
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const rows = [...text.matchAll(/^penstock_bug_total\{code="(\w+)"\} (\d+)$/gm)];
  return Object.fromEntries(rows.map(([, code, count]) => [code, Number(count)]));
}

test('supervision: when something throws that nobody catches, it is counted and the shard goes on with its streams', async () => {
  const gateway = await start('shards: 1');
  const stream = get(`${gateway.url}/hold`);
  await expect.poll(() => held.size).toBe(1);
  for (const path of ['/throw-later', '/reject-later']) {
    expect(await get(gateway.url + path)).toEqual({ status: 200, body: `data: ${path}\n\n` });
  }
  await expect.poll(() => bugs(gateway)).toEqual({ uncaught_error: 2 });
  await expect.poll(() => gateway.log(), { timeout: 5000 }).toContain('nobody catches this');
  for (const response of held) response.end('data: rest\n\n');
  expect(await stream).toEqual({ status: 200, body: 'data: begun\n\ndata: rest\n\n' });
  expect(await restarts(gateway)).toBe(0);
});

test('supervision: when a filter throws on a chunk, that exchange ends and is told', async () => {
  const gateway = await start('shards: 1');
  expect(await get(`${gateway.url}/throw-in-chunk`)).toMatchObject({ status: 500 });
  expect(await get(`${gateway.url}/x`)).toMatchObject({ status: 200 });
  expect(await restarts(gateway)).toBe(0);
});

// FAULTS F13, F14.
test.each(['/die', '/exit'])(
  'supervision: when a shard ends by %s, its streams are cut, the others go on, and another takes its place',
  async (path) => {
    const gateway = await start('shards: 2');
    const streams = Array.from({ length: 16 }, () => get(`${gateway.url}/hold`));
    await expect.poll(() => held.size).toBe(16);
    const startMs = performance.now();
    await get(gateway.url + path);
    await expect.poll(() => restarts(gateway), { interval: 10, timeout: 5000 }).toBe(1);
    await expect
      .poll(async () => (await fetch(`${gateway.adminUrl}/ready`)).status, { interval: 10, timeout: 5000 })
      .toBe(200);
    const backMs = performance.now() - startMs;
    console.log(`shard back after ${path}: ${Math.round(backMs)} ms`);
    expect(backMs).toBeLessThan(8000);
    for (const response of held) response.end('data: rest\n\n');
    const whole = (await Promise.all(streams)).filter((answer) => answer !== 'reset' && answer.body !== null);
    // The kernel spread 16 connections over two shards.
    expect(whole.length).toBeGreaterThan(0);
    expect(whole.length).toBeLessThan(16);
    expect(await get(`${gateway.url}/x`)).toMatchObject({ status: 200 });
    await expect
      .poll(async () => (await gateway.admin<{ outstanding: Record<string, number> }>('/leases')).outstanding)
      .toEqual(expect.objectContaining({ exchange: 0, endpoint: 0, connection: 0 }));
    const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/penstock_inflight_requests\{[^}]*\} 0\n/);
    await expect
      .poll(() => gateway.log())
      .toMatch(path === '/die' ? /shard died.*bytes could cross|bytes could cross.*shard died/ : 'shard ended unasked');
    const { pid } = await gateway.admin<{ pid: number }>('/live');
    expect(pid, 'the process is the same').toBe(gateway.pid);
  },
);

test(
  'supervision: when a shard hangs, it is told, not ready, and the process is replaced',
  { timeout: 40_000 },
  async () => {
    const gateway = await start('shards: 2, shard_stall_ms: 2500ms');
    const hanging = get(`${gateway.url}/hang`);
    const startMs = performance.now();
    await expect
      .poll(async () => (await fetch(`${gateway.adminUrl}/ready`)).text(), { interval: 50, timeout: 5000 })
      .toMatch(/shard \d does not respond/);
    expect((await gateway.admin<Page>('/status')).shards.map(({ state }) => state).sort()).toEqual([
      'listening',
      'silent',
    ]);
    const pid = (): Promise<number> =>
      gateway.admin<{ pid: number }>('/ready').then(
        (page) => page.pid,
        () => gateway.pid,
      );
    await expect.poll(pid, { interval: 50, timeout: 20_000 }).not.toBe(gateway.pid);
    await expect.poll(async () => (await fetch(`${gateway.adminUrl}/ready`)).status, { timeout: 15_000 }).toBe(200);
    console.log(`hang to ready again: ${Math.round(performance.now() - startMs)} ms, of which 2500 are the limit`);
    expect(await hanging).toBe('reset');
    expect(await get(`${gateway.url}/x`)).toMatchObject({ status: 200 });
    await expect.poll(() => gateway.log(), { timeout: 5000 }).toContain('shard was given up, ending the process');
  },
);

// FAULTS F16, F18: what came in time, and was not looked at, is not late.
test('supervision: when a shard is blocked for longer than a deadline, answers that came meanwhile are not late', async () => {
  const gateway = await start('shards: 1');
  const slow = Array.from({ length: 4 }, () => get(`${gateway.url}/slow`));
  await expect.poll(async () => (await gateway.admin<{ exchanges: unknown[] }>('/exchanges')).exchanges.length).toBe(4);
  expect(await get(`${gateway.url}/block/1800`)).toMatchObject({ status: 200 });
  for (const answer of await Promise.all(slow)) expect(answer).toEqual({ status: 200, body: 'data: slow\n\n' });
  await expect.poll(() => gateway.log(), { timeout: 5000 }).toContain('the event loop stood still');
  await expect.poll(() => gateway.log(), { timeout: 5000 }).toContain('shard responds again');
  expect(await restarts(gateway)).toBe(0);
});

test(
  'supervision: when the process is stopped and continued, nothing times out and no endpoint is unhealthy',
  { timeout: 30_000 },
  async () => {
    const gateway = await start(
      'shards: 2',
      'health: { path: /h, interval_ms: 100ms, timeout_ms: 300ms, unhealthy_after: 1 },',
    );
    const slow = Array.from({ length: 8 }, () => get(`${gateway.url}/slow`));
    await expect
      .poll(async () => (await gateway.admin<{ exchanges: unknown[] }>('/exchanges')).exchanges.length)
      .toBe(8);
    process.kill(gateway.pid, 'SIGSTOP');
    await delay(4000);
    process.kill(gateway.pid, 'SIGCONT');
    for (const answer of await Promise.all(slow)) expect(answer).toEqual({ status: 200, body: 'data: slow\n\n' });
    expect(await get(`${gateway.url}/x`)).toMatchObject({ status: 200 });
    expect(gateway.log()).not.toContain('endpoint is unhealthy');
    expect(gateway.log()).not.toContain('does not respond');
    expect(await restarts(gateway)).toBe(0);
  },
);
