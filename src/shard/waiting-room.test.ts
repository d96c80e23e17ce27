import { expect, test } from 'vitest';
import type { PoolView } from '../pick/index.ts';
import { createSharedMemory, FlowCells, queueFirsts, QueueTable } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import { QueueOrder } from './queue-order.ts';
import { WaitingRoom } from './waiting-room.ts';

const row = 2;

/** The room of one pool in one of two shards, as the first configuration has it. */
function rooms(parts: readonly Uint8Array[], view: PoolView) {
  const memory = createSharedMemory({ shardCount: 2, endpointCountMax: 1, bufferedBytesMax: 1024 });
  return [0, 1].map((shardIndex) => {
    const table = new QueueTable(memory, shardIndex);
    const room = new WaitingRoom(new QueueOrder(row, new FlowCells(memory)), table);
    room.follow(parts, view);
    return { table, room };
  });
}

/** Only the first endpoint is full. */
const view = { fit: null, hasRoom: (_nowMs: number, fits: Uint8Array) => fits[1] === 1 } as unknown as PoolView;
const [left, right] = [Uint8Array.of(1, 0), Uint8Array.of(0, 1)];

function waiterFor(fits: Uint8Array): GatewayExchange {
  const body = { receivedBytes: 0 };
  return {
    priority: 1,
    flow: 0,
    modelKey: 0,
    missingPart: 0,
    fits,
    body,
    head: { contentLength: 0 },
  } as GatewayExchange;
}

test('waiting room: when one waits for a part of the pool, other shards know whether that is full', () => {
  const [here, there] = rooms([left, right], view);
  const firsts = queueFirsts();
  const full = [left, right].map((fits) => {
    const waiter = waiterFor(fits);
    here!.room.enter(waiter, 0);
    expect(there!.table.readFirsts(row, 0, firsts)).toBe(1);
    here!.room.leave(waiter, 0);
    return there!.room.isFullFor(firsts[0]!, 0);
  });
  expect(full).toEqual([true, false]);
});

test('waiting room: when the parts of the pool are others after a reload, no number of an old one is taken for one of them', () => {
  const [here, there] = rooms([right], view);
  here!.room.enter(waiterFor(right), 0);
  for (const { room } of [here!, there!]) room.follow([Uint8Array.from(left), Uint8Array.from(right)], view);
  here!.room.publish(0);
  const firsts = queueFirsts();
  expect(there!.table.readFirsts(row, 0, firsts)).toBe(1);
  expect(there!.room.isFullFor(firsts[0]!, 0)).toBe(false);
});
