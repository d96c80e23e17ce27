import {
  connectionTokens,
  isCleanFieldValue,
  isCleanQuery,
  isCleanTarget,
  isSameToken,
  isToken,
  isValidHost,
  knownMethods,
  parseContentLength,
} from '../http/index.ts';
import type { RequestHead } from '../exchange/index.ts';
import type { Refusal } from './refusal.ts';
import { refusals } from './refusal.ts';

/**
 * What stands between the library's lenient parser and everything behind it: a request whose framing could be read in
 * two ways, or whose head no server should accept, goes no further. docs/acceptor.md lists what each rule closes.
 *
 * The library shows the head only inside its handler, so the guard copies what it accepts into the exchange's
 * `RequestHead` in one pass over the fields. A refusal is answered on a later turn: answered at once, the library would
 * dispatch what lies behind the refused request in the same segment.
 */
export interface GuardLimits {
  readonly headBytesMax: number;
  readonly headerCountMax: number;
  readonly targetBytesMax: number;
  readonly bodyBytesMax: number;
  readonly acceptsChunked: boolean;
}

/** The part of the library's request object that the guard reads. */
export interface RawRequest {
  getCaseSensitiveMethod(): string;
  getUrl(): string;
  getQuery(): string | undefined;
  forEach(each: (name: string, value: string) => void): void;
}

const methodsWithBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const methodsWithoutBody: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** U+FFFD: the library decodes values as UTF-8, so here bytes were lost that cannot be written back as they came. */
const replacementCharacter = '\ufffd';

export class HeadGuard {
  readonly #limits: GuardLimits;
  // State of the pass under way. Heads are read one at a time, inside the handler.
  #head: RequestHead | null = null;
  #refusal: Refusal | null = null;
  #hostCount = 0;
  #lengthCount = 0;
  #codingCount = 0;
  #singles = 0;

  constructor(limits: GuardLimits) {
    this.#limits = limits;
  }

  /** Fills `head` (recycled before) from `request`. Returns null, or why the request must be refused. */
  read(request: RawRequest, head: RequestHead): Refusal | null {
    this.#head = head;
    this.#refusal = null;
    this.#hostCount = 0;
    this.#lengthCount = 0;
    this.#codingCount = 0;
    this.#singles = 0;
    head.method = request.getCaseSensitiveMethod();
    head.path = request.getUrl();
    const query = request.getQuery();
    head.query = query ?? '';
    head.hasQuery = query !== undefined;
    request.forEach(this.#onField);
    return this.#refusal ?? this.#targetRefusal(head) ?? this.#framingRefusal(head);
  }

  readonly #onField = (name: string, value: string): void => {
    const head = this.#head!;
    if (this.#refusal !== null) return;
    head.fieldBytes += name.length + value.length + 4;
    if (head.count >= this.#limits.headerCountMax || head.fieldBytes > this.#limits.headBytesMax) {
      this.#refusal = refusals.headTooLarge;
      return;
    }
    if (!isToken(name)) {
      this.#refusal = refusals.fieldName;
      return;
    }
    if (!isCleanFieldValue(value) || value.includes(replacementCharacter)) {
      this.#refusal = refusals.fieldValue;
      return;
    }
    head.append(name, value);
    switch (name) {
      case 'host':
        this.#hostCount++;
        if (this.#hostCount > 1 || !isValidHost(value)) this.#refusal = refusals.host;
        return;
      case 'content-length':
        this.#lengthCount++;
        head.contentLength = parseContentLength(value);
        if (this.#lengthCount > 1 || head.contentLength < 0) this.#refusal = refusals.contentLength;
        return;
      case 'transfer-encoding':
        this.#codingCount++;
        if (isSameToken(value, 'chunked')) head.isChunked = true;
        else this.#refusal = value === '' ? refusals.transferEncoding : refusals.transferCoding;
        if (this.#codingCount > 1) this.#refusal = refusals.transferEncoding;
        return;
      case 'connection':
        if (connectionTokens(value).includes('close')) head.closesConnection = true;
        return;
      case 'expect':
        if (!isSameToken(value, '100-continue')) this.#refusal = refusals.expectation;
        return;
      case 'upgrade':
        // Any other upgrade may be ignored (RFC 9110 section 7.8); a WebSocket client cannot go on without it.
        if (value.toLowerCase().includes('websocket')) this.#refusal = refusals.upgrade;
        return;
      case 'authorization':
        this.#once(1);
        return;
      case 'content-type':
        this.#once(2);
        return;
      case 'content-encoding':
        this.#once(4);
        return;
    }
  };

  #once(bit: number): void {
    if ((this.#singles & bit) !== 0) this.#refusal = refusals.duplicateField;
    this.#singles |= bit;
  }

  #targetRefusal(head: RequestHead): Refusal | null {
    if (head.path.length + head.query.length + 1 > this.#limits.targetBytesMax) return refusals.targetTooLong;
    if (!isCleanTarget(head.path)) return refusals.target;
    if (head.query !== '' && !isCleanQuery(head.query)) return refusals.target;
    return null;
  }

  /** RFC 9112 section 6: how long the body is, or that nobody can tell. */
  #framingRefusal(head: RequestHead): Refusal | null {
    if (this.#hostCount !== 1) return refusals.host;
    if (head.isChunked && this.#lengthCount > 0) return refusals.lengthAndCoding;
    if (!knownMethods.has(head.method)) return refusals.method;
    if (methodsWithBody.has(head.method)) {
      // Also closes the class in which an empty field name hides the length from us.
      if (!head.isChunked && this.#lengthCount === 0) return refusals.lengthRequired;
    } else if (methodsWithoutBody.has(head.method) && head.hasBody) {
      return refusals.unexpectedBody;
    }
    if (head.isChunked) {
      if (!this.#limits.acceptsChunked) return refusals.lengthRequired;
      // The library reads chunked bodies leniently, so nothing may follow one on the same connection.
      head.closesConnection = true;
    }
    if (head.contentLength > this.#limits.bodyBytesMax) return refusals.bodyTooLarge;
    return null;
  }
}
