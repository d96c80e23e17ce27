import { hexDigitValue, isValueByte, lowerTokenByte } from './bytes.ts';
import { ParserErrorCode } from './parser-error.ts';
import type { ResponseLimits } from './parser-error.ts';

const cr = 0x0d;
const lf = 0x0a;
const space = 0x20;
const tab = 0x09;
const colon = 0x3a;
const semicolon = 0x3b;

/** Sizes above this are refused: twice as much still fits a double exactly. */
const chunkBytesMax = 2 ** 48;
/** 12 digits reach `chunkBytesMax`; the rest are leading zeros, which must end somewhere. */
const chunkSizeDigitsMax = 16;
/**
 * Of a whole body: bytes of extensions beyond twice its payload, in multiples of what one size line may hold. A body of
 * nothing but extensions must end somewhere, and an endless stream with a small one on each chunk must not.
 */
const extensionExcessFactor = 16;

/**
 * Where the next byte belongs, in wire order (RFC 9112 section 7.1):
 *
 *   size ──────────────────────▶ sizeLf ─▶ data ─▶ dataCr ─▶ dataLf ─▶ size ...
 *     ╰▶ padding ─▶ extension ─────╯ │
 *                                    ╰ after a size of 0 ─▶ lineStart ─▶ endLf ─▶ done
 *                                                            ▲   ╰▶ name ─▶ value ─▶ valueLf ─╮
 *                                                            ╰────────────────────────────────╯
 */
const Step = {
  size: 0,
  padding: 1,
  extension: 2,
  sizeLf: 3,
  data: 4,
  dataCr: 5,
  dataLf: 6,
  lineStart: 7,
  name: 8,
  value: 9,
  valueLf: 10,
  endLf: 11,
  done: 12,
} as const;
type Step = (typeof Step)[keyof typeof Step];

/**
 * Removes chunked framing from one body. CRLF only: a lone LF or CR in the framing is refused, because readers that accept
 * one disagree about where the next chunk starts.
 */
export class ChunkDecoder {
  /** The payload the last `decode` found: [payloadStart, payloadEnd) of its buffer. */
  payloadStart = 0;
  payloadEnd = 0;
  /** Set when `decode` returned -1. */
  error: ParserErrorCode = ParserErrorCode.none;
  #step: Step = Step.size;
  /** While the size is read: its value so far. In `data`: bytes still to come. */
  #chunkBytes = 0;
  #digitCount = 0;
  /** On the present size line. */
  #extensionBytes = 0;
  /** On all of them, less what their payload pays for. */
  #extensionExcessBytes = 0;
  #trailerBytes = 0;
  readonly #limits: ResponseLimits;

  constructor(limits: ResponseLimits) {
    this.#limits = limits;
  }

  /** The last chunk and the trailers are over; `decode` must not be called again before `reset`. */
  get isDone(): boolean {
    return this.#step === Step.done;
  }

  reset(): void {
    this.payloadStart = 0;
    this.payloadEnd = 0;
    this.error = ParserErrorCode.none;
    this.#step = Step.size;
    this.#chunkBytes = 0;
    this.#digitCount = 0;
    this.#extensionBytes = 0;
    this.#extensionExcessBytes = 0;
    this.#trailerBytes = 0;
  }

