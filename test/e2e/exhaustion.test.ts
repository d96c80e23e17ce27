import { spawn, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, afterAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../rig/gateway-process.ts';
import { eventuallyWithin } from '../rig/until.ts';

const eventually = eventuallyWithin(15_000);

// What the process does when the system gives it no more: files, log, heap (FAULTS F48 to F52). Linux only: prlimit,
// /dev/full, /proc.
const MiB = 1024 * 1024;

let upstream: Server;
let poolYaml: string;
const held = new Set<ServerResponse>();
const gateways: RunningGateway[] = [];
const sockets: Socket[] = [];

beforeAll(async () => {
  upstream = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      if (request.url === '/hold') held.add(response);
      else response.end('{}');
    });
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const { port } = upstream.address() as AddressInfo;
  poolYaml = `pools: [{ name: only, engine: none, picker: round_robin, endpoints: [{ url: "http://127.0.0.1:${port}" }] }]\n`;
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(gateways.splice(0).map((gateway) => gateway.stop()));
  for (const response of held) response.destroy();
  held.clear();
});

afterAll(() => {
  upstream.closeAllConnections();
  upstream.close();
});

async function started(...args: Parameters<typeof startGateway>): Promise<RunningGateway> {
  const gateway = await startGateway(...args);
  gateways.push(gateway);
  return gateway;
}

