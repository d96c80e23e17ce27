import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RequestHead } from '../exchange/index.ts';
import { credentialLines, writeRequestHead } from './request-head-writer.ts';

const options = {
  authority: 'endpoint:8000',
  basePath: '/base',
  credentialLines: credentialLines('openai', 'key'),
  passesAuthorization: true,
};

function headOf(fields: readonly (readonly [name: string, value: string])[]): RequestHead {
  const head = new RequestHead();
  head.method = 'POST';
  head.path = '/v1/chat/completions';
  for (const [name, value] of fields) head.append(name, value);
  return head;
}

// FAULTS S8: whatever text a filter hands over, it is refused or stays on its line.
test('request head: when a filter sets any field, it throws or the head has one line more and nothing else', () => {
  const piece = fc.constantFrom(
    '\r',
    '\n',
    '\0',
    ':',
    ' ',
    '\t',
    'a',
    'B',
    '_',
    '\u00e9',
    '\u4e0a',
    '\u4e0d',
    '\ud800',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((pieces) => pieces.join('')),
  );
  const before = writeRequestHead(headOf([['x-a', '1']]), 'id', 5, options).split('\r\n');
  fc.assert(
    fc.property(text, text, (name, value) => {
      const head = headOf([['x-a', '1']]);
      try {
        head.add(name, value);
      } catch {
        expect([head.count, head.wireCount], 'a refused field leaves no trace').toEqual([1, 1]);
        return;
      }
      // As the endpoint gets it.
      const written = Buffer.from(writeRequestHead(head, 'id', 5, options), 'utf8').toString('latin1');
      const lines = written.split('\r\n');
      expect(written.replaceAll('\r\n', '')).not.toMatch(/[\r\n\0]/);
      expect([before.length, before.length + 1]).toContain(lines.length);
      expect(lines.filter((line) => before.includes(line))).toEqual(before);
    }),
    { numRuns: 3000 },
  );
});

test('request head: when fields are removed and set, those of the client are still told from ours', () => {
  const head = headOf([
    ['x-real-ip', 'theirs'],
    ['x-b', '1'],
    ['x-real-ip', 'theirs too'],
  ]);
  head.remove('x-b');
  expect([head.count, head.wireCount]).toEqual([2, 2]);
  expect(writeRequestHead(head, 'id', 0, options)).not.toContain('x-real-ip');
  head.set('X-Real-IP', 'ours');
  expect([head.count, head.wireCount]).toEqual([1, 0]);
  expect(writeRequestHead(head, 'id', 0, options)).toContain('\r\nx-real-ip: ours\r\n');
  expect(() => head.set('x-real-ip', 'a\nb')).toThrow('x-real-ip');
  expect(head.get('x-real-ip'), 'a refused value leaves the old one').toBe('ours');
});
