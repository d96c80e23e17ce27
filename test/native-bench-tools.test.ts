/** The two programs that native-bench measures with: each mode works, and a response that is not whole is a failure. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildNative } from '../native-bench/native/build.mjs';

const hasCompiler = spawnSync('cc', ['--version']).status === 0;
const native = test.skipIf(!hasCompiler);
const suffix = hasCompiler ? '' : ' (skipped: no cc; install gcc and libc6-dev)';
const boundMs = 15_000;

type Child = ChildProcessByStdio<null, Readable, null>;

interface Distribution {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly cdf: readonly (readonly [number, number])[];
}

interface Report {
  readonly completed: number;
  readonly failed: number;
  readonly unfinished: number;
  readonly unsent: number;
  readonly connects: number;
  readonly cpu_us: number;
  readonly sent_bytes: number;
  readonly body_bytes: number;
  readonly events: number;
  readonly held: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly latency: Distribution;
  readonly ttft: Distribution;
  readonly event_delay: Distribution;
  readonly gap: Distribution;
}

const folder = mkdtempSync(join(tmpdir(), 'penstock-native-test-'));
const bodyPath = join(folder, 'body');
let programs = { engine: '', load: '' };
let engine: Child | null = null;
let enginePort = 0;

function start(program: string, ...argv: string[]): Child {
  return spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'], timeout: boundMs });
}

beforeAll(async () => {
  if (!hasCompiler) return;
  writeFileSync(bodyPath, Buffer.alloc(300_000, 'x'));
  programs = buildNative(folder);
  engine = spawn(programs.engine, ['--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: engine.stdout }), 'line')) as [string];
  enginePort = Number(/^listening 127\.0\.0\.1:(\d+)$/.exec(line)?.[1]);
}, 60_000);

afterAll(async () => {
  if (engine !== null) {
    const exit = once(engine, 'exit');
    engine.kill('SIGTERM');
    const [code] = (await exit) as [number];
    expect(code, 'exit code of the engine after SIGTERM').toBe(0);
  }
  rmSync(folder, { recursive: true, force: true });
});

async function load(port: number, mode: string, ...argv: string[]): Promise<Report> {
  const child = start(programs.load, mode, '--port', String(port), ...argv);
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  const [code] = (await once(child, 'close')) as [number];
  expect(code).toBe(0);
  return JSON.parse(output) as Report;
}

async function stats(): Promise<Record<string, number>> {
  return (await fetch(`http://127.0.0.1:${enginePort}/stats`)).json() as Promise<Record<string, number>>;
}

/** Answers every request on a connection with what `write` writes, however the request is cut. */
async function withPeer(write: (socket: Socket) => void, use: (port: number) => Promise<void>): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true).on('error', () => {});
    let seen = '';
    socket.on('data', (bytes: Buffer) => {
      seen += bytes.toString('latin1');
      if (!seen.includes('"hi"}]}')) return;
      seen = '';
      write(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

native(
  `native-bench: when requests run in a closed loop, each is answered and the engine agrees${suffix}`,
  async () => {
    await fetch(`http://127.0.0.1:${enginePort}/stats/reset`, { method: 'POST' });
    const report = await load(enginePort, 'requests', '--connections', '4', '--count', '200', '--body', bodyPath);
    expect(report).toMatchObject({ completed: 200, failed: 0, unfinished: 0, unsent: 0, connects: 4, errors: {} });
    expect(await stats()).toMatchObject({ requests: 200, body_bytes: 200 * 300_000, aborted: 0 });
    expect(report.cpu_us).toBeGreaterThan(0);
    const { count, p50, p99, max, cdf } = report.latency;
    expect(count).toBe(200);
    expect(p50).toBeGreaterThan(0);
    expect(p99).toBeGreaterThanOrEqual(p50);
    expect(max).toBeGreaterThanOrEqual(p99);
    expect(cdf.at(-1)).toEqual([1, max]);
  },
);

native(
  `native-bench: when a response length is asked for, it is exact and a wrong expectation fails${suffix}`,
  async () => {
    const argv = ['--count', '3', '--header', 'x-bench-response: 3000000', '--expect-bytes'];
    const report = await load(enginePort, 'requests', ...argv, '3000000');
    expect(report).toMatchObject({ completed: 3, failed: 0, body_bytes: 9_000_000 });
    expect((await load(enginePort, 'requests', ...argv, '2999999')).errors).toEqual({ body_length: 3 });
    const response = await fetch(`http://127.0.0.1:${enginePort}/upload`, { headers: { 'x-bench-response': '5000' } });
    const text = await response.text();
    expect(text.length).toBe(5000);
    expect(JSON.parse(text)).toMatchObject({ object: 'chat.completion', usage: { total_tokens: 20 } });
  },
);

native(
  `native-bench: when arrivals have a rate, all are sent and latency counts from their time${suffix}`,
  async () => {
    const report = await load(enginePort, 'requests', '--connections', '2', '--rate', '200', '--duration', '0.5');
    expect(report).toMatchObject({ completed: 100, failed: 0, unsent: 0 });
    expect(report.latency.count).toBe(100);
  },
);

native(`native-bench: when connections churn, each request has its own${suffix}`, async () => {
  const report = await load(enginePort, 'churn', '--connections', '4', '--count', '100');
  expect(report).toMatchObject({ completed: 100, failed: 0, connects: 100 });
});

native(`native-bench: when streams are paced, every event, delay and gap is counted${suffix}`, async () => {
  const report = await load(enginePort, 'streams', '--streams', '20', '--header', 'x-bench-stream: 10,50,250');
  expect(report).toMatchObject({ completed: 20, failed: 0, events: 200, errors: {} });
  expect(report.ttft.count).toBe(20);
  expect(report.event_delay.count).toBe(200);
  expect(report.gap.count).toBe(180);
  expect(report.gap.p50, '50 tokens a second').toBeGreaterThan(10_000_000);
});

native(`native-bench: when streams repeat without a pace, they use their connection again${suffix}`, async () => {
  const flags = ['--streams', '2', '--repeat', '--count', '10', '--header', 'x-bench-stream: 500,0,300'];
  expect(await load(enginePort, 'streams', ...flags)).toMatchObject({
    completed: 10,
    failed: 0,
    events: 5000,
    connects: 2,
  });
});

native(`native-bench: when clients are slow, they keep their pace and get or send everything${suffix}`, async () => {
  const pace = ['--clients', '3', '--bytes-per-second', '600000'];
  const expected = ['--header', 'x-bench-response: 120000', '--expect-bytes', '120000'];
  const readers = await load(enginePort, 'slow-readers', ...pace, ...expected);
  expect(readers).toMatchObject({ completed: 3, failed: 0, body_bytes: 360_000 });
  expect(readers.latency.p50, '120 kB at 600 kB/s').toBeGreaterThan(190_000_000);
  const writers = await load(enginePort, 'slow-writers', ...pace, '--body', bodyPath);
  expect(writers).toMatchObject({ completed: 3, failed: 0 });
  expect(writers.sent_bytes).toBeGreaterThan(900_000);
  expect(writers.latency.p50, '300 kB at 600 kB/s').toBeGreaterThan(490_000_000);
});

native(`native-bench: when streams are held, it says so and ends them on SIGTERM${suffix}`, async () => {
  const argv = ['hold', '--port', String(enginePort), '--streams', '30', '--header', 'x-bench-stream: hold,60'];
  const child = start(programs.load, ...argv);
  const close = once(child, 'close');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (lines.length > 1) continue;
    expect((await stats())['open']).toBeGreaterThanOrEqual(30);
    child.kill('SIGTERM');
  }
  await close;
  expect(lines[0]).toBe('holding 30');
  expect(JSON.parse(lines[1]!)).toMatchObject({ mode: 'hold', held: 30, unfinished: 30, failed: 0, events: 30 });
});

const event = (choices: string, more = ''): string => `data: {"id":"c","choices":[${choices}]${more}}\n\n`;
const token = (stamp: number): string =>
  event(`{"delta":{"content":"${stamp.toString(16).padStart(16, '0')} tok"},"finish_reason":null}`);
const finish = event('{"delta":{},"finish_reason":"stop"}');
const usage = (count: number): string => event('', `,"usage":{"completion_tokens":${count}}`);
const done = 'data: [DONE]\n\n';
const whole = token(1) + token(2) + token(3) + finish + usage(3) + done;
const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n';
const chunkedHead = `${head}transfer-encoding: chunked\r\n\r\n`;
const lastChunk = '0\r\n\r\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

/** The text in chunks of `bytes`, which pay no heed to where events end. */
function rechunked(text: string, bytes: number): string {
  let out = '';
  for (let at = 0; at < text.length; at += bytes) out += chunk(text.slice(at, at + bytes));
  return out + lastChunk;
}

native(`native-bench: when a proxy cuts or frames a stream anew, it is still whole${suffix}`, async () => {
  const framings = [
    ...[1, 2, 7, 64, 1000].map((bytes) => chunkedHead + rechunked(whole, bytes)),
    `${head}content-length: ${whole.length}\r\n\r\n${whole}`,
    `HTTP/1.1 100 Continue\r\n\r\n${head}connection: close\r\n\r\n${whole}`,
  ];
  for (const [index, text] of framings.entries()) {
    const isClosed = index === framings.length - 1;
    await withPeer(
      (socket) => {
        // Pieces of five bytes, in as many segments as the kernel likes.
        for (let at = 0; at < text.length; at += 5) socket.write(text.slice(at, at + 5));
        if (isClosed) socket.end();
      },
      async (port) => {
        const report = await load(port, 'streams', '--repeat', '--count', '2', '--drain', '2');
        expect(report, `framing ${index}`).toMatchObject({
          completed: 2,
          failed: 0,
          events: 6,
          connects: isClosed ? 2 : 1,
        });
      },
    );
  }
});

const broken: Readonly<Record<string, readonly [error: string, text: string]>> = {
  'half an event is the last it sends': ['closed_in_body', chunkedHead + chunk(token(1) + token(2).slice(0, 40))],
  'the last chunk is missing': ['closed_in_body', chunkedHead + chunk(whole)],
  'a close-delimited stream is cut': ['done_missing', `${head}\r\n${token(1)}`],
  '[DONE] is missing': ['done_missing', chunkedHead + chunk(token(1) + finish + usage(1)) + lastChunk],
  'a token is missing': ['token_count', chunkedHead + chunk(whole.replace(token(2), '')) + lastChunk],
  'two tokens change places': ['event_order', chunkedHead + chunk(token(2) + token(1)) + lastChunk],
  'an event comes twice': ['event_order', chunkedHead + chunk(token(1) + token(1)) + lastChunk],
  'the blank line after an event is lost': ['event_malformed', chunkedHead + chunk(whole.replace('\n\n', '\n'))],
  'a chunk size is no number': ['chunk_malformed', `${chunkedHead}zz\r\n`],
  'the head is no head': ['head_malformed', 'HELLO\r\n\r\n'],
  'it closes without a byte': ['closed_before_head', ''],
  'bytes follow the response': ['bytes_after_response', `${chunkedHead}${chunk(whole)}${lastChunk}more`],
  'the status is not 200': ['status_503', 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno'],
};

for (const [situation, [error, text]] of Object.entries(broken)) {
  native(`native-bench: when ${situation}, the stream fails as ${error}${suffix}`, async () => {
    await withPeer(
      (socket) => socket.end(text),
      async (port) => {
        const report = await load(port, 'streams');
        expect(report).toMatchObject({ completed: 0, failed: 1, errors: { [error]: 1 } });
      },
    );
  });
}

native(
  `native-bench: when nobody listens, requests fail as connect_failed and the run still ends${suffix}`,
  async () => {
    let freePort = 0;
    await withPeer(
      () => {},
      async (port) => {
        freePort = port;
      },
    );
    const report = await load(freePort, 'requests', '--count', '3');
    expect(report).toMatchObject({ completed: 0, failed: 3, errors: { connect_failed: 3 } });
  },
);

native(`native-bench: when a peer never answers, the run ends and says how many are unfinished${suffix}`, async () => {
  await withPeer(
    () => {},
    async (port) => {
      const report = await load(port, 'requests', '--connections', '2', '--duration', '0.1', '--drain', '0.1');
      expect(report).toMatchObject({ completed: 0, failed: 0, unfinished: 2 });
    },
  );
});
