import type { Exchange } from '../exchange/index.ts';
import { SseTap, type TokenUsage, UsageTail } from '../http/index.ts';
import { endBodyless } from './bodyless.ts';
import { pingEvent, truncationEvent } from './reply.ts';
import { writeResponseHead } from './response-head-writer.ts';

/** How the body goes down. */
const Framing = {
  /** Nothing decided: no head yet. */
  none: 0,
  /** HEAD, 204, 304. */
  bodyless: 1,
  /** The length is known: `tryEnd`, which keeps nothing of what the client does not take. */
  length: 2,
  /** Chunked: `write`, which keeps everything, and says when to stop. */
  chunked: 3,
} as const;
type Framing = (typeof Framing)[keyof typeof Framing];

/** The relay's hold on the upstream side. */
export interface ResponseSource {
  pause(): void;
  resume(): void;
}

/** Chunks up to here are written inside cork; the library loses bytes of larger ones there (docs/acceptor.md). */
const corkedBytesMax = 16_000;
/** Room for a response head in front of the first chunk of a cork. */
const firstCorkedBytesMax = 3_000;

function noop(): void {}

/**
 * Brings a response down, piece by piece, as slices of the connection's read buffer. The head is written together with
 * the first piece, so a short answer is one segment; that write is the commit point.
 *
 * Backpressure: when the client's socket is full the endpoint is not read any more. With a known length what the client
 * did not take is kept here, at most one read; chunked, the library keeps it.
 */
export class ResponseRelay {
  readonly #exchange: Exchange;
  readonly tap = new SseTap();
  readonly tail = new UsageTail();
  #source: ResponseSource | null = null;
  #framing: Framing = Framing.none;
  #totalBytes = 0;
  #sentBytes = 0;
  #isBlocked = false;
  /** The client could not keep up at some time, so the endpoint had to wait for it. */
  wasBlocked = false;
  #closes = false;
  #tailIsOn = false;
  /** Bytes the client has not taken, of a response with a known length. */
  #remainder: Buffer | null = null;
  /** True when the connection is cut as soon as the client has taken everything. */
  #cutsWhenDrained = false;
  // Arguments of the cork callbacks, which are made once.
  #piece: Uint8Array | string = '';
  #isTaken = true;
  #isDone = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** The bytes kept for a client that reads slowly. */
  get heldBytes(): number {
    return this.#remainder?.length ?? 0;
  }

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  get isCutting(): boolean {
    return this.#cutsWhenDrained;
  }

  recycle(): void {
    this.#source = null;
    this.#framing = Framing.none;
    this.#totalBytes = 0;
    this.#sentBytes = 0;
    this.#isBlocked = false;
    this.wasBlocked = false;
    this.#closes = false;
    this.#tailIsOn = false;
    this.#remainder = null;
    this.#cutsWhenDrained = false;
    this.#piece = '';
  }

  /** The head is in `exchange.responseHead`, filters have run. Nothing is sent before the first piece or the end. */
  begin(source: ResponseSource, closes: boolean): void {
    const exchange = this.#exchange;
    const head = exchange.responseHead;
    this.#source = source;
    this.#closes = closes;
    const contentType = head.get('content-type') ?? '';
    exchange.isEventStream = contentType.startsWith('text/event-stream');
    if (exchange.isEventStream) this.tap.reset();
    else if (contentType.includes('json')) {
      this.tail.reset();
      this.#tailIsOn = true;
      if (head.contentLength >= 0) this.tail.expectTotal(head.contentLength);
    }
    if (exchange.head.isHead || head.status === 204 || head.status === 304) this.#framing = Framing.bodyless;
    // Of an event stream a length says nothing about its end: chunked it can be told that it is not whole.
    else if (head.contentLength >= 0 && !exchange.isEventStream) this.#framing = Framing.length;
    else this.#framing = Framing.chunked;
    this.#totalBytes = head.contentLength;
  }

