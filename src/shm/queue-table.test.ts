import { expect, test } from 'vitest';
import { createSharedMemory } from './memory.ts';
import { isTicketBefore, queuedKib, queueFirsts, queueFirstsMax, QueueTable } from './queue-table.ts';

function shards(count: number): { control: QueueTable; shards: QueueTable[] } {
  const memory = createSharedMemory({ shardCount: count, endpointCountMax: 1, bufferedBytesMax: 1024 });
  return {
    control: new QueueTable(memory, -1),
    shards: Array.from({ length: count }, (_, index) => new QueueTable(memory, index)),
  };
}

test('queue table: when several shards wait in two rows, each sees the totals of each row', () => {
  const { control, shards: all } = shards(3);
  all[0]!.note(0, 0, 2, 10);
  all[1]!.note(0, 2, 1, 5);
  all[2]!.note(127, 1, 4, 7);
  for (const table of [control, ...all]) {
    expect([table.requests(0), table.requestsOf(0, 0), table.requestsOf(0, 2), table.kib(0)]).toEqual([3, 2, 1, 15]);
    expect([table.kibBelow(0, 2), table.requests(127), table.kib(127)]).toEqual([10, 4, 7]);
  }
  all[0]!.note(0, 0, -2, -10);
  expect([control.requests(0), control.kib(0)]).toEqual([1, 5]);
  expect(() => all[0]!.note(0, 0, -1, 0), 'nobody leaves twice').toThrow();
});

test('queue table: when more bytes are announced than a word counts, it stays full, and nobody takes away more than was counted', () => {
  const { shards: all } = shards(1);
  const table = all[0]!;
  const announced = Array.from({ length: 600 }, () => table.note(0, 1, 1, queuedKib(4 * 2 ** 30)));
  expect([table.kib(0), announced[0], announced.at(-1)]).toEqual([2 ** 31 - 1, 2 ** 22, 0]);
  for (const kib of announced) table.note(0, 1, -1, -kib);
  expect([table.kib(0), table.requests(0)]).toEqual([0, 0]);
});

test('queue table: when a shard says who is first, the others read it whole, and nobody when nobody waits', () => {
  const { shards: all } = shards(2);
  const out = queueFirsts();
  expect(all[1]!.readFirsts(5, 0, out)).toBe(0);
  const firsts = [
    { level: 2, flow: 0xff_ffff, ticket: -7, part: 30_000, model: 0xffff_fffe },
    { level: 0, flow: 0, ticket: 0, part: 0, model: 0 },
    { level: 3, flow: 1, ticket: 2 ** 31 - 1, part: 1, model: 7 },
    ...Array.from({ length: queueFirstsMax - 3 }, (_, index) => ({
      level: 1,
      flow: index + 5,
      ticket: index,
      part: index,
      model: 3 * index,
    })),
  ];
  for (const count of [1, 3, queueFirstsMax, 2]) {
    all[0]!.publish(5, firsts, count);
    expect(all[1]!.readFirsts(5, 0, out)).toBe(count);
    expect(out.slice(0, count)).toEqual(firsts.slice(0, count));
    expect(all[1]!.readFirsts(5, 1, out), 'of its own').toBe(0);
    expect(all[1]!.readFirsts(6, 0, out), 'of another row').toBe(0);
  }
  all[0]!.publish(5, firsts, 0);
  expect(all[1]!.readFirsts(5, 0, out)).toBe(0);
});

test('queue table: when one is to be given up, the shard with most of that level is asked, and not for more than it has', () => {
  const { shards: all } = shards(3);
  all[0]!.note(1, 0, 9, 90);
  all[1]!.note(1, 0, 1, 4);
  all[2]!.note(1, 0, 2, 6);
  const asked = Array.from({ length: 4 }, () => all[0]!.askEviction(1, 0));
  expect(
    asked.sort((one, other) => one - other),
    'three others wait, itself left out',
  ).toEqual([-1, 1, 2, 2]);
  expect(all[0]!.kibEach(1, 2, 0)).toBe(3);
  expect([all[2]!.takeEvictions(1, 0), all[2]!.takeEvictions(1, 0), all[1]!.takeEvictions(1, 0)]).toEqual([2, 0, 1]);
});

test('queue table: when a shard died, nobody waits there and nobody is first there', () => {
  const { control, shards: all } = shards(2);
  for (const table of all) {
    table.note(3, 1, 2, 8);
    table.publish(3, [{ level: 1, flow: 9, ticket: 4, part: 0, model: 0 }], 1);
  }
  all[1]!.askEviction(3, 1);
  control.reclaimShard(0);
  control.reclaimShard(0);
  expect([control.requests(3), control.kib(3), all[0]!.takeEvictions(3, 1)]).toEqual([2, 8, 0]);
  expect(control.readFirsts(3, 0, queueFirsts())).toBe(0);
  expect(control.readFirsts(3, 1, queueFirsts())).toBe(1);
  // Its replacement starts where there is nothing.
  all[0]!.note(3, 1, 1, 1);
  expect(control.requests(3)).toBe(3);
});

test('queue table: when tickets are drawn in turn, each is after the one before it, also where they wrap', () => {
  const { shards: all } = shards(2);
  const drawn = [all[0]!.drawTicket(0), all[1]!.drawTicket(0), all[0]!.drawTicket(0)];
  expect(drawn).toEqual([0, 1, 2]);
  expect(isTicketBefore(2 ** 31 - 1, -(2 ** 31))).toBe(true);
  expect(isTicketBefore(-(2 ** 31), 2 ** 31 - 1)).toBe(false);
  expect([isTicketBefore(1, 2), isTicketBefore(2, 1), isTicketBefore(2, 2)]).toEqual([true, false, false]);
});

test('queue table: when bytes are weighed, every begun KiB counts', () => {
  expect([0, 1, 1024, 1025].map(queuedKib)).toEqual([0, 1, 1, 2]);
});
