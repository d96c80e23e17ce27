/**
 * Watches a stream of server-sent events as it passes and never changes it: counts events, knows whether another event may
 * be appended, and keeps what is needed to read the token usage at the end. WHATWG HTML, section 9.2 (event stream).
 */
import { EventText } from './event-text.ts';
import { JsonKey } from './json-key.ts';
import { lastUsageObject, mergeUsage, parseUsage } from './usage.ts';
import type { PartialUsage, TokenUsage } from './usage.ts';

const lf = 0x0a;
const cr = 0x0d;
const space = 0x20;
const colon = 0x3a;
const openBrace = 0x7b;

/** Start of a line that was cut: enough for field name and the prefixes below. */
const headBytesMax = 48;
/** Tail of a line that was cut; usage stands near the end of an event. At least half of it is kept. */
const tailBytesMax = 8192;
/** How far from its end a line is searched for usage: `response.completed` has up to 8 KB of metadata behind it. */
const searchBytesMax = 16_384;
/** Of an event that holds usage, bytes kept from the object's brace on; the largest known object has some 600. */
const usageBytesMax = 2048;

const empty = Buffer.alloc(0);
const dataName: Uint8Array = Buffer.from('data');
const eventName: Uint8Array = Buffer.from('event:');
const errorName: Uint8Array = Buffer.from('error');
const quote = 0x22;
const finishReason = new JsonKey('finish_reason');
/** Events after which a stream of that API is over: Anthropic's messages, and OpenAI's responses. */
const lastEventNames: readonly Uint8Array[] = [
  Buffer.from('message_stop'),
  Buffer.from('response.completed'),
  Buffer.from('response.incomplete'),
  Buffer.from('response.failed'),
];
const byteOrderMark: Uint8Array = Buffer.from([0xef, 0xbb, 0xbf]);
const doneMark: Uint8Array = Buffer.from('[DONE]');
const errorString: Uint8Array = Buffer.from('"error"');
const typeString: Uint8Array = Buffer.from('"type"');
/** How engines say that an error is about the request, or that they are full: neither is wrong with the engine. */
const refusal = /"code":\s*"?4\d\d\b|invalid_request|bad_?request|rate_limit|overloaded|context_length/i;
/** An error's message may quote a whole prompt. */
const errorBytesMax = 1024;

/** What ends a line of this stream; decided by its first line. */
const LineEnds = { unknown: 0, lf: 1, any: 2 } as const;
type LineEnds = (typeof LineEnds)[keyof typeof LineEnds];

/** A copy of one usage object with whatever followed it. */
class UsageCopy {
  #bytes: Buffer = empty;
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  clear(): void {
    this.#length = 0;
  }

  take(bytes: Buffer, start: number, end: number): void {
    // Most streams of a pooled tap never need it.
    if (this.#bytes.length === 0) this.#bytes = Buffer.allocUnsafeSlow(usageBytesMax);
    this.#length = bytes.copy(this.#bytes, 0, start, Math.min(end, start + usageBytesMax));
  }

  parse(): PartialUsage | null {
    return this.#length === 0 ? null : parseUsage(this.#bytes, 0, this.#length);
  }
}

/**
 * One stream at a time; reused through `reset`. Pieces are borrowed for the call.
 *
 * Lines end with LF or CRLF, or with CR when the first line does. A lone CR in a stream of the former kind is not taken for
 * a line end: looking for two bytes is 10 times slower than memchr for one (200-byte event, Node 20.20), and no JSON holds it.
 */
export class SseTap {
  /** Events dispatched, that is with at least one data line. */
  eventCount = 0;
  /** An event's data began with `[DONE]`. */
  doneSeen = false;
  /** An event's data began with `{"error"` or `{"type":"error"`, or the event's name was `error`. */
  errorSeen = false;
  /** The error is about the request, or the engine has no room: no fault of it. */
  isRefusal = false;
  /** What the events say. */
  readonly text = new EventText();
  /** Events whose data is neither a JSON object nor `[DONE]`. */
  oddCount = 0;
  /** Some choice has a finish reason. */
  finishSeen = false;
  /** The event that ends a stream of messages or responses came. */
  lastEventSeen = false;
  /** Events came behind `[DONE]`. */
  hasAfterDone = false;
  /** The stream is over, and its last bytes are the beginning of a UTF-8 character. */
  endsInCharacter = false;
  #lineEnds: LineEnds = LineEnds.unknown;
  #isFirstLine = true;
  /** The last piece ended with a CR that ended a line; an LF right behind it belongs to it. */
  #skipsLf = false;
  #hasData = false;
  /** The event being read has a line that is no comment. */
  #hasField = false;
  /** The stream is over, and its last line has no end. */
  #endsInLine = false;
  /** Bytes of the unfinished line. */
  #lineBytes = 0;
  #headLength = 0;
  #tailLength = 0;
  #tail: Buffer = empty;
  readonly #head: Buffer = Buffer.allocUnsafeSlow(headBytesMax);
  readonly #firstUsage: UsageCopy = new UsageCopy();
  readonly #lastUsage: UsageCopy = new UsageCopy();

