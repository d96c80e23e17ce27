/**
 * Requests no server may act on, as they stand on the wire. With a `code` the head guard answers as the contract says
 * (section 3). Without one the library refuses before the guard sees anything: with the bare `status`, or (0) in silence,
 * until its 10 s timer closes the connection.
 */
export interface MalformedHead {
  readonly what: string;
  readonly wire: string;
  readonly status: number;
  readonly code?: string;
}

const host = 'host: gateway.test\r\n';
const chat = 'POST /v1/chat/completions HTTP/1.1\r\n';
const get = 'GET /health HTTP/1.1\r\n';

function row(what: string, wire: string, status: number, code?: string): MalformedHead {
  return code === undefined ? { what, wire, status } : { what, wire, status, code };
}

const invalid = 'head_invalid';

export const framingRows: readonly MalformedHead[] = [
  row('two differing Content-Length', `${chat}${host}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`, 400, invalid),
  row('two equal Content-Length', `${chat}${host}content-length: 2\r\ncontent-length: 2\r\n\r\n{}`, 400, invalid),
  row('an empty Content-Length', `${chat}${host}content-length:\r\n\r\n`, 400, invalid),
  row('a Content-Length of white space', `${chat}${host}content-length:  \t \r\n\r\n`, 400, invalid),
  row('a Content-Length with a plus', `${chat}${host}content-length: +2\r\n\r\n{}`, 400),
  row('a negative Content-Length', `${chat}${host}content-length: -2\r\n\r\n{}`, 400),
  row('a hexadecimal Content-Length', `${chat}${host}content-length: 0x2\r\n\r\n{}`, 400),
  row('a Content-Length list', `${chat}${host}content-length: 2, 2\r\n\r\n{}`, 400),
  row('a Content-Length with a letter', `${chat}${host}content-length: 2a\r\n\r\n{}`, 400),
  row('a Content-Length with a fraction', `${chat}${host}content-length: 2.0\r\n\r\n{}`, 400),
  row('a Content-Length with an inner space', `${chat}${host}content-length: 1 2\r\n\r\n{}`, 400),
  row('a Content-Length of 2^64 + 2', `${chat}${host}content-length: 18446744073709551618\r\n\r\n{}`, 400),
  row('a Content-Length of 30 digits', `${chat}${host}content-length: ${'9'.repeat(30)}\r\n\r\n{}`, 400),
  row(
    'a Content-Length of 16 zeros and a 2',
    `${chat}${host}content-length: 00000000000000002\r\n\r\n{}`,
    400,
    'head_invalid',
  ),
  row(
    'a Content-Length in superscript digits',
    `${chat}${host}content-length: \xb2\xb3\r\n\r\n{}`,
    400,
    'head_invalid',
  ),
  row('a body on GET', `${get}${host}content-length: 2\r\n\r\n{}`, 400, invalid),
  row('a chunked body on GET', `${get}${host}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 400, invalid),
  row('a body on HEAD', `HEAD /health HTTP/1.1\r\n${host}content-length: 2\r\n\r\n{}`, 400, invalid),
  row('POST without a length', `${chat}${host}\r\n`, 411, 'length_required'),
  row('PUT without a length', `PUT /files/a HTTP/1.1\r\n${host}\r\n`, 411, 'length_required'),
  row('PATCH without a length', `PATCH /files/a HTTP/1.1\r\n${host}\r\n`, 411, 'length_required'),
  row(
    'Content-Length and Transfer-Encoding',
    `${chat}${host}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ),
  row(
    'Transfer-Encoding and Content-Length',
    `${chat}${host}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n`,
    400,
  ),
  row(
    'Transfer-Encoding twice',
    `${chat}${host}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
    invalid,
  ),
  row(
    'identity, then chunked',
    `${chat}${host}transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    501,
    'not_implemented',
  ),
  row(
    'Transfer-Encoding gzip, chunked',
    `${chat}${host}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    501,
    'not_implemented',
  ),
  row(
    'Transfer-Encoding chunked, identity',
    `${chat}${host}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    501,
    'not_implemented',
  ),
  row(
    'Transfer-Encoding xchunked',
    `${chat}${host}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`,
    501,
    'not_implemented',
  ),
  row('Transfer-Encoding identity', `${chat}${host}transfer-encoding: identity\r\n\r\n{}`, 400),
  row('an empty Transfer-Encoding', `${chat}${host}transfer-encoding:\r\n\r\n0\r\n\r\n`, 400, invalid),
  row(
    'Transfer-Encoding chunked with a parameter',
    `${chat}${host}transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n`,
    501,
    'not_implemented',
  ),
  row(
    'Transfer-Encoding in quotes',
    `${chat}${host}transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n`,
    501,
    'not_implemented',
  ),
  row('Transfer-Encoding with a vertical tab', `${chat}${host}transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n`, 0),
  row(
    'Content-Length hidden behind an empty name',
    `${chat}${host}: y\r\ncontent-length: 2\r\n\r\n{}`,
    411,
    'length_required',
  ),
  row('an unknown expectation', `${chat}${host}expect: 200-ok\r\ncontent-length: 2\r\n\r\n{}`, 400, invalid),
  row('a body over the limit', `${chat}${host}content-length: 99999999999\r\n\r\n`, 413, 'body_too_large'),
];

