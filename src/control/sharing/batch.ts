import { createHash } from 'node:crypto';
import type { PeerLoad } from '../../shm/index.ts';

/**
 * What gateways write into the shared streams: one entry is one batch, little-endian, of one gateway.
 *
 *     batch    "PS" | version u8 | 0 u8 | gateway u48 | 0 u16 | sequence u32 | record ...
 *     record   kind u8 | 0 u8 | endpoint u48 | since f64 | size u32 | ...
 *     blocks   size times: key low i32 | key high i32 | bytes u16; of one prompt, its last block first
 *     unnamed  size: bytes that came into the cache and will not be looked for
 *     forget   size 0: the cache is empty
 *     load     size: requests in flight | tokens reserved for them u32 | prompt tokens to compute u32
 *
 * `endpoint` names the same engine in every gateway, whatever its place in the file; `since` is when its process started, in
 * seconds since 1970, 0 where the sender does not know. What comes from outside is read with every length checked: a batch that is
 * not one ends at the first byte that is wrong.
 */
export const RecordKind = { blocks: 1, unnamed: 2, forget: 3, load: 4 } as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

/** Also part of the streams' names, so that gateways of two versions do not see each other. Counts up with how prompts are hashed, too. */
export const batchVersion = 2;
/** 1,600 blocks, which take a receiver one to two milliseconds. */
export const blockBatchBytesMax = 16 * 1024;
/** A load for each of 1024 endpoints, as many as a configuration may have: what is not in the batch counts as nothing. */
export const loadBatchBytesMax = 28 * 1024 + 16;
const batchBytesMax = Math.max(blockBatchBytesMax, loadBatchBytesMax);
const magic = 0x5350;
const headBytes = 16;
const recordBytes = 20;
const blockBytes = 10;
const loadBytes = 8;
/** Far behind any clock. */
const sinceMax = 2 ** 40;
/** No block of a prompt is longer than 16 KiB (http/prefix-hash). */
const blockSizeMax = 0xffff;

/** 48 bits: of 1024 endpoints two share a number once in 500 million times, and then meet as one. */
export function endpointId(pool: string, url: string): number {
  return createHash('sha256').update(`${pool}\n${url}`).digest().readUIntLE(0, 6);
}

/** Fills one batch after another. `blocks` and the others return false, having written nothing, when there is no room. */
export class BatchWriter {
  readonly #bytes: Buffer;
  #at = headBytes;

  constructor(gateway: number, bytesMax: number = blockBatchBytesMax) {
    this.#bytes = Buffer.alloc(bytesMax);
    this.#bytes.writeUInt16LE(magic, 0);
    this.#bytes.writeUInt8(batchVersion, 2);
    this.#bytes.writeUIntLE(gateway, 4, 6);
  }

  get isEmpty(): boolean {
    return this.#at === headBytes;
  }

