import type { RequestBody } from '../exchange/index.ts';
import { copyShared, type SlabPool } from '../shm/index.ts';
import { type BodyEdit, editedBytes, noEdits } from './body-edit.ts';

/** What the relay needs of an upstream connection. */
export interface RequestSink {
  cork(): void;
  uncork(): void;
  writeText(text: string): void;
  writeBytes(bytes: Uint8Array): void;
  readonly unsentBytes: number;
}

/** A head and a whole body up to this size go out as one write of one piece. */
const joinedBytesMax = 24 * 1024;

/** Scratch for joined writes. Given up, not reused, when the kernel did not take a write at once. */
export class JoinBuffer {
  /** Three times the size: a head is counted in characters, which may take three bytes each. */
  bytes: Buffer = Buffer.allocUnsafeSlow(joinedBytesMax * 3 + 1024);

  renew(): void {
    this.bytes = Buffer.allocUnsafeSlow(this.bytes.length);
  }
}

/**
 * Sends a request body up, from the slabs it was received into. Each attempt begins anew at byte 0, so the body can be
 * replayed as long as all its slabs are held. Bytes are sent as soon as they are here; nothing is copied, the socket
 * refers to the slabs until the kernel has taken them.
 */
export class RequestRelay {
  readonly #pool: SlabPool;
  readonly #join: JoinBuffer;
  #body: RequestBody | null = null;
  #sink: RequestSink | null = null;
  #edits: readonly BodyEdit[] = noEdits;
  /** Of the edits, the first that was not made yet. */
  #nextEdit = 0;
  #isChunked = false;
  /** Next byte to send: its position in the body, its slab, its place there. */
  #position = 0;
  #slabIndex = 0;
  #slabOffset = 0;
  #isFinished = false;

  constructor(pool: SlabPool, join: JoinBuffer) {
    this.#pool = pool;
    this.#join = join;
  }

  /** True once the last byte (and last chunk) of a complete body was handed to the socket. */
  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Slabs before this one were handed to the socket completely. */
  get slabIndex(): number {
    return this.#slabIndex;
  }

  /**
   * Sends `head` and what is there of the body. `isChunked`: the body goes up in chunks, because its length is not known.
   */
  start(sink: RequestSink, head: string, body: RequestBody, edits: readonly BodyEdit[], isChunked: boolean): void {
    this.#sink = sink;
    this.#body = body;
    this.#edits = edits;
    this.#nextEdit = 0;
    this.#isChunked = isChunked;
    this.#position = 0;
    this.#slabIndex = 0;
    this.#slabOffset = 0;
    this.#isFinished = false;
    // Small before and after the edits: what they take out may be most of a body that lies in several slabs.
    const bytesMax = Math.max(body.receivedBytes, editedBytes(body.receivedBytes, edits));
    if (body.isComplete && !isChunked && head.length + bytesMax <= joinedBytesMax) {
      this.#sendJoined(sink, head, body, edits);
      return;
    }
    sink.cork();
    sink.writeText(head);
    this.#send();
    sink.uncork();
  }

  /** @hot per chunk. Sends what has arrived since. */
  pump(): void {
    const sink = this.#sink;
    if (sink === null || this.#isFinished) return;
    sink.cork();
    this.#send();
    sink.uncork();
  }

  /** Ends the attempt; the connection is somebody else's business. */
  stop(): void {
    this.#sink = null;
    this.#body = null;
    this.#edits = noEdits;
    this.#isFinished = false;
    // The next attempt may be asked what it has sent before it begins: nothing. Slabs go back by this number.
    this.#slabIndex = 0;
  }

  /** Most requests: everything is here and small. One write of one piece, instead of a writev of a string and slabs. */
  #sendJoined(sink: RequestSink, head: string, body: RequestBody, edits: readonly BodyEdit[]): void {
    const { bytes } = this.#join;
    let length = bytes.write(head, 0, 'utf8');
    if (body.receivedBytes > 0) {
      const slab = this.#pool.bytes(body.slab(0));
      let from = 0;
      for (const { start, end, replacement } of edits) {
        length += copyShared(bytes, length, slab.subarray(from, start));
        length += replacement.copy(bytes, length);
        from = end;
      }
      length += copyShared(bytes, length, slab.subarray(from, body.receivedBytes));
    }
    sink.writeBytes(bytes.subarray(0, length));
    if (sink.unsentBytes > 0) this.#join.renew();
    this.#position = body.receivedBytes;
    this.#slabIndex = body.slabCount;
    this.#finish();
  }

  #send(): void {
    const body = this.#body!;
    const received = body.receivedBytes;
    while (this.#position < received) {
      const slab = this.#pool.bytes(body.slab(this.#slabIndex));
      const filled = body.filledBytes(this.#slabIndex, this.#pool);
      const end = this.#slabOffset + this.#untilEdit(filled - this.#slabOffset);
      if (end > this.#slabOffset) this.#write(slab.subarray(this.#slabOffset, end));
      this.#advance(end - this.#slabOffset, filled, slab.length);
      this.#makeEdits();
    }
    if (body.isComplete && !this.#isFinished) {
      if (this.#isChunked) this.#sink!.writeText('0\r\n\r\n');
      this.#finish();
    }
  }

  /** The socket has what was put in until the kernel takes it; answers that go on for minutes do not keep it. */
  #finish(): void {
    this.#isFinished = true;
    this.#edits = noEdits;
  }

  /** How many of `count` bytes may be sent as one piece. */
  #untilEdit(count: number): number {
    const edit = this.#edits[this.#nextEdit];
    return edit === undefined ? count : Math.min(count, edit.start - this.#position);
  }

  #advance(count: number, filled: number, slabBytes: number): void {
    this.#position += count;
    this.#slabOffset += count;
    if (this.#slabOffset === filled && filled === slabBytes) {
      this.#slabIndex++;
      this.#slabOffset = 0;
    }
  }

  /** Where an edit begins: sends the new bytes and skips the old. The scanner has seen all of them by now. */
  #makeEdits(): void {
    const body = this.#body!;
    for (;;) {
      const edit = this.#edits[this.#nextEdit];
      if (edit === undefined || this.#position !== edit.start) return;
      this.#nextEdit++;
      if (edit.replacement.length > 0) this.#write(edit.replacement); // An empty chunk would end the body.
      while (this.#position < edit.end) {
        const slab = this.#pool.bytes(body.slab(this.#slabIndex));
        const filled = body.filledBytes(this.#slabIndex, this.#pool);
        this.#advance(Math.min(filled - this.#slabOffset, edit.end - this.#position), filled, slab.length);
      }
    }
  }

  #write(bytes: Uint8Array): void {
    const sink = this.#sink!;
    if (this.#isChunked) {
      sink.writeText(`${bytes.length.toString(16)}\r\n`);
      sink.writeBytes(bytes);
      sink.writeText('\r\n');
    } else {
      sink.writeBytes(bytes);
    }
  }
}
