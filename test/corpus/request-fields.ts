import {
  chatLine,
  getLine,
  hostLine,
  refused,
  type RequestRow,
  served,
  Verdict,
  withField,
  withFraming,
  withHost,
} from './row.ts';

/** RFC 9110 section 5 and 7.2, RFC 9112 sections 3.2, 5 and 9: Host, names, values, what may stand once. */

const hosts = refused(
  'Host',
  {
    'a semicolon list': 'a.test; b.test/',
    'two names': 'a.test b.test',
    'a comma at the end': 'a.test,',
    'a comma first': ',a.test',
    'a scheme': 'http://a.test',
    'a slash at the end': 'a.test/',
    'a query': 'a.test?b',
    'a fragment': 'a.test#b',
    'an at sign first': '@a.test',
    'an at sign at the end': 'a@',
    'a password': 'a:b@c.test',
    'a backslash': 'a.test\\b',
    'a negative port': 'a.test:-1',
    'a signed port': 'a.test:+80',
    'a port with a space': 'a.test: 80',
    'a port of six digits': 'a.test:000080',
    'two ports': 'a.test:80:81',
    'port 99999': 'a.test:99999',
    'a hexadecimal port': 'a.test:0x50',
    'a port in superscript': 'a.test:\xb98',
    'a colon first': ':80',
    'a colon alone': ':',
    'a dot alone': '.',
    'IPv6 without brackets': '::1',
    'brackets around a name': '[a.test]',
    'empty brackets': '[]',
    'brackets around IPv4': '[127.0.0.1]',
    'a zone': '[fe80::1%25eth0]',
    'two double colons': '[1::2::3]',
    'a group of five digits': '[12345::]',
    'text behind the bracket': '[::1]a',
    'a bracket at the end': '::1]',
    'an IPvFuture': '[v1.a]',
    quotes: '"a.test"',
    'a percent-encoded slash': 'a%2ftest',
    'a percent-encoded NUL': 'a%00.test',
    'a tab inside': 'a\ttest',
    'a NUL': 'a\x00.test',
    'a bell': 'a\x07.test',
    'a DEL': 'a\x7f.test',
    'a high byte inside': 'a\xe9\xe9.test',
    'a no-break space inside': 'a\xa0b',
    'UTF-8': 'caf\xc3\xa9.test',
    'a pipe': 'a|b',
    'angle brackets': '<a>',
    'a brace': '{a}',
    'a backtick': '`a`',
    'a caret': 'a^b',
    'white space only': ' \t ',
  },
  withHost,
);

const hostFields = refused('Host', {
  'two Hosts, the second empty': `${getLine}${hostLine}host:\r\n\r\n`,
  'two Hosts, the first empty': `${getLine}host:\r\n${hostLine}\r\n`,
  'two Hosts in two spellings': `${getLine}Host: a.test\r\nHOST: a.test\r\n\r\n`,
  'three Hosts': `${getLine}${hostLine.repeat(3)}\r\n`,
  'a Host behind an empty name': `${getLine}: x\r\n${hostLine}\r\n`,
  'a Host with a space before its colon': `${getLine}host : gateway.test\r\n\r\n`,
  'a folded Host': `${getLine}host:\r\n gateway.test\r\n\r\n`,
  'a Host named only by Connection': `${getLine}connection: host\r\n\r\n`,
  'an X-Forwarded-Host instead': `${getLine}x-forwarded-host: gateway.test\r\n\r\n`,
  'no Host and a body': `${chatLine}content-length: 2\r\n\r\n{}`,
});

const names = refused(
  'field name',
  Object.fromEntries(
    [...'"(),;<=>?@[\\]{} \t\x01\x0b\x0c\x1f\x7f\x80\xa0\xff'].map((char) => [
      `byte ${char.charCodeAt(0).toString(16)}`,
      `a${char}b: c`,
    ]),
  ),
  withField,
);

