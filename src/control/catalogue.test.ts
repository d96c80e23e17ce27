import pino from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { Clock } from '../core/index.ts';
import { hashText } from '../pick/index.ts';
import { createSharedMemory, isAdapter, listUnknown, loadsOnUse, ModelTable, notListed } from '../shm/index.ts';
import { Catalogue } from './catalogue.ts';
import type { EngineLoad } from './engine-metrics.ts';
import { engineLoad } from './fixtures/engine-load.ts';
import type { ProbeTarget } from './probe-client.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
const running: Catalogue[] = [];
afterEach(() => {
  for (const each of running.splice(0)) each.stop();
  vi.useRealTimers();
});

const page = (...ids: string[]): string => JSON.stringify({ data: ids.map((id) => ({ id, max_model_len: 100 })) });

/** `answers`: what an endpoint says to each question, the last one again and again. */
async function catalogue(answers: Record<string, (string | number | Error)[]>, pool = '') {
  const urls = Object.keys(answers);
  const text = `{ listeners: [{ name: a, address: "127.0.0.1:0" }],
    pools: [{ name: p, ${pool} endpoints: [${urls.map((url) => `{ url: "http://${url}:1" }`).join(', ')}] }] }`;
  const parsed = parseConfig(text, 'test.yaml', {});
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const config = parsed.config.pools[0]!;
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 8, bufferedBytesMax: 1024 });
  const table = new ModelTable(memory, 0);
  const asked: string[] = [];
  const targets = config.endpoints.map((endpoint, slot): ProbeTarget => ({ slot, pool: config, endpoint }));
  const made = new Catalogue({
    memory,
    clock: new Clock(() => Date.now()),
    random: () => 0.5,
    probe: ({ endpoint }, path) => {
      const own = answers[endpoint.host]!;
      const answer = own[Math.min(asked.filter((url) => url === endpoint.host).length, own.length - 1)]!;
      asked.push(endpoint.host);
      expect(['/v1/models', '/api/ps', '/running']).toContain(path);
      if (answer instanceof Error) return Promise.reject(answer);
      return Promise.resolve(typeof answer === 'number' ? { status: answer, text: '' } : { status: 200, text: answer });
    },
    log: pino({ level: 'silent' }),
  });
  running.push(made);
  made.watch(targets, 'p');
  await vi.advanceTimersByTimeAsync(0);
  const find = (slot: number, name: string): number => table.find(slot, hashText(name));
  const names = (): string[] => {
    const text = table.readPage();
    return text === null ? [] : (JSON.parse(text.toString()) as { id: string }[]).map(({ id }) => id);
  };
  return { made, targets, table, asked, find, names };
}

test('catalogue: when endpoints list their models, shards find them, and their union', async () => {
  const { find, names, made } = await catalogue({ a: [page('m')], b: [page('m', 'n')] });
  expect([find(0, 'm'), find(0, 'n'), find(1, 'n')]).toEqual([100, notListed, 100]);
  expect(names()).toEqual(['m', 'n']);
  expect(made.list(1)?.map(({ name }) => name)).toEqual(['m', 'n']);
});

test('catalogue: when time passes, they are asked every 30 s, and what has changed is published', async () => {
  const { find, asked, table } = await catalogue({ a: [page('m'), page('m'), page('n')] });
  const { generation } = table;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(asked).toHaveLength(2);
  expect(table.generation, 'the same list is not published again').toBe(generation);
  await vi.advanceTimersByTimeAsync(30_000);
  expect([find(0, 'm'), find(0, 'n')]).toEqual([notListed, 100]);
});

test('catalogue: when an answer is no list, nothing is known at once; without an answer what is known stays for two rounds', async () => {
  const { find, names } = await catalogue({ a: [page('m'), 404], b: [page('m'), new Error('reset')] });
  await vi.advanceTimersByTimeAsync(30_000);
  expect([find(0, 'm'), find(1, 'm')]).toEqual([listUnknown, 100]);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(find(1, 'm')).toBe(100);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(find(1, 'm')).toBe(listUnknown);
  expect(names()).toEqual([]);
});

test('catalogue: when an endpoint answers that it is unwell, that is as if it had not answered', async () => {
  const { find } = await catalogue({ a: [page('m'), 503, 429, page('m'), 502] });
  for (let round = 0; round < 5; round++) {
    await vi.advanceTimersByTimeAsync(30_000);
    expect(find(0, 'm'), `round ${round}`).toBe(100);
  }
  await vi.advanceTimersByTimeAsync(30_000);
  expect(find(0, 'm'), 'the third in a row').toBe(listUnknown);
});

test('catalogue: when an engine was restarted, what it listed is forgotten, and it is asked again at once', async () => {
  const { find, made, targets, asked } = await catalogue({ a: [page('m'), page('n')] });
  for (const startedAtSeconds of [100, 100, 0, 100]) made.note(targets[0]!, engineLoad({ startedAtSeconds }));
  expect(asked).toHaveLength(1);
  made.note(targets[0]!, engineLoad({ startedAtSeconds: 200 }));
  expect(find(0, 'm')).toBe(listUnknown);
  await vi.advanceTimersByTimeAsync(0);
  expect([find(0, 'm'), find(0, 'n')]).toEqual([notListed, 100]);
  made.ask(0);
  await vi.advanceTimersByTimeAsync(0);
  expect(asked).toHaveLength(3);
});

