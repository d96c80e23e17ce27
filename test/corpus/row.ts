/** What an upstream may have got of a row's bytes when the client's connection is over. */
export const Verdict = {
  /** Not a byte. */
  nothing: 0,
  /** The one request that `prefix` names, whose head and body are sound; nothing of what stands behind it. */
  prefix: 1,
  /**
   * At most that one request, framed anew. The library takes chunked bodies apart itself and leniently (docs/acceptor.md), so
   * the gateway cannot see that the client's framing was wrong; it sees to it that nothing behind it is ever dispatched.
   */
  reframed: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Bytes of one client connection that no server may act on, or not on all of them. latin1: a character is a byte. */
export interface RequestRow {
  readonly group: string;
  readonly what: string;
  readonly wire: string;
  readonly verdict: Verdict;
  /** Request line of the request that may go up. */
  readonly prefix: string;
}

export const hostLine = 'host: gateway.test\r\n';
export const getLine = 'GET /health HTTP/1.1\r\n';
export const chatLine = 'POST /v1/chat/completions HTTP/1.1\r\n';

/** Rows of one class that must not reach an upstream. `wrap` makes a request of the part that is wrong. */
export function refused(
  group: string,
  parts: Readonly<Record<string, string>>,
  wrap: (part: string) => string = (part) => part,
): RequestRow[] {
  return Object.entries(parts).map(([what, part]) => ({
    group,
    what,
    wire: wrap(part),
    verdict: Verdict.nothing,
    prefix: '',
  }));
}

export function served(
  group: string,
  verdict: Verdict,
  prefix: string,
  parts: Readonly<Record<string, string>>,
): RequestRow[] {
  return Object.entries(parts).map(([what, wire]) => ({ group, what, wire, verdict, prefix }));
}

/** A request with one extra field line (without its CRLF), no body. */
export function withField(line: string): string {
  return `${getLine}${hostLine}${line}\r\n\r\n`;
}

/** A chat request whose framing lines are `lines`, with a two-byte body behind it. */
export function withFraming(lines: string, body = '{}'): string {
  return `${chatLine}${hostLine}${lines}\r\n\r\n${body}`;
}

export function withTarget(target: string): string {
  return `GET ${target} HTTP/1.1\r\n${hostLine}\r\n`;
}

export function withHost(value: string): string {
  return `${getLine}host: ${value}\r\n\r\n`;
}
