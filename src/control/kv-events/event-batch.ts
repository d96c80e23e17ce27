import { MalformedError, MsgpackCursor } from './msgpack-cursor.ts';

/**
 * What one batch of KV events says, in tokens. vLLM (`vllm/distributed/kv_events.py`) and SGLang write the same, older ones as
 * arrays, newer ones as maps:
 *
 *   [ts, events, data_parallel_rank?]
 *   ["BlockStored", block_hashes, parent_block_hash, token_ids, block_size, lora_id, medium, lora_name, extra_keys,
 *                   group_idx, kv_cache_spec_kind, ...]
 *   ["BlockRemoved", block_hashes, medium, group_idx]
 *   ["AllBlocksCleared"]
 *
 * Fields at the end may be missing, and more may follow. Hashes and tokens are counted, never kept.
 */
export interface BatchTally {
  /** As the publisher wrote it; NaN when it did not. */
  timestamp: number;
  /** Everything counted below came after the cache was cleared. */
  isCleared: boolean;
  /** Of the device's memory, and of the group that prefixes are looked up in. */
  storedTokens: number;
  removedTokens: number;
  /** Of the tiers behind it, CPU memory and disks. */
  lowerStoredTokens: number;
  lowerRemovedTokens: number;
  /** Events by kind, all tiers and groups. */
  storedCount: number;
  removedCount: number;
  clearedCount: number;
  otherCount: number;
}

export function emptyTally(): BatchTally {
  return {
    timestamp: NaN,
    isCleared: false,
    storedTokens: 0,
    removedTokens: 0,
    lowerStoredTokens: 0,
    lowerRemovedTokens: 0,
    storedCount: 0,
    removedCount: 0,
    clearedCount: 0,
    otherCount: 0,
  };
}

interface EventFields {
  tag: string;
  hashCount: number;
  blockSize: number;
  medium: string;
  group: number;
  specKind: string;
}

/** By position behind the tag. */
const storedFields = [
  'block_hashes',
  'parent_block_hash',
  'token_ids',
  'block_size',
  'lora_id',
  'medium',
  'lora_name',
  'extra_keys',
  'group_idx',
  'kv_cache_spec_kind',
] as const;
const removedFields = ['block_hashes', 'medium', 'group_idx'] as const;

/** vLLM's `MEDIUM_GPU`; events without a medium are of the time before there were tiers. */
const deviceMediums = new Set(['', 'GPU']);
/** Where prefixes are looked up; a sliding window or a state holds the end of a context only. */
const prefixKinds = new Set(['full_attention', 'mla_attention', 'sink_full_attention']);
const groupsMax = 64;
const blockTokensMax = 65_536;

/** One publisher's events. It remembers what only some of them say: which group is which, and how many tokens a block has. */
export class BatchDecoder {
  readonly #cursor = new MsgpackCursor();
  readonly #fields: EventFields = { tag: '', hashCount: 0, blockSize: 0, medium: '', group: 0, specKind: '' };
  /** By group: whether prefixes are looked up in it. */
  readonly #groups = new Map<number, boolean>();
  #deviceBlockTokens = 0;
  #lowerBlockTokens = 0;

  /** Null when `payload` is no batch; nothing of it counts then. 4 ns for each token id. */
  decode(payload: Buffer): BatchTally | null {
    const tally = emptyTally();
    const cursor = this.#cursor;
    cursor.begin(payload);
    try {
      this.#batch(tally);
      return cursor.isAtEnd ? tally : null;
    } catch (error) {
      if (error instanceof MalformedError) return null;
      throw error;
    }
  }

  #batch(tally: BatchTally): void {
    const cursor = this.#cursor;
    if (cursor.isMap) {
      for (let left = cursor.enterMap(); left > 0; left--) {
        const key = cursor.text();
        if (key === 'ts') tally.timestamp = cursor.number();
        else if (key === 'events') this.#events(tally);
        else cursor.skip();
      }
      return;
    }
    const count = cursor.enterArray();
    if (count < 2) throw new MalformedError('no batch');
    tally.timestamp = cursor.number();
    this.#events(tally);
    cursor.skip(count - 2);
  }

  #events(tally: BatchTally): void {
    for (let left = this.#cursor.enterArray(); left > 0; left--) this.#event(tally);
  }

  #event(tally: BatchTally): void {
    const cursor = this.#cursor;
    const fields = this.#fields;
    fields.tag = '';
    fields.hashCount = 0;
    fields.blockSize = 0;
    fields.medium = '';
    fields.group = 0;
    fields.specKind = '';
    if (cursor.isMap) {
      for (let left = cursor.enterMap(); left > 0; left--) {
        const key = cursor.text();
        if (key === 'type') fields.tag = cursor.text();
        else this.#field(key);
      }
    } else {
      const count = cursor.enterArray();
      if (count === 0) throw new MalformedError('an event has no tag');
      fields.tag = cursor.text();
      const names = fields.tag === 'BlockStored' ? storedFields : fields.tag === 'BlockRemoved' ? removedFields : [];
      for (let index = 0; index < count - 1; index++) this.#field(names[index] ?? '');
    }
    this.#count(tally);
  }

  #field(name: string): void {
    const cursor = this.#cursor;
    const fields = this.#fields;
    if (name === 'block_hashes') fields.hashCount = cursor.countAndSkip();
    else if (name === 'block_size') fields.blockSize = blockSizeOf(cursor.number());
    else if (name === 'medium') fields.medium = cursor.text();
    else if (name === 'group_idx') fields.group = cursor.number() || 0;
    else if (name === 'kv_cache_spec_kind') fields.specKind = cursor.text();
    else cursor.skip();
  }

  #count(tally: BatchTally): void {
    const { tag, hashCount, blockSize, medium, group, specKind } = this.#fields;
    if (tag === 'AllBlocksCleared') {
      tally.clearedCount++;
      tally.isCleared = true;
      tally.storedTokens = 0;
      tally.removedTokens = 0;
      tally.lowerStoredTokens = 0;
      tally.lowerRemovedTokens = 0;
      return;
    }
    const isStored = tag === 'BlockStored';
    if (!isStored && tag !== 'BlockRemoved') {
      tally.otherCount++;
      return;
    }
    if (isStored) tally.storedCount++;
    else tally.removedCount++;
    if (isStored && specKind !== '' && (this.#groups.size < groupsMax || this.#groups.has(group)))
      this.#groups.set(group, prefixKinds.has(specKind));
    // Engines that do not say which group is which have one, or list the one that prefixes are looked up in first.
    if (!(this.#groups.get(group) ?? group === 0)) return;
    if (deviceMediums.has(medium)) {
      if (blockSize > 0) this.#deviceBlockTokens = blockSize;
      if (isStored) tally.storedTokens += hashCount * this.#deviceBlockTokens;
      else tally.removedTokens += hashCount * this.#deviceBlockTokens;
    } else {
      if (blockSize > 0) this.#lowerBlockTokens = blockSize;
      if (isStored) tally.lowerStoredTokens += hashCount * this.#lowerBlockTokens;
      else tally.lowerRemovedTokens += hashCount * this.#lowerBlockTokens;
    }
  }
}

function blockSizeOf(value: number): number {
  return value >= 1 && value <= blockTokensMax ? Math.floor(value) : 0;
}
