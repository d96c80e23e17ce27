/** The load test itself: it must list what it has, pass on a healthy gateway, and fail on one that gives wrong answers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const script = fileURLToPath(new URL('../loadtest/run.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'penstock-loadtest-test-'));
const boundMs = 45_000;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function loadtest(...argv: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [script, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  // SIGTERM lets it end the processes that it started.
  const timer = setTimeout(() => child.kill('SIGTERM'), boundMs);
  const [code] = (await once(child, 'close')) as [number];
  clearTimeout(timer);
  return { code, output };
}

test('loadtest: when no scenario is named, every one is listed in a line and the exit code is 0', async () => {
  const { code, output } = await loadtest();
  expect(code).toBe(0);
  for (const name of [
    'chat-3kb',
    'stream',
    'long-stream',
    'chat-3mb',
    'response-3mb',
    'mixed',
    'abort-storm',
    'slow-readers',
    'burst',
    'overload',
    'engine-overload',
  ])
    expect(output).toMatch(new RegExp(`^  ${name} +\\S`, 'm'));
});

test('loadtest: when the scenario is unknown, the list is shown and the exit code is 1', async () => {
  const { code, output } = await loadtest('chat-3tb');
  expect(code).toBe(1);
  expect(output).toContain('there is no scenario chat-3tb');
  expect(output).toContain('chat-3kb');
});

interface Spread {
  median: number;
  low: number;
  high: number;
}

interface SavedResult {
  readonly phases: readonly (Record<string, unknown> & {
    readonly distributions: Readonly<Record<string, Record<string, number>>>;
    readonly figures: Readonly<Record<string, number>>;
  })[];
  readonly headline: Record<string, Spread>;
  readonly gatewayAfter: { readonly leasesOutstanding: Record<string, number>; readonly bugTotal: number };
  readonly failures: readonly string[];
}

test(
  'loadtest: when chat-3kb runs for two seconds, its answers are right, nothing leaks, and the result says so',
  { timeout: boundMs + 5000 },
  async () => {
    const jsonPath = join(folder, 'result.json');
    const { code, output } = await loadtest('chat-3kb', '--duration', '2', '--rate', '50', '--json', jsonPath);
    expect(code, output).toBe(0);
    const result = JSON.parse(readFileSync(jsonPath, 'utf8')) as SavedResult;
    expect(result).toMatchObject({ scenario: 'chat-3kb', failures: [], gatewayAfter: { bugTotal: 0 } });
    expect(Object.values(result.gatewayAfter.leasesOutstanding).every((count) => count === 0)).toBe(true);
    const [phase] = result.phases;
    expect(phase).toMatchObject({ errors: 0, timeouts: 0, non2xx: 0, mismatches: 0, unanswered: 0 });
    expect(phase!['requests'], 'fifty a second for two seconds, less what the last second cut off').toBeGreaterThan(50);
    const { p50, p99, max } = phase!.distributions['latency']!;
    expect(p50!).toBeGreaterThan(0);
    expect(p99!).toBeGreaterThanOrEqual(p50!);
    expect(max!).toBeGreaterThanOrEqual(p99!);
    expect(phase!['gatewayCpuUsPerRequest']).toBeGreaterThan(0);
    expect(readFileSync(join(folder, 'result.svg'), 'utf8')).toContain('<polyline');
  },
);

test(
  'loadtest: when one answer in ten is not the reference answer, they count as mismatches and the exit code is 1',
  { timeout: boundMs + 5000 },
  async () => {
    let count = 0;
    const server = createServer((request, response) => {
      request.resume().on('end', () => {
        const content = ++count > 20 && count % 10 === 0 ? 'wrong' : 'right';
        response.setHeader('x-sim-endpoint', 'script');
        response.end(JSON.stringify({ choices: [{ message: { content } }] }));
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const jsonPath = join(folder, 'wrong.json');
      const { code, output } = await loadtest(
        'chat-3kb',
        '--url',
        url,
        '--duration',
        '1',
        '--rate',
        '60',
        '--json',
        jsonPath,
      );
      expect(code, output).toBe(1);
      expect(output).toContain('another answer: "wrong", not "right"');
      const result = JSON.parse(readFileSync(jsonPath, 'utf8')) as SavedResult;
      expect(result.phases[0]!['mismatches']).toBeGreaterThan(0);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },
);

test(
  'loadtest: when the run is slower than its baseline by more than the threshold, the exit code is 1',
  { timeout: boundMs + 5000 },
  async () => {
    const server = createServer((request, response) => {
      request.resume().on('end', () => response.end(JSON.stringify({ choices: [{ message: { content: 'right' } }] })));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const baselinePath = join(folder, 'fast.json');
      const run = (jsonPath: string, ...more: string[]): Promise<{ code: number; output: string }> =>
        loadtest('chat-3kb', '--url', url, '--duration', '1', '--rate', '0', '--json', jsonPath, ...more);
      const first = await run(baselinePath);
      expect(first.code, first.output).toBe(0);
      const fast = JSON.parse(readFileSync(baselinePath, 'utf8')) as SavedResult;
      // No run is a thousand times faster than the one before it.
      for (const spread of Object.values(fast.headline)) {
        spread.median /= 1000;
        spread.low /= 1000;
        spread.high /= 1000;
      }
      writeFileSync(baselinePath, JSON.stringify(fast));
      const second = await run(join(folder, 'slow.json'), '--baseline', baselinePath);
      expect(second.code).toBe(1);
      expect(second.output).toMatch(/FAILED: autocannon\.latency_p50_ms grew by/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },
);

/** What a short run of each scenario has to show, beside right answers and nothing left behind. */
const shortRuns = [
  {
    argv: ['abort-storm', '--duration', '2', '--rate', '30'],
    shows: (figures: Readonly<Record<string, number>>) => {
      for (const name of ['left_uploading', 'left_before_first_token', 'left_streaming'])
        expect(figures[name], name).toBeGreaterThan(0);
      expect(figures['aborts_seen_by_engines']).toBeGreaterThanOrEqual(figures['left_streaming']!);
    },
  },
  {
    argv: ['slow-readers', '--duration', '2', '--rate', '30', '--connections', '4'],
    shows: (figures: Readonly<Record<string, number>>) => {
      expect(figures['slow_readers']).toBe(4);
      expect(figures['slowly_read_mb'], 'they read, and nowhere near the 268 MB that were asked for').toBeGreaterThan(
        0,
      );
      expect(figures['slowly_read_mb']).toBeLessThan(100);
      expect(figures['gateway_rss_growth_mb']).toBeLessThan(104);
    },
  },
  {
    argv: ['burst', '--duration', '4', '--rate', '20'],
    shows: (figures: Readonly<Record<string, number>>) => {
      expect(figures['status_200']).toBeGreaterThan(0);
      expect((figures['status_200'] ?? 0) + (figures['status_503'] ?? 0), 'every request has an answer').toBe(260);
    },
  },
  {
    argv: ['long-stream', '--duration', '3', '--connections', '8'],
    shows: (figures: Readonly<Record<string, number>>) => {
      expect(figures).toEqual({ streams: 8, tokens_per_stream: 45 });
    },
  },
  {
    argv: ['mixed', '--duration', '3', '--connections', '4'],
    shows: (figures: Readonly<Record<string, number>>) => {
      expect(figures['body_mb_p50']).toBeGreaterThan(0.2);
    },
  },
];

