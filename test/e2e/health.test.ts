import { writeFile, readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { answerChat, ModelServer, type Serve, streamChat } from '../rig/model-server.ts';
import { eventuallyWithin } from '../rig/until.ts';

const eventually = eventuallyWithin(10_000);

// FAULTS F33 to F36, F41: what is promised of sick endpoints, with the real process and two shards, so that what one of
// them learns the other knows. docs/health.md has the rules.
const gateways: RunningGateway[] = [];
const servers: ModelServer[] = [];

afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
  for (const server of servers.splice(0)) server.close();
});

async function serversOf(count: number, serve?: Serve): Promise<ModelServer[]> {
  for (let made = 0; made < count; made++) servers.push(await ModelServer.listen(serve));
  return servers;
}

/** `$0`, `$1`, ...: the servers' URLs. */
async function start(yaml: string): Promise<RunningGateway> {
  const text = withUrls(yaml);
  const gateway = await startGateway(`runtime: { shards: 2 }\nlogging: { level: warn }\n${text}`);
  gateways.push(gateway);
  return gateway;
}

function withUrls(yaml: string): string {
  return yaml.replace(/\$(\d)/g, (_, digit: string) => servers[Number(digit)]!.url);
}

interface Answer {
  /** 0: cut off, or no answer. */
  readonly status: number;
  readonly retryAfter: string | null;
  readonly ms: number;
}

/** One request on a connection of its own, so that both shards get some. */
function ask(gateway: RunningGateway, body = '{"model":"a"}'): Promise<Answer> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    const done = (status: number, retryAfter: string | null = null): void =>
      resolve({ status, retryAfter, ms: performance.now() - startMs });
    const request = httpRequest(
      `${gateway.url}/v1/chat/completions`,
      { method: 'POST', agent: false, headers: { 'content-type': 'application/json' } },
      (response) => {
        response.resume();
        const { statusCode = 0, headers } = response;
        response.on('end', () => done(response.complete ? statusCode : 0, headers['retry-after'] ?? null));
        response.on('error', () => done(0));
      },
    );
    request.on('error', () => done(0));
    request.end(body);
  });
}

