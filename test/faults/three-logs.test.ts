import { expect, test } from 'vitest';
import type { Asked } from './asking.ts';
import type { Execution } from './engine.ts';
import type { AccessRecord } from './gateway.ts';
import { contradictions } from './three-logs.ts';

// A checker that finds nothing would keep every promise.

function asked(changes: Partial<Asked> = {}): Asked {
  return {
    id: 'r1',
    key: 'k1x',
    isStream: false,
    tokens: 4,
    startMs: 0,
    endMs: 1,
    status: 200,
    code: '',
    retryAfter: 0,
    isWhole: true,
    wrong: null,
    failure: '',
    isAbandoned: false,
    mayBeLost: false,
    text: '',
    ...changes,
  };
}

function execution(outcome: Execution['outcome'] = 'answered'): Execution {
  return { id: 'r1', outcome } as Execution;
}

function record(changes: Partial<AccessRecord> = {}): AccessRecord {
  return { request_id: 'r1', status: 200, reason: 'done', retries: 0, path: '/', ...changes };
}

test('faults: when the three logs tell one story, there is no contradiction', () => {
  expect(contradictions([asked()], [execution()], [record()])).toEqual([]);
  const retried = [execution('failed'), execution()];
  expect(contradictions([asked()], retried, [record({ retries: 1 })])).toEqual([]);
  const cut = asked({ isWhole: false, code: 'stream_truncated' });
  expect(contradictions([cut], [execution('failed')], [record({ reason: 'stream_truncated' })])).toEqual([]);
  expect(contradictions([asked({ status: 0, failure: 'ECONNREFUSED', isWhole: false })], [], [])).toEqual([]);
});

test.each([
  ['bytes of another request', [asked({ wrong: 'another answer' })], [execution()], [record()], 'wrong bytes'],
  ['no record', [asked()], [execution()], [], 'no access record'],
  ['two records', [asked()], [execution()], [record(), record()], '2 access records'],
  ['two answers', [asked()], [execution(), execution()], [record({ retries: 1 })], 'more than one engine'],
  ['a hidden retry', [asked()], [execution('failed'), execution()], [record()], 'executed 2 times'],
  ['another status', [asked({ status: 502 })], [execution()], [record()], 'status 502, but 200'],
  ['a whole answer', [asked()], [execution()], [record({ reason: 'stream_truncated' })], 'a whole answer with reason'],
  ['a cut answer', [asked({ isWhole: false })], [execution()], [record()], 'a cut answer with reason done'],
] as const)('faults: when the logs differ by %s, that is said', (_, clients, engines, gateway, said) => {
  expect(contradictions(clients, engines, gateway).join('; ')).toContain(said);
});