  /** What passed so far ends behind an event (or nothing did): an event may be appended without touching another. */
  get atEventBoundary(): boolean {
    return this.#lineBytes === 0 && !this.#hasField && !this.#endsInLine;
  }

  reset(): void {
    this.eventCount = 0;
    this.doneSeen = false;
    this.errorSeen = false;
    this.isRefusal = false;
    this.text.reset();
    this.oddCount = 0;
    this.finishSeen = false;
    this.lastEventSeen = false;
    this.hasAfterDone = false;
    this.endsInCharacter = false;
    this.#endsInLine = false;
    this.#lineEnds = LineEnds.unknown;
    this.#isFirstLine = true;
    this.#skipsLf = false;
    this.#hasData = false;
    this.#hasField = false;
    this.#forgetLine();
    this.#firstUsage.clear();
    this.#lastUsage.clear();
  }

  /** @hot per chunk. The next piece of the stream, bytes [start, end). */
  push(bytes: Buffer, start: number, end: number): void {
    let at = this.#skipsLf && start < end ? this.#afterCr(bytes, start) : start;
    while (at < end) {
      const lineEnd = this.#lineEnds === LineEnds.lf ? bytes.indexOf(lf, at) : eitherLineEnd(bytes, at, end);
      if (lineEnd === -1 || lineEnd >= end) {
        this.#keepLine(bytes, at, end);
        return;
      }
      if (this.#lineBytes > 0) {
        this.#keepLine(bytes, at, lineEnd);
        this.#endCutLine();
      } else {
        const contentEnd = lineEnd > at && bytes[lineEnd - 1] === cr ? lineEnd - 1 : lineEnd;
        this.#endLine(bytes, at, contentEnd, bytes, at, contentEnd);
      }
      at = lineEnd + 1;
      if (bytes[lineEnd] === cr) {
        this.#skipsLf = true;
        if (at < end) at = this.#afterCr(bytes, at);
      } else if (this.#lineEnds === LineEnds.unknown) {
        this.#lineEnds = LineEnds.lf;
      }
    }
  }