  /** @hot per chunk. Relays bytes [start, end). The exchange's downstream is not over. */
  push(bytes: Buffer, start: number, end: number): void {
    const exchange = this.#exchange;
    exchange.responseBytes += end - start;
    if (exchange.isEventStream) this.tap.push(bytes, start, end);
    else if (this.#tailIsOn) this.tail.push(bytes, start, end);
    // The end of a known length cannot be seen and the connection then cut: in chunks it can.
    if (!exchange.isCommitted && end - start < this.#totalBytes && this.#mustCut) this.#framing = Framing.chunked;
    if (this.#framing === Framing.length) this.#pushLength(bytes.subarray(start, end));
    else this.#pushChunked(bytes, start, end);
  }

  /**
   * The endpoint's response is complete. Returns true when the client's is too (or the library has all of it); false when
   * bytes are still held, and `onWritable` will say when they are gone.
   */
  end(): boolean {
    this.#source = null; // The connection serves somebody else from here on.
    const downstream = this.#exchange.downstream!;
    if (this.#framing === Framing.bodyless) {
      const cuts = this.#mustCut;
      downstream.cork(this.#endBodyless);
      if (cuts) this.cut();
    } else if (this.#framing === Framing.length) {
      if (this.#remainder !== null) return false;
      if (!this.#exchange.isDownstreamOver) this.#endEmpty(); // Any other body ended with its last piece.
    } else if (!this.#exchange.isCommitted) {
      this.#piece = '';
      downstream.cork(this.#mustCut ? this.#endPiece : this.#endChunked);
    } else if (this.#mustCut && this.#isTaken) {
      // With bytes still in the library's hands a cut would lose them; then it stays open until its idle timer.
      downstream.cork(this.#writeLastChunk);
      this.cut();
    } else {
      downstream.cork(this.#endChunked);
    }
    this.#exchange.isDownstreamOver = true;
    return true;
  }

  /** What the endpoint reported it used, or null. Call before `recycle`. */
  readUsage(): TokenUsage | null {
    if (this.#exchange.isEventStream) return this.tap.readUsage();
    return this.#tailIsOn ? this.tail.readUsage() : null;
  }

  /**
   * The client takes bytes again. Returns true when everything relayed so far has been handed to the socket, after which
   * the endpoint is read again.
   */
  onWritable(): boolean {
    const exchange = this.#exchange;
    if (exchange.isDownstreamOver) return true;
    if (this.#remainder !== null) {
      if (!this.#sendRemainder()) return false;
    } else {
      // What `write` kept is flushed by the end of a cork; without it the stream would stall (docs/acceptor.md).
      exchange.downstream!.cork(noop);
    }
    if (this.#cutsWhenDrained) {
      // A comment is no event, and tells whether the library still holds bytes.
      this.#piece = ':\n\n';
      exchange.downstream!.cork(this.#writePiece);
      if (this.#isTaken) this.cut();
      return false;
    }
    if (this.#isBlocked) {
      this.#isBlocked = false;
      this.#source?.resume();
    }
    return true;
  }

  /**
   * The response cannot be completed after its head was relayed. An event stream is told so in its last event; then, and
   * for any other body at once, the connection is cut without the end that would make it look complete.
   * Returns true when it is cut, false when the event still has to drain; `onWritable` cuts then.
   */
  truncate(message: string): boolean {
    const exchange = this.#exchange;
    this.#source = null;
    if (exchange.isEventStream && this.#framing === Framing.chunked) {
      // Half an event is closed first: the client must not read ours as a part of it.
      const opening = this.tap.atEventBoundary ? '' : '\n\n';
      this.#piece = opening + truncationEvent(exchange.head.path, message);
      exchange.downstream!.cork(this.#writePiece);
      if (this.#isBlocked || !this.#isTaken) {
        this.#cutsWhenDrained = true;
        return false;
      }
    }
    this.cut();
    return true;
  }

  /** Writes a ping, where one can stand: between two events of a chunked stream whose client takes what it is sent. */
  ping(): void {
    const exchange = this.#exchange;
    const fits = exchange.isEventStream && this.#framing === Framing.chunked && this.tap.atEventBoundary;
    if (!fits || this.#isBlocked || this.#cutsWhenDrained || exchange.isDownstreamOver || !exchange.response.isOpen)
      return;
    this.#piece = pingEvent(exchange.head.path);
    exchange.downstream!.cork(this.#writePiece);
    if (!this.#isTaken) this.#block();
  }

  /** Closes the client's connection at once. */
  cut(): void {
    const exchange = this.#exchange;
    if (exchange.isDownstreamOver) return;
    exchange.isDownstreamOver = true;
    this.#remainder = null;
    exchange.downstream!.close();
  }

  /**
   * The library closes a connection after a response when the request's own Connection field has five letters, or by
   * `end(body, true)`. Everything else that must close is cut by us; not while the client still sends, because the reset
   * would cost it the answer.
   */
  get #mustCut(): boolean {
    const exchange = this.#exchange;
    return this.#closes && exchange.request.isDone && exchange.head.get('connection')?.length !== 5;
  }

  #endEmpty(): void {
    const downstream = this.#exchange.downstream!;
    this.#piece = '';
    downstream.cork(this.#mustCut ? this.#endPiece : this.#tryEndPiece);
  }

  #pushLength(piece: Uint8Array): void {
    const exchange = this.#exchange;
    const downstream = exchange.downstream!;
    if (this.#remainder !== null) {
      // The endpoint was told to pause, but this had been read already.
      this.#remainder = Buffer.concat([this.#remainder, piece]);
      this.#sentBytes += piece.length;
      return;
    }
    this.#piece = piece;
    if (!exchange.isCommitted && piece.length === this.#totalBytes && this.#mustCut) {
      downstream.cork(this.#endPiece);
      exchange.isDownstreamOver = true;
      return;
    }
    downstream.cork(this.#tryEndPiece);
    if (this.#isDone) {
      exchange.isDownstreamOver = true;
      return;
    }
    this.#sentBytes += piece.length;
    if (!this.#isTaken) this.#hold(piece, this.#sentBytes - downstream.getWriteOffset());
  }

  /** Keeps the last `count` bytes of `piece`: the read buffer belongs to other connections when this turn is over. */
  #hold(piece: Uint8Array, count: number): void {
    if (count > 0) this.#remainder = Buffer.from(piece.subarray(piece.length - count));
    this.#block();
  }

  #sendRemainder(): boolean {
    const exchange = this.#exchange;
    const piece = this.#remainder!;
    this.#piece = piece;
    exchange.downstream!.cork(this.#tryEndPiece);
    if (this.#isDone) {
      exchange.isDownstreamOver = true;
      this.#remainder = null;
      return true;
    }
    const left = this.#sentBytes - exchange.downstream!.getWriteOffset();
    this.#remainder = left > 0 ? piece.subarray(piece.length - left) : null;
    return left <= 0;
  }

  #pushChunked(bytes: Buffer, start: number, end: number): void {
    const exchange = this.#exchange;
    const downstream = exchange.downstream!;
    let at = start;
    let isTaken = true;
    while (at < end && !exchange.isDownstreamOver) {
      const countMax = exchange.isCommitted ? corkedBytesMax : firstCorkedBytesMax;
      const stop = end - at > countMax ? at + countMax : end;
      this.#piece = bytes.subarray(at, stop);
      downstream.cork(this.#writePiece);
      isTaken = this.#isTaken;
      at = stop;
    }
    if (!isTaken) this.#block();
  }

  #block(): void {
    if (this.#isBlocked) return;
    this.#isBlocked = true;
    this.wasBlocked = true;
    this.#source?.pause();
  }

  // Cork callbacks.

  readonly #tryEndPiece = (): void => {
    const downstream = this.#exchange.downstream!;
    if (!this.#exchange.isCommitted) writeResponseHead(this.#exchange, downstream, this.#closes);
    const [isTaken, isDone] = downstream.tryEnd(this.#piece, this.#totalBytes);
    this.#isTaken = isTaken;
    this.#isDone = isDone;
  };

  readonly #writePiece = (): void => {
    const downstream = this.#exchange.downstream!;
    if (!this.#exchange.isCommitted) writeResponseHead(this.#exchange, downstream, this.#closes);
    this.#isTaken = downstream.write(this.#piece);
  };

  readonly #endPiece = (): void => {
    const downstream = this.#exchange.downstream!;
    this.#closes = false; // The library writes the field itself here.
    writeResponseHead(this.#exchange, downstream, this.#closes);
    downstream.end(this.#piece, true);
  };

  readonly #endChunked = (): void => {
    const downstream = this.#exchange.downstream!;
    if (!this.#exchange.isCommitted) writeResponseHead(this.#exchange, downstream, this.#closes);
    downstream.end();
  };

  /** The end of the last chunk, and an empty line: the library can end a chunked response, but not its connection. */
  readonly #writeLastChunk = (): void => {
    this.#exchange.downstream!.writeHeader('\r\n0\r\nx-end', '1\r\n');
  };

  readonly #endBodyless = (): void => {
    const cuts = this.#mustCut;
    if (cuts) this.#closes = false; // Written below, as the last field.
    writeResponseHead(this.#exchange, this.#exchange.downstream!, this.#closes);
    endBodyless(this.#exchange.downstream!, this.#exchange.head.isHead ? this.#totalBytes : -1, cuts);
  };
}