/** Requests by `workers` side by side, until `isOver`; returns all answers. */
async function load(
  gateway: RunningGateway,
  workers: number,
  isOver: (count: number) => boolean,
  pauseMs = 0,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const work = async (): Promise<void> => {
    while (!isOver(answers.length)) {
      answers.push(await ask(gateway));
      if (pauseMs > 0) await delay(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  return answers;
}

interface Health {
  readonly inflight: number;
  readonly state: string;
  readonly phase: string;
  readonly last_ejection: { readonly fault: string } | null;
  readonly answers: number;
  readonly faults: number;
}

interface Status {
  readonly pools: readonly {
    readonly endpoints: readonly (Health & {
      readonly url: string;
      readonly models: readonly (Health & { model: string })[];
    })[];
    readonly skus: readonly {
      readonly sku: string | null;
      readonly model: string;
      readonly endpoints: number;
      readonly out: number;
      readonly faults: number;
      readonly tokens_per_second: number | null;
    }[];
  }[];
  readonly draining: readonly { readonly pool: string; readonly url: string; readonly inflight: number }[];
}

async function endpoints(gateway: RunningGateway): Promise<Status['pools'][number]['endpoints']> {
  return (await gateway.admin<Status>('/status')).pools[0]!.endpoints;
}

function afterMs(ms: number): () => boolean {
  const endMs = performance.now() + ms;
  return () => performance.now() > endMs;
}

const threeOf = (extra: string): string =>
  `pools: [{ name: only, engine: none, picker: round_robin, ${extra} endpoints: [{ url: "$0", sku: a }, { url: "$1", sku: b }, { url: "$2", sku: b }] }]\n`;

test('F33: when one of three answers 200 with garbage, it is out within 10 s, for both shards', async () => {
  const [sick] = await serversOf(3);
  sick!.serve = (response) =>
    void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>404 page not found</html>');
  const gateway = await start(threeOf('ejection: { base_ms: 5m },'));
  const startMs = performance.now();
  let isOut = false;
  const watch = (async () => {
    await eventually('the endpoint is out', async () => (await endpoints(gateway))[0]!.phase === 'out');
    isOut = true;
  })();
  await Promise.all([watch, load(gateway, 4, () => isOut, 5)]);
  expect(performance.now() - startMs).toBeLessThan(10_000);
  const before = sick!.count;
  expect((await load(gateway, 4, (count) => count >= 60)).every(({ status }) => status === 200)).toBe(true);
  expect(sick!.count).toBe(before);
  const { pools } = await gateway.admin<Status>('/status');
  expect(pools[0]!.endpoints[0]).toMatchObject({ state: 'ejected', phase: 'out', last_ejection: { fault: 'garbage' } });
  expect(pools[0]!.skus).toMatchObject([
    { sku: 'a', model: 'other', endpoints: 1, out: 1 },
    { sku: 'b', model: 'other', endpoints: 2, out: 0, faults: 0 },
  ]);
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const labels = `{pool="only",endpoint="${sick!.url}",model="other",fault="garbage"}`;
  const faultCount = Number(metrics.split(`penstock_endpoint_faults_total${labels} `)[1]?.split('\n')[0]);
  expect(faultCount).toBeGreaterThanOrEqual(5);
  expect(metrics).toContain(`penstock_endpoint_ejections_total${labels} 1\n`);
  expect(metrics).toContain(`penstock_endpoint_state{pool="only",endpoint="${sick!.url}",state="ejected"} 1\n`);
}, 30_000);

test('F34: when one of three is far slower than the others, its share is below a tenth within 10 s', async () => {
  const [slow] = await serversOf(3, (response) => streamChat(response, 20, 5));
  slow!.serve = (response) => streamChat(response, 20, 300);
  const gateway = await start(
    `pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "$0" }, { url: "$1" }, { url: "$2" }] }]`,
  );
  await load(gateway, 9, afterMs(6000), 10);
  const before = servers.map(({ count }) => count);
  await load(gateway, 6, (count) => count >= 60, 10);
  const counts = servers.map(({ count }, index) => count - before[index]!);
  const total = counts.reduce((sum, count) => sum + count, 0);
  expect(counts[0]! / total, String(counts)).toBeLessThan(0.1);
  expect((await endpoints(gateway))[0]).toMatchObject({ last_ejection: { fault: 'slow' } });
}, 30_000);

test('F35: when one of three is up for a second and down for a second, hardly a request fails', async () => {
  const [flapping] = await serversOf(3);
  const gateway = await start(threeOf(''));
  let isOver = false;
  const flap = (async () => {
    for (let round = 0; round < 4; round++) {
      await delay(1000);
      await flapping!.down();
      await delay(1000);
      await flapping!.up();
    }
    isOver = true;
  })();
  const [answers] = await Promise.all([load(gateway, 4, () => isOver, 5), flap]);
  const failed = answers.filter(({ status }) => status !== 200);
  expect(failed.length / answers.length, JSON.stringify(failed.slice(0, 5))).toBeLessThanOrEqual(0.01);
  expect((await endpoints(gateway))[0]!.last_ejection).toMatchObject({ fault: 'connect' });
}, 40_000);

test('F36: when all were down and come back, requests are refused with retry-after, and served soon afterwards', async () => {
  await serversOf(2);
  const gateway = await start(
    'pools: [{ name: only, engine: none, picker: least_load, endpoints: [{ url: "$0" }, { url: "$1" }] }]',
  );
  expect((await ask(gateway)).status).toBe(200);
  for (const server of servers) await server.down();
  const refused = await load(gateway, 4, afterMs(3000), 20);
  expect(refused.every(({ status }) => status === 502 || status === 503)).toBe(true);
  const shed = refused.filter(({ status }) => status === 503);
  expect(shed.length).toBeGreaterThan(refused.length / 2);
  expect(shed.every(({ retryAfter }) => Number(retryAfter) >= 1 && Number(retryAfter) <= 10)).toBe(true);
  expect(Math.max(...refused.map(({ ms }) => ms)), 'nobody is kept waiting').toBeLessThan(3000);
  for (const server of servers) await server.up();
  const upMs = performance.now();
  await eventually('the first answer', async () => (await ask(gateway)).status === 200);
  await eventually('all are answered', async () =>
    (await load(gateway, 8, (count) => count >= 40)).every(({ status }) => status === 200),
  );
  // The promise is 2 s; what is measured here shares two busy cores with everything else.
  expect(performance.now() - upMs).toBeLessThan(6000);
  for (const server of servers) expect(server.count).toBeGreaterThan(0);
}, 40_000);

test('F41: when a provider answers 429 with retry-after, it is left alone for that long, and the spare serves', async () => {
  const [paid] = await serversOf(2);
  const asked: number[] = [];
  paid!.serve = (response) => {
    asked.push(performance.now());
    if (asked.length === 1) response.writeHead(429, { 'retry-after': '2' }).end();
    else answerChat(response);
  };
  const gateway = await start(
    `models: [{ name: a, targets: [{ pool: paid }, { pool: spare }] }]
pools:
  - { name: paid, engine: none, endpoints: [{ url: "$0" }] }
  - { name: spare, engine: none, endpoints: [{ url: "$1" }] }`,
  );
  const answers = await load(gateway, 1, () => asked.length > 1, 10);
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  expect(asked[1]! - asked[0]!).toBeGreaterThan(1850);
  expect(asked[1]! - asked[0]!).toBeLessThan(4000);
}, 30_000);

test('probation: when an ejection is over, one request goes there although both shards would send theirs', async () => {
  const [sick] = await serversOf(2);
  sick!.serve = (response) => void response.writeHead(500).end();
  const gateway = await start(
    'pools: [{ name: only, engine: none, picker: round_robin, ejection: { base_ms: 500ms }, slow_start_ms: 0, endpoints: [{ url: "$0" }, { url: "$1" }] }]',
  );
  await load(gateway, 2, () => sick!.count >= 5);
  const held: (() => void)[] = [];
  sick!.serve = (response) => void held.push(() => answerChat(response));
  const answers: Promise<Answer>[] = [];
  await eventually('the probe', () => {
    answers.push(ask(gateway));
    return held.length > 0;
  });
  const others = await load(gateway, 8, (count) => count >= 60);
  expect(others.every(({ status }) => status === 200)).toBe(true);
  expect(held.length).toBe(1);
  expect((await endpoints(gateway))[0]).toMatchObject({ state: 'ejected', phase: 'probation' });
  expect(await gateway.admin('/leases')).toMatchObject({ outstanding: { probe: 1 } });
  sick!.serve = answerChat;
  held[0]!();
  await eventually('it serves again', async () => (await endpoints(gateway))[0]!.phase === 'serving');
  const before = sick!.count;
  await load(gateway, 4, (count) => count >= 40);
  expect(sick!.count - before).toBeGreaterThan(10);
  await Promise.all(answers);
}, 30_000);

test('drain: when an endpoint loses its weight or leaves with a reload, it says so until its last exchange is over', async () => {
  const [first, second] = await serversOf(3);
  const pool = (list: string): string =>
    `pools: [{ name: only, engine: none, picker: round_robin, endpoints: [${list}] }]\n`;
  const gateway = await start(pool('{ url: "$0" }, { url: "$1" }, { url: "$2" }'));
  const held: (() => void)[] = [];
  first!.serve = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"choices":[{"delta":{"content":"a"}}]}\n\n');
    held.push(() => void response.end('data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'));
  };
  const answers: Promise<Answer>[] = [];
  while (held.length === 0) {
    answers.push(ask(gateway));
    await delay(20);
  }
  // Those that are not held are over soon.
  await eventually('the others are answered', async () => (await endpoints(gateway))[0]!.inflight === held.length);
  const text = await readFile(gateway.configPath, 'utf8');
  const head = text.slice(0, text.indexOf('pools:'));
  await writeFile(gateway.configPath, head + withUrls(pool('{ url: "$1", weight: 0 }, { url: "$2" }')));
  const reloaded = await fetch(`${gateway.adminUrl}/reload`, { method: 'POST', headers: { 'x-penstock-admin': '1' } });
  expect(reloaded.status).toBe(200);
  const status = await gateway.admin<Status>('/status');
  expect(status.draining).toMatchObject([{ pool: 'only', url: first!.url, inflight: held.length }]);
  expect(status.pools[0]!.endpoints.map(({ state }) => state)).toEqual(['draining', 'healthy']);
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  for (const { url } of [first!, second!])
    expect(metrics).toContain(`penstock_endpoint_state{pool="only",endpoint="${url}",state="draining"} 1\n`);
  const before = [first!.count, second!.count];
  await load(gateway, 4, (count) => count >= 20);
  expect([first!.count, second!.count], 'nothing new').toEqual(before);
  for (const finish of held) finish();
  for (const answer of answers) expect((await answer).status).toBe(200);
  await eventually('it is gone', async () => (await gateway.admin<Status>('/status')).draining.length === 0);
  // Back again: it is new.
  await writeFile(gateway.configPath, head + withUrls(pool('{ url: "$0" }, { url: "$2" }')));
  expect(
    (await fetch(`${gateway.adminUrl}/reload`, { method: 'POST', headers: { 'x-penstock-admin': '1' } })).status,
  ).toBe(200);
  expect((await endpoints(gateway)).map(({ state, phase }) => [state, phase])).toEqual([
    ['healthy', 'slow_start'],
    ['healthy', 'serving'],
  ]);
}, 30_000);
