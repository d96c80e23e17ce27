import { randomInt } from 'node:crypto';
import { assert } from '../core/assert.ts';
import { admissionMemoryBytes } from './admission.ts';
import { bellMemoryBytes } from './bells.ts';
import { budgetBytesMax, budgetMemoryBytes } from './budget.ts';
import { fleetMemory } from './fleet-table.ts';
import { healthMemory } from './health-record.ts';
import { flowMemoryBytes } from './flow-cells.ts';
import { heartbeatMemoryBytes } from './heartbeats.ts';
import { peerLoadBytes } from './peer-loads.ts';
import { createPrefixJournal } from './prefix-journal.ts';
import { PromptSecret } from './prompt-secret.ts';
import { modelMemoryBytes } from './model-table.ts';
import { queueMemoryBytes } from './queue-table.ts';
import { residentMemoryBytes } from './resident-table.ts';
import { seriesMemoryBytes } from './series.ts';
import { workMemoryBytes } from './work-table.ts';

/**
 * Everything the threads of one process share, made once by control and posted to every shard (`workerData`): plain
 * numbers and SharedArrayBuffers, so a structured clone shares the memory and copies nothing. The layouts belong to the
 * files that read them; only the sizes meet here.
 *
 * | Field  | Layout in        | Bytes                                            | Writers                    |
 * | ------ | ---------------- | ------------------------------------------------ | -------------------------- |
 * | fleet  | fleet-table.ts   | 128 an endpoint slot, + 16 a slot for each shard | control, shards            |
 * | health | health-record.ts | 1024 an endpoint slot                            | shards, control            |
 * | budget | budget.ts        | 128, + 128 a shard                               | shards (control: reclaim)  |
 * | series | series.ts        | one region a shard, the last is control's        | the region's own thread    |
 * | admission | admission.ts  | 128 KiB a shard, + 128                           | the region's own thread    |
 * | heartbeats | heartbeats.ts | 64 a shard                                       | the shard                  |
 * | queues | queue-table.ts   | 32 KiB, + 32 KiB a shard                         | the region's own shard     |
 * | flows  | flow-cells.ts    | 4 MiB, touched where a queue is fair             | shards, control            |
 * | bells  | bells.ts         | 128 a shard                                      | shards                     |
 * | peerLoads | peer-loads.ts | 16 an endpoint slot                              | control                    |
 * | promptSecret | prompt-secret.ts | 4                                          | control                    |
 * | journals | prefix-journal.ts | 256 KiB a shard where gateways share, else none | the ring's own shard; control: how far it has read |
 * | work   | work-table.ts    | 8 an endpoint slot, + 8 a slot for each shard    | shards, control            |
 * | models | model-table.ts   | 8 KiB an endpoint slot, touched where one is listed, + 256 KiB | control      |
 * | residents | resident-table.ts | 576 an endpoint slot                           | shards, control           |
 */
export interface SharedMemory {
  readonly shardCount: number;
  readonly endpointCountMax: number;
  readonly bufferedBytesMax: number;
  readonly fleet: SharedArrayBuffer;
  readonly health: SharedArrayBuffer;
  readonly budget: SharedArrayBuffer;
  readonly series: readonly SharedArrayBuffer[];
  readonly admission: SharedArrayBuffer;
  /** Keys the hashes of what clients choose, but for prompts. Secret, the same in every thread and in every life of the gateway. */
  readonly hashSeed: number;
  readonly heartbeats: SharedArrayBuffer;
  readonly queues: SharedArrayBuffer;
  readonly flows: SharedArrayBuffer;
  readonly bells: SharedArrayBuffer;
  readonly peerLoads: SharedArrayBuffer;
  readonly promptSecret: SharedArrayBuffer;
  /** By shard. */
  readonly journals: readonly SharedArrayBuffer[];
  readonly work: SharedArrayBuffer;
  readonly models: SharedArrayBuffer;
  readonly residents: SharedArrayBuffer;
}

export interface SharedMemorySizes {
  readonly shardCount: number;
  /** Endpoint slots over all pools, including those that still drain after a reload. */
  readonly endpointCountMax: number;
  /** `limits.buffered_bytes_max`. */
  readonly bufferedBytesMax: number;
  /** 31 bits; drawn where it is not given. */
  readonly hashSeed?: number;
  /** Whether other gateways are told what is learned. */
  readonly isSharing?: boolean;
}

/** A shard's position in per-shard tables; -1 in its place means the control thread. */
export const controlIndex = -1;

/** Called by control alone, once. A region is zero pages until it is touched: an idle shard's series cost no memory. */
export function createSharedMemory(sizes: SharedMemorySizes): SharedMemory {
  const { shardCount, endpointCountMax, bufferedBytesMax } = sizes;
  assert(Number.isInteger(shardCount) && shardCount >= 1, 'shardCount is a positive integer');
  assert(Number.isInteger(endpointCountMax) && endpointCountMax >= 1, 'endpointCountMax is a positive integer');
  assert(bufferedBytesMax >= 1 && bufferedBytesMax <= budgetBytesMax, 'bufferedBytesMax fits the budget word');
  const hashSeed = sizes.hashSeed ?? randomInt(2 ** 31);
  const promptSecret = new SharedArrayBuffer(4);
  new PromptSecret(promptSecret).set(hashSeed);
  return {
    shardCount,
    endpointCountMax,
    bufferedBytesMax,
    fleet: fleetMemory(shardCount, endpointCountMax),
    health: healthMemory(endpointCountMax),
    budget: new SharedArrayBuffer(budgetMemoryBytes(shardCount)),
    series: Array.from({ length: shardCount + 1 }, () => new SharedArrayBuffer(seriesMemoryBytes)),
    admission: new SharedArrayBuffer(admissionMemoryBytes(shardCount)),
    hashSeed,
    heartbeats: new SharedArrayBuffer(heartbeatMemoryBytes(shardCount)),
    queues: new SharedArrayBuffer(queueMemoryBytes(shardCount)),
    flows: new SharedArrayBuffer(flowMemoryBytes),
    bells: new SharedArrayBuffer(bellMemoryBytes(shardCount)),
    peerLoads: new SharedArrayBuffer(peerLoadBytes(endpointCountMax)),
    promptSecret,
    journals: sizes.isSharing === true ? Array.from({ length: shardCount }, createPrefixJournal) : [],
    work: new SharedArrayBuffer(workMemoryBytes(shardCount, endpointCountMax)),
    models: new SharedArrayBuffer(modelMemoryBytes(endpointCountMax)),
    residents: new SharedArrayBuffer(residentMemoryBytes(endpointCountMax)),
  };
}
