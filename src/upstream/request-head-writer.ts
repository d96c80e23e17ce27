import { FieldRule, isNominable, requestFieldRule } from '../http/index.ts';
import type { RequestHead } from '../exchange/index.ts';

/**
 * The head of the request as the endpoint gets it, rebuilt from the fields the guard accepted:
 * - `http/field-rules` says which of them go on, and those Connection names do not (RFC 9110 section 7.6.1);
 * - `host` is the endpoint's, `via` is appended, `x-request-id` is ours, framing is written anew.
 *
 * Every name and value was checked where it was set: the wire's by the guard, a filter's by `FieldList` and the filter
 * chain, the configuration's at load. Nothing here can end a line but the line ends written here.
 */
export interface UpstreamHeadOptions {
  /** For the Host field. */
  readonly authority: string;
  /** '' or '/prefix'. */
  readonly basePath: string;
  /** Complete credential lines, each with its CRLF, or ''. */
  readonly credentialLines: string;
  readonly passesAuthorization: boolean;
}

/**
 * `bodyBytes`: length of the body as sent upstream, -1 = it goes chunked, 0 with `hasBody` false = no body. `isForUs`: the
 * answer is read by the gateway and not by the client, so it must not be coded as the client would like it.
 */
export function writeRequestHead(
  head: RequestHead,
  requestId: string,
  bodyBytes: number,
  options: UpstreamHeadOptions,
  isForUs = false,
): string {
  const target = head.query === '' && !head.hasQuery ? head.path : `${head.path}?${head.query}`;
  let text = `${head.method} ${options.basePath}${target} HTTP/1.1\r\nhost: ${options.authority}\r\n`;
  const nominated = head.nominated();
  let via = 'via: ';
  for (let index = 0; index < head.count; index++) {
    const name = head.names[index]!;
    if (isForUs && name === 'accept-encoding') continue;
    const isClients = index < head.wireCount;
    switch (requestFieldRule(name, isClients)) {
      case FieldRule.own:
        if (name === 'via' && isClients) via += `${head.values[index]!}, `;
        continue;
      case FieldRule.credential:
        if (!options.passesAuthorization) continue;
        break;
      case FieldRule.forwarded:
        if (isClients && !head.sendsForwarded) continue;
        break;
      case FieldRule.steering:
        continue;
    }
    // A client cannot nominate what a filter has set: it would take the endpoint's view of who asked away.
    if (isClients && nominated !== null && nominated.includes(name) && isNominable(name)) continue;
    text += `${name}: ${head.values[index]!}\r\n`;
  }
  text += `${options.credentialLines}x-request-id: ${requestId}\r\n${via}1.1 penstock\r\n`;
  if (bodyBytes < 0) text += 'transfer-encoding: chunked\r\n\r\n';
  else if (bodyBytes > 0 || needsLength(head.method)) text += `content-length: ${bodyBytes}\r\n\r\n`;
  else text += '\r\n';
  return text;
}

/** RFC 9110 section 8.6: a method that anticipates content sends its length even when it is 0. */
function needsLength(method: string): boolean {
  return method === 'POST' || method === 'PUT' || method === 'PATCH';
}

/** The lines that carry a pool's own credential in its dialect. The value was checked for CR, LF and NUL at load. */
export function credentialLines(dialect: string, credential: string | undefined): string {
  if (credential === undefined || credential === '') return '';
  if (dialect === 'anthropic') return `x-api-key: ${credential}\r\n`;
  if (dialect === 'gemini') return `x-goog-api-key: ${credential}\r\n`;
  return `authorization: Bearer ${credential}\r\n`;
}
