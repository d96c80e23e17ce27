import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createPrefixMemory, createSharedMemory, Fault, FleetTable, SeriesReader, SharedBudget } from './index.ts';
import type { SharedMemory } from './index.ts';

// Real threads on real shared memory. Node 20 cannot start a worker from TypeScript, so this folder is bundled to a file
// the workers import. A worker runs the text it is given with `shm`, `memory`, `shardIndex`, `words` (scratch words all
// workers share), `random` (seeded by its index) and `deadline` (of performance.now) in scope; what the text returns is its result.
let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-shm-'));
  const bundle = await rolldown({ input: fileURLToPath(new URL('./index.ts', import.meta.url)), platform: 'node' });
  await bundle.write({ file: join(folder, 'shm.mjs'), format: 'esm' });
  await bundle.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

interface Racer {
  readonly shardIndex: number;
  readonly body: string;
}

let raceCount = 0;

/** Starts all racers at the same moment and resolves with their results, once every thread has ended. */
async function race(memory: SharedMemory, racers: readonly Racer[], timeoutMs = 8000): Promise<unknown[]> {
  const start = new Int32Array(new SharedArrayBuffer(4));
  const words = new Int32Array(new SharedArrayBuffer(1024));
  const runs = racers.map(({ shardIndex, body }, index) => {
    const file = join(folder, `race-${raceCount++}-${index}.mjs`);
    writeFileSync(
      file,
      `import * as shm from './shm.mjs';
       import { parentPort, workerData } from 'node:worker_threads';
       const { memory, shardIndex, words, start, racerCount } = workerData;
       let seed = shardIndex + 2;
       const random = (end) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % end;
       Atomics.add(start, 0, 1);
       const deadline = performance.now() + 4000;
       while (Atomics.load(start, 0) < racerCount);
       parentPort.postMessage((() => { ${body} })());`,
    );
    return new Promise<unknown>((resolve, reject) => {
      const worker = new Worker(file, { workerData: { memory, shardIndex, words, start, racerCount: racers.length } });
      const timer = setTimeout(() => {
        reject(new Error(`racer ${index} did not end`));
        void worker.terminate();
      }, timeoutMs);
      let result: unknown;
      worker.on('message', (message: unknown) => (result = message));
      worker.on('error', reject);
      worker.on('exit', () => {
        clearTimeout(timer);
        resolve(result);
      });
    });
  });
  return Promise.all(runs);
}

function memoryFor(shardCount: number, endpointCountMax = 4, bufferedBytesMax = 1024 * 1024): SharedMemory {
  return createSharedMemory({ shardCount, endpointCountMax, bufferedBytesMax });
}

test('fleet-table: when three shards fight for two places, never more than two hold one and none is lost', async () => {
  const memory = memoryFor(3);
  const control = new FleetTable(memory, -1);
  const slot = control.claim();
  const body = `
    const table = new shm.FleetTable(memory, shardIndex);
    let taken = 0, refused = 0, wrong = 0;
    for (let round = 0; round < 150000; round++) {
      if (!table.tryTakeInflight(${slot}, 2)) { refused++; continue; }
      taken++;
      if (Atomics.add(words, 0, 1) + 1 > 2) wrong++;
      const seen = table.inflight(${slot});
      if (seen < 1 || seen > 2) wrong++;
      Atomics.sub(words, 0, 1);
      table.giveInflight(${slot});
    }
    return { taken, refused, wrong };`;
  const results = await race(
    memory,
    [0, 1, 2].map((shardIndex) => ({ shardIndex, body })),
  );
  for (const result of results) expect(result).toMatchObject({ wrong: 0 });
  expect(control.inflight(slot)).toBe(0);
  expect(control.release(slot)).toBe(true);
}, 15_000);

