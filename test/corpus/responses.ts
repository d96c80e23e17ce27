import { malformedChunks, malformedHeads } from '../wire/malformed-responses.ts';

/** How a client may see an answer that is not sound. */
export const Seen = {
  /** 502 and none of its bytes: it was found out before the head went down. */
  refused: 0,
  /** Its head and a part of its body, and that there is no more. */
  cut: 1,
  /** A sound answer: what is wrong stands behind the end of it, or belongs to no answer, and is dropped with the connection. */
  sound: 2,
} as const;
export type Seen = (typeof Seen)[keyof typeof Seen];

/** latin1: a character is a byte. */
export interface ResponseRow {
  readonly group: string;
  readonly what: string;
  readonly method: 'GET' | 'HEAD';
  /** In the pieces in which the upstream sends it. */
  readonly pieces: readonly string[];
  /** The upstream ends its connection behind the last piece. */
  readonly ends: boolean;
  readonly seen: Seen;
  /** The upstream's connection serves on. */
  readonly isKept: boolean;
  /** Body of a sound answer. */
  readonly body: string;
}

function rows(
  group: string,
  seen: Seen,
  parts: Readonly<Record<string, string | readonly string[]>>,
  options: Partial<Pick<ResponseRow, 'method' | 'ends' | 'body' | 'isKept'>> = {},
  wrap: (part: string) => string = (part) => part,
): ResponseRow[] {
  return Object.entries(parts).map(([what, part]) => {
    const pieces = typeof part === 'string' ? [wrap(part)] : part;
    return { group, what, method: 'GET', pieces, ends: false, seen, isKept: false, body: '', ...options };
  });
}

const ok = 'HTTP/1.1 200 OK\r\n';
const sized = 'content-length: 2\r\n\r\nab';
const chunked = 'transfer-encoding: chunked\r\n\r\n';

const statusLines = rows(
  'status line',
  Seen.refused,
  Object.fromEntries(
    [
      'HTTP/1.1',
      'HTTP/1.1 ',
      'HTTP/1.1 200OK',
      'HTTP/1.1 2',
      'HTTP/1.1 -200 OK',
      'HTTP/1.1 +200 OK',
      'HTTP/1.1 2e2 OK',
      'HTTP/1.1 0x200 OK',
      'HTTP/1.1 200.0 OK',
      'HTTP/1.1 000 OK',
      'HTTP/1.1 999 OK',
      'HTTP/1.1 700 OK',
      'HTTP/1.1 \xb2\xb0\xb0 OK',
      'HTTP/1.1\t200 OK',
      'HTTP/1.1 200\tOK',
      'HTTP/1.1\xa0200 OK',
      'HTTP/1.1 200 O\x00K',
      'HTTP/1.1 200 O\x07K',
      'HTTP/1.1 200 O\x7fK',
      'HTTP/1.1 200 O\nK',
      'HTTP/1.1 200 \x1b[31mOK',
      ' HTTP/1.1 200 OK',
      '\tHTTP/1.1 200 OK',
      '\x00HTTP/1.1 200 OK',
      '\xef\xbb\xbfHTTP/1.1 200 OK',
      'HTTP/1.10 200 OK',
      'HTTP/1.01 200 OK',
      'HTTP/01.1 200 OK',
      'HTTP/11 200 OK',
      'HTTP/1. 200 OK',
      'HTTP/1 200 OK',
      'HTTP/0.9 200 OK',
      'HTTP/3 200 OK',
      'HTTP/1.1.1 200 OK',
      'HTTP/-1.1 200 OK',
      'HTTP/1,1 200 OK',
      'HTTP /1.1 200 OK',
      'Http/1.1 200 OK',
      'HTTPS/1.1 200 OK',
      'HHTTP/1.1 200 OK',
      'ICY 200 OK',
      'RTSP/1.0 200 OK',
      'OK',
      'GET / HTTP/1.1',
      '200',
      'Status: 200 OK',
    ].map((line) => [JSON.stringify(line), line]),
  ),
  {},
  (line) => `${line}\r\n${sized}`,
);

