import { isValueByte, lowerTokenByte } from './bytes.ts';
import { fieldName, hashStep } from './field-names.ts';
import { connectionTokens, isSameToken, parseContentLength } from './head-rules.ts';
import { ParserErrorCode } from './parser-error.ts';

const cr = 0x0d;
const lf = 0x0a;
const space = 0x20;
const tab = 0x09;
const colon = 0x3a;
const statusLinePrefix: Uint8Array = Buffer.from('HTTP/1.', 'latin1');

/** `ResponseHead.parse` when the empty line is not there yet; a complete head is never empty. */
export const headIncomplete = 0;

/**
 * The head of one response, reused for all responses of a connection: the arrays keep their length, and entries from
 * `headerCount` on are leftovers of an earlier head.
 */
export class ResponseHead {
  status = 0;
  versionMinor: 0 | 1 = 1;
  /** From Content-Length, whatever the body turns out to be; -1 when absent. */
  contentLength = -1;
  isChunked = false;
  headerCount = 0;
  /** Lower-case. */
  readonly headerNames: string[] = [];
  /** Decoded as latin1, so that writing them as latin1 gives the bytes back; without white space at the ends. */
  readonly headerValues: string[] = [];
  /** Set when `parse` returned -1. */
  error: ParserErrorCode = ParserErrorCode.none;
  readonly #headerCountMax: number;
  #saysClose = false;
  #saysKeepAlive = false;

  constructor(headerCountMax: number) {
    this.#headerCountMax = headerCountMax;
  }

  /** Whether the connection outlives this message; `close` wins over `keep-alive` (RFC 9112 section 9.3). */
  get keepAlive(): boolean {
    return !this.#saysClose && (this.versionMinor === 1 || this.#saysKeepAlive);
  }

  /** The value of the first field of that lower-case name, or null. */
  header(name: string): string | null {
    for (let index = 0; index < this.headerCount; index++) {
      if (this.headerNames[index] === name) return this.headerValues[index]!;
    }
    return null;
  }

  /**
   * Reads a head from [start, end). Returns the offset behind its empty line, `headIncomplete`, or -1 with `error` set.
   * Strict where leniency would let two readers disagree: CRLF only, no folding, no white space before the colon, no
   * control bytes, at most one Content-Length, no transfer coding but `chunked`.
   */
  parse(bytes: Buffer, start: number, end: number): number {
    this.headerCount = 0;
    this.contentLength = -1;
    this.isChunked = false;
    this.#saysClose = false;
    this.#saysKeepAlive = false;
    let at = this.#parseStatusLine(bytes, start, end);
    if (at <= 0) return at;
    while (at < end) {
      if (bytes[at] === cr) {
        if (at + 1 === end) return headIncomplete;
        return bytes[at + 1] === lf ? at + 2 : this.#fail(ParserErrorCode.badHeader);
      }
      at = this.#parseField(bytes, at, end);
      if (at <= 0) return at;
    }
    return headIncomplete;
  }

  /** `HTTP/1.[01] SP 3DIGIT [SP reason] CRLF`; servers that leave out the space before an empty reason are common. */
  #parseStatusLine(bytes: Buffer, start: number, end: number): number {
    const given = Math.min(end - start, statusLinePrefix.length);
    for (let index = 0; index < given; index++) {
      if (bytes[start + index] !== statusLinePrefix[index]) return this.#fail(ParserErrorCode.badStatusLine);
    }
    // The shortest line is `HTTP/1.1 200` and CRLF.
    if (end - start < 14) return headIncomplete;
    const minor = bytes[start + 7]! - 0x30;
    const hundreds = bytes[start + 9]! - 0x30;
    const tens = bytes[start + 10]! - 0x30;
    const ones = bytes[start + 11]! - 0x30;
    const isSound =
      (minor === 0 || minor === 1) &&
      bytes[start + 8] === space &&
      // Values outside 100 to 599 are invalid (RFC 9110 section 15).
      hundreds >= 1 &&
      hundreds <= 5 &&
      tens >= 0 &&
      tens <= 9 &&
      ones >= 0 &&
      ones <= 9 &&
      (bytes[start + 12] === space || bytes[start + 12] === cr);
    if (!isSound) return this.#fail(ParserErrorCode.badStatusLine);
    this.versionMinor = minor;
    this.status = hundreds * 100 + tens * 10 + ones;
    let at = start + 12;
    while (at < end && isValueByte[bytes[at]!] === 1) at++;
    if (at === end) return headIncomplete;
    if (bytes[at] !== cr) return this.#fail(ParserErrorCode.badStatusLine);
    if (at + 1 === end) return headIncomplete;
    return bytes[at + 1] === lf ? at + 2 : this.#fail(ParserErrorCode.badStatusLine);
  }

  /** `field-name ":" OWS field-value OWS CRLF`. A folded line starts with white space, which is no name. */
  #parseField(bytes: Buffer, start: number, end: number): number {
    let at = start;
    let hash = 0;
    for (let lower; at < end && (lower = lowerTokenByte[bytes[at]!]!) !== 0; at++) hash = hashStep(hash, lower);
    if (at === end) return headIncomplete;
    if (bytes[at] !== colon || at === start) return this.#fail(ParserErrorCode.badHeader);
    const nameEnd = at++;
    while (at < end && (bytes[at] === space || bytes[at] === tab)) at++;
    const valueStart = at;
    while (at < end && isValueByte[bytes[at]!] === 1) at++;
    if (at === end) return headIncomplete;
    if (bytes[at] !== cr) return this.#fail(ParserErrorCode.badHeader);
    if (at + 1 === end) return headIncomplete;
    if (bytes[at + 1] !== lf) return this.#fail(ParserErrorCode.badHeader);
    if (this.headerCount === this.#headerCountMax) return this.#fail(ParserErrorCode.tooManyHeaders);
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === space || bytes[valueEnd - 1] === tab)) valueEnd--;
    const name = fieldName(bytes, start, nameEnd, hash);
    const value = bytes.latin1Slice(valueStart, valueEnd);
    this.headerNames[this.headerCount] = name;
    this.headerValues[this.headerCount] = value;
    this.headerCount++;
    return this.#takeFraming(name, value) ? at + 2 : -1;
  }

  #takeFraming(name: string, value: string): boolean {
    if (name === 'content-length') {
      // A second one is refused even when equal: nothing we talk to sends it, and readers differ on `5, 5`.
      const length = this.contentLength === -1 ? parseContentLength(value) : -1;
      if (length === -1) return this.#refuse(ParserErrorCode.badContentLength);
      this.contentLength = length;
    } else if (name === 'transfer-encoding') {
      // HTTP/1.0 knows no transfer codings (RFC 9112 section 6.1).
      if (this.isChunked || this.versionMinor === 0 || !isSameToken(value, 'chunked')) {
        return this.#refuse(ParserErrorCode.badTransferEncoding);
      }
      this.isChunked = true;
    } else if (name === 'connection') {
      this.#takeConnection(value);
    } else {
      return true;
    }
    return this.isChunked && this.contentLength !== -1 ? this.#refuse(ParserErrorCode.lengthAndChunked) : true;
  }

  #takeConnection(value: string): void {
    for (const token of connectionTokens(value)) {
      if (token === 'close') this.#saysClose = true;
      else if (token === 'keep-alive') this.#saysKeepAlive = true;
    }
  }

  #refuse(error: ParserErrorCode): false {
    this.error = error;
    return false;
  }

  #fail(error: ParserErrorCode): -1 {
    this.error = error;
    return -1;
  }
}