test('fleet-table: when a slot is freed and claimed again under shards that still take it, no count is left behind', async () => {
  const memory = memoryFor(2);
  const taker = `
    const table = new shm.FleetTable(memory, shardIndex);
    while (Atomics.load(words, 0) === 0) {
      if (table.tryTakeInflight(0, shardIndex === 0 ? 0 : 3)) { Atomics.add(words, 1 + shardIndex, 1); table.addTokens(0, 7); table.addTokens(0, -7); table.giveInflight(0); }
      if (table.tryTakeConnection(0, 0)) table.giveConnection(0);
    }
    return 0;`;
  const owner = `
    const table = new shm.FleetTable(memory, -1);
    let released = 0;
    // Goes on until both takers had their share, as the scheduler may run this thread alone for a while; but not for ever.
    while ((released < 10000 || Atomics.load(words, 1) < 1000 || Atomics.load(words, 2) < 1000) && performance.now() < deadline) {
      if (table.state(0) === shm.EndpointState.free) table.claim();
      else if (table.release(0)) released++;
    }
    Atomics.store(words, 0, 1);
    return released;`;
  await race(memory, [
    { shardIndex: 0, body: taker },
    { shardIndex: 1, body: taker },
    { shardIndex: -1, body: owner },
  ]);
  const control = new FleetTable(memory, -1);
  if (control.state(0) === 0) expect(control.claim()).toBe(0);
  expect([control.inflight(0), control.inflightTokens(0), control.connections(0)]).toEqual([0, 0, 0]);
  expect(control.release(0)).toBe(true);
}, 15_000);

test('fleet-table: when control publishes scrapes without a pause, no reader sees parts of two', async () => {
  const memory = memoryFor(2);
  const control = new FleetTable(memory, -1);
  const slot = control.claim();
  const writer = `
    const table = new shm.FleetTable(memory, -1);
    // Goes on until the readers met it often, but not for ever: on one core a reader sees one scrape a time slice.
    for (let round = 1; round <= 300000 || (Atomics.load(words, 1) < 1000 && performance.now() < deadline); round++) {
      table.publishScrape(${slot}, { queueDepth: round, runningRequests: round * 3, kvCacheUsageRatio: (round % 1000) / 1000, scrapedAtMs: round * 7 });
    }
    Atomics.store(words, 0, 1);
    return 0;`;
  const reader = `
    const table = new shm.FleetTable(memory, shardIndex);
    const out = { queueDepth: 0, runningRequests: 0, kvCacheUsageRatio: 0, scrapedAtMs: 0 };
    let torn = 0, last = 0;
    while (Atomics.load(words, 0) === 0) {
      if (!table.readScrape(${slot}, out)) continue;
      if (out.queueDepth !== last) Atomics.add(words, 1, 1);
      if (out.queueDepth < last) torn++;
      last = out.queueDepth;
      if (out.runningRequests !== last * 3 || out.kvCacheUsageRatio !== (last % 1000) / 1000 || out.scrapedAtMs !== last * 7) torn++;
    }
    return torn;`;
  const [, ...readers] = await race(memory, [
    { shardIndex: -1, body: writer },
    { shardIndex: 0, body: reader },
    { shardIndex: 1, body: reader },
  ]);
  expect(readers).toEqual([0, 0]);
}, 15_000);

test('fleet-table: when two shards report the last straw at once, exactly one of them ejects', async () => {
  const endpointCountMax = 1024;
  const memory = memoryFor(2, endpointCountMax);
  const control = new FleetTable(memory, -1);
  for (let slot = 0; slot < endpointCountMax; slot++) control.claim();
  const body = `
    const table = new shm.FleetTable(memory, shardIndex);
    const rule = { consecutiveFailures: 3, baseMs: 10000, maxMs: 300000 };
    const won = [];
    for (let slot = 0; slot < ${endpointCountMax}; slot++) {
      Atomics.add(words, 0, 1);
      while (Atomics.load(words, 0) < 2 * (slot + 1)); // In step: both meet at each slot. Two, as three spinning threads need three cores.
      for (let failure = 0; failure < 3; failure++) {
        const fault = { slot, row: 1, probes: 0, nowMs: 5000, fault: shm.Fault.status, rule, modelCount: 1, mayEject: true };
        if (table.health.noteFault(fault) !== 0) won.push(slot);
      }
    }
    return won;`;
  const results = await race(
    memory,
    [0, 1].map((shardIndex) => ({ shardIndex, body })),
  );
  const won = results.flat().map(Number);
  expect(won.length).toBe(endpointCountMax);
  expect(new Set(won).size).toBe(endpointCountMax);
  for (let slot = 0; slot < endpointCountMax; slot++) {
    expect([control.isEjected(slot, 14_999), control.isEjected(slot, 15_000)]).toEqual([true, false]);
  }
}, 30_000);

