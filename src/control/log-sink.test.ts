import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { until } from './fixtures/until.ts';
import { LogSink } from './log-sink.ts';

const folder = mkdtempSync(join(tmpdir(), 'penstock-log-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('log: when lines are written and the sink is closed, all of them are in the destination, in order', async () => {
  const destination = join(folder, 'plain.log');
  const sink = new LogSink({ pretty: false, destination });
  for (let index = 0; index < 1000; index++) sink.write(`{"index":${index}}\n`);
  expect(await sink.close(5000)).toBe(true);
  const lines = readFileSync(destination, 'utf8').trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { index: number }).index)).toEqual([...Array(1000).keys()]);
  expect(sink.droppedCount).toBe(0);
});

// FAULTS F51: bounded log memory, no stall.
test('log: when stdout is blocked, memory is bounded, lines are dropped and counted, and the gap shows in the log', async () => {
  const path = join(folder, 'blocked.fifo');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let droppedCount = 0;
  const sink = new LogSink({ pretty: false, destination: path, onDropped: (count) => void (droppedCount += count) });
  const line = JSON.stringify({ msg: 'x'.repeat(1000) }) + '\n';
  const lineCount = 30_000;
  let longestMs = 0;
  for (let index = 0; index < lineCount; index++) {
    const startMs = performance.now();
    sink.write(line);
    longestMs = Math.max(longestMs, performance.now() - startMs);
    if (index % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const acceptedBytes = (lineCount - sink.droppedCount) * line.length;
  expect(sink.droppedCount).toBeGreaterThan(0);
  expect(sink.droppedCount).toBe(droppedCount);
  expect(acceptedBytes).toBeLessThan(9 * 1024 * 1024);
  expect(longestMs, 'no write waits for the reader').toBeLessThan(500);

  const chunk = Buffer.alloc(1024 * 1024);
  let text = '';
  const drain = (): void => {
    try {
      for (let bytes = readSync(reader, chunk); bytes > 0; bytes = readSync(reader, chunk)) {
        text = (text + chunk.toString('latin1', 0, bytes)).slice(-4096);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  };
  await until('the log goes on', () => {
    drain();
    sink.write('{"msg":"after"}\n');
    return text.includes('"msg":"log lines dropped"') && text.includes('after');
  });
  const closed = sink.close(5000);
  const pump = setInterval(drain, 5);
  expect(await closed).toBe(true);
  clearInterval(pump);
  closeSync(reader);
});

// FAULTS F50.
test('log: when the disk is full, writing goes on without an error and lines are counted as dropped', async () => {
  const sink = new LogSink({ pretty: false, destination: '/dev/full' });
  await until('lines are dropped', () => {
    sink.write('{"msg":"lost"}\n');
    return sink.droppedCount > 0;
  });
  expect(await sink.close(100)).toBe(false);
});

test('log: when pretty is asked for, lines are for people', async () => {
  const destination = join(folder, 'pretty.log');
  const sink = new LogSink({ pretty: true, destination });
  sink.write('{"level":30,"time":0,"msg":"hello"}\n');
  expect(await sink.close(5000)).toBe(true);
  expect(readFileSync(destination, 'utf8')).toMatch(/INFO.*hello/);
});