test.concurrent.each(shortRuns)(
  'loadtest: when $argv.0 runs for a moment, every answer is right and nothing leaks',
  { timeout: boundMs + 5000 },
  async ({ argv, shows }) => {
    const jsonPath = join(folder, `${argv[0]}.json`);
    const { code, output } = await loadtest(...argv, '--json', jsonPath);
    expect(code, output).toBe(0);
    const result = JSON.parse(readFileSync(jsonPath, 'utf8')) as SavedResult;
    const last = result.phases.at(-1)!;
    expect(last['requests']).toBeGreaterThan(0);
    shows(last.figures);
  },
);

/** Answers the first requests right, and then as `answer` says. */
async function scripted(
  rightCount: number,
  answer: (response: ServerResponse) => void,
): Promise<{ url: string; close: () => void }> {
  let count = 0;
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      if (++count > rightCount) return answer(response);
      response.end(JSON.stringify({ choices: [{ message: { content: 'right' } }] }));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

test.each([
  { headers: {}, code: 1, says: 'FAILED: burst: ' },
  { headers: { 'retry-after': '1' }, code: 0, says: 'status_503 ' },
])(
  'loadtest: when the target refuses a burst with 503 and $headers, the exit code is $code',
  { timeout: boundMs + 5000 },
  async ({ headers, code: wanted, says }) => {
    let count = 0;
    // The four references come first.
    const { url, close } = await scripted(4, (response) => {
      if (++count % 2 === 0) response.writeHead(503, headers).end('{}');
      else response.end(JSON.stringify({ choices: [{ message: { content: 'right' } }] }));
    });
    try {
      const argv = ['burst', '--url', url, '--duration', '4', '--rate', '10'];
      const { code, output } = await loadtest(...argv, '--json', join(folder, 'refused.json'));
      expect(code, output).toBe(wanted);
      expect(output).toContain(says);
    } finally {
      close();
    }
  },
);

test(
  'loadtest: when a long stream ends cleanly but without [DONE], the run fails',
  { timeout: boundMs + 5000 },
  async () => {
    const event = `data: ${JSON.stringify({ choices: [{ delta: { content: 'word' } }] })}\n\n`;
    let count = 0;
    const server = createServer((request, response) => {
      request.resume().on('end', () => response.end(++count > 2 ? event : `${event}data: [DONE]\n\n`));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const argv = ['long-stream', '--url', url, '--duration', '1', '--connections', '3'];
      const { code, output } = await loadtest(...argv, '--json', join(folder, 'cut.json'));
      expect(code, output).toBe(1);
      expect(output).toContain('a stream without [DONE] ended cleanly');
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },
);

/** The rig is plain JavaScript: what is used of it is said here. */
interface Rig {
  compare: (result: object, baseline: object, threshold: number) => { failures: string[]; notes: string[] };
  bytesAt: (quantile: number) => number;
  gapMsAt: (index: number) => number;
  turnCountMax: number;
  Conversation: new (options: { model: string; index: number }) => {
    readonly isOver: boolean;
    next(isOwnEngine: boolean): { body: Buffer };
  };
  recoveriesOf: (answers: readonly { dueMs: number; ms: number; isServed: boolean }[], cycleCount: number) => number[];
}

async function rig(file: string): Promise<Rig> {
  return (await import(new URL(`../loadtest/${file}`, import.meta.url).href)) as Rig;
}

test('loadtest: when two runs differ by less than their own spread, it is no regression', async () => {
  const { compare } = await rig('verdict.mjs');
  const resultOf = (median: number, low: number, high: number, disturbedSliceCount = 0): object => ({
    headline: { 'x.latency_p50_ms': { median, low, high } },
    environment: {},
    settings: {},
    phases: [{ disturbedSliceCount }],
  });
  const before = resultOf(10, 9, 14);
  expect(compare(resultOf(13, 11, 15), before, 0.2).failures, 'the middle halves overlap').toEqual([]);
  expect(compare(resultOf(11.5, 14.5, 15), before, 0.2).failures, 'within the threshold').toEqual([]);
  expect(compare(resultOf(16, 15, 17), before, 0.2).failures).toEqual([
    'x.latency_p50_ms grew by +60.0 %, more than +20.0 %',
  ]);
  const nothing = { headline: {}, environment: {}, settings: {}, phases: [{ disturbedSliceCount: 5 }] };
  expect(compare(nothing, before, 0.2).failures, 'a guard that saw nothing does not pass').toEqual([
    'no figure could be compared: too short, or others used the machine',
  ]);
});

test('loadtest: an agent sends 99 % of what it sent before, then more; sizes and pauses have the quantiles of the mix', async () => {
  const { bytesAt, gapMsAt, Conversation, turnCountMax } = await rig('conversation.mjs');
  expect([0.5, 0.9, 0.99].map(bytesAt)).toEqual([800_000, 2_100_000, 3_400_000]);
  const gaps = Array.from({ length: 2001 }, (_, index) => gapMsAt(index)).sort((a, b) => a - b);
  expect(gaps[1000]!).toBeGreaterThan(1900);
  expect(gaps[1000]!).toBeLessThan(2100);
  for (const index of [0, 1, 2, 3]) {
    const conversation = new Conversation({ model: 'm', index });
    let before = conversation.next(false).body;
    for (let turn = 1; turn < turnCountMax; turn++) {
      const { body } = conversation.next(false);
      JSON.parse(body.toString());
      const shared = before.length - 20; // The end of the array, and the model where it comes last.
      expect(body.subarray(0, shared).equals(before.subarray(0, shared)), `conversation ${index}, turn ${turn}`).toBe(
        true,
      );
      expect(shared / body.length).toBeCloseTo(0.99, 2);
      before = body;
    }
    expect(conversation.isOver).toBe(true);
  }
});

test('loadtest: recovery counts from the end of a burst to the end of the last request that was slow or refused', async () => {
  const { recoveriesOf } = await rig('phases/bursts.mjs');
  const quiet = Array.from({ length: 30 }, (_, index) => ({ dueMs: index * 100, ms: 10, isServed: true }));
  const after = quiet.map((answer) => ({ ...answer, dueMs: answer.dueMs + 4000 }));
  expect(recoveriesOf([...quiet, ...after], 2), 'as before at once').toEqual([0]);
  after[3] = { dueMs: 4300, ms: 25, isServed: true };
  expect(recoveriesOf([...quiet, ...after], 2), 'one took more than twice as long').toEqual([325]);
  after[5] = { dueMs: 4500, ms: 1, isServed: false };
  expect(recoveriesOf([...quiet, ...after], 2), 'a later one was refused').toEqual([501]);
});