test('health-table: when three shards probe one endpoint, never two of them do so at once', async () => {
  const memory = memoryFor(3);
  const control = new FleetTable(memory, -1);
  const slot = control.claim();
  const shard = new FleetTable(memory, 0);
  const rule = { consecutiveFailures: 1, baseMs: 1000, maxMs: 1000 };
  const attempt = { slot, row: 1, probes: 0, nowMs: 0 };
  shard.health.noteFault({ ...attempt, fault: Fault.status, rule, modelCount: 1, mayEject: true });
  const body = `
    const { health } = new shm.FleetTable(memory, shardIndex);
    let taken = 0, refused = 0, wrong = 0;
    for (let round = 0; round < 100000; round++) {
      const probes = health.tryTakeProbes(${slot}, 1, 2000);
      if (probes < 0) { refused++; continue; }
      if (probes !== shm.Probe.whole || Atomics.add(words, 0, 1) !== 0) wrong++;
      Atomics.sub(words, 0, 1);
      health.giveProbes(${slot}, 1, probes);
      taken++;
    }
    return [taken, refused, wrong];`;
  const results = await race(
    memory,
    [0, 1, 2].map((shardIndex) => ({ shardIndex, body })),
  );
  const counts = results as [number, number, number][];
  expect(counts.map(([, , wrong]) => wrong)).toEqual([0, 0, 0]);
  expect(counts.map(([taken, refused]) => taken + refused)).toEqual([100_000, 100_000, 100_000]);
  // A thread that is put off while it holds the place can leave one of the others without any.
  expect(counts.reduce((sum, [taken]) => sum + taken, 0)).toBeGreaterThan(1000);
  expect(shard.health.isBeingProbed(slot, 1)).toBe(false);
}, 15_000);

test('budget: when three shards take and give amounts of many sizes, the sum never shows above the maximum and ends at 0', async () => {
  const memory = memoryFor(3, 4, 512 * 1024);
  const body = `
    const budget = new shm.SharedBudget(memory, shardIndex);
    const sizes = [16384, 262144, 1, 1025, 65536];
    const held = [];
    let over = 0, refused = 0;
    for (let round = 0; round < 100000; round++) {
      const size = sizes[random(5)];
      if (held.length < 3 && budget.tryTake(size)) held.push(size);
      else { refused++; if (held.length > 0) budget.give(held.pop()); }
      if (budget.used() > budget.max) over++;
    }
    while (held.length > 0) budget.give(held.pop());
    return { over, refused: refused > 0 };`;
  const results = await race(
    memory,
    [0, 1, 2].map((shardIndex) => ({ shardIndex, body })),
  );
  expect(results).toEqual(results.map(() => ({ over: 0, refused: true })));
  expect(new SharedBudget(memory, -1).used()).toBe(0);
}, 15_000);

// FAULTS F14: a shard dies; what it held must come back, what the others hold must stay.
test('reclaim: when a shard ends without giving back while another works on, only the dead one is taken off the totals', async () => {
  const memory = memoryFor(2);
  const control = new FleetTable(memory, -1);
  const budget = new SharedBudget(memory, -1);
  const slot = control.claim();
  const dying = `
    const table = new shm.FleetTable(memory, shardIndex);
    const budget = new shm.SharedBudget(memory, shardIndex);
    for (let round = 0; round < 50; round++) {
      table.tryTakeInflight(${slot}, 0);
      table.addTokens(${slot}, 1000);
      table.tryTakeConnection(${slot}, 0);
      budget.tryTake(4096);
    }
    return 0;`;
  const working = `
    const table = new shm.FleetTable(memory, shardIndex);
    const budget = new shm.SharedBudget(memory, shardIndex);
    for (let round = 0; round < 50000; round++) {
      table.tryTakeInflight(${slot}, 0); table.addTokens(${slot}, 10); budget.tryTake(4096);
      if (round === 0) continue; // Keeps one of each.
      table.addTokens(${slot}, -10); table.giveInflight(${slot}); budget.give(4096);
    }
    return 0;`;
  await race(memory, [
    { shardIndex: 0, body: dying },
    { shardIndex: 1, body: working },
  ]);
  expect([control.inflight(slot), control.inflightTokens(slot), control.connections(slot)]).toEqual([51, 50_010, 50]);
  expect(control.release(slot)).toBe(false);
  for (const time of ['first', 'second']) {
    control.reclaimShard(0);
    const freed = budget.reclaimShard(0);
    expect(freed, time).toBe(time === 'first' ? 50 * 4096 : 0);
    expect([control.inflight(slot), control.inflightTokens(slot), control.connections(slot)], time).toEqual([1, 10, 0]);
    expect(budget.used(), time).toBe(4096);
  }
}, 15_000);

