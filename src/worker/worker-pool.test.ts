import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createSharedMemory, SharedBudget, SlabPool, type SlabShare } from '../shm/index.ts';
import { countPromptTokens } from './jobs.ts';
import { keptBytesMax, Scratch } from './scratch.ts';
import { WorkerPool, type WorkerPoolOptions } from './worker-pool.ts';

// Node 20 cannot start a worker from TypeScript, so the entry point of the thread is bundled, from the source as it is now.
let folder = '';
const pools: WorkerPool[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-worker-'));
  const bundle = await rolldown({ input: fileURLToPath(new URL('./thread.ts', import.meta.url)), platform: 'node' });
  await bundle.write({ file: join(folder, 'thread.mjs'), format: 'esm' });
  await bundle.close();
}, 30_000);

afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

function poolOf(options: Partial<WorkerPoolOptions> = {}): WorkerPool {
  const threadFile = pathToFileURL(join(folder, 'thread.mjs'));
  // What a job may take includes the start of its thread, which on a busy machine is seconds.
  const pool = new WorkerPool({ threads: 1, queueMax: 4, jobMsMax: 30_000, threadFile, ...options });
  pools.push(pool);
  return pool;
}

const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 64 * 1024 * 1024 });
const slabs = new SlabPool(new SharedBudget(memory, 0));

/** The body in slabs, as a shard holds it: whole slabs, of which the last is not full. */
function shared(body: Uint8Array): { pieces: SlabShare[]; range: { start: number; end: number }; give: () => void } {
  const handles: number[] = [];
  for (let at = 0; at < body.length;) {
    const handle = slabs.takeLarge();
    handles.push(handle);
    const slab = slabs.bytes(handle);
    slab.set(body.subarray(at, at + slab.length));
    at += slab.length;
  }
  return {
    pieces: handles.map((handle) => slabs.share(handle)),
    range: { start: 0, end: body.length },
    give: () => handles.forEach((handle) => slabs.give(handle)),
  };
}

function request(promptBytes: number): Buffer {
  const words = 'pressure head gate turbine water flow ';
  return Buffer.from(JSON.stringify({ model: 'm', prompt: words.repeat(Math.ceil(promptBytes / words.length)) }));
}

test('worker: when a body lies in several slabs, the thread counts what the caller would', async () => {
  const pool = poolOf();
  const body = request(700_000);
  const { pieces, range, give } = shared(body);
  expect(pieces.length).toBe(3);
  const counted = await pool.countPromptTokens(pieces, range);
  expect(counted?.tokens).toBe(countPromptTokens(body).tokens);
  expect(await pool.checkJson(pieces, range)).toEqual({ ok: true, problem: null, position: -1 });
  expect(await pool.checkJson(pieces, { start: 1, end: range.end })).toEqual({
    ok: false,
    problem: 'trailing_bytes',
    position: 7,
  });
  expect(pool.openCount).toBe(0);
  give();
});

test('worker: when a job is posted, the thread reads the slabs themselves and no copy of them', async () => {
  const pool = poolOf({ queueMax: 1 });
  const busy = shared(request(3_000_000));
  const { pieces, range, give } = shared(Buffer.from('{"prompt":"one"}'));
  const first = pool.countPromptTokens(busy.pieces, busy.range);
  const second = pool.checkJson(pieces, range);
  // Both are posted or queued by now; the thread is not at the second, as the first has only begun.
  new Uint8Array(pieces[0]!.sab, pieces[0]!.offset, pieces[0]!.length)[0] = 0x5d;
  expect((await first)?.tokens).toBeGreaterThan(0);
  expect(await second).toEqual({ ok: false, problem: 'bad_syntax', position: 0 });
  busy.give();
  give();
});

test('worker: when the queue is full, a job is refused at once and counted', async () => {
  const pool = poolOf({ queueMax: 1 });
  expect(pool.threadCount, 'no thread before the first job').toBe(0);
  const { pieces, range, give } = shared(request(200_000));
  const taken = [pool.countPromptTokens(pieces, range), pool.countPromptTokens(pieces, range)];
  expect(pool.openCount).toBe(2);
  const winner = await Promise.race([...taken, pool.countPromptTokens(pieces, range)]);
  expect(winner, 'the refusal did not wait for the others').toBeNull();
  expect(pool.refusedCount).toBe(1);
  for (const result of await Promise.all(taken)) expect(result?.tokens).toBeGreaterThan(0);
  expect(await pool.checkJson(pieces, range), 'there is room again').toMatchObject({ ok: true });
  give();
});

test('worker: when a job is larger than the bound, it is refused', async () => {
  const pool = poolOf({ jobBytesMax: 1000 });
  const { pieces, give } = shared(request(1000));
  expect(await pool.checkJson(pieces, { start: 0, end: 1001 })).toBeNull();
  expect(await pool.checkJson(pieces, { start: 0, end: 1000 })).toMatchObject({ problem: 'unfinished' });
  expect(pool.refusedCount).toBe(1);
  give();
});

