/**
 * Numbers, sizes and durations as people write them: `64MiB`, `30s`, or a plain integer of bytes or milliseconds.
 *
 * Suffixes are case-sensitive: `MB` is 10^6 and `MiB` is 2^20 (IEC 80000-13), and `m` is minutes, so a guess would be
 * wrong by a factor of 1000 or more. A numeric string counts as the number, because `${ENV}` always gives a string.
 */
import type { Reading } from './reading.ts';

const byteUnits: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

const msUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** For the JSON Schema: an editor must not underline a variable, whose value it cannot know. */
const orVariable = String.raw`|\$\{`;
const integerPattern = /^-?\d+$/;
const numberPattern = /^-?\d+(\.\d+)?$/;
export const jsonPatterns = {
  size: String.raw`^\d+(\.\d+)?([KMGT]i?B|B)?$` + orVariable,
  duration: String.raw`^\d+(\.\d+)?(ms|s|m|h)?$` + orVariable,
  integer: integerPattern.source + orVariable,
  number: numberPattern.source + orVariable,
} as const;

function readQuantity(
  raw: number | string,
  units: Readonly<Record<string, number>>,
  complaint: string,
): Reading<number> {
  let value: number;
  if (typeof raw === 'number') {
    value = raw;
  } else {
    const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(raw) ?? [];
    const factor = unit === '' ? 1 : Object.hasOwn(units, unit) ? units[unit] : undefined;
    if (digits === undefined || factor === undefined) return { complaint };
    // Rounded because 1.1 * 1000 is 1100.0000000000002; a remainder that is not float noise is refused below.
    const product = Number(digits) * factor;
    const rounded = Math.round(product);
    value = Math.abs(product - rounded) < 1e-6 ? rounded : product;
  }
  return Number.isSafeInteger(value) && value >= 0 ? { value } : { complaint };
}

/** Whole bytes. */
export function readBytes(raw: number | string): Reading<number> {
  return readQuantity(raw, byteUnits, 'must be a size such as 64MiB, 10MB or a number of bytes');
}

/** Whole milliseconds. */
export function readDurationMs(raw: number | string): Reading<number> {
  return readQuantity(raw, msUnits, 'must be a duration such as 500ms, 30s, 5m, 1h or a number of milliseconds');
}

export function readInteger(raw: number | string): Reading<number> {
  const value = typeof raw === 'number' ? raw : integerPattern.test(raw) ? Number(raw) : Number.NaN;
  return Number.isSafeInteger(value) ? { value } : { complaint: 'must be a whole number' };
}

export function readNumber(raw: number | string): Reading<number> {
  const value = typeof raw === 'number' ? raw : numberPattern.test(raw) ? Number(raw) : Number.NaN;
  return Number.isFinite(value) ? { value } : { complaint: 'must be a number' };
}
