import { type ByteSocket, EndedEarly } from './byte-socket.ts';

/** A head as it stood on the wire. */
export interface Head {
  readonly startLine: string;
  /** Names in lower case, in wire order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly raw: string;
}

export function fieldOf(head: Head, name: string): string | undefined {
  return head.fields.find(([each]) => each === name)?.[1];
}

export function fieldsOf(head: Head, name: string): string[] {
  return head.fields.filter(([each]) => each === name).map(([, value]) => value);
}

export interface Body {
  readonly bytes: Buffer;
  /** Payloads of the chunks, where the body came in chunks. */
  readonly chunks: readonly Buffer[];
  readonly framing: 'none' | 'length' | 'chunked' | 'close';
  /** Field lines behind the last chunk. */
  readonly trailers: string;
  /** False when the connection ended before the framing said so. */
  readonly isComplete: boolean;
}

export interface Response extends Body {
  readonly head: Head;
  readonly status: number;
  readonly text: string;
}

export async function readHead(from: ByteSocket): Promise<Head> {
  const raw = (await from.readUntil('\r\n\r\n')).toString('latin1');
  const [startLine, ...lines] = raw.slice(0, -4).split('\r\n');
  const fields = lines.map((line): [string, string] => {
    const at = line.indexOf(':');
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
  });
  return { startLine: startLine!, fields, raw };
}

/** A response, whole or cut off; interim (1xx) heads are skipped. `isHead`: it answers HEAD. */
export async function readResponse(from: ByteSocket, isHead = false): Promise<Response> {
  let head = await readHead(from);
  while (head.startLine.startsWith('HTTP/1.1 1')) head = await readHead(from);
  const status = Number(head.startLine.slice(9, 12));
  const hasNone = isHead || status === 204 || status === 304;
  const body = hasNone ? emptyBody('none', true) : await readBody(from, head, true);
  return { head, status, ...body, text: body.bytes.toString('utf8') };
}

/** The body of `head`; without a length and not chunked it lasts until the end of the connection, for a response. */
export async function readBody(from: ByteSocket, head: Head, isResponse = false): Promise<Body> {
  if (fieldOf(head, 'transfer-encoding') !== undefined) return readChunked(from);
  const length = fieldOf(head, 'content-length');
  if (length !== undefined) {
    try {
      return { ...emptyBody('length', true), bytes: await from.read(Number(length)) };
    } catch (error) {
      if (!(error instanceof EndedEarly)) throw error;
      return { ...emptyBody('length', false), bytes: from.takePending() };
    }
  }
  if (!isResponse) return emptyBody('none', true);
  return { ...emptyBody('close', true), bytes: await from.readToEnd() };
}

async function readChunked(from: ByteSocket): Promise<Body> {
  const chunks: Buffer[] = [];
  let trailers = '';
  let isComplete = false;
  try {
    for (;;) {
      const size = (await from.readUntil('\r\n')).toString('latin1').trim();
      if (!/^[0-9a-f]+$/i.test(size)) throw new Error(`bad chunk size ${JSON.stringify(size)}`);
      const count = parseInt(size, 16);
      if (count === 0) break;
      chunks.push(await from.read(count));
      if ((await from.read(2)).toString('latin1') !== '\r\n') throw new Error('chunk without its line end');
    }
    for (let line; (line = (await from.readUntil('\r\n')).toString('latin1')) !== '\r\n';) trailers += line;
    isComplete = true;
  } catch (error) {
    if (!(error instanceof EndedEarly)) throw error;
    chunks.push(from.takePending());
  }
  return { framing: 'chunked', bytes: Buffer.concat(chunks), chunks, trailers, isComplete };
}

function emptyBody(framing: Body['framing'], isComplete: boolean): Body {
  return { framing, bytes: Buffer.alloc(0), chunks: [], trailers: '', isComplete };
}

/** The text of one request. `body` gets a Content-Length unless `fields` frame it. */
export function requestText(method: string, target: string, fields: readonly string[] = [], body = ''): string {
  const isFramed = fields.some((line) => /^(content-length|transfer-encoding):/i.test(line));
  const wantsLength = body !== '' || method === 'POST';
  const length = isFramed || !wantsLength ? [] : [`content-length: ${Buffer.byteLength(body, 'latin1')}`];
  return `${[`${method} ${target} HTTP/1.1`, 'host: gateway.test', ...fields, ...length].join('\r\n')}\r\n\r\n${body}`;
}

/** One chat request on the wire, as openai clients send it. `body`: JSON text, latin1. */
export function chatRequest(body: string, fields: readonly string[] = []): string {
  return requestText('POST', '/v1/chat/completions', ['content-type: application/json', ...fields], body);
}

/** `bytes` as a chunked body, cut into pieces of `chunkBytes`. */
export function chunkedText(bytes: string, chunkBytes: number): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    const piece = bytes.slice(at, at + chunkBytes);
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
  }
  return `${text}0\r\n\r\n`;
}

/** A response with a Content-Length. */
export function answerText(body: string, fields: readonly string[] = [], status = '200 OK'): string {
  return `${[`HTTP/1.1 ${status}`, ...fields, `content-length: ${Buffer.byteLength(body, 'latin1')}`].join('\r\n')}\r\n\r\n${body}`;
}

/** Of one of the gateway's own errors, in OpenAI's shape. */
export function codeOf(text: string): string {
  return (JSON.parse(text) as { error: { code: string } }).error.code;
}
