import { expect, test } from 'vitest';
import { createSharedMemory, FlowCells, Heartbeats, type QueueFirst, QueueTable } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import { type Fairness, QueueOrder } from './queue-order.ts';
import { Turns } from './turns.ts';
import type { WaitingRoom } from './waiting-room.ts';

const row = 3;

function made(fairness: Fairness = 'none') {
  const memory = createSharedMemory({ shardCount: 3, endpointCountMax: 1, bufferedBytesMax: 1024 });
  const tables = [0, 1, 2].map((index) => new QueueTable(memory, index));
  const cells = new FlowCells(memory);
  const order = new QueueOrder(row, cells);
  order.fairness = fairness;
  const heartbeats = new Heartbeats(memory);
  const fullParts = new Set<number>();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- What is read of it is here.
  const room = { order, isFullFor: ({ part }: QueueFirst) => fullParts.has(part) } as unknown as WaitingRoom;
  const turns = new Turns(tables[0]!, heartbeats);
  const say = (shard: number, ...firsts: QueueFirst[]): void => tables[shard]!.publish(row, firsts, firsts.length);
  /** Who the place is left to by the first of shard 0. */
  const leftTo = ({ level, flow, ticket, part }: QueueFirst, nowMs: number): number =>
    turns.beforeWaiting(
      room,
      { priority: level, queueFlow: flow, queueTicket: ticket, queuePart: part } as GatewayExchange,
      nowMs,
    );
  return { turns, room, say, leftTo, heartbeats, cells, fullParts };
}

const waiter = (ticket: number, level = 1, flow = 0, part = 0): QueueFirst => ({ level, flow, ticket, part, model: 0 });

test('turns: when several shards have somebody, the place is for the first of all', () => {
  const { say, leftTo, turns, room } = made();
  expect([leftTo(waiter(5), 0), turns.first(room, 0)]).toEqual([-1, -1]);
  say(1, waiter(7));
  say(2, waiter(6));
  expect([leftTo(waiter(5), 0), turns.first(room, 0)], 'shard 0 has come first').toEqual([-1, 2]);
  expect(leftTo(waiter(8), 0)).toBe(2);
  expect(leftTo(waiter(9, 2), 0), 'a higher priority').toBe(-1);
  say(1, waiter(9, 2));
  expect(leftTo(waiter(8), 0)).toBe(1);
  expect(turns.before(room, waiter(10, 2), 0, false)).toBe(1);
  expect(turns.before(room, waiter(8, 2), 0, true)).toBe(-1);
});

test('turns: when a flow has had its turn, the next of the same shard is looked at, without a word of it', () => {
  const { say, leftTo, cells } = made('round_robin');
  say(1, waiter(1, 1, 11), waiter(2, 1, 22));
  cells.takeTurn(row, 33);
  expect(leftTo(waiter(3, 1, 33), 0)).toBe(1);
  cells.takeTurn(row, 11);
  expect(leftTo(waiter(3, 1, 33), 0), 'of the second flow').toBe(1);
  cells.takeTurn(row, 22);
  expect(leftTo(waiter(3, 1, 33), 0)).toBe(-1);
});

// Its first cannot use what is free: another model, an endpoint that has failed it.
test('turns: when the other shard has looked and taken nothing, the place is not left to that waiter for a second', () => {
  const { say, leftTo, heartbeats } = made();
  say(1, waiter(1));
  say(2, waiter(2));
  expect(leftTo(waiter(5), 1000)).toBe(1);
  heartbeats.beat(1);
  expect(leftTo(waiter(5), 1060), 'it may have looked before').toBe(1);
  heartbeats.beat(1);
  expect(leftTo(waiter(5), 1070), 'the next one has its chance').toBe(2);
  say(2);
  expect(leftTo(waiter(5), 1080)).toBe(-1);
  say(1, waiter(3));
  expect(leftTo(waiter(5), 1090), 'another waiter').toBe(1);
  say(1, waiter(1));
  expect([leftTo(waiter(5), 2000), leftTo(waiter(5), 2100)]).toEqual([-1, 1]);
});

test('turns: when the other shard has looked for several tenants and taken nothing, the place is left to none of them', () => {
  const { say, leftTo, heartbeats } = made();
  say(1, waiter(2, 1, 22), waiter(1, 1, 11), waiter(7, 1, 77));
  const left = [leftTo(waiter(5), 1000)];
  for (let nowMs = 1100; nowMs <= 1500; nowMs += 100) {
    heartbeats.beat(1);
    heartbeats.beat(1);
    left.push(leftTo(waiter(5), nowMs));
  }
  expect(left).toEqual([1, -1, -1, -1, -1, -1]);
  say(1, waiter(2, 1, 22), waiter(1, 1, 11), waiter(8, 2, 88));
  expect(leftTo(waiter(5), 1600), 'one that has come since').toBe(1);
});

test('turns: when the other shard is blocked, the place is not left to it until its timer runs again', () => {
  const { say, leftTo, heartbeats } = made();
  heartbeats.beat(1);
  say(1, waiter(1), waiter(2, 1, 4));
  expect([leftTo(waiter(5), 1000), leftTo(waiter(5), 1400), leftTo(waiter(5), 1501)]).toEqual([1, 1, -1]);
  expect(leftTo(waiter(5), 60_000)).toBe(-1);
  heartbeats.beat(1);
  expect(leftTo(waiter(5), 60_001)).toBe(1);
});

test('turns: when no place was free meanwhile, the time in which one was is not counted on', () => {
  const { turns, room, say, leftTo } = made();
  say(1, waiter(1));
  expect(leftTo(waiter(5), 1000)).toBe(1);
  turns.noteFull(room);
  expect([leftTo(waiter(5), 3000), leftTo(waiter(5), 3400)]).toEqual([1, 1]);
});

test('turns: when the other shard has only somebody who may go to a part of the pool that is full, the place is not left to that one', () => {
  const { say, leftTo, turns, room, fullParts } = made();
  say(1, waiter(1, 1, 0, 7));
  say(2, waiter(2, 1, 0, 8));
  expect([leftTo(waiter(5), 1000), turns.first(room, 1000)]).toEqual([1, 1]);
  fullParts.add(7);
  expect([leftTo(waiter(5), 1000), turns.first(room, 1000)]).toEqual([2, 2]);
  fullParts.add(8);
  expect([leftTo(waiter(5), 1000), turns.first(room, 1000)]).toEqual([-1, -1]);
  fullParts.delete(7);
  expect(leftTo(waiter(5), 1000), 'a place of its own').toBe(1);
});
