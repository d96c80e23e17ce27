import { malformedHeads } from '../wire/malformed-heads.ts';
import { requestFieldRows } from './request-fields.ts';
import { requestFramingRows } from './request-framing.ts';
import { requestLineRows } from './request-lines.ts';
import { chatLine, getLine, hostLine, refused, type RequestRow, served, Verdict } from './row.ts';

/** What comes from something that is no HTTP/1.1 client, or from one that goes wrong behind its first request. */

const strangers = refused('another protocol', {
  'the preface of HTTP/2 and a settings frame': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00',
  'an upgrade to h2c by prior knowledge, cut': 'PRI * HTTP/2.0\r\n',
  'a PROXY v1 line': `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${getLine}${hostLine}\r\n`,
  'a PROXY v1 line of an unknown family': `PROXY UNKNOWN\r\n${getLine}${hostLine}\r\n`,
  'a PROXY v2 signature that is cut': '\r\n\r\n\x00\r\nQUIT\n',
  'a PROXY v2 signature with a byte wrong': `\r\n\r\n\x00\r\nQUIT\x0a\x31\x11\x00\x0c${'\x7f\x00\x00\x01'.repeat(3)}`,
  'a TLS 1.3 hello': `\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03${'\x5a'.repeat(32)}`,
  'an SSL 2 hello': '\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10',
  'a TLS alert': '\x15\x03\x01\x00\x02\x02\x28',
  'an SSH banner': 'SSH-2.0-OpenSSH_9.2p1\r\n',
  'an SMTP greeting': 'EHLO a.test\r\n',
  'a Redis command': '*1\r\n$4\r\nPING\r\n',
  'a memcached command': 'stats\r\n',
  'a SOCKS5 hello': '\x05\x01\x00',
  'a SOCKS4 connect': '\x04\x01\x00\x50\x7f\x00\x00\x01\x00',
  'a gRPC frame': '\x00\x00\x00\x00\x05hello\r\n\r\n',
  'a WebSocket frame': '\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\r\n\r\n',
  'a DNS query': '\x00\x1d\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01',
  JSON: '{"model":"a"}\r\n\r\n',
  HTML: '<html></html>\r\n\r\n',
  'an FTP login': 'USER anonymous\r\n',
  'an RDP cookie': '\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00',
  'a response': 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
  NULs: '\x00'.repeat(1000),
  'every byte': Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join(''),
  'high bytes': '\xff'.repeat(5000),
  '70 KB of a letter': 'A'.repeat(70_000),
  '70 KB of spaces': ' '.repeat(70_000),
  '10 000 empty lines': '\r\n'.repeat(10_000),
  '10 000 LF': '\n'.repeat(10_000),
});

const one = `${getLine}${hostLine}\r\n`;
const health = getLine.trimEnd();

/** A sound request, and in the same segment something that is none. */
const behind = served(
  'behind a sound request',
  Verdict.prefix,
  health,
  Object.fromEntries(
    Object.entries({
      garbage: 'garbage\r\n\r\n',
      NULs: '\x00\x00\x00\x00',
      'a TLS hello': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      'a request without Host': 'GET /smuggled HTTP/1.1\r\na: b\r\n\r\n',
      'a request with two lengths': `POST /smuggled HTTP/1.1\r\n${hostLine}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`,
      'a request with length and coding': `POST /smuggled HTTP/1.1\r\n${hostLine}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}`,
      'half a request': 'GET /smuggled HT',
      'a sound request': `GET /smuggled HTTP/1.1\r\n${hostLine}\r\n`,
      'a body nobody announced': '{"model":"a"}',
      'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    }).map(([what, wire]) => [what, one + wire]),
  ),
);

const counted = `${chatLine}${hostLine}content-length: 2\r\n\r\n{}`;
const behindBody = served('behind a sound body', Verdict.prefix, chatLine.trimEnd(), {
  'more of the body': `${counted}{}{}{}`,
  'an empty line, then a request': `${counted}\r\nGET /smuggled HTTP/1.1\r\n${hostLine}\r\n`,
  'a request': `${counted}GET /smuggled HTTP/1.1\r\n${hostLine}\r\n`,
  garbage: `${counted}\x00\xff\x00\xff\r\n\r\n`,
  'a last chunk': `${counted}0\r\n\r\n`,
});

/** Rows this project wrote down before, one by one, with the answer each gets (test/wire/head-guard.test.ts). */
const known = malformedHeads.map(({ what, wire }) => ({
  group: 'head guard',
  what,
  wire,
  verdict: Verdict.nothing,
  prefix: '',
}));

export const requestRows: readonly RequestRow[] = [
  ...known,
  ...requestLineRows,
  ...requestFieldRows,
  ...requestFramingRows,
  ...strangers,
  ...behind,
  ...behindBody,
];