  /**
   * @hot per chunk. Reads [start, end) up to the end of the body. Returns the offset behind the last byte that belongs to it,
   * or -1 with `error` set; the payload found until then is valid in both cases.
   *
   * Payloads of several chunks are moved left inside `bytes` until they touch, so a burst of token events costs its
   * receiver one call instead of one each; nothing behind the returned offset changes.
   */
  decode(bytes: Buffer, start: number, end: number): number {
    this.payloadStart = start;
    this.payloadEnd = start;
    let at = start;
    while (at < end && this.#step !== Step.done) {
      if (this.#step === Step.data) at = this.#takePayload(bytes, at, end);
      else if (this.#readFraming(bytes[at]!)) at++;
      else return -1;
    }
    return at;
  }

  #takePayload(bytes: Buffer, start: number, end: number): number {
    const takenBytes = Math.min(this.#chunkBytes, end - start);
    if (this.payloadEnd === this.payloadStart) {
      this.payloadStart = start;
      this.payloadEnd = start + takenBytes;
    } else {
      bytes.copyWithin(this.payloadEnd, start, start + takenBytes);
      this.payloadEnd += takenBytes;
    }
    this.#chunkBytes -= takenBytes;
    if (this.#chunkBytes === 0) this.#step = Step.dataCr;
    return start + takenBytes;
  }

  /** Takes one byte of framing; a token event has 7 of them, too few to be worth a loop per step. */
  #readFraming(code: number): boolean {
    switch (this.#step) {
      case Step.size:
        return this.#readSize(code);
      case Step.padding:
        if (code === space || code === tab) return this.#countExtension();
        if (code !== semicolon) return this.#fail(ParserErrorCode.badChunkSize);
        this.#step = Step.extension;
        return this.#countExtension();
      case Step.extension:
        if (code === cr) return this.#become(Step.sizeLf);
        return isValueByte[code] === 1 ? this.#countExtension() : this.#fail(ParserErrorCode.badChunkSize);
      case Step.sizeLf:
        if (code !== lf) return this.#fail(ParserErrorCode.badChunkSize);
        this.#digitCount = 0;
        if (this.#extensionBytes > 0 && !this.#payExtension()) return false;
        return this.#become(this.#chunkBytes === 0 ? Step.lineStart : Step.data);
      case Step.dataCr:
        return code === cr ? this.#become(Step.dataLf) : this.#fail(ParserErrorCode.badChunkEnd);
      case Step.dataLf:
        return code === lf ? this.#become(Step.size) : this.#fail(ParserErrorCode.badChunkEnd);
      default:
        return this.#readTrailer(code);
    }
  }

  #readSize(code: number): boolean {
    const digit = hexDigitValue[code]!;
    if (digit !== 255) {
      this.#chunkBytes = this.#chunkBytes * 16 + digit;
      this.#digitCount++;
      return this.#digitCount <= chunkSizeDigitsMax && this.#chunkBytes <= chunkBytesMax
        ? true
        : this.#fail(ParserErrorCode.badChunkSize);
    }
    if (this.#digitCount === 0) return this.#fail(ParserErrorCode.badChunkSize);
    if (code === cr) return this.#become(Step.sizeLf);
    if (code === semicolon) {
      this.#step = Step.extension;
      return this.#countExtension();
    }
    // White space is legal only before an extension's semicolon.
    if (code !== space && code !== tab) return this.#fail(ParserErrorCode.badChunkSize);
    this.#step = Step.padding;
    return this.#countExtension();
  }

  /** Trailer fields are checked as header fields are, and dropped: nothing that arrives behind a body may change its head. */
  #readTrailer(code: number): boolean {
    switch (this.#step) {
      case Step.lineStart:
        if (code === cr) return this.#become(Step.endLf);
        if (lowerTokenByte[code] === 0) return this.#fail(ParserErrorCode.badTrailer);
        this.#step = Step.name;
        return this.#countTrailer();
      case Step.name:
        if (code === colon) this.#step = Step.value;
        else if (lowerTokenByte[code] === 0) return this.#fail(ParserErrorCode.badTrailer);
        return this.#countTrailer();
      case Step.value:
        if (code === cr) this.#step = Step.valueLf;
        else if (isValueByte[code] !== 1) return this.#fail(ParserErrorCode.badTrailer);
        return this.#countTrailer();
      case Step.valueLf:
        if (code !== lf) return this.#fail(ParserErrorCode.badTrailer);
        this.#step = Step.lineStart;
        return this.#countTrailer();
      default:
        return code === lf ? this.#become(Step.done) : this.#fail(ParserErrorCode.badChunkEnd);
    }
  }

  #countExtension(): boolean {
    this.#extensionBytes++;
    return (
      this.#extensionBytes <= this.#limits.chunkExtensionBytesMax || this.#fail(ParserErrorCode.chunkExtensionTooLarge)
    );
  }

  /** A size line with an extension is over. */
  #payExtension(): boolean {
    const excessBytes = this.#extensionExcessBytes + this.#extensionBytes - 2 * this.#chunkBytes;
    this.#extensionExcessBytes = excessBytes > 0 ? excessBytes : 0;
    this.#extensionBytes = 0;
    const excessBytesMax = extensionExcessFactor * this.#limits.chunkExtensionBytesMax;
    return excessBytes <= excessBytesMax || this.#fail(ParserErrorCode.chunkExtensionTooLarge);
  }

  #countTrailer(): boolean {
    this.#trailerBytes++;
    return this.#trailerBytes <= this.#limits.trailerBytesMax || this.#fail(ParserErrorCode.trailerTooLarge);
  }

  #become(step: Step): true {
    this.#step = step;
    return true;
  }

  #fail(error: ParserErrorCode): false {
    this.error = error;
    return false;
  }
}
