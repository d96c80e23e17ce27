/**
 * Work that connections put off to the end of the event loop's turn: first every socket that has something is read, then
 * all of it is written on, in one go. A write to a socket whose peer sleeps wakes it, which costs several microseconds; in a
 * row of writes only the first does, because the peer is still busy with it when the next come. 3 KB chats of 32 clients: 28
 * to 25 us of CPU a request; token streams that come one by one: no difference (Node 20.20, loopback).
 *
 * It also lets a kept-alive connection that its endpoint has closed be seen as closed before a request is written to it.
 */
export interface BatchedConnection {
  /** The end of the turn in which `addConnect` was called, or of a later one. */
  onTurnConnect(): void;
  /** The end of the turn in which `addReady` was called. */
  onTurnReady(): void;
  /** The bytes given to `addRead`, at [0, count) of `buffer`, which is borrowed for the call and may be written to. */
  onTurnRead(buffer: Buffer, count: number): void;
  /** The end of the turn in which `addResting` was called, or of a later one: it may be read again. */
  onTurnRested(): void;
}

/** A read of more than this is worth no copy. */
export const batchedBytesMax = 4096;
/** What is read beyond it in one turn is passed on at once. */
const readCountMax = 512;
/**
 * A new socket costs a tenth of a millisecond. A thousand clients that come at once do not hold up everybody else for as long
 * as it takes to connect for all of them: timers and other sockets have their turn in between.
 */
const connectCountMax = 16;
/**
 * So much is read in a turn of what is not put off; then connections that have more rest, and whatever else is ready comes
 * first. The kernel holds megabytes for each of them, and libuv would read up to 32 buffers of one before the next:
 * beside 100 clients that ask for 3 MB at the same time, the 99th percentile of others was 220 ms, and is 28 (512 KB: 40).
 */
const bulkBytesMax = 128 * 1024;
/** As long as nothing else rests: to rest costs a twentieth of what is read in between. */
const loneBulkBytesMax = 512 * 1024;

export class TurnBatch {
  readonly #ready: BatchedConnection[] = [];
  readonly #connects: BatchedConnection[] = [];
  #nextConnect = 0;
  readonly #readers: (BatchedConnection | null)[] = [];
  readonly #counts: number[] = [];
  /** One for each read; made when first needed. */
  readonly #slots: Buffer[] = [];
  #readCount = 0;
  #nextRead = 0;
  #isScheduled = false;
  #bulkBytes = 0;
  /** The first of them goes on in the next turn. */
  readonly #resting: BatchedConnection[] = [];

  addReady(connection: BatchedConnection): void {
    this.#ready.push(connection);
    this.#schedule();
  }

  addConnect(connection: BatchedConnection): void {
    this.#connects.push(connection);
    this.#schedule();
  }

  /** @hot per chunk. Returns false when there is no room: what was put off was passed on, the caller goes on at once. */
  addRead(connection: BatchedConnection, bytes: Buffer, count: number): boolean {
    if (count > batchedBytesMax || this.#readCount === readCountMax) {
      this.drainReads();
      return false;
    }
    const index = this.#readCount++;
    const slot = (this.#slots[index] ??= Buffer.allocUnsafeSlow(batchedBytesMax));
    bytes.copy(slot, 0, 0, count);
    this.#readers[index] = connection;
    this.#counts[index] = count;
    this.#schedule();
    return true;
  }

  /** False when what has more to be read in this turn should rest. */
  get hasBulkLeft(): boolean {
    return this.#bulkBytes < (this.#resting.length === 0 ? loneBulkBytesMax : bulkBytesMax);
  }

  /** @hot per chunk. `count` bytes were passed on at once. */
  addBulk(count: number): void {
    this.#bulkBytes += count;
    this.#schedule();
  }

  /** Until `onTurnRested`. Who has begun goes on before the others: its bytes are in the caches, and it is done sooner. */
  addResting(connection: BatchedConnection, goesFirst: boolean): void {
    if (goesFirst) this.#resting.unshift(connection);
    else this.#resting.push(connection);
    this.#schedule();
  }

  /** Passes on what was read. To be called before anything that happened to a socket after its bytes were read. */
  drainReads(): void {
    while (this.#nextRead < this.#readCount) {
      const index = this.#nextRead++;
      const connection = this.#readers[index]!;
      this.#readers[index] = null;
      connection.onTurnRead(this.#slots[index]!, this.#counts[index]!);
    }
    this.#readCount = 0;
    this.#nextRead = 0;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    this.drainReads();
    this.#bulkBytes = 0;
    this.#resting.shift()?.onTurnRested(); // One is enough: it reads as much as a turn may.
    if (this.#resting.length > 0) this.#schedule();
    // Those added meanwhile wait for the next turn, in which the end of a stale connection can be seen.
    for (let left = this.#ready.length; left > 0; left--) this.#ready.shift()!.onTurnReady();
    const end = Math.min(this.#connects.length, this.#nextConnect + connectCountMax);
    while (this.#nextConnect < end) this.#connects[this.#nextConnect++]!.onTurnConnect();
    if (this.#nextConnect < this.#connects.length) {
      this.#schedule();
      return;
    }
    this.#connects.length = 0;
    this.#nextConnect = 0;
  };
}