test('series: when control collects while shards make and count series, every definition it sees is whole', async () => {
  const memory = memoryFor(2);
  const reader = new SeriesReader(memory);
  const body = `
    const writer = new shm.SeriesWriter(memory, shardIndex);
    for (let index = 0; index < 3000; index++) {
      const cell = writer.counter(index % 7, ['model-' + index, 'größe "x"']);
      for (let round = 0; round < 50; round++) writer.add(cell, 1);
      if (index % 10 === 0) writer.record(writer.histogram(7, ['model-' + index]), index);
    }
    return 0;`;
  const state = { isDone: false };
  const done = race(memory, [
    { shardIndex: 0, body },
    { shardIndex: 1, body },
  ]).finally(() => (state.isDone = true));
  let collectCount = 0;
  while (!state.isDone) {
    const { counters } = reader.collect();
    collectCount++;
    for (const { metricId, labels, total } of counters) {
      const index = Number(/^model-(\d+)$/.exec(labels[0] ?? '')?.[1]);
      expect([index % 7, labels[1]]).toEqual([metricId, 'größe "x"']);
      expect(total).toBeLessThanOrEqual(100);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await done;
  expect(collectCount).toBeGreaterThan(1);
  const { counters, histograms } = reader.collect();
  expect(counters.length).toBe(3000);
  expect(counters.every(({ total, values }) => total === 100 && values[0] === 50 && values[1] === 50)).toBe(true);
  expect(histograms.length).toBe(300);
}, 15_000);

// Every key belongs to one endpoint, and says which: an owner that is found at another's key came from somewhere else.
const prefixRacer = (familyCount: number): string => `
  const index = new shm.PrefixIndex(memory.prefix);
  const count = 8;
  const keys = { count, lows: new Int32Array(count), highs: new Int32Array(count), ends: new Int32Array(count) };
  const matched = new Int32Array(16);
  let foreign = 0, found = 0, rounds = 0;
  while (performance.now() < deadline - 2500) {
    const family = random(${familyCount});
    for (let block = 0; block < count; block++) {
      const low = Math.imul(family * count + block + 1, 0x9e3779b1);
      keys.lows[block] = low === 0 || low === -1 ? 1 : low;
      keys.highs[block] = Math.imul(low ^ (low >>> 13), 0x85ebca6b);
      keys.ends[block] = block + 1;
    }
    const home = family % 16;
    if (random(3) === 0) index.insert(keys, home);
    if (random(5000) === 0) index.horizon.forget(home);
    matched.fill(0);
    index.lookup(keys, matched);
    for (let endpoint = 0; endpoint < 16; endpoint++) {
      if (matched[endpoint] === 0) continue;
      if (endpoint === home) found++; else foreign++;
    }
    rounds++;
  }
  return { foreign, found, rounds };`;

test.each([
  ['nearly every insert pushes somebody out', 256, 256],
  ['the table is half full', 8192, 512],
])(
  'prefix-index: when four shards insert and look up and %s, nobody is found to hold what another holds',
  async (_, slotCount, familyCount) => {
    const prefix = createPrefixMemory(slotCount, 16, 1000);
    const memory = { ...memoryFor(4), prefix } as SharedMemory;
    const racers = [0, 1, 2, 3].map((shardIndex) => ({ shardIndex, body: prefixRacer(familyCount) }));
    const results = (await race(memory, racers)) as { foreign: number; found: number; rounds: number }[];
    const sum = (of: (result: { foreign: number; found: number; rounds: number }) => number): number =>
      results.reduce((total, result) => total + of(result), 0);
    expect(sum(({ found }) => found)).toBeGreaterThan(1000);
    // One look-up in ten million may be wrong: it sends a request where its prefix is not.
    expect(
      sum(({ foreign }) => foreign),
      `of ${sum(({ rounds }) => rounds)} rounds`,
    ).toBeLessThanOrEqual(1);
    const words = new Int32Array(prefix.slots);
    expect([...words.keys()].filter((at) => (at & 15) === 0 && words[at] === -1)).toEqual([]);
  },
  15_000,
);

test('journal: when a shard writes without a pause and control reads beside it, every entry is whole, in order, or counted as lost', async () => {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1, isSharing: true });
  const writing = `
    const writer = new shm.PrefixJournalWriter(memory.journals[0]);
    let written = 0;
    for (let round = 1; round <= 60000; round++) {
      const count = 1 + random(200);
      writer.begin(round & 0xffff, round & 0xff, round);
      for (let block = 0; block < count; block++) writer.add(round, round ^ block, count);
      writer.end();
      written += count;
    }
    Atomics.store(words, 0, written);
    return written;`;
  const reading = `
    const reader = new shm.PrefixJournalReader(memory.journals[0]);
    let read = 0, wrong = 0, last = 0;
    const take = () => {
      while (reader.next()) {
        const { secret, count } = reader;
        if (secret <= last || reader.pool !== (secret & 0xffff) || reader.endpoint !== (secret & 0xff)) wrong++;
        last = secret;
        let before = -1;
        for (let at = 0; at < count; at++) {
          const block = reader.high(at) ^ secret; // One that was lost leaves a gap.
          if (reader.low(at) !== secret || block <= before || block >= reader.blockBytes(at)) wrong++;
          before = block;
        }
        read += count;
      }
    };
    while (Atomics.load(words, 0) === 0) take();
    take();
    return { read, wrong, lost: reader.lostCount };`;
  const [written, outcome] = (await race(memory, [
    { shardIndex: 0, body: writing },
    { shardIndex: 0, body: reading },
  ])) as [number, { read: number; wrong: number; lost: number }];
  expect(outcome.wrong).toBe(0);
  expect(outcome.read + outcome.lost).toBe(written);
  expect(outcome.read).toBeGreaterThan(100_000);
}, 30_000);

