import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  connectionTokens,
  isCleanFieldValue,
  isCleanTarget,
  isSameToken,
  isToken,
  isValidHost,
  knownMethods,
  parseContentLength,
} from './head-rules.ts';
import { hopByHop } from './field-rules.ts';
import { statusLine, statusText } from './status-text.ts';

// RFC 9110 section 5.6.2.
test('head rules: when every character is tried as a name, only tchars make a token', () => {
  for (let code = 0; code < 0x300; code++) {
    const char = String.fromCharCode(code);
    const isTchar = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(char);
    expect(isToken(char), `U+${code.toString(16)}`).toBe(isTchar);
    expect(isToken(`a${char}b`)).toBe(isTchar);
  }
  expect(isToken('')).toBe(false);
});

// RFC 9110 section 5.5.
test('head rules: when a field value holds a control character, it is not clean', () => {
  for (let code = 0; code < 0x300; code++) {
    const isControl = (code < 0x20 && code !== 0x09) || code === 0x7f;
    expect(isCleanFieldValue(`a${String.fromCharCode(code)}b`), `U+${code.toString(16)}`).toBe(!isControl);
  }
  expect(isCleanFieldValue('')).toBe(true);
  expect(isCleanFieldValue('上'), 'clean as long as it is written as UTF-8').toBe(true);
});

// RFC 9110 section 8.6.
test.each([
  ['0', 0],
  ['00', 0],
  ['3000000', 3_000_000],
  ['999999999999999', 999_999_999_999_999],
  ['1000000000000000', -1],
  ['', -1],
  [' 5', -1],
  ['5 ', -1],
  ['\u00a05', -1],
  ['+5', -1],
  ['-5', -1],
  ['5a', -1],
  ['0x5', -1],
  ['5.0', -1],
  ['5e1', -1],
  ['5, 5', -1],
  ['5,5', -1],
  ['\u0665', -1],
])('head rules: when Content-Length is %j, it is read as %i', (value, length) => {
  expect(parseContentLength(value)).toBe(length);
});

// RFC 9110 section 5.6.2: tokens are ASCII, so is their case.
test.each([
  ['chunked', true],
  ['ChunKed', true],
  ['chun\u212aed', false],
  ['chunke\u0064\u0307', false],
  ['chunked ', false],
  ['\x63hun\x4bed', true],
  ['chun+ed', false],
  ['', false],
])('head rules: when %j is compared with a token, the case of ASCII letters alone is ignored', (value, isSame) => {
  expect(isSameToken(value, 'chunked')).toBe(isSame);
});

// RFC 3986 section 3.2.2, narrowed as isValidHost says.
test.each([
  ['example.com', true],
  ['example.com:8080', true],
  ['example.com:', true],
  ['example.com:65535', true],
  ['EXAMPLE.com.', true],
  ['a_b-c~d', true],
  ['127.0.0.1:80', true],
  ['[::1]', true],
  ['[::1]:443', true],
  ['[2001:db8::7]', true],
  ['[::ffff:192.0.2.1]', true],
  ['[1:2:3:4:5:6:7:8]', true],
  ['', false],
  [':80', false],
  ['.example.com', false],
  ['example.com:65536', false],
  ['example.com:080000', false],
  ['example.com:80a', false],
  ['example.com:-1', false],
  ['example.com:80:80', false],
  ['user@example.com', false],
  ['user:pw@example.com', false],
  ['example.com/path', false],
  ['example.com?x', false],
  ['example.com#x', false],
  ['example.com\\x', false],
  ['http://example.com', false],
  ['a.example, b.example', false],
  ['a.example,b.example', false],
  ['exa mple.com', false],
  ['example.com ', false],
  ['exa%6dple.com', false],
  ['ex\u00e4mple.com', false],
  ['example.com\0', false],
  ['::1', false],
  ['[::1', false],
  ['[::1]x', false],
  ['[::1]:x', false],
  ['[]', false],
  ['[1::2::3]', false],
  ['[1:2:3:4:5:6:7:8:9]', false],
  ['[1:2:3:4:5:6:7]', false],
  ['[1:2:3:4:5:6:7::8]', false],
  ['[::12345]', false],
  ['[::g]', false],
  ['[1.2.3.4]', false],
  ['[::256.1.1.1]', false],
  ['[::1.2.3.4:5]', false],
  ['[:1:2:3:4:5:6:7]', false],
  ['[fe80::1%25eth0]', false],
  ['[v1.x]', false],
])('head rules: when Host is %j, its validity is %s', (host, isValid) => {
  expect(isValidHost(host)).toBe(isValid);
});