// FAULTS F13: it ends its own jobs and nothing else.
test('worker: when a thread cannot load, its jobs answer null, and the next one tries again', async () => {
  const path = join(folder, 'broken.mjs');
  writeFileSync(path, "throw new Error('cannot load');");
  const pool = poolOf({ threadFile: pathToFileURL(path) });
  const { pieces, range, give } = shared(request(100));
  const jobs = [pool.checkJson(pieces, range), pool.countPromptTokens(pieces, range)];
  expect(await Promise.all(jobs)).toEqual([null, null]);
  copyFileSync(join(folder, 'thread.mjs'), path);
  expect(await pool.checkJson(pieces, range)).toMatchObject({ ok: true });
  expect(pool).toMatchObject({ openCount: 0, failedCount: 2 });
  give();
});

test('worker: when the pool is closed with jobs under way, they answer null', async () => {
  const pool = poolOf();
  const { pieces, range, give } = shared(request(3_000_000));
  const jobs = [pool.countPromptTokens(pieces, range), pool.checkJson(pieces, range)];
  await pool.close();
  expect(await Promise.all(jobs)).toEqual([null, null]);
  expect(await pool.checkJson(pieces, range)).toBeNull();
  expect(pool).toMatchObject({ openCount: 0, failedCount: 2, refusedCount: 1, threadCount: 0 });
  give();
});

// FAULTS F13. The error of a thread is its own: uncaught in the caller, it would end the shard with all its connections.
test('worker: when a thread dies between two jobs, the caller goes on and the next job has a new thread', async () => {
  const script = join(folder, 'dies-once.mjs');
  const marker = join(folder, 'has-died');
  writeFileSync(
    script,
    `import { existsSync, writeFileSync } from 'node:fs';
export function checkJson() {
  if (!existsSync(${JSON.stringify(marker)})) setTimeout(() => {
    writeFileSync(${JSON.stringify(marker)}, '');
    throw new Error('idle');
  });
  return { ok: true, problem: null, position: -1 };
}`,
  );
  const pool = poolOf({ threadFile: pathToFileURL(script) });
  const { pieces, range, give } = shared(Buffer.from('{}'));
  expect(await pool.checkJson(pieces, range)).toMatchObject({ ok: true });
  await expect.poll(() => pool.lostIdleCount).toBe(1);
  expect(await pool.checkJson(pieces, range)).toMatchObject({ ok: true });
  expect(pool).toMatchObject({ openCount: 0, failedCount: 0, lostIdleCount: 1 });
  give();
});

// FAULTS F17.
test('worker: when a job never ends, its thread is replaced, and a job that waited behind it is done', async () => {
  const script = join(folder, 'loops.mjs');
  writeFileSync(
    script,
    `export function checkJson({ range }) {
  while (range.end === 1);
  return { ok: true, problem: null, position: -1 };
}`,
  );
  const pool = poolOf({ threadFile: pathToFileURL(script), jobMsMax: 1000 });
  const { pieces, range, give } = shared(Buffer.from('{}'));
  const jobs = [pool.checkJson(pieces, { start: 0, end: 1 }), pool.checkJson(pieces, range)];
  expect(await Promise.all(jobs)).toEqual([null, { ok: true, problem: null, position: -1 }]);
  expect(pool).toMatchObject({ openCount: 0, failedCount: 1, threadCount: 1 });
  give();
});

// Work that blocked the loop would do so in every round; another process that takes the CPU does not.
test('worker: when 3 MB are counted, the event loop of the caller is never held for 5 ms', async () => {
  const pool = poolOf();
  const { pieces, range, give } = shared(request(3_000_000));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let leastMs = Infinity;
  for (let round = 0; round < 5 && leastMs > 5; round++) {
    await pool.checkJson(pieces, { start: 0, end: 100 });
    delay.reset();
    delay.enable();
    expect((await pool.countPromptTokens(pieces, range))?.tokens).toBeGreaterThan(100_000);
    delay.disable();
    leastMs = Math.min(leastMs, delay.max / 1e6 - 1);
  }
  expect(leastMs).toBeLessThan(5);
  give();
});

test('worker: when a job is larger than the memory a thread keeps, that memory goes with it', () => {
  const scratch = new Scratch();
  const piece = { sab: new SharedArrayBuffer(keptBytesMax * 2), offset: 0, length: keptBytesMax * 2 };
  expect(scratch.assemble({ pieces: [piece], range: { start: 5, end: 10 } }).length).toBe(5);
  expect(scratch.keptBytes).toBeLessThan(keptBytesMax);
  expect(scratch.assemble({ pieces: [piece], range: { start: 0, end: piece.length } }).length).toBe(piece.length);
  expect(scratch.keptBytes).toBeLessThan(keptBytesMax);
  expect(scratch.assemble({ pieces: [piece], range: { start: 0, end: keptBytesMax } }).length).toBe(keptBytesMax);
  expect(scratch.keptBytes).toBe(keptBytesMax);
  expect(() => scratch.assemble({ pieces: [piece], range: { start: 0, end: piece.length + 1 } })).toThrow(
    'within the pieces',
  );
});