const fields = rows(
  'field line',
  Seen.refused,
  {
    ...Object.fromEntries(
      [...'"(),/;<=>?@[\\]{} \t\x00\x01\x0b\x1f\x7f\x80\xa0\xff'].map((char) => [
        `byte ${char.charCodeAt(0).toString(16)} in a name`,
        `a${char}b: c`,
      ]),
    ),
    ...Object.fromEntries(
      [...'\x00\x01\x08\x0b\x0c\x1b\x1f\x7f'].map((char) => [
        `byte ${char.charCodeAt(0).toString(16)} in a value`,
        `a: b${char}c`,
      ]),
    ),
    'a bare CR behind the colon': 'a:\rb',
    'a bare CR at the end': 'a: b\r\r\nc: d',
    'a bare LF in a name': 'a\nb: c',
    'a bare LF first': '\na: b',
    'a bare CR first': '\ra: b',
    'a space before the colon': 'a : b',
    'a tab before the colon': 'a\t: b',
    'a fold by a tab': 'a: b\r\n\tc',
    'an empty fold': 'a: b\r\n ',
    'a fold of the length': 'content-length:\r\n 2',
    'a fold first': ' a: b',
    'an empty name and value': ':',
    'a second status line': 'HTTP/1.1 200 OK',
    'a field of 13 KB': `a: ${'b'.repeat(13_000)}`,
    'a name of 13 KB': `${'a'.repeat(13_000)}: b`,
    '2 000 fields': Array.from({ length: 2000 }, (_, index) => `x-${index}: a`).join('\r\n'),
    '128 fields and a length': Array.from({ length: 128 }, (_, index) => `x-${index}: a`).join('\r\n'),
  },
  {},
  (line) => `${ok}${line}\r\n${sized}`,
);

const lengths = rows(
  'Content-Length',
  Seen.refused,
  Object.fromEntries(
    [
      '-0',
      '+0',
      '2 ,2',
      '2,',
      ',2',
      '2;',
      '"2"',
      '2e0',
      '0o2',
      '0b10',
      '1_0',
      'Infinity',
      'NaN',
      'two',
      '2\xa0',
      '\xb2',
      '2.0',
      '\xef\xbc\x92',
      '2\t2',
      '0000000000000002',
      '9999999999999999',
      '9223372036854775808',
      '18446744073709551616',
      '9'.repeat(400),
      '2\r\nContent-Length: 2',
      '2\r\ncontent-length:',
      '2\r\nCONTENT-LENGTH: 02',
      '0\r\ncontent-length: 2',
    ].map((value) => [JSON.stringify(value), value]),
  ),
  {},
  (value) => `${ok}content-length: ${value}\r\n\r\nab`,
);

const codings = rows(
  'Transfer-Encoding',
  Seen.refused,
  Object.fromEntries(
    [
      'identity',
      'deflate',
      'chunked, gzip',
      'chunked, chunked',
      'chunked,',
      ',chunked',
      'chunked;q=1',
      '"chunked"',
      "'chunked'",
      'chunked\xa0',
      '\xa0chunked',
      'chun\xe2\x84\xaaed',
      'chunkedd',
      'chunk',
      'x',
      'chunked identity',
      'chunked\r\ntransfer-encoding: chunked',
      'identity\r\ntransfer-encoding: chunked',
      'chunked\r\ntransfer-encoding: identity',
      'chunked\r\ncontent-length: 2',
      'chunked\r\ncontent-length: 0',
      'identity\r\ncontent-length: 2',
      '\r\ncontent-length: 2',
      'chunked\r\n\tx',
    ].map((value) => [JSON.stringify(value), value]),
  ),
  {},
  (value) => `${ok}transfer-encoding: ${value}\r\n\r\n2\r\nab\r\n0\r\n\r\n`,
);

const interim = rows('interim', Seen.refused, {
  'an upgrade behind a 100': `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n`,
  'an upgrade with a body': `HTTP/1.1 101 Switching Protocols\r\n${sized}`,
  'a 100 that is malformed': `HTTP/1.1 100 Continue\r\nnonsense\r\n\r\n${ok}${sized}`,
  'a 103 with two lengths': `HTTP/1.1 103 Early Hints\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n${ok}${sized}`,
  'a 100 with a body': `HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\nab${ok}${sized}`,
  'one in HTTP/1.0': `HTTP/1.0 103 Early Hints\r\n\r\n${ok}${sized}`,
  'a hundred of them': `${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(100)}${ok}${sized}`,
  'one of 13 KB': `HTTP/1.1 103 Early Hints\r\nlink: ${'a'.repeat(13_000)}\r\n\r\n${ok}${sized}`,
  'an unknown one, then garbage': 'HTTP/1.1 199 X\r\n\r\ngarbage\r\n\r\n',
});

