/**
 * Finds the few members of a request body that routing needs, while the body is still arriving and without parsing it: a
 * 3 MB prompt costs tens of microseconds, where JSON.parse takes 4 to 13 ms and tens of megabytes.
 *
 * The reading must agree with the upstream's parser, or a client could be routed, authorised and billed for one model and
 * served by another. So brackets, commas, colons and quotes are checked over the whole document, escaped keys are decoded
 * before they are compared, and a second occurrence of a wanted key is an error (parsers take the last one, the standard
 * says nothing). Not checked: the spelling of numbers, literals and escapes in members that are not wanted.
 */
import { isScalarByte, jsonNumber, startsScalar } from './json-scalar.ts';
import { decodeString, endsEscaped, stringEnd } from './json-string.ts';
import { memberKey, readMemberKey } from './member-key.ts';
import type { MemberSpans } from './member-spans.ts';
import { NestedValue } from './nested-value.ts';
import type { PrefixHash } from './prefix-hash.ts';
import type { PromptParts } from './prompt-parts.ts';
import { forgetPiece } from './scan-memory.ts';
import { Expect, ScanState, Token } from './scan-state.ts';
import { Field, FieldKind, fieldOf, keyBytesMax, requestFields, valueBytesMax } from './request-fields.ts';

export { ScanState } from './scan-state.ts';

const space = 0x20;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * memchr cannot be told where to stop but by a view. One is made a piece, where the buffer goes on far behind it; otherwise
 * each piece of a long key would search the whole rest.
 */
const overshootBytesMax = 4096;

/**
 * One request body at a time; reused through `reset`. Pieces are borrowed for the call. Never throws.
 *
 * Absent members read as null, absent numbers as -1; values are valid as soon as they are set, but only `complete` says
 * that no duplicate follows.
 */
export class RequestScanner {
  /** Why the state is `invalid`: a short fixed code, e.g. `duplicate_model`; an empty string otherwise. */
  problem = '';
  /** Offsets of the model's string token, quotes included, counted from `reset`; -1 until known. */
  modelStart = -1;
  modelEnd = -1;
  #state: ScanState = ScanState.scanning;
  #expect: Expect = Expect.value;
  #token: Token = Token.none;
  /** The piece ended behind an unpaired backslash. */
  #isEscaped = false;
  #depth = 0;
  /** The wanted member whose value comes next. */
  #field: Field = Field.none;
  /** Bit set of the wanted keys met. */
  #seen = 0;
  /** Added to an offset in the present piece, gives the offset in the body. */
  #pieceBase = 0;
  #scannedBytes = 0;
  #tokenStart = 0;
  #captureLength = 0;
  readonly #capture: Buffer = Buffer.allocUnsafeSlow(Math.max(keyBytesMax, valueBytesMax));
  readonly #nested = new NestedValue();
  /** Where the value of the present member is hashed to, if at all. */
  #hash: PrefixHash | null = null;
  #prompt: PromptParts | null = null;
  #spans: MemberSpans | null = null;
  readonly #strings: (string | null)[] = requestFields.map(() => null);
  readonly #numbers = new Float64Array(requestFields.length).fill(-1);
  /** -1 absent, 0 false, 1 true. */
  readonly #booleans = new Int8Array(requestFields.length).fill(-1);

  get state(): ScanState {
    return this.#state;
  }

  get hasModel(): boolean {
    return this.model !== null;
  }

  get model(): string | null {
    return this.#strings[Field.model]!;
  }

  get stream(): boolean | null {
    return this.#boolean(Field.stream);
  }

  /** `stream_options.include_usage`. */
  get includeUsage(): boolean | null {
    return this.#boolean(Field.includeUsage);
  }

  get maxTokens(): number {
    return this.#numbers[Field.maxTokens]!;
  }

  get maxCompletionTokens(): number {
    return this.#numbers[Field.maxCompletionTokens]!;
  }

  get maxOutputTokens(): number {
    return this.#numbers[Field.maxOutputTokens]!;
  }

  /** Choices asked for. */
  get n(): number {
    return this.#numbers[Field.n]!;
  }

