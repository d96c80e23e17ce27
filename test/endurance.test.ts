import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

// `npm run soak` itself: that its verdicts can be believed. The long runs are its own business.

const run = fileURLToPath(new URL('endurance/run.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'penstock-endurance-test-'));
const boundMs = 90_000;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface SavedResult {
  readonly figures: Readonly<Record<string, number | string>>;
  readonly checks: readonly { kind: string; text: string; isKept: boolean; seen: string }[];
  readonly samples: readonly Readonly<Record<string, number>>[];
}

async function soak(...argv: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [run, ...argv], { stdio: ['ignore', 'pipe', 'pipe'], timeout: boundMs });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

/** The parts are plain JavaScript: what is used of them is said here. */
interface Parts {
  slopeOf: (points: readonly (readonly [number, number])[]) => { slope: number; halfWidth: number };
  ByteCheck: new (pieces: readonly Buffer[]) => { push(bytes: Buffer): number; isWhole: boolean; position: number };
  answerEventsOf: (plan: object) => Buffer[][];
  encodePlan: (plan: object) => string;
  decodePlan: (token: string, text: string) => object;
  drawPlan: (options: object) => { plan: object; leave: string };
  randomOf: (seed: number) => () => number;
  LagTable: { of(hgrm: string): Lag };
  renderSummary: (results: readonly object[]) => string;
  keptResults: () => readonly object[];
}

interface Lag {
  since(before: Lag): { count: number; p99_9Ms: number; maxMs: number };
}

async function part(file: string): Promise<Parts> {
  return (await import(new URL(`endurance/${file}`, import.meta.url).href)) as Parts;
}

test('soak: when no scenario is named, they are listed; an unknown one or a bad flag is refused', async () => {
  const listed = await soak();
  expect(listed.code).toBe(0);
  for (const name of ['chaos', 'aborts', 'slow-readers', 'idle', 'kill', 'mixed', 'waits'])
    expect(listed.output).toContain(`\n  ${name} `);
  expect((await soak('no-such')).code).toBe(1);
  expect((await soak('chaos', '--exchanges', 'many')).code).toBe(1);
});

test(
  'soak: when clients leave and engines break for a moment, every promise is kept',
  { timeout: boundMs + 5000 },
  async () => {
    const jsonPath = join(folder, 'chaos.json');
    const { code, output } = await soak('chaos', '--exchanges', '1200', '--json', jsonPath);
    expect(code, output).toBe(0);
    const { figures, checks, samples } = JSON.parse(readFileSync(jsonPath, 'utf8')) as SavedResult;
    expect(figures['exchanges']).toBe(1200);
    for (const kind of ['right', 'left_by_the_client', 'refused'])
      expect(figures[kind], `${kind} (${output})`).toBeGreaterThan(0);
    expect(checks.filter(({ kind, isKept }) => kind === 'promise' && !isKept)).toEqual([]);
    expect(samples.length).toBeGreaterThan(2);
    expect(samples.at(-1)).toMatchObject({ leases: 0, slabs: 0, connections: 0 });
    expect(readFileSync(jsonPath.replace('.json', '.svg'), 'utf8')).toContain('resident memory');
  },
);

test('soak: a slope is told from noise, and resemblance of neighbours widens its interval', async () => {
  const { slopeOf } = await part('slope.mjs');
  const { randomOf } = await part('traffic/random.mjs');
  const random = randomOf(1);
  const noisy = (slope: number): [number, number][] =>
    Array.from({ length: 400 }, (_, x) => [x, 100 + slope * x + 20 * random()]);
  const flat = slopeOf(noisy(0));
  expect(Math.abs(flat.slope), 'zero lies inside').toBeLessThan(flat.halfWidth);
  const rising = slopeOf(noisy(0.5));
  expect(rising.slope - rising.halfWidth, 'zero lies outside').toBeGreaterThan(0);
  expect(rising.slope).toBeCloseTo(0.5, 1);
  const wave = Array.from({ length: 400 }, (_, x): [number, number] => [x, 100 + 10 * Math.sin(x / 60)]);
  const shuffled = wave.map(([x], index): [number, number] => [x, wave[(index * 149) % 400]![1]]);
  expect(slopeOf(wave).halfWidth).toBeGreaterThan(slopeOf(shuffled).halfWidth);
  expect(slopeOf([[0, 1]]).halfWidth, 'one point says nothing').toBe(Infinity);
});

test('soak: an answer is right only when every byte is, however it is cut', async () => {
  const { ByteCheck, answerEventsOf, encodePlan, decodePlan } = await part('traffic/content.mjs');
  const { drawPlan } = await part('traffic/plans.mjs');
  const { randomOf } = await part('traffic/random.mjs');
  const random = randomOf(7);
  for (let number = 0; number < 200; number++) {
    const { plan } = drawPlan({ random, number, run: 't', mix: 'chaos' }) as { plan: { token: string } };
    expect(decodePlan(plan.token, encodePlan(plan)), 'the plan survives its field').toEqual(plan);
    const bytes = Buffer.concat(answerEventsOf(plan).flat());
    const check = new ByteCheck(answerEventsOf(plan).flat());
    for (let at = 0; at < bytes.length;) {
      const count = Math.min(bytes.length - at, 1 + Math.floor(random() * 50_000));
      expect(check.push(bytes.subarray(at, at + count))).toBe(count);
      at += count;
    }
    expect(check.isWhole).toBe(true);
    const wrongAt = Math.floor(random() * bytes.length);
    const altered = Buffer.from(bytes);
    altered[wrongAt]! ^= 1;
    const suspicious = new ByteCheck(answerEventsOf(plan).flat());
    expect(suspicious.push(altered), `seed 7, plan ${number}`).toBe(wrongAt);
    expect(suspicious.isWhole).toBe(false);
  }
});

test('soak: two tables of delays are subtracted, and what they do not say counts against us', async () => {
  const { LagTable } = await part('gateway.mjs');
  const table = (rows: readonly [number, number][]): Lag =>
    LagTable.of(rows.map(([ms, count]) => `  ${ms.toFixed(3)}  0.5  ${count}  2.0`).join('\n'));
  const before = table([
    [1, 10],
    [9, 20],
  ]);
  const after = table([
    [1, 100],
    [2, 1010],
    [9, 1020],
  ]);
  expect(after.since(before)).toMatchObject({ count: 1000, p99_9Ms: 2, maxMs: 2 });
  expect(after.since(table([]))).toMatchObject({ count: 1020, maxMs: 9 });
});

test('soak: docs/resilience.md says what the kept results say', async () => {
  const { renderSummary, keptResults } = await part('summary.mjs');
  const results = keptResults();
  expect(results.length).toBeGreaterThan(0);
  const page = readFileSync(new URL('../docs/resilience.md', import.meta.url), 'utf8');
  expect(page, 'npm run soak -- --docs').toBe(renderSummary(results));
});