test('head rules: when any text stands in brackets, it is a host exactly if it is an IPv6 address', () => {
  const group = fc.oneof(fc.stringMatching(/^[0-9a-fA-F]{1,4}$/), fc.constantFrom('', '1.2.3.4', '0'));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.ipV6(),
        fc.array(group, { maxLength: 9 }).map((groups) => groups.join(':')),
      ),
      (text) => {
        expect(isValidHost(`[${text}]`)).toBe(isIPv6(text));
      },
    ),
  );
});

// RFC 9112 section 3.2.1; RFC 3986 section 6.2.2.3.
test.each([
  ['/', true],
  ['/v1/chat/completions', true],
  ['/v1/models/meta-llama%2FLlama-3.1-8B', true],
  ['/a//b', true],
  ['/...', true],
  ['/..a/.b/c.', true],
  ['/a?b=../c&d=/./e', true],
  ['/a?b=%2e%2e%2f?x', true],
  ['/a;v=1/b', true],
  ['/%3f/x', true],
  ['/a?', true],
  ['', false],
  ['*', false],
  ['a', false],
  ['http://example.com/', false],
  ['/a b', false],
  ['/a\tb', false],
  ['/a\r\nX: y', false],
  ['/a\0', false],
  ['/\u00e9', false],
  ['/a\x7f', false],
  ['/a\\b', false],
  ['/a?b=\\', false],
  ['/a#b', false],
  ['/a?b#c', false],
  ['/%', false],
  ['/%2', false],
  ['/%g0', false],
  ['/%0g', false],
  ['/%%30', false],
  ['/a?%', false],
  ['/%00', false],
  ['/%0d', false],
  ['/%0A', false],
  ['/a?b=%0d%0aX', false],
  ['/.', false],
  ['/..', false],
  ['/./a', false],
  ['/a/../b', false],
  ['/a/..?x', false],
  ['/a/%2e%2E/b', false],
  ['/a/.%2e/b', false],
  ['/a/%2e', false],
  ['/a%2f..%2fb', false],
  ['/a/..%2fb', false],
  ['/a/..%5cb', false],
  ['/a%5cb', false],
  ['/a%5Cb', false],
  ['/a%09', false],
  ['/a%1f', false],
  ['/a%7f', false],
  ['/a?b=%5c%09', true],
  ['/a/..;x=1/b', false],
  ['/a/..%3bx/b', false],
  ['/a/..;?b', false],
])('head rules: when the target is %j, its cleanness is %s', (target, isClean) => {
  expect(isCleanTarget(target)).toBe(isClean);
});

test('head rules: when a Connection field is read, its members come in lower case without white space', () => {
  expect(connectionTokens(' Keep-Alive,\tX-Foo ,, close')).toEqual(['keep-alive', 'x-foo', 'close']);
  expect(connectionTokens('')).toEqual([]);
  expect(connectionTokens('\u00a0close'), 'only SP and HTAB are white space').toEqual(['\u00a0close']);
});

test('head rules: when the fixed sets are looked at, they hold what the RFC names', () => {
  for (const name of [
    'connection',
    'keep-alive',
    'proxy-connection',
    'te',
    'trailer',
    'transfer-encoding',
    'upgrade',
  ]) {
    expect(hopByHop.has(name)).toBe(true);
  }
  expect([knownMethods.has('POST'), knownMethods.has('post'), knownMethods.has('TRACE')]).toEqual([true, false, false]);
});

test('status text: when a status is written, registered ones have their phrase and others their class', () => {
  expect([statusText(200), statusText(413), statusText(299), statusText(99)]).toEqual([
    'OK',
    'Content Too Large',
    'Successful',
    '',
  ]);
  expect([statusLine(429), statusLine(599)]).toEqual(['429 Too Many Requests', '599 Server Error']);
});
