import { onTestFinished, expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import type { Config } from '../config/index.ts';
import { createSharedMemory, FlowCells, QueueTable, queueRowCount } from '../shm/index.ts';
import { QueueRows } from './queue-rows.ts';

function configOf(names: readonly string[], queue = ''): Config {
  const pools = names.map((name) => `{ name: ${name}, queue: { ${queue} }, endpoints: [{ url: "http://h:1" }] }`);
  const text = `listeners: [{ name: l, address: "127.0.0.1:0" }]\ndefault_pool: ${names[0]}\npools: [${pools.join(', ')}]`;
  const result = parseConfig(text, '/f.yaml', {});
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

function made() {
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const rows = new QueueRows(memory, () => 0);
  onTestFinished(() => rows.stop());
  return { rows, shard: new QueueTable(memory, 0), flows: new FlowCells(memory) };
}

test('queue rows: when pools come and go, each keeps its row while it is there, and nobody shares one', () => {
  const { rows } = made();
  expect(rows.plan(configOf(['a', 'b']))).toEqual([0, 1]);
  expect(rows.plan(configOf(['c', 'b', 'a']))).toEqual([2, 1, 0]);
  expect(rows.plan(configOf(['d']))).toEqual([3]);
  expect(rows.plan(configOf(['b', 'd'])), 'one that is back').toEqual([1, 3]);
});

test('queue rows: when more pools have gone than there are rows, one takes the row of a pool where nobody waits any more', () => {
  const { rows, shard, flows } = made();
  const seen = new Set<number>();
  for (let index = 0; index < queueRowCount; index++) seen.add(rows.plan(configOf([`p${index}`]))[0]!);
  expect(seen.size).toBe(queueRowCount);
  shard.note(0, 1, 1, 1); // Somebody waits in the first pool's still.
  flows.takeTurn(1, 7);
  flows.takeTurn(1, 8);
  expect(rows.plan(configOf(['new', `p${queueRowCount - 1}`]))).toEqual([1, queueRowCount - 1]);
  expect(flows.turnsSince(1, 7), 'it begins with nothing').toBe(0);
  expect(rows.plan(configOf(['new', 'p0']))).toEqual([1, 0]);
});

test('queue rows: when the kind of fairness changes, what flows have had is forgotten; when anything else does, it is not', () => {
  const { rows, flows } = made();
  rows.plan(configOf(['a'], 'fair_by: "body:user", fairness: least_attained_service'));
  flows.addService(0, 5, 1600, 0);
  rows.plan(configOf(['a'], 'fair_by: "header:x", fairness: least_attained_service, wait_ms: 1s'));
  expect(flows.service(0, 5, 0)).toBe(1600);
  rows.plan(configOf(['a'], 'fair_by: "header:x"'));
  expect([flows.service(0, 5, 0), flows.turnsSince(0, 5)]).toEqual([0, 0]);
});
