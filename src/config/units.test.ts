import { expect, test } from 'vitest';
import { readBytes, readDurationMs, readInteger, readNumber } from './units.ts';

test('config: when a size is written with a unit, MB counts in thousands and MiB in 1024s', () => {
  const sizes: [number | string, number][] = [
    ['64MiB', 67_108_864],
    ['16KiB', 16_384],
    ['1GiB', 1_073_741_824],
    ['10MB', 10_000_000],
    ['1.5KiB', 1536],
    ['1.1KB', 1100],
    ['7B', 7],
    ['4096', 4096],
    [4096, 4096],
    [0, 0],
  ];
  for (const [written, bytes] of sizes) expect(readBytes(written), String(written)).toEqual({ value: bytes });
});

test('config: when a size is ambiguous, negative, fractional or too large to count, it is refused', () => {
  for (const written of [
    '64mb',
    '64M',
    '64 MiB',
    '-1',
    '',
    'MiB',
    '0.3B',
    '1e3',
    -1,
    1.5,
    Number.NaN,
    '9007199254740993',
    '1constructor',
  ]) {
    expect(readBytes(written), String(written)).toHaveProperty('complaint');
  }
});

test('config: when a duration is written with a unit, it is read in milliseconds', () => {
  const durations: [number | string, number][] = [
    ['500ms', 500],
    ['30s', 30_000],
    ['1.1s', 1100],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['250', 250],
    [250, 250],
  ];
  for (const [written, ms] of durations) expect(readDurationMs(written), String(written)).toEqual({ value: ms });
  for (const written of ['30 s', '5M', '1d', '0.5ms', 'soon']) {
    expect(readDurationMs(written), written).toHaveProperty('complaint');
  }
});

test('config: when a number comes as text, as every variable does, it is read as the number', () => {
  expect(readInteger('-12')).toEqual({ value: -12 });
  expect(readNumber('0.25')).toEqual({ value: 0.25 });
  for (const written of ['', '0x10', '1e3', '1.5', ' 1'])
    expect(readInteger(written), written).toHaveProperty('complaint');
});
