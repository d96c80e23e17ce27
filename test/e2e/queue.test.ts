import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { until } from '../rig/until.ts';

// One queue over threads of their own: which of them a request waits in is the kernel's choice and must not matter.

let folder = '';
let upstream: Server;
let upstreamUrl = '';
/** Paths as they came, and the answers that wait to be sent. */
let served: string[] = [];
let open: ServerResponse[] = [];
const gateways: RunningGateway[] = [];

const core = new URL('../../dist/core/index.js', import.meta.url).href;
/** `/die/1` ends shard 1; any other shard answers it. */
const filterModule = `
import { workerData } from 'node:worker_threads';
import { InvariantError } from ${JSON.stringify(core)};
export function createFilter() {
  return {
    onRequestHead(exchange) {
      const { path } = exchange.head;
      if (!path.startsWith('/die/')) return null;
      if (path !== '/die/' + workerData.shardIndex) return { status: 204 };
      setImmediate(() => { throw new InvariantError('bytes could cross'); });
      return null;
    },
  };
}
`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-queue-'));
  writeFileSync(join(folder, 'filter.mjs'), filterModule);
  upstream = createServer((request, response) => {
    request.resume();
    served.push(request.url!);
    open.push(response);
    response.on('close', () => (open = open.filter((each) => each !== response)));
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  upstreamUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
});

afterEach(async () => {
  for (const response of open) response.destroy();
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
  served = [];
  open = [];
});

afterAll(() => {
  upstream.closeAllConnections();
  upstream.close();
  rmSync(folder, { recursive: true });
});

async function start(): Promise<RunningGateway> {
  const gateway = await startGateway(
    `runtime: { shards: 2 }
filter_chains: [{ name: edge, filters: [{ filter: mine, module: "${folder}/filter.mjs" }] }]
pools:
  - { name: only, engine: none, picker: round_robin, inflight_max: 1, retries: { attempts: 0 }, ejection: { consecutive_failures: 1000 },
      queue: { wait_ms: 1m, fair_by: "header:x-tenant" }, endpoints: [{ url: "${upstreamUrl}" }] }
`,
    { listener: 'filter_chains: [edge]' },
  );
  gateways.push(gateway);
  return gateway;
}

/** A request on a connection of its own, so that the kernel chooses a shard. Resolves with the status, 0 when it was cut. */
async function get(gateway: RunningGateway, path: string, tenant = ''): Promise<number> {
  const headers = tenant === '' ? {} : { 'x-tenant': tenant };
  const request = httpRequest(gateway.url + path, { agent: false, headers });
  request.end();
  try {
    const [response] = await once(request, 'response');
    response.resume();
    await once(response, 'end');
    return response.statusCode as number;
  } catch {
    return 0;
  }
}

interface Exchange {
  readonly path: string;
  readonly shard: number;
  readonly phase: string;
}

async function waiting(gateway: RunningGateway): Promise<Exchange[]> {
  const { exchanges } = await gateway.admin<{ exchanges: Exchange[] }>('/exchanges');
  return exchanges.filter(({ phase }) => phase === 'queued');
}

/** Sends one after the other, each when the one before it waits. */
async function fill(gateway: RunningGateway, count: number, tenantOf: (index: number) => string): Promise<Filled> {
  const answers = new Map<string, Promise<number>>();
  answers.set('/first', get(gateway, '/first', 'first'));
  await until(() => served.length === 1, 'the place is taken');
  for (let index = 0; index < count; index++) {
    answers.set(`/${index}`, get(gateway, `/${index}`, tenantOf(index)));
    const endMs = performance.now() + 10_000;
    while ((await waiting(gateway)).length <= index) expect(performance.now(), 'it waits').toBeLessThan(endMs);
  }
  const shards = new Map((await waiting(gateway)).map(({ path, shard }) => [path, shard]));
  return { answers, shards };
}

interface Filled {
  readonly answers: Map<string, Promise<number>>;
  readonly shards: Map<string, number>;
}

/** Answers one after the other until `count` were served. */
async function serve(count: number): Promise<void> {
  for (let index = 1; index <= count; index++) {
    await until(
      () => served.length >= index && open.length === 1,
      `request ${index} is served`,
      10_000,
      () => served,
    );
    open[0]!.end('ok');
    await until(() => served.length > index || open.length === 0, 'it is over');
  }
}

test('queue over shards: when requests wait in two threads, they are served in one order, and in turns of tenants', async () => {
  const gateway = await start();
  const count = 16;
  const { answers, shards } = await fill(gateway, count, (index) => (index < 12 ? 'many' : 'few'));
  expect(new Set(shards.values()).size, 'the kernel spreads connections').toBe(2);
  await serve(count + 1);
  const turns = [0, 12, 1, 13, 2, 14, 3, 15, 4, 5, 6, 7, 8, 9, 10, 11].map((index) => `/${index}`);
  expect(served).toEqual(['/first', ...turns]);
  for (const [path, answer] of answers) expect(await answer, path).toBe(200);
  const { pools } = await gateway.admin<{ pools: { queued: number; queued_bytes: number }[] }>('/status');
  expect([pools[0]!.queued, pools[0]!.queued_bytes]).toEqual([0, 0]);
});

test('queue over shards: when the thread of the first of all dies, the others are served in order, without a long wait', async () => {
  const gateway = await start();
  const count = 20;
  const { answers, shards } = await fill(gateway, count, () => 'one');
  const dying = shards.get('/0')!;
  const survivors = [...shards].filter(([, shard]) => shard !== dying).map(([path]) => path);
  expect(survivors.length, 'the kernel spreads connections').toBeGreaterThan(0);
  while ((await get(gateway, `/die/${dying}`)) !== 0);
  const { length: before } = served;
  if (open.length > 0) open[0]!.end('ok');
  for (let index = 0; index < survivors.length; index++) {
    await until(
      () => served.length > before + index && open.length === 1,
      'a survivor is served',
      10_000,
      () => served,
    );
    open[0]!.end('ok');
    await until(() => served.length > before + index + 1 || open.length === 0, 'it is over');
  }
  const inOrder = survivors.map((path) => Number(path.slice(1))).sort((one, other) => one - other);
  expect(served.slice(before)).toEqual(inOrder.map((index) => `/${index}`));
  for (const path of survivors) expect(await answers.get(path)!, path).toBe(200);
  expect(await get(gateway, '/die/7'), 'it goes on').toBe(204);
});
