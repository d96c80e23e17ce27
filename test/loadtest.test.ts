/** The load test itself: it must list what it has, pass on a healthy gateway, and fail on one that gives wrong answers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
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
  for (const name of ['chat-3kb', 'chat-3mb', 'stream', 'mixed'])
    expect(output).toMatch(new RegExp(`^  ${name} +\\S`, 'm'));
});

test('loadtest: when the scenario is unknown, the list is shown and the exit code is 1', async () => {
  const { code, output } = await loadtest('chat-3tb');
  expect(code).toBe(1);
  expect(output).toContain('there is no scenario chat-3tb');
  expect(output).toContain('chat-3kb');
});

interface SavedResult {
  readonly phases: readonly (Record<string, unknown> & {
    readonly distributions: { readonly latency: Record<string, number> };
  })[];
  readonly headline: Record<string, number>;
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
    const { p50, p99, max } = phase!.distributions.latency;
    expect(p50!).toBeGreaterThan(0);
    expect(p99!).toBeGreaterThanOrEqual(p50!);
    expect(max!).toBeGreaterThanOrEqual(p99!);
    expect(result.headline['autocannon.gateway_cpu_us_per_request']).toBeGreaterThan(0);
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
        loadtest('chat-3kb', '--url', url, '--duration', '1', '--rate', '60', '--json', jsonPath, ...more);
      const first = await run(baselinePath);
      expect(first.code, first.output).toBe(0);
      const fast = JSON.parse(readFileSync(baselinePath, 'utf8')) as SavedResult;
      // No run is a thousand times faster than the one before it.
      for (const name of Object.keys(fast.headline)) fast.headline[name]! /= 1000;
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