export const hostRows: readonly MalformedHead[] = [
  row('no Host', `${get}accept: */*\r\n\r\n`, 400),
  row('no field at all', `${get}\r\n`, 0),
  row('two equal Hosts', `${get}${host}${host}\r\n`, 400, invalid),
  row('two differing Hosts', `${get}${host}host: evil.test\r\n\r\n`, 400, invalid),
  row('an empty Host', `${get}host:\r\n\r\n`, 400, invalid),
  row('a Host with a comma', `${get}host: a.test, b.test\r\n\r\n`, 400, invalid),
  row('a Host with userinfo', `${get}host: a@b.test\r\n\r\n`, 400, invalid),
  row('a Host with a path', `${get}host: a.test/x\r\n\r\n`, 400, invalid),
  row('a Host with a bad port', `${get}host: a.test:x\r\n\r\n`, 400, invalid),
  row('a Host with port 65536', `${get}host: a.test:65536\r\n\r\n`, 400, invalid),
  row('a Host with a leading dot', `${get}host: .a.test\r\n\r\n`, 400, invalid),
  row('a Host with a space', `${get}host: a test\r\n\r\n`, 400, invalid),
  row('a Host of an open bracket', `${get}host: [::1\r\n\r\n`, 400, invalid),
  row('a Host of an IPv6 address of 9 groups', `${get}host: [1:2:3:4:5:6:7:8:9]\r\n\r\n`, 400, invalid),
  row('a Host with a percent sign', `${get}host: a%40b.test\r\n\r\n`, 400, invalid),
  row('a Host with a high byte', `${get}host: a\xe9.test\r\n\r\n`, 400, invalid),
];

