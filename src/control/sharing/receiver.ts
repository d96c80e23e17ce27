import type { PeerLoad } from '../../shm/index.ts';
import type { PrefixMemories } from '../prefix-memories.ts';
import { BatchReader, RecordKind } from './batch.ts';
import type { SharingCounts } from './counts.ts';
import type { Directory, SharedEndpoint } from './directory.ts';
import type { PeerTable } from './peer-table.ts';

export interface ReceiverOptions {
  readonly gateway: number;
  readonly directory: Directory;
  readonly memories: PrefixMemories;
  readonly peers: PeerTable;
  readonly counts: SharingCounts;
  /** A batch of this gateway has come back. */
  readonly onOwn: (sequence: number) => void;
}

/** Puts what other gateways wrote into the indexes and the table of peers. Never throws, whatever is in a batch. */
export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #batch = new BatchReader();

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  /** Of the stream of blocks. */
  learn(bytes: Buffer): void {
    const { gateway, directory, counts, onOwn } = this.#options;
    const batch = this.#batch;
    if (batch.open(bytes) && batch.gateway === gateway) {
      onOwn(batch.sequence);
      return;
    }
    while (!batch.isMalformed && batch.next()) {
      const endpoint = directory.byId(batch.endpoint);
      const keyCount = batch.kind === RecordKind.blocks ? batch.size : 0;
      if (endpoint === undefined) counts.keys.unknown += keyCount;
      else if (!this.#isOfThisLife(endpoint)) counts.keys.stale += keyCount;
      else this.#apply(endpoint);
    }
    this.#count();
  }

  /** Of the stream of loads. */
  hear(bytes: Buffer, nowMs: number): void {
    const { gateway, peers } = this.#options;
    const batch = this.#batch;
    const loads = new Map<number, PeerLoad>();
    if (batch.open(bytes) && batch.gateway === gateway) return;
    while (!batch.isMalformed && batch.next()) {
      if (batch.kind === RecordKind.load) loads.set(batch.endpoint, { ...batch.load });
    }
    if (!batch.isMalformed) peers.hear(batch.gateway, loads, nowMs);
    this.#count();
  }

  #count(): void {
    const { batches } = this.#options.counts;
    if (this.#batch.isMalformed) batches.malformed++;
    else batches.received++;
  }

  /**
   * Whether the record is of the process that runs at the endpoint now. One of a later process is how a gateway learns of a
   * restart that another has noticed; one of an earlier process tells of a cache that is gone.
   */
  #isOfThisLife({ pool, url }: SharedEndpoint): boolean {
    const { memories } = this.#options;
    const { since } = this.#batch;
    if (since === 0) return true;
    const known = memories.startedAt(pool, url);
    if (since < known) return false;
    if (since > known) memories.noteStart(pool, url, since);
    return true;
  }

  #apply({ index, ordinal }: SharedEndpoint): void {
    if (index === null) return;
    const batch = this.#batch;
    const { horizon } = index;
    if (batch.kind === RecordKind.forget) horizon.forget(ordinal);
    // More than the cache holds empties it just as well.
    else if (batch.kind === RecordKind.unnamed)
      horizon.useUnnamed(ordinal, Math.min(batch.size, horizon.capacity(ordinal)));
    else if (batch.kind === RecordKind.blocks) {
      for (let block = 0; block < batch.size; block++) {
        const low = batch.low(block);
        const bytes = batch.blockBytes(block);
        // Two values have a meaning in the index, and a block without bytes is none.
        if (low !== 0 && low !== -1 && bytes > 0) index.touch(low, batch.high(block), ordinal, bytes);
      }
      this.#options.counts.keys.received += batch.size;
    }
  }
}
