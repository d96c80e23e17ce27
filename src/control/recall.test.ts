import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { Clock } from '../core/index.ts';
import type { Snapshot } from '../shard/protocol.ts';
import { createSharedMemory, EndpointState, Fault, FleetTable, otherRow, wholeRow } from '../shm/index.ts';
import { until } from './fixtures/until.ts';
import { Recall } from './recall.ts';

const rule = { consecutiveFailures: 1, baseMs: 60_000, maxMs: 600_000 };
const servers: Server[] = [];
const recalls: Recall[] = [];

afterEach(() => {
  for (const recall of recalls.splice(0)) recall.stop();
  for (const server of servers.splice(0)) server.close();
});

/** A pool of two endpoints: the first listens, the second is a port nobody listens on. */
async function setup() {
  let askedCount = 0;
  let lookCount = 0;
  const server = createServer((socket) => {
    askedCount++;
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const parsed = parseConfig(
    `{ listeners: [{ name: a, address: "127.0.0.1:0" }], pools: [{ name: p, endpoints: [{ url: "http://127.0.0.1:${port}" }, { url: "http://127.0.0.1:1" }] }] }`,
    'test.yaml',
    {},
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 4, bufferedBytesMax: 1024 });
  const fleet = new FleetTable(memory, -1);
  const shard = new FleetTable(memory, 0);
  const slots = [fleet.claim(), fleet.claim()];
  for (const slot of slots) fleet.setState(slot, EndpointState.healthy);
  const clock = new Clock();
  const snapshot: Snapshot = {
    version: 1,
    config: parsed.config,
    endpointSlots: [slots],
    modelRows: [[]],
    prefixes: [null],
    queueRows: [0],
    texts: {},
  };
  const recalled: string[] = [];
  const look = (): Snapshot => {
    lookCount++;
    return snapshot;
  };
  recalls.push(new Recall({ fleet, clock, snapshot: look, onRecall: (_, url) => void recalled.push(url) }));
  /** A connection that was begun by the first of these has come by the last. */
  const looks = async (): Promise<void> => {
    const target = lookCount + 3;
    await until('looks', () => lookCount >= target);
  };
  const eject = (index: number, fault: Fault, nowMs = clock.refresh()): void => {
    const attempt = { slot: slots[index]!, row: otherRow, probes: 0, nowMs };
    shard.health.noteFault({ ...attempt, fault, rule, modelCount: 1, mayEject: true });
  };
  const isOut = (index: number): boolean => fleet.health.isOut(slots[index]!, wholeRow, clock.refresh());
  /** So that the next ejection is not the first. */
  const prove = (index: number): void => {
    const probes = shard.health.tryTakeProbes(slots[index]!, otherRow, clock.refresh());
    shard.health.noteAnswer({ slot: slots[index]!, row: otherRow, probes, nowMs: clock.nowMs }, Fault.slow);
    shard.health.giveProbes(slots[index]!, otherRow, probes);
  };
  return { recalled, eject, isOut, prove, looks, asked: () => askedCount, url: `http://127.0.0.1:${port}` };
}

test('recall: when an endpoint that refused connections accepts them, its period is over, and only its', async () => {
  const { recalled, eject, isOut, url } = await setup();
  eject(0, Fault.connect);
  eject(1, Fault.connect);
  await until('the recall', () => recalled.length > 0);
  expect(recalled).toEqual([url]);
  expect([isOut(0), isOut(1)]).toEqual([false, true]);
});

test('recall: when it flaps, it sits its second period out, unless nobody else is left', async () => {
  const { recalled, eject, isOut, prove, looks, asked } = await setup();
  eject(0, Fault.connect);
  await until('the recall', () => recalled.length === 1);
  prove(0);
  eject(0, Fault.connect);
  await looks();
  expect([recalled.length, asked(), isOut(0)]).toEqual([1, 1, true]);
  eject(1, Fault.connect);
  await until('the recall', () => recalled.length === 2);
  expect([isOut(0), isOut(1)]).toEqual([false, true]);
});

test('recall: when an endpoint was ejected for what it answered, that it listens says nothing', async () => {
  const { recalled, eject, isOut, looks, asked } = await setup();
  eject(0, Fault.garbage);
  eject(1, Fault.connect);
  await looks();
  expect([recalled, asked(), isOut(0)]).toEqual([[], 0, true]);
});