/** More than is read at once, in many pieces: what is kept of it has to stay bounded. */
const bombs = rows('bomb', Seen.refused, {
  'a status line without end': ['HTTP/1.1 200 ', ...Array.from({ length: 40 }, () => 'a'.repeat(1000))],
  'a field without end': [`${ok}a: `, ...Array.from({ length: 40 }, () => 'b'.repeat(1000))],
  'a name without end': [ok, ...Array.from({ length: 40 }, () => 'b'.repeat(1000))],
  'fields without end': [ok, ...Array.from({ length: 40 }, () => 'a: b\r\n'.repeat(200))],
  'interim heads without end': Array.from({ length: 40 }, () => 'HTTP/1.1 102 Processing\r\n\r\n'),
  'a MB of NULs': ['\x00'.repeat(1_000_000)],
  'a MB of a letter': ['a'.repeat(1_000_000)],
  'a MB of empty lines': ['\r\n'.repeat(500_000)],
});

const strangers = rows('another protocol', Seen.refused, {
  'an HTTP/2 settings frame':
    '\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\x00\x10\x00\x00\x00\x06\x00\x00\x40\x00',
  'a request': 'GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n',
  'an SSE stream without a head': 'data: {"a":1}\n\ndata: [DONE]\n\n',
  'JSON without a head': '{"error":"busy"}\r\n\r\n',
  'a greeting of a database': 'J\x00\x00\x00\x0a8.0.36\x00',
  'every byte': Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)).join(''),
});

const endsEarly = rows(
  'ends early',
  Seen.refused,
  {
    'before a byte': [],
    'inside the status line': 'HTTP/1.1 20',
    'behind the status line': ok,
    'inside a field': `${ok}content-le`,
    'inside the empty line': `${ok}content-length: 2\r\n\r`,
    'behind an interim head': 'HTTP/1.1 100 Continue\r\n\r\n',
    'inside the head behind an interim one': `HTTP/1.1 100 Continue\r\n\r\n${ok}content`,
  },
  { ends: true },
);

const endsInBody = rows(
  'ends early',
  Seen.cut,
  {
    'behind a head with a length': `${ok}content-length: 2\r\n\r\n`,
    'inside a body with a length': `${ok}content-length: 5\r\n\r\nab`,
    'behind a head with chunks': ok + chunked,
    'inside a chunk size': `${ok}${chunked}2\r\nab\r\n1`,
    'behind a chunk size': `${ok}${chunked}2\r\nab\r\n1\r\n`,
    'inside an extension': `${ok}${chunked}2\r\nab\r\n1;a`,
    'inside a chunk': `${ok}${chunked}5\r\nab`,
    'behind a chunk': `${ok}${chunked}2\r\nab`,
    'inside the line end of a chunk': `${ok}${chunked}2\r\nab\r`,
    'between two chunks': `${ok}${chunked}2\r\nab\r\n`,
    'inside the last chunk': `${ok}${chunked}2\r\nab\r\n0`,
    'behind the last chunk': `${ok}${chunked}2\r\nab\r\n0\r\n`,
    'inside a trailer': `${ok}${chunked}2\r\nab\r\n0\r\nx-a`,
    'behind a trailer': `${ok}${chunked}2\r\nab\r\n0\r\nx-a: b\r\n`,
    'inside the empty line': `${ok}${chunked}2\r\nab\r\n0\r\n\r`,
    'inside an event stream': `${ok}content-type: text/event-stream\r\n${chunked}a\r\ndata: {}\n\n\r\n`,
    'inside an event': `${ok}content-type: text/event-stream\r\n${chunked}6\r\ndata: \r\n`,
    'inside JSON with a length': `${ok}content-type: application/json\r\ncontent-length: 50\r\n\r\n{"usage":{`,
  },
  { ends: true },
);