async function metric(gateway: RunningGateway, name: string): Promise<number> {
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** -1 while there is no file for the admin port's connection either. */
function openConnections(gateway: RunningGateway): Promise<number> {
  return metric(gateway, 'penstock_shard_connections').catch(() => -1);
}

/** Log lines come a little later than what they say. */
function said(gateway: RunningGateway, text: string): Promise<void> {
  return eventually(`the log says ${text}`, () => Promise.resolve(gateway.output().includes(text)));
}

/** User and system time of the gateway process. Ticks are 10 ms wherever Node runs. */
async function cpuMs(gateway: RunningGateway): Promise<number> {
  const text = await readFile(`/proc/${gateway.pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function open(gateway: RunningGateway): Socket {
  const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1');
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

/** Requests one after the other; their statuses, and the longest took. */
async function ask(gateway: RunningGateway, count: number): Promise<{ statuses: Set<number>; longestMs: number }> {
  const statuses = new Set<number>();
  let longestMs = 0;
  for (let index = 0; index < count; index++) {
    const startMs = performance.now();
    const response = await fetch(`${gateway.url}/a`);
    await response.text();
    statuses.add(response.status);
    longestMs = Math.max(longestMs, performance.now() - startMs);
  }
  return { statuses, longestMs };
}

/** No answer of a gateway whose log is stuck may take this long; a machine under load takes some of it. */
const stuckMs = 2000;

// FAULTS F48: the acceptor spins when there is no descriptor left, so clients are never given the last ones.
test('exhaustion: when more clients come than there are files for, they are closed, nothing spins, and others are served', async () => {
  const gateway = await started(poolYaml, { wrap: ['prlimit', '--nofile=256'] });
  await said(gateway, 'ulimit -n');
  for (let count = 0; count < 400; count++) open(gateway);
  await eventually(
    'clients are refused',
    async () => (await metric(gateway, 'penstock_connections_refused_total')) > 0,
  );
  await eventually('all were looked at', async () => {
    const before = await metric(gateway, 'penstock_connections_refused_total');
    await delay(300);
    return (await metric(gateway, 'penstock_connections_refused_total')) === before;
  });
  const before = await cpuMs(gateway);
  await delay(1000);
  expect((await cpuMs(gateway)) - before, 'CPU milliseconds in a second').toBeLessThan(500);
  // Some of those who are in: each still has a file left at the other side.
  const inside = sockets.filter((socket) => !socket.destroyed && socket.readyState === 'open').slice(0, 20);
  expect(inside.length).toBe(20);
  for (const socket of inside) {
    socket.write('GET /a HTTP/1.1\r\nhost: x\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
  }
  for (const socket of sockets.splice(0)) socket.destroy();
  await eventually('they are gone', async () => (await openConnections(gateway)) === 0);
  expect((await ask(gateway, 5)).statuses).toEqual(new Set([200]));
}, 60_000);

// FAULTS F49: an operator may ask for more connections than fit.
test('exhaustion: when no file is left for an upstream connection, the client gets 503 saturated, and the endpoint keeps its name', async () => {
  const gateway = await started(`limits: { connections_max: 1000 }\n${poolYaml}`, {
    wrap: ['prlimit', '--nofile=160'],
  });
  await said(gateway, 'limits.connections_max is more than');
  const first = open(gateway);
  await once(first, 'connect');
  let refused = '';
  for (let count = 0; count < 150 && refused === ''; count++) {
    const socket = open(gateway);
    socket.on('data', (data) => (refused = data.toString()));
    socket.write('GET /hold HTTP/1.1\r\nhost: x\r\n\r\n');
    await delay(20);
  }
  // The last file was an upstream connection's, perhaps: then the one now free goes to the next client.
  first.destroy();
  await eventually('a request is refused', () => Promise.resolve(refused !== ''));
  expect(refused).toMatch(/^HTTP\/1\.1 503 /);
  expect(refused).toContain('saturated');
  expect(refused).toMatch(/\r\nretry-after: \d/);
  for (const socket of sockets.splice(0)) socket.destroy();
  await eventually('they are gone', async () => (await openConnections(gateway)) === 0);
  expect((await ask(gateway, 3)).statuses).toEqual(new Set([200]));
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(metrics).toMatch(/^penstock_endpoint_state\{[^}]*state="healthy"\} 1$/m);
}, 60_000);

const logging = `logging: { level: info, pretty: false }
filter_chains: [{ name: edge, filters: [{ filter: access_log }] }]
`;

/** With an access log, which is most of what is written. */
function logged(stdout: number): Promise<RunningGateway> {
  return started(`${logging}${poolYaml}`, { stdout, listener: 'filter_chains: [edge]' });
}

// FAULTS F51. A pipe holds 64 KiB, the way there some MiB; a line has about 300 bytes.
test('exhaustion: when nobody reads stdout, requests are served as before, and lines are dropped and counted', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-pipe-'));
  const pipe = join(folder, 'log');
  execFileSync('mkfifo', [pipe]);
  const reader = openSync(pipe, constants.O_RDWR); // Never read from.
  const gateway = await logged(reader);
  const path = `/${'x'.repeat(6000)}`;
  const paths = async (): Promise<void> => {
    for (let count = 0; count < 100; count++) await (await fetch(gateway.url + path)).text();
  };
  await eventually(
    'lines are dropped',
    async () => {
      await Promise.all([paths(), paths(), paths(), paths()]);
      return (await metric(gateway, 'penstock_log_lines_dropped_total')) > 0;
    },
    60_000,
  );
  const { statuses, longestMs } = await ask(gateway, 200);
  expect(statuses).toEqual(new Set([200]));
  expect(longestMs).toBeLessThan(stuckMs);
  closeSync(reader);
  expect(await gateway.stop(), 'it ends in good order, without a word').toBe(0);
  await rm(folder, { recursive: true });
}, 90_000);

// FAULTS F50, F56: the disk is full; the reader has gone.
test('exhaustion: when stdout fails for want of space, requests are served as before, and lines are dropped and counted', async () => {
  const full = openSync('/dev/full', 'w');
  const gateway = await logged(full);
  await eventually('lines are dropped', async () => {
    await ask(gateway, 20);
    return (await metric(gateway, 'penstock_log_lines_dropped_total')) > 0;
  });
  const { statuses, longestMs } = await ask(gateway, 200);
  expect(statuses).toEqual(new Set([200]));
  expect(longestMs).toBeLessThan(stuckMs);
  closeSync(full);
}, 60_000);

test('exhaustion: when the reader of stdout goes away, requests are served as before, and lines are dropped and counted', async () => {
  const reader = spawn('cat', [], { stdio: ['pipe', 'ignore', 'ignore'] });
  // The child takes the writing end over: nobody else has it when `cat` is gone.
  const { fd } = (reader.stdin as unknown as { _handle: { fd: number } })._handle;
  const gateway = await logged(fd);
  expect((await ask(gateway, 5)).statuses).toEqual(new Set([200]));
  reader.kill('SIGKILL');
  await once(reader, 'exit');
  await eventually('lines are dropped', async () => {
    await ask(gateway, 20);
    return (await metric(gateway, 'penstock_log_lines_dropped_total')) > 0;
  });
  const { statuses, longestMs } = await ask(gateway, 200);
  expect(statuses).toEqual(new Set([200]));
  expect(longestMs).toBeLessThan(stuckMs);
}, 60_000);

// FAULTS F52.
test('exhaustion: when the heap is small and many large bodies come, some may be refused, none is lost, and the process lives', async () => {
  const gateway = await started(`models: [{ name: m, targets: [{ pool: only }] }]\n${poolYaml}`, {
    nodeArguments: ['--max-old-space-size=128'],
  });
  const body = Buffer.from(`{"prompt":"${'x'.repeat(3 * MiB)}","model":"m"}`);
  const statuses = new Map<number, number>();
  const client = async (): Promise<void> => {
    for (let count = 0; count < 6; count++) {
      const response = await fetch(`${gateway.url}/v1/completions`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      await response.text();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 40 }, client));
  expect(
    [...statuses.keys()].every((status) => [200, 429, 503].includes(status)),
    JSON.stringify([...statuses]),
  ).toBe(true);
  expect(statuses.get(200)).toBeGreaterThan(0);
  expect(gateway.process.exitCode).toBeNull();
  const after = await gateway.admin<{ pid: number }>('/ready');
  expect(after.pid, 'the same process').toBe(gateway.pid);
}, 90_000);
