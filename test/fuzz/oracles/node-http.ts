import { createRequire } from 'node:module';

/** A message as Node's own parser (llhttp, strict) reads it. */
export interface NodeMessage {
  readonly status: number;
  readonly method: string;
  readonly target: string;
  /** Names in lower case, in wire order. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  readonly isComplete: boolean;
}

export interface NodeReading {
  /** 1xx heads in front of the message. */
  readonly interim: readonly number[];
  /** Null when no head was complete. */
  readonly message: NodeMessage | null;
  /** The parser's code (`HPE_...`), or '' when it refused nothing. */
  readonly error: string;
}

type Headers = readonly string[];

/** What `node:_http_common` exports; there is no public way to run the parser without a socket. */
interface Parser {
  initialize(type: number, resource: object, headBytesMax: number, lenientFlags: number): void;
  execute(bytes: Buffer): unknown;
  finish(): unknown;
  [callback: number]: unknown;
}
interface ParserClass {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
}

const { HTTPParser, methods } = createRequire(import.meta.url)('node:_http_common') as {
  readonly HTTPParser: ParserClass;
  readonly methods: readonly string[];
};

const headBytesMax = 1 << 20;

/** `ends`: the connection ends behind the bytes. `isHead`: the response answers HEAD. Reads up to the end of one final message. */
export function readResponseWithNode(bytes: Buffer, isHead: boolean, ends: boolean): NodeReading {
  return read(HTTPParser.RESPONSE, bytes, isHead, ends);
}

export function readRequestWithNode(bytes: Buffer): NodeReading {
  return read(HTTPParser.REQUEST, bytes, false, false);
}

function read(type: number, bytes: Buffer, isHead: boolean, ends: boolean): NodeReading {
  const parser = new HTTPParser();
  parser.initialize(type, {}, headBytesMax, 0);
  const interim: number[] = [];
  /** Heads longer than 32 fields come in several calls. */
  let flushed: string[] = [];
  const heads: Omit<NodeMessage, 'body' | 'isComplete'>[] = [];
  let isComplete = false;
  let messageCount = 0;
  let body = '';
  let flushedTarget: string | undefined;
  parser[HTTPParser.kOnHeaders] = (headers: Headers, url: string): void => {
    if (heads.length > 0) return; // Trailers.
    flushed.push(...headers);
    flushedTarget ??= url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    headers: Headers | undefined,
    method: number | undefined,
    url: string | undefined,
    status: number | undefined,
  ): number => {
    const all = [...flushed, ...(headers ?? [])];
    flushed = [];
    if (messageCount > 0) return 0;
    if (status !== undefined && status >= 100 && status < 200 && status !== 101) {
      interim.push(status);
      return 0;
    }
    heads.push({
      status: status ?? 0,
      method: methods[method ?? -1] ?? '',
      target: url ?? flushedTarget ?? '',
      fields: pairs(all),
    });
    return isHead ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (piece: Buffer): void => {
    if (messageCount === 0) body += piece.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    if (heads.length === 0) return; // An interim one.
    messageCount++;
    isComplete = true;
  };
  const executed = parser.execute(bytes);
  let error = codeOf(executed);
  if (error === '' && ends) error = codeOf(parser.finish());
  const [final] = heads;
  const message = final === undefined ? null : { ...final, body, isComplete };
  return { interim, message, error };
}

/** The parser returns its errors; anything else is a count or nothing. */
function codeOf(result: unknown): string {
  return result instanceof Error ? (result as Error & { readonly code: string }).code : '';
}

function pairs(all: Headers): [string, string][] {
  const fields: [string, string][] = [];
  for (let index = 0; index < all.length; index += 2) fields.push([all[index]!.toLowerCase(), all[index + 1]!]);
  return fields;
}