const head = `${ok}${chunked}2\r\nab\r\n`;
const chunks = rows(
  'chunk',
  Seen.cut,
  Object.fromEntries(
    Object.entries({
      ...malformedChunks,
      'a signed size': '+2\r\nxx\r\n0\r\n\r\n',
      'a size of 2^49': '2000000000000\r\nxx',
      'a size of 2^63': '8000000000000000\r\nxx',
      'a size of 400 digits': `${'1'.repeat(400)}\r\nxx`,
      'zeros without end': '0'.repeat(5000),
      'a fraction': '2.0\r\nxx\r\n0\r\n\r\n',
      'a comma': '2,2\r\nxx\r\n0\r\n\r\n',
      'a space first': ' 2\r\nxx\r\n0\r\n\r\n',
      'a space behind the size': '2 \r\nxx\r\n0\r\n\r\n',
      'a NUL behind the size': '2\x00\r\nxx\r\n0\r\n\r\n',
      'a high digit': '\xb2\r\nxx\r\n0\r\n\r\n',
      'a bare CR behind the size': '2\rxx\r\n0\r\n\r\n',
      'CR CR LF behind the size': '2\r\r\nxx\r\n0\r\n\r\n',
      'a bare LF in an extension': '2;a\nb\r\nxx\r\n0\r\n\r\n',
      'a NUL in an extension': '2;a\x00b\r\nxx\r\n0\r\n\r\n',
      'extensions without end': `${'1;aaaaaaaaaaaaaaaaaaaa\r\nx\r\n'.repeat(2000)}0\r\n\r\n`,
      'data shorter than its size': '9\r\nxx\r\n0\r\n\r\n0\r\n\r\n',
      'a CR for the line end of the data': '2\r\nxx\r0\r\n\r\n',
      'a size behind the last chunk': '0\r\n2\r\nxx\r\n0\r\n\r\n',
      'a folded trailer': '0\r\nx-a: b\r\n c\r\n\r\n',
      'a trailer with an empty name': '0\r\n: b\r\n\r\n',
      'a trailer with a space before its colon': '0\r\nx-a : b\r\n\r\n',
      'a trailer with a bare LF': '0\r\nx-a: b\n\r\n',
      'a trailer with a bare CR': '0\r\nx-a: b\rc\r\n\r\n',
      'trailers without end': `0\r\n${'x-a: b\r\n'.repeat(2000)}\r\n`,
      'a bare LF for the empty line': '0\r\n\n',
      'a status line for trailers': `0\r\n${ok}${sized}`,
    }).map(([what, part]) => [what, [head, part]]),
  ),
);

const excess = rows(
  'behind the end',
  Seen.sound,
  {
    'a byte behind a length': `${ok}${sized}c`,
    'a response behind a length': `${ok}${sized}${ok}content-length: 6\r\n\r\npoison`,
    'an empty line behind a length': `${ok}${sized}\r\n`,
    'a byte behind the last chunk': `${ok}${chunked}2\r\nab\r\n0\r\n\r\nc`,
    'a response behind the last chunk': `${ok}${chunked}2\r\nab\r\n0\r\n\r\n${ok}content-length: 6\r\n\r\npoison`,
    'a response in the next piece': [ok + sized, `${ok}content-length: 6\r\n\r\npoison`],
    'garbage in the next piece': [ok + sized, '\x00\xff\x00'],
  },
  { body: 'ab' },
);

/** Not ours to judge, or dropped as what it is: a content coding is between the ends, a trailer is never passed on. */
const harmless = rows(
  'harmless',
  Seen.sound,
  {
    'a trailer of framing': `${ok}${chunked}2\r\nab\r\n0\r\ncontent-length: 9\r\n\r\n`,
    'another coding than it says': `${ok}content-encoding: gzip\r\n${sized}`,
    'two content types': `${ok}content-type: a/b\r\ncontent-type: c/d\r\n${sized}`,
  },
  { body: 'ab', isKept: true },
);

const bodyless = [
  ...rows('no body', Seen.sound, {
    'a body on 204': `HTTP/1.1 204 No Content\r\n${sized}`,
    'chunks on 204': `HTTP/1.1 204 No Content\r\n${chunked}2\r\nab\r\n0\r\n\r\n`,
    'a response on 204': `HTTP/1.1 204 No Content\r\n\r\n${ok}content-length: 6\r\n\r\npoison`,
    'a body on 304': `HTTP/1.1 304 Not Modified\r\n${sized}`,
    'chunks on 304': `HTTP/1.1 304 Not Modified\r\n${chunked}2\r\nab\r\n0\r\n\r\n`,
  }),
  ...rows(
    'no body',
    Seen.sound,
    {
      'a body on HEAD': ok + sized,
      'chunks on HEAD': `${ok}${chunked}2\r\nab\r\n0\r\n\r\n`,
      'a response on HEAD': `${ok}content-length: 2\r\n\r\n${ok}content-length: 6\r\n\r\npoison`,
    },
    { method: 'HEAD' },
  ),
];

/** Rows this project wrote down before, one by one (test/wire/malformed-responses.test.ts). */
const known = rows('response head', Seen.refused, malformedHeads);

export const responseRows: readonly ResponseRow[] = [
  ...known,
  ...statusLines,
  ...fields,
  ...lengths,
  ...codings,
  ...interim,
  ...bombs,
  ...strangers,
  ...endsEarly,
  ...endsInBody,
  ...chunks,
  ...excess,
  ...harmless,
  ...bodyless,
];