  /** How many of `count` blocks there is room for. */
  roomFor(count: number): number {
    return Math.min(count, Math.floor((this.#bytes.length - this.#at - recordBytes) / blockBytes));
  }

  /** `block` follows `count` times; `roomFor` has said that it may. */
  beginBlocks(endpoint: number, since: number, count: number): void {
    this.#record(RecordKind.blocks, endpoint, since, count);
  }

  block(low: number, high: number, bytes: number): void {
    const at = this.#at;
    this.#bytes.writeInt32LE(low, at);
    this.#bytes.writeInt32LE(high, at + 4);
    this.#bytes.writeUInt16LE(Math.min(blockSizeMax, bytes), at + 8);
    this.#at = at + blockBytes;
  }

  unnamed(endpoint: number, since: number, bytes: number): boolean {
    return this.#hasRoom(0) && this.#record(RecordKind.unnamed, endpoint, since, Math.min(0x7fff_ffff, bytes));
  }

  forget(endpoint: number, since: number): boolean {
    return this.#hasRoom(0) && this.#record(RecordKind.forget, endpoint, since, 0);
  }

  load(endpoint: number, since: number, { inflight, inflightTokens, pendingTokens }: Readonly<PeerLoad>): boolean {
    if (!this.#hasRoom(loadBytes)) return false;
    this.#record(RecordKind.load, endpoint, since, inflight);
    this.#at = this.#bytes.writeUInt32LE(inflightTokens, this.#at);
    this.#at = this.#bytes.writeUInt32LE(pendingTokens, this.#at);
    return true;
  }

  /** The batch, a copy; the next one is begun. */
  take(sequence: number): Buffer {
    this.#bytes.writeUInt32LE(sequence >>> 0, 12);
    const batch = Buffer.from(this.#bytes.subarray(0, this.#at));
    this.#at = headBytes;
    return batch;
  }

  #hasRoom(more: number): boolean {
    return this.#at + recordBytes + more <= this.#bytes.length;
  }

  #record(kind: RecordKind, endpoint: number, since: number, size: number): true {
    const at = this.#at;
    this.#bytes.writeUInt16LE(kind, at);
    this.#bytes.writeUIntLE(endpoint, at + 2, 6);
    this.#bytes.writeDoubleLE(since, at + 8);
    this.#bytes.writeUInt32LE(size, at + 16);
    this.#at = at + recordBytes;
    return true;
  }
}

/** A cursor over one batch; never throws. */
export class BatchReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  gateway = 0;
  sequence = 0;
  /** Something in it was not as it has to be; what came before was. */
  isMalformed = false;
  kind: RecordKind = RecordKind.forget;
  endpoint = 0;
  since = 0;
  size = 0;
  /** Of `load`. */
  readonly load: PeerLoad = { inflight: 0, inflightTokens: 0, pendingTokens: 0 };

  /** False: it is no batch of this version. */
  open(bytes: Buffer): boolean {
    this.isMalformed = bytes.length < headBytes || bytes.length > batchBytesMax;
    this.isMalformed ||= bytes.readUInt16LE(0) !== magic || bytes.readUInt8(2) !== batchVersion;
    if (this.isMalformed) return false;
    this.#bytes = bytes;
    this.#end = headBytes;
    this.gateway = bytes.readUIntLE(4, 6);
    this.sequence = bytes.readUInt32LE(12);
    return true;
  }

  /** Moves to the next record; false at the end, or where `isMalformed`. */
  next(): boolean {
    const bytes = this.#bytes;
    const at = this.#end;
    if (at === bytes.length || this.isMalformed) return false;
    this.isMalformed = true; // Until it has proved to be one.
    if (at + recordBytes > bytes.length) return false;
    const kind = bytes.readUInt16LE(at);
    if (kind < RecordKind.blocks || kind > RecordKind.load) return false;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Just compared with the bounds of the table.
    this.kind = kind as RecordKind;
    this.endpoint = bytes.readUIntLE(at + 2, 6);
    this.since = bytes.readDoubleLE(at + 8);
    if (!(this.since >= 0 && this.since < sinceMax)) return false;
    this.size = bytes.readUInt32LE(at + 16);
    const restBytes = kind === RecordKind.blocks ? this.size * blockBytes : kind === RecordKind.load ? loadBytes : 0;
    this.#at = at + recordBytes;
    this.#end = this.#at + restBytes;
    if (this.#end > bytes.length) return false;
    if (kind === RecordKind.load) {
      this.load.inflight = this.size;
      this.load.inflightTokens = bytes.readUInt32LE(this.#at);
      this.load.pendingTokens = bytes.readUInt32LE(this.#at + 4);
    }
    this.isMalformed = false;
    return true;
  }

  /** Of `blocks`, each below `size`. */
  low(block: number): number {
    return this.#bytes.readInt32LE(this.#at + block * blockBytes);
  }

  high(block: number): number {
    return this.#bytes.readInt32LE(this.#at + block * blockBytes + 4);
  }

  blockBytes(block: number): number {
    return this.#bytes.readUInt16LE(this.#at + block * blockBytes + 8);
  }
}