export const fieldRows: readonly MalformedHead[] = [
  row('a space before the colon', `${get}${host}accept : */*\r\n\r\n`, 0),
  row('a tab before the colon', `${get}${host}accept\t: */*\r\n\r\n`, 0),
  row('a folded line', `${get}${host}x-a: b\r\n c\r\n\r\n`, 0),
  row('a folded line first', `${get} ${host}\r\n`, 0),
  row('a field without a colon', `${get}${host}nonsense\r\n\r\n`, 0),
  row('a field name with a slash', `${get}${host}a/b: c\r\n\r\n`, 0),
  row('a field name in parentheses', `${get}${host}(a): c\r\n\r\n`, 0),
  row('a field name with a high byte', `${get}${host}a\xe9: c\r\n\r\n`, 0),
  row('a field name with a NUL', `${get}${host}a\x00b: c\r\n\r\n`, 0),
  row('a NUL in a value', `${get}${host}x-a: b\x00c\r\n\r\n`, 0),
  row('a bell in a value', `${get}${host}x-a: b\x07c\r\n\r\n`, 0),
  row('a DEL in a value', `${get}${host}x-a: b\x7fc\r\n\r\n`, 400, 'head_invalid'),
  row('a bare CR in a value', `${get}${host}x-a: b\rc\r\n\r\n`, 0),
  row('a bare LF in a value', `${get}${host}x-a: b\nx-b: c\r\n\r\n`, 0),
  row('bare LF line ends', `GET /health HTTP/1.1\nhost: gateway.test\n\n`, 505),
  row('a value of invalid UTF-8', `${get}${host}x-a: b\xe9c\r\n\r\n`, 400, invalid),
  row('Authorization twice', `${get}${host}authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n`, 400, invalid),
  row(
    'Content-Type twice',
    `${chat}${host}content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 2\r\n\r\n{}`,
    400,
    invalid,
  ),
  row('a WebSocket upgrade', `${get}${host}connection: upgrade\r\nupgrade: websocket\r\n\r\n`, 501, 'not_implemented'),
  row('101 fields', `${get}${host}${Array.from({ length: 101 }, (_, index) => `x-${index}: a\r\n`).join('')}\r\n`, 431),
  row('20 KB of fields', `${get}${host}x-a: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'head_too_large'),
  row('100 KB of fields', `${get}${host}x-a: ${'a'.repeat(100_000)}\r\n\r\n`, 431),
];

export const targetRows: readonly MalformedHead[] = [
  row('an unknown method', `BREW /health HTTP/1.1\r\n${host}\r\n`, 501, 'not_implemented'),
  row('a lower-case method', `get /health HTTP/1.1\r\n${host}\r\n`, 501, 'not_implemented'),
  row('TRACE', `TRACE /health HTTP/1.1\r\n${host}\r\n`, 501, 'not_implemented'),
  row('CONNECT', `CONNECT a.test:443 HTTP/1.1\r\n${host}\r\n`, 505),
  row('OPTIONS *', `OPTIONS * HTTP/1.1\r\n${host}\r\n`, 505),
  row('a target in absolute form', `GET http://evil.test/health HTTP/1.1\r\n${host}\r\n`, 505),
  row('a target without a slash', `GET health HTTP/1.1\r\n${host}\r\n`, 505),
  row('an encoded NUL', `GET /a%00b HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('encoded line ends', `GET /a%0d%0ax-a:b HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a lone percent sign', `GET /a% HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a percent sign with bad digits', `GET /a%zz HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a fragment', `GET /a#b HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a backslash', `GET /a\\b HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a dot segment', `GET /v1/../admin HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a dot segment at the end', `GET /v1/.. HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('an encoded dot segment', `GET /v1/%2e%2E/admin HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a dot segment with an encoded slash', `GET /v1/..%2fadmin HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a dot segment with a parameter', `GET /v1/..;x/admin HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a high byte in the target', `GET /caf\xe9 HTTP/1.1\r\n${host}\r\n`, 400, 'head_invalid'),
  row('a space in the target', `GET /a b HTTP/1.1\r\n${host}\r\n`, 505),
  row('a control byte in the query', `GET /a?b=\x01 HTTP/1.1\r\n${host}\r\n`, 505),
  row('a fragment in the query', `GET /a?b#c HTTP/1.1\r\n${host}\r\n`, 400, invalid),
  row('a target of 9 000 bytes', `GET /${'a'.repeat(9000)} HTTP/1.1\r\n${host}\r\n`, 414, 'target_too_long'),
  row('HTTP/1.0', `GET /health HTTP/1.0\r\n${host}\r\n`, 505),
  row('HTTP/2.0', `GET /health HTTP/2.0\r\n${host}\r\n`, 505),
  row('no version', `GET /health\r\n${host}\r\n`, 0),
  row('a lower-case version', `GET /health http/1.1\r\n${host}\r\n`, 505),
  row('the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505),
  row('a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 505),
];

export const malformedHeads: readonly MalformedHead[] = [...framingRows, ...hostRows, ...fieldRows, ...targetRows];
