import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ExitError, freePort, type RunningGateway, startGateway } from '../rig/gateway-process.ts';

// Changes while requests run: configurations, processes. The scenarios of test/endurance/ in short.
let upstream: Server;
let upstreamUrl = '';
const held = new Set<ServerResponse>();
const gateways: RunningGateway[] = [];

beforeAll(async () => {
  upstream = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: begun\n\n');
    if (request.url === '/hold') held.add(response);
    else response.end();
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
});

const pools = (url = upstreamUrl): string =>
  `pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "${url}" }] }]\n`;

async function start(yaml: string, port?: number): Promise<RunningGateway> {
  const gateway = await startGateway(yaml, port === undefined ? {} : { port });
  gateways.push(gateway);
  return gateway;
}

async function open(url: string): Promise<{ status: number; body: Promise<string> }> {
  const request = httpRequest(url, { agent: false });
  request.end();
  const [response] = await once(request, 'response');
  const body = (async () => {
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return text;
  })();
  body.catch(() => {});
  return { status: response.statusCode as number, body };
}

interface Outcome {
  readonly promises: readonly { readonly text: string; readonly isKept: boolean; readonly seen: string | number }[];
  readonly figures: Readonly<Record<string, unknown>>;
}

/** What a scenario of test/endurance/, which is JavaScript, runs. */
async function operation(name: string, run: string): Promise<(options: object) => Promise<Outcome>> {
  const url = new URL(`../endurance/scenarios/${name}.mjs`, import.meta.url).href;
  const module = (await import(url)) as Record<string, (options: object) => Promise<Outcome>>;
  return module[run]!;
}

/** Broken promises but for those of time, which this machine may be too busy to keep. */
function broken(outcome: Outcome): string[] {
  return outcome.promises
    .filter(({ isKept, text }) => !isKept && !text.endsWith('ms'))
    .map(({ text, seen }) => `${text}: ${seen}`);
}

// FAULTS F43.
test(
  'upgrade: when the config is reloaded twice a second under load, nothing fails and no answer has two configurations',
  { timeout: 60_000 },
  async () => {
    const run = await operation('reload', 'runReload');
    const outcome = await run({ seconds: 4, periodMs: 500 });
    expect(broken(outcome), JSON.stringify(outcome.figures)).toEqual([]);
    expect(outcome.figures['reloads']).toBeGreaterThan(0);
  },
);

// FAULTS F23. Without net.ipv4.tcp_migrate_req=1 a connection may be in the queue of a listener as it closes.
test(
  'upgrade: when a new process takes over under load, every request and every stream is answered',
  { timeout: 90_000 },
  async () => {
    const run = await operation('upgrade', 'runUpgrade');
    const outcome = await run({ seconds: 1 });
    expect(broken(outcome), JSON.stringify(outcome.figures)).toEqual([]);
    expect(outcome.figures['upgrades']).toBe(1);
  },
);

// FAULTS F45.
test('upgrade: when a reload removes an endpoint with a stream on it, the stream ends whole and no new request goes there', async () => {
  const other = createServer((_request, response) => response.end('other'));
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const otherUrl = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
  const gateway = await start(pools());
  const stream = await open(`${gateway.url}/hold`);
  const text = gateway.configText.replace(upstreamUrl, otherUrl);
  await writeFile(gateway.configPath, text);
  gateway.process.kill('SIGHUP');
  await expect.poll(async () => (await open(`${gateway.url}/x`)).body).toBe('other');
  for (let count = 0; count < 20; count++) expect(await (await open(`${gateway.url}/x`)).body).toBe('other');
  for (const response of held) response.end('data: rest\n\n');
  expect(await stream.body).toBe('data: begun\n\ndata: rest\n\n');
  other.close();
  other.closeAllConnections();
});

// FAULTS F22.
test('upgrade: when a reload comes during a drain, the drain wins and the stream ends whole', async () => {
  const gateway = await start(`timeouts: { drain_ms: 10s }\n${pools()}`);
  const stream = await open(`${gateway.url}/hold`);
  gateway.process.kill('SIGTERM');
  await expect.poll(async () => (await fetch(`${gateway.adminUrl}/ready`)).status).toBe(503);
  gateway.process.kill('SIGHUP');
  await expect.poll(() => gateway.log()).toContain('the gateway is draining');
  await expect(open(`${gateway.url}/x`)).rejects.toThrow();
  for (const response of held) response.end('data: rest\n\n');
  expect(await stream.body).toBe('data: begun\n\ndata: rest\n\n');
  expect(await gateway.exited).toBe(0);
});

// FAULTS F60: no half-start.
test('upgrade: when the admin port belongs to another program, exit is 2, the reason is told, and the data port stays free', async () => {
  const taken = createTcpServer((socket) => socket.end('220 not http\r\n'));
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const adminPort = (taken.address() as AddressInfo).port;
  const port = await freePort();
  const failed = startGateway(pools(), { port, adminPort });
  await expect(failed).rejects.toThrow(ExitError);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    message: expect.stringContaining(`cannot listen on admin address 127.0.0.1:${adminPort}`),
  });
  const probe = createTcpServer().listen(port, '127.0.0.1');
  await once(probe, 'listening');
  probe.close();
  taken.close();
});
