import { createHash } from 'node:crypto';
import { Script } from 'node:vm';
import { request } from 'undici';
import { afterEach, expect, test } from 'vitest';
import { counterCell, histogramCell } from '../account/metric-cells.ts';
import { metrics } from '../account/metrics.ts';
import { EndpointState, Fault, otherRow, Probe, SeriesWriter, WorkTable } from '../shm/index.ts';
import { adminRoutes } from './admin-routes.ts';
import { AdminServer } from './admin-server.ts';
import { rig, rigYaml } from './fixtures/rig.ts';
import type { Rig } from './fixtures/rig.ts';
import { until } from './fixtures/until.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0)) await end();
});

interface Asked {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'OPTIONS';
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

async function serve(token: string | null = null, yaml = rigYaml) {
  const gateway: Rig = await rig('', yaml);
  await gateway.control.start();
  const server = new AdminServer({ routes: adminRoutes(gateway.control), token, log: gateway.log });
  const port = await server.listen('127.0.0.1', 0);
  endings.push(() => server.close(), gateway.end);
  const ask = async (path: string, options: Asked = {}) => {
    const { statusCode, headers, body } = await request(`http://127.0.0.1:${port}${path}`, options);
    const text = await body.text();
    const isJson = headers['content-type'] === 'application/json' && text !== '';
    return { status: statusCode, headers, text, json: (isJson ? JSON.parse(text) : null) as Record<string, never> };
  };
  return { ...gateway, ask };
}

const change = { method: 'POST', headers: { 'content-type': 'application/json' } } as const;

test('admin: when the process runs, /live is 200; /ready says which pool lacks what', async () => {
  const { ask, control } = await serve();
  expect(await ask('/live')).toMatchObject({ status: 200, json: { live: true } });
  expect(await ask('/ready')).toMatchObject({ status: 200, json: { ready: true, status: 'ready', missing: [] } });
  const [first, second] = control.snapshot.endpointSlots[0]!;
  control.fleet.setState(first!, EndpointState.unhealthy);
  expect((await ask('/ready')).status, 'one endpoint is enough').toBe(200);
  control.fleet.setState(second!, EndpointState.unhealthy);
  expect(await ask('/ready')).toMatchObject({
    status: 503,
    json: { ready: false, missing: ['pool local: none of its 2 endpoints is available (2 unhealthy)'] },
  });
});

test('admin: when metrics are scraped, values of shards and of control are in one Prometheus page', async () => {
  const { ask, control } = await serve();
  const writer = new SeriesWriter(control.memory, 0);
  writer.add(counterCell(writer, metrics.requests, ['public', 'm', 'local', '200', 'done']), 3);
  writer.add(counterCell(writer, metrics.leasesTaken, ['endpoint']), 5);
  writer.add(counterCell(writer, metrics.leasesGiven, ['endpoint']), 4);
  const { status, headers, text } = await ask('/metrics');
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  for (const line of [
    'penstock_requests_total{listener="public",model="m",pool="local",status="200",reason="done"} 3',
    'penstock_leases_open{kind="endpoint"} 1',
    'penstock_endpoint_state{pool="local",endpoint="http://127.0.0.1:1",state="healthy"} 1',
    'penstock_endpoint_state{pool="local",endpoint="http://127.0.0.1:1",state="ejected"} 0',
    'penstock_inflight_requests{pool="local",endpoint="http://127.0.0.1:2"} 0',
    'penstock_buffered_bytes{shard="1"} 0',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
  expect(text).toMatch(/^penstock_build_info\{version="[\d.]+",uws="fake"\} 1$/m);
  expect(text).toMatch(/^process_resident_memory_bytes \d{7,}$/m);
  expect(text).toMatch(/^penstock_uptime_seconds 0\.\d+$/m);
});

test('admin: when leases are asked for, outstanding ones are taken minus given', async () => {
  const { ask, control } = await serve();
  const writer = new SeriesWriter(control.memory, 1);
  writer.add(counterCell(writer, metrics.leasesTaken, ['slab']), 2);
  writer.add(counterCell(writer, metrics.leasesGiven, ['slab']), 2);
  writer.add(counterCell(writer, metrics.leasesTaken, ['endpoint']), 1);
  expect((await ask('/leases')).json).toEqual({
    taken: { slab: 2, endpoint: 1 },
    given: { slab: 2, endpoint: 0 },
    outstanding: { slab: 0, endpoint: 1 },
  });
});

test('admin: when status is asked for, shards, pools and endpoints are described', async () => {
  const { ask, control } = await serve();
  control.fleet.publishScrape(control.snapshot.endpointSlots[0]![0]!, {
    queueDepth: 2,
    runningRequests: 3,
    kvCacheUsageRatio: 0.5,
    scrapedAtMs: control.clock.refresh(),
  });
  expect((await ask('/status')).json).toMatchObject({
    phase: 'running',
    config_version: 1,
    shards: [{ index: 0, state: 'listening', restarts: 0 }, { index: 1 }],
    listeners: [{ name: 'public', address: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d+$/) }],
    pools: [
      {
        name: 'local',
        ready: true,
        endpoints: [
          { url: 'http://127.0.0.1:1', state: 'healthy', inflight: 0, queue: 2, running: 3, kv_usage: 0.5 },
          { url: 'http://127.0.0.1:2', queue: null, kv_usage: null, ttft_ewma_ms: null },
        ],
      },
    ],
  });
});

test('admin: when an engine has told nothing for long, status says how long, and not what it told', async () => {
  const { ask, control } = await serve();
  const [slot] = control.snapshot.endpointSlots[0]!;
  const tell = (agoMs: number): void =>
    control.fleet.publishScrape(slot!, {
      queueDepth: 2,
      runningRequests: 3,
      kvCacheUsageRatio: 0.5,
      scrapedAtMs: control.clock.refresh() - agoMs,
    });
  const endpoint = async (): Promise<Record<string, unknown>> =>
    (await ask('/status')).json['pools']![0]['endpoints'][0];
  tell(10_000);
  expect(await endpoint()).toMatchObject({ queue: 2, running: 3, kv_usage: 0.5 });
  tell(20_000);
  const late = await endpoint();
  expect(late).toMatchObject({ queue: null, running: null, kv_usage: null });
  expect(late['scrape_age_ms']).toBeGreaterThanOrEqual(20_000);
});

test('admin: when endpoints have worked, status and metrics say for how long, and what they do and could do', async () => {
  const yaml = `${rigYaml.replace('url: "http://127.0.0.1:1"', 'url: "http://127.0.0.1:1", sku: h100')}
models: [{ name: m, targets: [{ pool: local }] }]
`;
  const { ask, control } = await serve(null, yaml);
  const [slot] = control.snapshot.endpointSlots[0]!;
  const writer = new SeriesWriter(control.memory, 0);
  writer.add(counterCell(writer, metrics.gpuSeconds, ['local', 'm', 'h100']), 2_500_000);
  writer.add(counterCell(writer, metrics.gpuSeconds, ['local', 'm', '']), 9_000_000);
  writer.add(counterCell(writer, metrics.gpuSeconds, ['local', 'other', 'h100']), 1_000_000);
  const attempt = { slot: slot!, probes: Probe.none, nowMs: control.clock.refresh() };
  const row = control.snapshot.modelRows[0]!.indexOf('m');
  for (const each of [row, otherRow]) control.fleet.health.noteAnswer({ ...attempt, row: each }, Fault.none);
  control.throughput.sample();
  new WorkTable(control.memory, 1).addCompletion(slot!, 1_000_000);
  const sampledMs = control.clock.nowMs;
  await until('time goes by', () => control.clock.refresh() > sampledMs);
  control.throughput.sample();
  const { json } = await ask('/status');
  const pool = json['pools']![0] as { skus: unknown; endpoints: Record<string, number | null>[] };
  expect(pool.skus).toMatchObject([
    { sku: 'h100', model: 'other', gpu_seconds: 1 },
    { sku: 'h100', model: 'm', gpu_seconds: 2.5 },
  ]);
  expect(pool.endpoints[0]).toMatchObject({ prompt_tokens_per_second: 0, completion_headroom: null });
  expect(pool.endpoints[0]!['completion_tokens_per_second']).toBeGreaterThan(1000);
  expect(pool.endpoints[1]).toMatchObject({ completion_tokens_per_second: 0 });
  const lines = (await ask('/metrics')).text.split('\n');
  expect(lines).toContain('penstock_gpu_seconds_total{pool="local",model="m",sku="h100"} 2.5');
  expect(
    lines.some((line) => /^penstock_endpoint_throughput_tokens_per_second\{.*kind="completion"\} \d{4,}/.test(line)),
  ).toBe(true);
});

test('admin: when a target asks for kinds of endpoints, status says how many there are, and how many can serve now', async () => {
  const yaml = `${rigYaml.replace('url: "http://127.0.0.1:1"', 'url: "http://127.0.0.1:1", sku: h100, quantization: fp8')}
models: [{ name: m, targets: [{ pool: local, skus: [h100] }, { pool: local, quantizations: [int4] }, { pool: local }] }]
`;
  const { ask, control } = await serve(null, yaml);
  const targets = async (): Promise<unknown> => (await ask('/status')).json['pools']![0]['targets'];
  const wanted = (available: number): object[] => [
    { model: 'm', skus: ['h100'], quantizations: [], endpoints: 1, available },
    { model: 'm', skus: [], quantizations: ['int4'], endpoints: 0, available: 0 },
  ];
  expect(await targets()).toEqual(wanted(1));
  control.fleet.setState(control.snapshot.endpointSlots[0]![0]!, EndpointState.unhealthy);
  expect(await targets()).toEqual(wanted(0));
  expect((await ask('/status')).json).toMatchObject({
    pools: [
      {
        endpoints: [
          { sku: 'h100', quantization: 'fp8' },
          { sku: null, quantization: null },
        ],
      },
    ],
  });
});

test('admin: when exchanges are asked for, those of all shards are listed', async () => {
  const { ask } = await serve();
  const { json } = await ask('/exchanges');
  expect(json).toMatchObject({ silent_shards: [] });
  expect(json['exchanges']).toHaveLength(2);
});

test('admin: when histograms are asked for, they come as percentiles or as an HdrHistogram table', async () => {
  const { ask, control } = await serve();
  const writer = new SeriesWriter(control.memory, 0);
  for (const [model, micros] of [
    ['a', 1000],
    ['a', 2000],
    ['b', 64_000],
  ] as const) {
    writer.record(histogramCell(writer, metrics.ttft, [model, 'local']), micros);
  }
  const { json } = await ask('/histograms?name=penstock_ttft_seconds');
  expect(json['histograms']).toMatchObject([
    { name: 'penstock_ttft_seconds', labels: { model: 'a', pool: 'local' }, unit: 'ms', count: 2 },
    { labels: { model: 'b' }, count: 1 },
  ]);
  const onlyB = await ask('/histograms?name=penstock_ttft_seconds&model=b');
  expect(onlyB.json['histograms']).toHaveLength(1);
  const table = await ask('/histograms?name=penstock_ttft_seconds&format=hgrm');
  expect(table.headers['content-type']).toMatch(/^text\/plain/);
  expect(table.text).toMatch(/Total count\s*=\s*3/);
  expect((await ask('/histograms?format=hgrm')).status).toBe(400);
  expect((await ask('/histograms?name=no_such&format=hgrm')).status).toBe(404);
  expect((await ask('/histograms?format=png')).status).toBe(400);
});

test('admin: when the config is asked for, secrets are masked', async () => {
  const { ask } = await serve(null, `${rigYaml}    credential: sk-very-secret\n`);
  const { text, json } = await ask('/config');
  expect(json).toMatchObject({ version: 1 });
  expect(text).not.toContain('sk-very-secret');
  expect(text).toContain('***');
});

test('admin: when a reload is posted, 200 tells the new version, 422 the problems', async () => {
  const { ask, rewrite } = await serve();
  expect(await ask('/reload', change)).toMatchObject({ status: 200, json: { version: 2 } });
  rewrite('nonsense: true\n');
  const refused = await ask('/reload', change);
  expect(refused.status).toBe(422);
  expect(refused.json['problems']).toContainEqual(expect.stringContaining('nonsense'));
  expect((await ask('/status')).json).toMatchObject({ config_version: 2 });
});

test('admin: when a drain is posted, the gateway drains and is not ready', async () => {
  const { ask, control } = await serve();
  expect(await ask('/drain', change)).toMatchObject({ status: 202, json: { draining: true } });
  await until('drained', () => control.phase === 'stopped');
  expect(await ask('/ready')).toMatchObject({ status: 503, json: { status: 'draining' } });
});

test('admin: when HEAD is used, it answers as GET without the body; a wrong method gets 405 and allow', async () => {
  const { ask } = await serve();
  const head = await ask('/live', { method: 'HEAD' });
  expect(head).toMatchObject({ status: 200, text: '' });
  expect(Number(head.headers['content-length'])).toBeGreaterThan(0);
  expect(await ask('/live', change)).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  expect(await ask('/drain')).toMatchObject({ status: 405, headers: { allow: 'POST' } });
  expect(await ask('/no-such')).toMatchObject({ status: 404, json: { error: 'no such path' } });
  expect((await ask('/__proto__')).status).toBe(404);
});

// FAULTS S9: no simple content types, so that a web page cannot do it across origins.
test('admin: when a POST could come from a form of a web page, it is refused', async () => {
  const { ask, control } = await serve();
  for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain', 'application/jsonx']) {
    const answer = await ask('/drain', { method: 'POST', headers: { 'content-type': type } });
    expect(answer.status, type).toBe(403);
  }
  expect((await ask('/drain', { method: 'POST' })).status).toBe(403);
  expect((await ask('/drain', { method: 'OPTIONS' })).status, 'no preflight is granted').toBe(405);
  expect(control.phase).toBe('running');
  const header = { method: 'POST', headers: { 'x-penstock-admin': '1' } } as const;
  expect((await ask('/reload', header)).status).toBe(200);
});

// A browser tells of itself where a page of another origin asks, even where that page could send the header.
test('admin: when a browser says that a page of another origin asks, a change is refused', async () => {
  const { ask, control } = await serve();
  const said: readonly Record<string, string>[] = [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:1' },
  ];
  for (const headers of said) {
    const answer = await ask('/drain', { method: 'POST', headers: { 'x-penstock-admin': '1', ...headers } });
    expect(answer.status, JSON.stringify(headers)).toBe(403);
  }
  expect(control.phase).toBe('running');
  const own = {
    'x-penstock-admin': '1',
    'sec-fetch-site': 'same-origin',
    host: '127.0.0.1',
    origin: 'http://127.0.0.1',
  };
  expect((await ask('/reload', { method: 'POST', headers: own })).status).toBe(200);
});

test('admin: when a change is asked for, the log says who, what and the outcome, granted or not', async () => {
  const { ask, lines } = await serve('correct-horse');
  await ask('/drain?token=secret', { method: 'POST', headers: { authorization: 'Bearer wrong' } });
  const granted = { 'x-penstock-admin': '1', authorization: 'Bearer correct-horse' };
  await ask('/reload', { method: 'POST', headers: granted });
  const changes = lines.filter((line) => String(line['msg']).startsWith('admin change'));
  expect(changes).toMatchObject([
    { level: 40, method: 'POST', path: '/drain', from: '127.0.0.1', status: 401, msg: 'admin change refused' },
    { level: 30, method: 'POST', path: '/reload', from: '127.0.0.1', status: 200, msg: 'admin change' },
  ]);
  expect(JSON.stringify(lines)).not.toMatch(/correct-horse|wrong|secret/);
});

test('admin: when a page makes its own name point to loopback, it gets nothing', async () => {
  const { ask } = await serve();
  for (const host of ['evil.example', 'evil.example:9901', '127.0.0.1.evil.example', '']) {
    expect((await ask('/config', { headers: { host } })).status, host).toBe(403);
  }
  for (const host of ['localhost:9901', '127.0.0.1', '[::1]:9901', 'gateway.localhost']) {
    expect((await ask('/config', { headers: { host } })).status, host).toBe(200);
  }
});

test('admin: when there is a token, everything but the probes needs it', async () => {
  const { ask } = await serve('correct-horse');
  expect((await ask('/live')).status).toBe(200);
  expect((await ask('/ready')).status).toBe(200);
  const without = await ask('/status');
  expect(without).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
  for (const token of ['wrong', 'correct', 'correct-horse-battery', '']) {
    expect((await ask('/status', { headers: { authorization: `Bearer ${token}` } })).status, token).toBe(401);
  }
  expect((await ask('/drain', change)).status).toBe(401);
  expect((await ask('/status', { headers: { authorization: 'Bearer correct-horse' } })).status).toBe(200);
});

test('admin: when anything is answered, browsers and caches are told to keep their hands off', async () => {
  const { ask } = await serve();
  for (const path of ['/', '/live', '/config', '/metrics', '/no-such']) {
    expect((await ask(path)).headers, path).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': expect.stringContaining("frame-ancestors 'none'"),
    });
  }
});