const lines = refused(
  'field line',
  {
    'a name alone': 'x-a',
    'a space before the colon': 'x-a : b',
    'spaces before the colon': 'x-a   : b',
    'a NUL before the colon': 'x-a\x00: b',
    'a vertical tab before the colon': 'x-a\x0b: b',
    'a space before the name': ' x-a: b',
    'a tab before the name': '\tx-a: b',
    'a fold by a tab': 'x-a: b\r\n\tc',
    'a fold by spaces': 'x-a: b\r\n   c: d',
    'an empty fold': 'x-a: b\r\n \r\nx-b: c',
    'a fold of a length': 'content-length:\r\n 5',
    'a bare CR before a name': '\rx-a: b',
    'a bare LF before a name': '\nx-a: b',
    'a bare CR behind the name': 'x-a\r: b',
    'a bare LF behind the name': 'x-a\n: b',
    'a bare CR behind the colon': 'x-a:\rb',
    'a bare LF behind the colon': 'x-a:\nx-b: c',
    'a bare CR at the end': 'x-a: b\r\r\nx-b: c',
    'an LF and a fold': 'x-a: b\n c',
    'a NUL first': 'x-a: \x00b',
    'a NUL last': 'x-a: b\x00',
    'a backspace': 'x-a: b\x08c',
    'an escape': 'x-a: \x1b[2Jb',
    'a unit separator': 'x-a: b\x1fc',
    'a DEL at the end': 'x-a: b\x7f',
    'a request line among the fields': 'GET /b HTTP/1.1',
    'a status line among the fields': 'HTTP/1.1 200 OK',
    'a truncated UTF-8 sequence': 'x-a: b\xe2\x82c',
    'an overlong UTF-8 sequence': 'x-a: b\xc0\x80c',
    'a surrogate in UTF-8': 'x-a: b\xed\xa0\x80c',
    'beyond Unicode': 'x-a: b\xf5\x80\x80\x80c',
  },
  withField,
);

const singles = refused(
  'repeated field',
  {
    'Content-Encoding twice': 'content-encoding: gzip\r\ncontent-encoding: identity',
    'Authorization in two spellings': 'Authorization: Bearer a\r\nAUTHORIZATION: Bearer a',
    'Content-Type empty, then given': 'content-type:\r\ncontent-type: application/json',
  },
  withField,
);

const controls = refused(
  'Expect, Upgrade',
  {
    'an empty expectation': 'expect:',
    'an expectation of another': 'expect: 417',
    'two expectations': 'expect: 100-continue, 100-continue',
    'an expectation with a parameter': 'expect: 100-continue;a=b',
    'an expectation of one more letter': 'expect: 100-continuex',
    'an upgrade to WebSocket in capitals': 'connection: Upgrade\r\nupgrade: WEBSOCKET',
    'an upgrade among others': 'connection: upgrade\r\nupgrade: h2c, websocket',
    'an upgrade with a version': 'connection: upgrade\r\nupgrade: websocket/13',
    'an upgrade without Connection': 'upgrade: websocket',
  },
  withField,
);

const sizes = refused(
  'head size',
  {
    '120 fields': Array.from({ length: 120 }, (_, index) => `x-${index}: a`).join('\r\n'),
    '2 000 fields': Array.from({ length: 2000 }, (_, index) => `x-${index}: a`).join('\r\n'),
    'one value of 33 000 bytes': `x-a: ${'a'.repeat(33_000)}`,
    'one value of 1 MB': `x-a: ${'a'.repeat(1_000_000)}`,
    'one name of 20 000 bytes': `${'a'.repeat(20_000)}: b`,
    'fields of 17 KB': Array.from({ length: 17 }, (_, index) => `x-${index}: ${'a'.repeat(1000)}`).join('\r\n'),
    'a cookie of 40 KB': `cookie: ${'a=b; '.repeat(8000)}`,
  },
  withField,
);

const hidden = refused('empty name', {
  'an empty name before the length': withFraming(': x\r\ncontent-length: 2'),
  'an empty name before the coding': withFraming(': x\r\ntransfer-encoding: chunked', '0\r\n\r\n'),
  'an empty name and value before the length': withFraming(':\r\ncontent-length: 2'),
  'an empty name with a space before the length': withFraming(' : x\r\ncontent-length: 2'),
});

/**
 * The library trims white space of any length, and bytes from 0x80, at the ends of a value, and ends its list of fields at an
 * empty name. Host is written anew and the other fields are gone, so what goes up is sound (docs/acceptor.md).
 */
const trimmed = served('trimmed by the library', Verdict.prefix, getLine.trimEnd(), {
  'a high byte at the end of Host': withHost('a.test\xe9'),
  'a superscript at the end of a port': withHost('a.test:8\xb9'),
  'a value of 20 000 spaces and a letter': withField(`x-a: ${' '.repeat(20_000)}b`),
  'an empty name twice': withField(': a\r\n: b\r\ncontent-length: 5'),
});

export const requestFieldRows: readonly RequestRow[] = [
  ...hosts,
  ...hostFields,
  ...names,
  ...lines,
  ...singles,
  ...controls,
  ...sizes,
  ...hidden,
  ...trimmed,
];