  /** The stream is over: what came of a line without its end is looked at too. */
  finish(): void {
    if (this.#lineBytes === 0) return;
    this.endsInCharacter = endsInCharacter(this.#tail, this.#tailLength);
    this.#endCutLine();
    this.#endsInLine = true;
  }

  /** The usage the stream reported about itself; null when it reported none. Allocates: once, at the end of the stream. */
  readUsage(): TokenUsage | null {
    return mergeUsage(this.#firstUsage.parse(), this.#lastUsage.parse());
  }

  #afterCr(bytes: Buffer, at: number): number {
    this.#skipsLf = false;
    const isLf = bytes[at] === lf;
    if (this.#lineEnds === LineEnds.unknown) this.#lineEnds = isLf ? LineEnds.lf : LineEnds.any;
    return isLf ? at + 1 : at;
  }

  /** One line without its end. `head` holds its start, `tail` its last bytes; both are the piece unless the line was cut. */
  #endLine(head: Buffer, headAt: number, headEnd: number, tail: Buffer, tailStart: number, tailEnd: number): void {
    let headStart = headAt;
    if (this.#isFirstLine) {
      this.#isFirstLine = false;
      // One byte order mark is dropped.
      if (startsWith(head, headAt, headEnd, byteOrderMark)) headStart += byteOrderMark.length;
    }
    if (headStart >= headEnd) {
      if (this.#hasData) this.eventCount++;
      this.#hasData = false;
      this.#hasField = false;
      return;
    }
    if (head[headStart] === colon) return;
    this.#hasField = true;
    if (startsWith(head, headStart, headEnd, dataName)) {
      const valueAt = headStart + dataName.length;
      if (valueAt === headEnd || head[valueAt] === colon) {
        this.#takeData(head, valueAt + 1, headEnd);
        this.text.note(tail, tailStart, tailEnd);
        if (this.errorSeen) this.#readError(tail, tailStart, tailEnd);
        this.#findUsage(tail, tailStart, tailEnd);
        if (!this.finishSeen) {
          const from = Math.max(tailStart, tailEnd - searchBytesMax);
          this.finishSeen = finishReason.lastValue(tail, from, tailEnd, quote) !== -1;
        }
      }
    } else if (startsWith(head, headStart, headEnd, eventName)) {
      const nameAt = afterSpaces(head, headStart + eventName.length, headEnd);
      if (isName(head, nameAt, headEnd, errorName)) this.errorSeen = true;
      else if (lastEventNames.some((name) => isName(head, nameAt, headEnd, name))) this.lastEventSeen = true;
    }
  }

  #takeData(head: Buffer, start: number, end: number): void {
    // The marks stand at the start of an event's data, so only in its first line.
    if (this.#hasData) return;
    this.#hasData = true;
    this.hasAfterDone = this.doneSeen;
    const at = start < end && head[start] === space ? start + 1 : start;
    if (startsWith(head, at, end, doneMark)) this.doneSeen = true;
    // Behind the end of a line that was cut lie bytes of an earlier one.
    else if (at < end && head[at] === openBrace) this.#takeType(head, at, end);
    else this.oddCount++;
  }

  /** Events without a name say what they are in their first member: `{"error"`, or `{"type":"..."`, spaces allowed. */
  #takeType(bytes: Buffer, start: number, end: number): void {
    let at = afterSpaces(bytes, start + 1, end);
    if (startsWith(bytes, at, end, errorString)) {
      this.errorSeen = true;
      return;
    }
    if (!startsWith(bytes, at, end, typeString)) return;
    at = afterSpaces(bytes, at + typeString.length, end);
    if (bytes[at] !== colon) return;
    at = afterSpaces(bytes, at + 1, end);
    if (bytes[at] !== quote) return;
    const nameEnd = bytes.indexOf(quote, at + 1);
    if (nameEnd === -1 || nameEnd >= end) return;
    if (isName(bytes, at + 1, nameEnd, errorName)) this.errorSeen = true;
    else if (lastEventNames.some((name) => isName(bytes, at + 1, nameEnd, name))) this.lastEventSeen = true;
  }

  #readError(tail: Buffer, tailStart: number, tailEnd: number): void {
    const from = Math.max(tailStart, tailEnd - errorBytesMax);
    if (refusal.test(tail.latin1Slice(from, tailEnd))) this.isRefusal = true;
  }

  #findUsage(tail: Buffer, tailStart: number, tailEnd: number): void {
    const brace = lastUsageObject(tail, Math.max(tailStart, tailEnd - searchBytesMax), tailEnd);
    if (brace === -1) return;
    if (this.#firstUsage.isEmpty) this.#firstUsage.take(tail, brace, tailEnd);
    else this.#lastUsage.take(tail, brace, tailEnd);
  }

  #keepLine(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end && this.#headLength < headBytesMax; at++) this.#head[this.#headLength++] = bytes[at]!;
    const byteCount = end - start;
    this.#lineBytes += byteCount;
    if (this.#tail.length === 0) this.#tail = Buffer.allocUnsafeSlow(tailBytesMax);
    if (byteCount >= tailBytesMax) {
      this.#tailLength = bytes.copy(this.#tail, 0, end - tailBytesMax, end);
      return;
    }
    if (this.#tailLength + byteCount > tailBytesMax) {
      // Moving down to half leaves room for many small pieces before the next move.
      const keptBytes = Math.min(tailBytesMax / 2, tailBytesMax - byteCount);
      this.#tail.copyWithin(0, this.#tailLength - keptBytes, this.#tailLength);
      this.#tailLength = keptBytes;
    }
    this.#tailLength += bytes.copy(this.#tail, this.#tailLength, start, end);
  }

  #endCutLine(): void {
    let headEnd = this.#headLength;
    let tailEnd = this.#tailLength;
    if (this.#tail[tailEnd - 1] === cr) {
      tailEnd--;
      if (headEnd === this.#lineBytes) headEnd--;
    }
    this.#endLine(this.#head, 0, headEnd, this.#tail, 0, tailEnd);
    this.#forgetLine();
  }

  #forgetLine(): void {
    this.#lineBytes = 0;
    this.#headLength = 0;
    this.#tailLength = 0;
  }
}

function eitherLineEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) if (bytes[at] === lf || bytes[at] === cr) return at;
  return -1;
}

/** Whether the first `length` bytes end with the beginning of a UTF-8 sequence of two to four bytes. */
function endsInCharacter(bytes: Buffer, length: number): boolean {
  let at = length - 1;
  while (at >= 0 && length - at < 4 && (bytes[at]! & 0xc0) === 0x80) at--;
  if (at < 0) return false;
  const lead = bytes[at]!;
  const wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return length - at < wanted;
}

function startsWith(bytes: Buffer, start: number, end: number, prefix: Uint8Array): boolean {
  if (end - start < prefix.length) return false;
  for (let index = 0; index < prefix.length; index++) if (bytes[start + index] !== prefix[index]) return false;
  return true;
}

function isName(bytes: Buffer, start: number, end: number, name: Uint8Array): boolean {
  return end - start === name.length && startsWith(bytes, start, end, name);
}

function afterSpaces(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && bytes[at] === space) at++;
  return at;
}
