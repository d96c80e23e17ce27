import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { closeReasonsMarkdown } from './close-reasons-doc.ts';
import { closeCodes, closeReasons } from './close-reasons.ts';

test('exchange: when a close reason changes, docs/errors.md changes with it', () => {
  const page = new URL('../../docs/errors.md', import.meta.url);
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(page, closeReasonsMarkdown());
  const isSame = readFileSync(page, 'utf8') === closeReasonsMarkdown();
  expect(isSame, 'docs/errors.md is stale: UPDATE_DOCS=1 npx vitest run src/exchange').toBe(true);
});

// CONTRACT section 3: what clients branch on.
test('exchange: when a code is promised to clients, the table has it with that status', () => {
  const promised: readonly (readonly [status: number, codes: readonly string[]])[] = [
    [400, ['head_invalid', 'body_invalid']],
    [403, ['not_allowed']],
    [404, ['model_not_found', 'not_found']],
    [408, ['request_timeout']],
    [411, ['length_required']],
    [413, ['body_too_large']],
    [414, ['target_too_long']],
    [429, ['shed']],
    [431, ['head_too_large']],
    [501, ['not_implemented']],
    [502, ['connect_failed', 'upstream_reset', 'upstream_invalid']],
    [503, ['no_endpoint', 'saturated', 'draining']],
    [504, ['first_byte_timeout', 'stream_timeout']],
  ];
  for (const [status, codes] of promised) {
    for (const code of codes) expect(closeReasons, code).toHaveProperty([code, 'status'], status);
  }
});

test('exchange: when the table is walked, every reason can be shown to a client and to an operator', () => {
  for (const code of closeCodes) {
    const { status, type, retryAfterSeconds, doc } = closeReasons[code];
    expect(doc, code).toMatch(/^\S[^|\n]*\.$/);
    expect(status === 0 || (status >= 400 && status < 600), code).toBe(true);
    if (status > 0) expect(type, code).toMatch(/_error$/);
    // RFC 9110 section 10.2.3; clients of model APIs wait by it.
    expect(retryAfterSeconds > 0, code).toBe(status === 429 || status === 503);
  }
});