test('catalogue: when an endpoint leaves, its list is forgotten and it is asked no more', async () => {
  const { find, made, targets, asked, names } = await catalogue({ a: [page('m')], b: [page('n')] });
  made.watch(targets.slice(1), 'p');
  expect(find(0, 'm')).toBe(listUnknown);
  expect(names()).toEqual(['n']);
  await vi.advanceTimersByTimeAsync(31_000);
  expect(asked).toEqual(['a', 'b', 'b']);
});

test.each(['engine: none,', 'model_lists: false,', 'dialect: anthropic,'])(
  'catalogue: when a pool has %s its endpoints are not asked',
  async (pool) => {
    const { asked, find } = await catalogue({ a: [page('m')] }, pool);
    expect(asked).toEqual([]);
    expect(find(0, 'm')).toBe(listUnknown);
  },
);

/** The metrics of an engine with these adapters at work. */
const working = (running: string[], waiting: string[] = [], slotCount = 2): EngineLoad =>
  engineLoad({ startedAtSeconds: 100, adapters: { slotCount, running, waiting } });

test('catalogue: when metrics tell of adapters, those that run are in memory, and stay there until others take their places', async () => {
  const data = [{ id: 'base' }, ...['a', 'b', 'c'].map((id) => ({ id, parent: 'base' }))];
  const { made, targets } = await catalogue({ a: [JSON.stringify({ data })] });
  expect(made.residents(0)).toEqual([]);
  made.note(targets[0]!, working(['a', 'x']));
  expect(made.residents(0)).toEqual(['a']);
  for (const running of [['b'], ['b', 'c']]) {
    await vi.advanceTimersByTimeAsync(250);
    made.note(targets[0]!, working(running));
  }
  expect(made.residents(0)).toEqual(['b', 'c']);
  made.note(targets[0]!, { ...working([]), startedAtSeconds: 200 });
  expect(made.residents(0), 'it was restarted').toEqual([]);
});

test('catalogue: when an engine gives no list, adapters it had requests for are known to be its adapters, and no more', async () => {
  const { made, targets, find } = await catalogue({ a: [404] });
  made.note(targets[0]!, working(['a'], ['b']));
  expect([isAdapter(find(0, 'a')), isAdapter(find(0, 'b'))]).toEqual([true, true]);
  expect(find(0, 'c')).toBe(listUnknown);
  expect(made.list(0)).toBeNull();
});

test('catalogue: when a server swaps its models, those it has in memory are known, and that it loads the others', async () => {
  const data = ['a:latest', 'b:latest'].map((id) => ({ id, owned_by: 'library' }));
  const { made, find } = await catalogue({
    a: [JSON.stringify({ data }), '{"models":[{"name":"b:latest"}]}'],
    b: [
      JSON.stringify({
        data: [
          { id: 'c', status: { value: 'loaded' } },
          { id: 'd', status: { value: 'unloaded' } },
        ],
      }),
    ],
  });
  expect(made.residents(0)).toEqual(['b:latest']);
  expect([loadsOnUse(find(0, 'a')), isAdapter(find(0, 'a'))]).toEqual([true, false]);
  expect(made.residents(1)).toEqual(['c']);
  expect(loadsOnUse(find(1, 'd'))).toBe(true);
});

test('catalogue: when a server lists its models and does not answer which are loaded, its list counts all the same', async () => {
  const ollama = (id: string): string => JSON.stringify({ data: [{ id, owned_by: 'library' }] });
  const { find, made } = await catalogue({
    a: [ollama('old'), '{"models":[]}', ollama('new'), new Error('reset')],
  });
  expect([find(0, 'old'), loadsOnUse(find(0, 'old'))]).toEqual([expect.any(Number), true]);
  await vi.advanceTimersByTimeAsync(30_000);
  expect([find(0, 'old'), find(0, 'new')]).toEqual([notListed, 0]);
  expect(made.residents(0)).toEqual([]);
});

test('catalogue: when a server was restarted while it was asked, what it had loaded before is not loaded', async () => {
  const list = JSON.stringify({ data: ['a', 'b'].map((id) => ({ id, owned_by: 'llama-swap' })) });
  const loaded = (model: string): string => JSON.stringify({ running: [{ model, state: 'ready' }] });
  const { made, targets } = await catalogue({ a: [list, loaded('a'), list, loaded('a'), list, loaded('b')] });
  made.note(targets[0]!, engineLoad({ startedAtSeconds: 100 }));
  made.ask(0);
  made.note(targets[0]!, engineLoad({ startedAtSeconds: 200 }));
  await vi.advanceTimersByTimeAsync(0);
  expect(made.residents(0)).toEqual(['b']);
});
