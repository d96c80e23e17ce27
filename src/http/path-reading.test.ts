import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isCleanTarget } from './head-rules.ts';
import { looseReading } from './path-reading.ts';

// RFC 3986 section 6: each of these is equivalent for some server.
test.each([
  ['/v1/chat/completions', '/v1/chat/completions'],
  ['/', '/'],
  ['//', '/'],
  ['/v1//chat///completions', '/v1/chat/completions'],
  ['/v1/chat/completions/', '/v1/chat/completions'],
  ['/v1/chat%2Fcompletions', '/v1/chat/completions'],
  ['/v1%2f%2Fchat/completions', '/v1/chat/completions'],
  ['/v1/%63hat/completions', '/v1/chat/completions'],
  ['/v1/chat;v=1/completions;a', '/v1/chat/completions'],
  ['/v1/chat%3bv=1/completions', '/v1/chat/completions'],
  ['/v1/%2563hat', '/v1/%63hat'],
  ['/V1/chat', '/V1/chat'],
  ['/a%c3%a9', '/a\u00c3\u00a9'],
])('path reading: when the path is %s, a lenient server may read %s', (path, reading) => {
  expect(looseReading(path)).toBe(reading);
});

test('path reading: when a clean path is read leniently, no dot segment and no other reading comes out of it', () => {
  const piece = fc.constantFrom('/', '.', '..', 'a', '%2e', '%2F', '%3B', ';', '%63', '%', 'B');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const path = `/${pieces.join('')}`;
      if (!isCleanTarget(path)) return;
      const reading = looseReading(path);
      expect(reading).toMatch(/^\//);
      expect(reading.split('/').filter((segment) => segment === '.' || segment === '..')).toEqual([]);
      expect(reading).not.toMatch(/;|\/\/|.\/$/);
    }),
    { numRuns: 2000 },
  );
});