  get user(): string | null {
    return this.#strings[Field.user]!;
  }

  get promptCacheKey(): string | null {
    return this.#strings[Field.promptCacheKey]!;
  }

  /** `prompt` is told what of the body is prompt, `spans` where members stand; the caller has reset them. */
  reset(prompt: PromptParts | null = null, spans: MemberSpans | null = null): void {
    this.#prompt = prompt;
    this.#spans = spans;
    this.#hash = null;
    this.problem = '';
    this.modelStart = -1;
    this.modelEnd = -1;
    this.#state = ScanState.scanning;
    this.#expect = Expect.value;
    this.#token = Token.none;
    this.#isEscaped = false;
    this.#depth = 0;
    this.#field = Field.none;
    this.#seen = 0;
    this.#pieceBase = 0;
    this.#scannedBytes = 0;
    this.#tokenStart = 0;
    this.#captureLength = 0;
    // A loop over a dozen places is quicker than three calls of `fill`.
    for (let field = 0; field < this.#strings.length; field++) {
      this.#strings[field] = null;
      this.#numbers[field] = -1;
      this.#booleans[field] = -1;
    }
  }

  /** @hot per chunk. Scans the next piece of the body, bytes [start, end) of `buffer`. */
  push(buffer: Buffer, start: number, end: number): ScanState {
    if (this.#state >= ScanState.invalid || start >= end) return this.#state;
    forgetPiece();
    this.#pieceBase = this.#scannedBytes - start;
    this.#scannedBytes += end - start;
    const bytes = buffer.length - end > overshootBytesMax ? buffer.subarray(0, end) : buffer;
    let at = this.#token === Token.none ? start : this.#resumeToken(bytes, start, end);
    while (at >= 0 && at < end) {
      const code = bytes[at]!;
      if (code === quote) at = this.#startString(bytes, at, end);
      else if (code === comma || code === colon) at = this.#separate(code, at);
      else if (code === openBrace || code === openBracket) at = this.#open(bytes, code, at, end);
      else if (code === closeBrace || code === closeBracket) at = this.#close(code, at);
      else if (code > space) at = this.#startScalar(bytes, code, at, end);
      else if (code === space || code === 0x0a || code === 0x0d || code === 0x09) at++;
      else at = this.#fail('bad_syntax');
    }
    return this.#state;
  }

  /** The body is over: an open document becomes `invalid`. */
  finish(): ScanState {
    if (this.#state === ScanState.scanning) {
      const isEmpty = this.#depth === 0 && this.#token === Token.none;
      this.#fail(isEmpty ? 'empty' : 'truncated');
    }
    return this.#state;
  }

  // Each step below takes the offset of its first byte and returns the offset to go on at, or -1 when scanning has ended.

  #separate(code: number, at: number): number {
    if (code === colon && this.#expect === Expect.colon) {
      this.#expect = Expect.value;
      if (this.#depth === 1) this.#spans?.onColon(this.#pieceBase + at + 1);
      return at + 1;
    }
    if (code === comma && this.#expect === Expect.separator) {
      this.#expect = Expect.key;
      if (this.#depth === 1) this.#spans?.onValueEnd(this.#pieceBase + at);
      return at + 1;
    }
    return this.#unexpected();
  }

  /** Brackets seen here are the root, `stream_options`, or those of values that nobody wants. */
  #open(bytes: Buffer, code: number, at: number, end: number): number {
    if (this.#expect > Expect.firstValue) return this.#unexpected();
    if (this.#depth === 0 && code === openBracket) return this.#refuseRoot();
    if (this.#depth > 0 && this.#field === Field.none) return this.#skip(bytes, at, end);
    if (this.#field !== Field.none) {
      if (this.#field !== Field.streamOptions || code === openBracket) return this.#failWrongType();
      this.#field = Field.none;
    }
    this.#depth++;
    this.#expect = Expect.firstKey;
    return at + 1;
  }

  #close(code: number, at: number): number {
    const closesHere = this.#expect === Expect.separator || this.#expect === Expect.firstKey;
    if (this.#depth === 0 || !closesHere) return this.#unexpected();
    if (code === closeBracket) return this.#fail('bad_nesting');
    this.#depth--;
    this.#expect = this.#depth === 0 ? Expect.end : Expect.separator;
    if (this.#depth > 0) return at + 1;
    this.#state = ScanState.complete;
    this.#spans?.onRootEnd(this.#pieceBase + at);
    return at + 1;
  }

  /** A value that nobody wants begins at `at`. */
  #skip(bytes: Buffer, at: number, end: number): number {
    this.#nested.begin(this.#depth, this.#hash);
    this.#hash = null;
    this.#token = Token.nested;
    return this.#resumeNested(bytes, at, end);
  }

  #resumeNested(bytes: Buffer, at: number, end: number): number {
    const next = this.#nested.push(bytes, at, end);
    if (next === -1) return this.#fail(this.#nested.problem);
    if (!this.#nested.isDone) return end;
    this.#token = Token.none;
    this.#expect = Expect.separator;
    return next;
  }

  #startString(bytes: Buffer, at: number, end: number): number {
    const isKey = this.#isAtKey;
    if (!isKey && this.#expect > Expect.firstValue) return this.#unexpected();
    if (this.#depth === 0) return this.#refuseRoot();
    if (!isKey && this.#field !== Field.none && requestFields[this.#field]!.kind !== FieldKind.string) {
      return this.#failWrongType();
    }
    if (!isKey && this.#field === Field.none) return this.#skip(bytes, at, end);
    const close = stringEnd(bytes, at + 1, end);
    this.#tokenStart = this.#pieceBase + at;
    if (close !== -1) return this.#endKeptString(bytes, at + 1, close, close + 1);
    this.#isEscaped = endsEscaped(bytes, at + 1, end);
    this.#token = Token.keptString;
    this.#captureLength = 0;
    return this.#keep(bytes, at + 1, end);
  }

  #startScalar(bytes: Buffer, code: number, at: number, end: number): number {
    if (this.#expect > Expect.firstValue || startsScalar[code] !== 1) return this.#unexpected(code);
    if (this.#depth === 0) return this.#refuseRoot();
    this.#token = this.#field === Field.none ? Token.scalar : Token.keptScalar;
    this.#captureLength = 0;
    return this.#resumeScalar(bytes, at, end);
  }

  #resumeToken(bytes: Buffer, at: number, end: number): number {
    if (this.#token === Token.nested) return this.#resumeNested(bytes, at, end);
    if (this.#token >= Token.scalar) return this.#resumeScalar(bytes, at, end);
    // The first byte of this piece may belong to an escape.
    const from = this.#isEscaped ? at + 1 : at;
    const close = stringEnd(bytes, from, end);
    this.#isEscaped = close === -1 && endsEscaped(bytes, from, end);
    if (this.#token === Token.keptString && this.#keep(bytes, at, close === -1 ? end : close) === -1) return -1;
    if (close === -1) return end;
    if (this.#token === Token.keptString) return this.#endKeptString(this.#capture, 0, this.#captureLength, close + 1);
    this.#token = Token.none;
    this.#expect = Expect.colon; // Only keys are dropped on the way.
    return close + 1;
  }

  #resumeScalar(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && isScalarByte[bytes[at]!] === 1) at++;
    if (this.#token === Token.keptScalar && this.#keep(bytes, start, at) === -1) return -1;
    if (at === end) return end;
    if (this.#token === Token.keptScalar && !this.#takeScalar()) return -1;
    this.#token = Token.none;
    this.#expect = Expect.separator;
    return at;
  }

  /** Adds bytes of a wanted token to the capture and returns `end`. A key too long to be wanted is skipped from here on. */
  #keep(bytes: Buffer, start: number, end: number): number {
    const keptBytesMax = this.#isAtKey ? keyBytesMax : requestFields[this.#field]!.valueBytesMax;
    if (this.#captureLength + end - start <= keptBytesMax) {
      this.#captureLength += bytes.copy(this.#capture, this.#captureLength, start, end);
      return end;
    }
    if (!this.#isAtKey) return this.#failTooLong();
    this.#token = Token.string;
    return end;
  }

  /** The content of a wanted string is bytes [start, end) of `bytes`: the piece or the capture. */
  #endKeptString(bytes: Buffer, start: number, end: number, next: number): number {
    const isSound = this.#isAtKey ? this.#takeKey(bytes, start, end) : this.#takeString(bytes, start, end, next);
    if (!isSound) return -1;
    this.#token = Token.none;
    return next;
  }

  #takeKey(bytes: Buffer, start: number, end: number): boolean {
    const isTopLevel = this.#depth === 1;
    if (!readMemberKey(bytes, start, end)) return this.#refuse('bad_string');
    const field = fieldOf(memberKey, isTopLevel);
    if (isTopLevel) this.#spans?.onKey(memberKey);
    this.#hash = isTopLevel && this.#prompt !== null ? this.#prompt.hashOf(memberKey) : null;
    if (field !== Field.none) {
      if ((this.#seen & (1 << field)) !== 0) return this.#refuse(requestFields[field]!.duplicate);
      this.#seen |= 1 << field;
    }
    this.#field = field;
    this.#expect = Expect.colon;
    return true;
  }

  #takeString(bytes: Buffer, start: number, end: number, next: number): boolean {
    const field = requestFields[this.#field]!;
    if (end - start > field.valueBytesMax) return this.#refuse(field.tooLong);
    const value = decodeString(bytes, start, end);
    if (value === null) return this.#refuse('bad_string');
    this.#strings[this.#field] = value;
    if (this.#field === Field.model) {
      this.modelStart = this.#tokenStart;
      this.modelEnd = this.#pieceBase + next;
    }
    this.#field = Field.none;
    this.#expect = Expect.separator;
    return true;
  }

  #takeScalar(): boolean {
    const { kind, wrongType } = requestFields[this.#field]!;
    const text = this.#capture.toString('latin1', 0, this.#captureLength);
    if (text === 'null' && this.#field !== Field.model) {
      // As if absent; but a second occurrence is still a duplicate.
    } else if (kind === FieldKind.boolean && (text === 'true' || text === 'false')) {
      this.#booleans[this.#field] = text === 'true' ? 1 : 0;
    } else if (kind === FieldKind.integer && jsonNumber.test(text)) {
      const value = Number(text);
      // llama.cpp writes -1 for "no limit", which is what an absent limit means too, and how one is kept here.
      const isUnlimited = value === -1 && this.#field !== Field.n;
      if (!isUnlimited && (!Number.isSafeInteger(value) || value < 0)) return this.#refuse(wrongType);
      this.#numbers[this.#field] = value;
    } else {
      return this.#refuse(wrongType);
    }
    this.#field = Field.none;
    return true;
  }

  get #isAtKey(): boolean {
    return this.#expect === Expect.key || this.#expect === Expect.firstKey;
  }

  #boolean(field: Field): boolean | null {
    const value = this.#booleans[field]!;
    return value === -1 ? null : value === 1;
  }

  #unexpected(code = 0): -1 {
    if (this.#expect === Expect.end) return this.#fail('trailing_bytes');
    // A byte order mark; RFC 8259 section 8.1 lets a reader refuse it, and readers differ.
    return this.#fail(this.#depth === 0 && code === 0xef ? 'bom' : 'bad_syntax');
  }

  #refuseRoot(): -1 {
    this.#state = ScanState.notObject;
    return -1;
  }

  #failWrongType(): -1 {
    return this.#fail(requestFields[this.#field]!.wrongType);
  }

  #failTooLong(): -1 {
    const { kind, tooLong, wrongType } = requestFields[this.#field]!;
    return this.#fail(kind === FieldKind.string ? tooLong : wrongType);
  }

  #refuse(problem: string): false {
    this.#fail(problem);
    return false;
  }

  #fail(problem: string): -1 {
    this.problem = problem;
    this.#state = ScanState.invalid;
    return -1;
  }
}
