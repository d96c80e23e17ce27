import pino from 'pino';
import { expect, test } from 'vitest';
import { warnOfExpiry } from './expiry.ts';

test('expiry: when certificates have expired, soon will, or last, the first two are warned of with their days', () => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) });
  const dayMs = 86_400_000;
  const nowMs = Date.UTC(2026, 0, 31);
  const facts = (certPath: string, days: number): Parameters<typeof warnOfExpiry>[1][number] => ({
    listener: 'public',
    certPath,
    serverNames: [],
    fingerprint: '',
    notAfterMs: nowMs + days * dayMs,
  });
  warnOfExpiry(log, [facts('old', -2.5), facts('soon', 13.5), facts('fine', 15)], nowMs);
  expect(lines.map(({ msg, cert_path, days_left }) => [msg, cert_path, days_left])).toEqual([
    ['certificate has expired', 'old', -3],
    ['certificate expires soon', 'soon', 13],
  ]);
  expect(lines[1]).toMatchObject({ listener: 'public', not_after: '2026-02-13T12:00:00.000Z' });
});
