import { expect, test } from 'vitest';
import { type BatchedConnection, batchedBytesMax, TurnBatch } from './turn-batch.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function connection(name: string, seen: string[], onReady: () => void = () => {}): BatchedConnection {
  return {
    onTurnConnect: () => seen.push(`${name} connects`),
    onTurnReady: () => {
      seen.push(`${name} ready`);
      onReady();
    },
    onTurnRead: (buffer, count) => seen.push(`${name} ${buffer.toString('latin1', 0, count)}`),
    onTurnRested: () => seen.push(`${name} rested`),
  };
}

test('turn batch: when sockets were read and connections taken in one turn, reads come first, at its end and in order', async () => {
  const batch = new TurnBatch();
  const seen: string[] = [];
  const readBuffer = Buffer.from('first');
  batch.addReady(connection('c', seen));
  expect(batch.addRead(connection('a', seen), readBuffer, 5)).toBe(true);
  readBuffer.write('2nd..');
  expect(batch.addRead(connection('b', seen), readBuffer, 3)).toBe(true);
  expect(seen).toEqual([]);
  await turn();
  expect(seen).toEqual(['a first', 'b 2nd', 'c ready']);
});

test('turn batch: when a read is large, what was put off before it is passed on first', () => {
  const batch = new TurnBatch();
  const seen: string[] = [];
  batch.addRead(connection('a', seen), Buffer.from('x'), 1);
  const large = Buffer.alloc(batchedBytesMax + 1);
  expect(batch.addRead(connection('b', seen), large, large.length)).toBe(false);
  expect(seen).toEqual(['a x']);
});

test('turn batch: when more is read in a turn than there is room for, nothing is lost', async () => {
  const batch = new TurnBatch();
  const seen: string[] = [];
  let passed = 0;
  for (let index = 0; index < 2000; index++) {
    const text = Buffer.from(String(index));
    if (!batch.addRead(connection('a', seen), text, text.length)) seen.push(`a ${String(index)}`);
    else passed++;
  }
  await turn();
  expect(passed).toBeGreaterThan(1900);
  expect(seen).toEqual(Array.from({ length: 2000 }, (_, index) => `a ${index}`));
});

test('turn batch: when a connection is taken again at the end of a turn, it is ready at the end of the next', async () => {
  const batch = new TurnBatch();
  const seen: string[] = [];
  batch.addReady(connection('a', seen, () => batch.addReady(connection('b', seen))));
  await turn();
  expect(seen).toEqual(['a ready']);
  await turn();
  expect(seen).toEqual(['a ready', 'b ready']);
});

test('turn batch: when many connections are to be made at once, each turn makes a few, in order, and others go between', async () => {
  const batch = new TurnBatch();
  const seen: string[] = [];
  for (let index = 0; index < 40; index++) batch.addConnect(connection(`${index}`, seen));
  await turn();
  const first = seen.length;
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(40);
  batch.addRead(connection('a', seen), Buffer.from('x'), 1);
  await turn();
  expect(seen[first]).toBe('a x');
  for (let count = 0; count < 4; count++) await turn();
  expect(seen.filter((each) => each.endsWith('connects'))).toEqual(
    Array.from({ length: 40 }, (_, index) => `${index} connects`),
  );
  batch.addConnect(connection('later', seen));
  await turn();
  expect(seen.at(-1)).toBe('later connects');
});

test('turn batch: when a turn has read its share, there is none left until it ends; less when somebody rests already', async () => {
  const batch = new TurnBatch();
  batch.addBulk(500_000);
  expect(batch.hasBulkLeft).toBe(true);
  batch.addBulk(50_000);
  expect(batch.hasBulkLeft).toBe(false);
  await turn();
  expect(batch.hasBulkLeft).toBe(true);
  for (const name of ['a', 'b', 'c']) batch.addResting(connection(name, []), false);
  batch.addBulk(140_000);
  expect(batch.hasBulkLeft).toBe(false);
});

test('turn batch: when connections rest, one goes on in each turn, who has begun before the others, and reads come first', async () => {
  const batch = new TurnBatch();
  const seen: string[] = [];
  batch.addResting(connection('a', seen), false);
  batch.addResting(connection('b', seen), false);
  batch.addResting(connection('begun', seen), true);
  batch.addRead(connection('small', seen), Buffer.from('x'), 1);
  await turn();
  expect(seen).toEqual(['small x', 'begun rested']);
  await turn();
  await turn();
  await turn();
  expect(seen.slice(2)).toEqual(['a rested', 'b rested']);
});