test('admin: when a body is too long, it is refused', async () => {
  const { ask } = await serve();
  expect((await ask('/reload', { ...change, body: 'x'.repeat(65 * 1024) })).status).toBe(413);
  expect((await ask('/reload', { ...change, body: 'x'.repeat(64 * 1024) })).status).toBe(200);
});

test('admin: when a head is too long, it is refused and the next request is served', async () => {
  const { ask } = await serve();
  expect((await ask('/live', { headers: { 'x-long': 'v'.repeat(20_000) } })).status).toBe(431);
  expect((await ask('/live')).status).toBe(200);
});

test('admin: when the dashboard is opened, it is one page that loads nothing from elsewhere', async () => {
  const { ask } = await serve();
  const { status, headers, text } = await ask('/');
  expect(status).toBe(200);
  expect(headers['content-type']).toBe('text/html; charset=utf-8');
  expect(text).not.toMatch(/https?:\/\/|<link|src=|@import|innerHTML| style=| on[a-z]+=/);
  const policy = String(headers['content-security-policy']);
  expect(policy).toMatch(/^default-src 'none'; /);
  expect(policy).not.toContain('unsafe');
  for (const element of ['style', 'script']) {
    const parts = [...text.matchAll(new RegExp(`<${element}>([^]*?)</${element}>`, 'g'))].map(
      ([, content]) => content!,
    );
    const digests = parts.map((content) => `'sha256-${createHash('sha256').update(content).digest('base64')}'`);
    expect(policy, `only its own ${element} runs`).toContain(`${element}-src ${digests.join(' ')};`);
  }
  const script = /<script>([\s\S]*)<\/script>/.exec(text)?.[1];
  expect(() => new Script(script!), 'the script is JavaScript').not.toThrow();
});