test('model-table: when lists are replaced under readers, each look-up is of one list, and nobody is told that nothing is known', async () => {
  const memory = memoryFor(2);
  const publish = `
    const table = new shm.ModelTable(memory, -1);
    const list = (base) => Array.from({ length: 300 }, (_, index) =>
      ({ key: base + index * 7, contextTokens: base, isAdapter: false, loads: false }));
    const lists = [list(1000), list(500000)];
    table.publish(0, lists[0]);
    Atomics.store(words, 0, 1);
    for (let round = 1; round < 3000; round++) table.publish(0, lists[round & 1]);
    Atomics.store(words, 0, 2);
    return 0;`;
  const look = `
    const table = new shm.ModelTable(memory, shardIndex);
    while (Atomics.load(words, 0) === 0);
    let wrong = 0, found = 0, missed = 0;
    while (Atomics.load(words, 0) === 1) {
      const base = random(2) === 0 ? 1000 : 500000;
      const facts = table.find(0, base + random(300) * 7);
      if (facts === shm.notListed) missed++;
      else if (facts >= 0 && shm.contextTokensOf(facts) === base) found++;
      else wrong++;
    }
    return { wrong, found: found > 0, missed: missed > 0 };`;
  const results = await race(memory, [
    { shardIndex: -1, body: publish },
    { shardIndex: 0, body: look },
    { shardIndex: 1, body: look },
  ]);
  expect(results.slice(1)).toEqual([
    { wrong: 0, found: true, missed: true },
    { wrong: 0, found: true, missed: true },
  ]);
});
