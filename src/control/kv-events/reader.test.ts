import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pino } from 'pino';
import { onTestFinished, expect, test } from 'vitest';
import { until } from '../fixtures/until.ts';
import { silentReport } from './protocol.ts';
import { KvEventReader } from './reader.ts';

/** A reader whose thread runs `script`; what it logs and loses is kept. */
function readerOf(script: string): { reader: KvEventReader; lines: string[]; lost: () => number } {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-reader-'));
  const path = join(folder, 'thread.mjs');
  writeFileSync(path, `import { parentPort } from 'node:worker_threads';\n${script}`);
  const lines: string[] = [];
  let lostCount = 0;
  const reader = new KvEventReader({
    log: pino({}, { write: (line: string) => void lines.push(line) }),
    onEmptied: () => {},
    onRemark: () => {},
    onLost: () => void lostCount++,
    threadFile: pathToFileURL(path),
  });
  onTestFinished(() => {
    reader.stop();
    rmSync(folder, { recursive: true });
  });
  return { reader, lines, lost: () => lostCount };
}

const publisher = { id: 7, address: { host: '127.0.0.1', port: 1 }, replayAddress: null, topic: '' };
const report = { ...silentReport(7), isConnected: true, fillTokens: 160 };

test('KV event reader: when its thread dies, nothing is known of any publisher, and another is started', async () => {
  const { reader, lines, lost } = readerOf(`
    parentPort.on('message', ({ kind, publishers }) => {
      if (kind === 'forget') throw new Error('out of order');
      for (const { id } of publishers)
        parentPort.postMessage({ kind: 'reports', reports: [{ ...${JSON.stringify(report)}, id }] });
    });`);
  reader.watch([publisher]);
  expect(reader.report(7)).toEqual(silentReport(7));
  await until('it reports', () => reader.report(7).fillTokens === 160);
  reader.forget([7]);
  await until('it is lost', () => lost() === 1);
  expect(reader.report(7)).toEqual(silentReport(7));
  expect(lines.join('')).toContain('out of order');
  await until('another reports', () => reader.report(7).fillTokens === 160);
  reader.watch([{ ...publisher, id: 8 }]);
  await until('it has been told', () => reader.report(8).fillTokens === 160);
  expect(reader.report(7), 'followed no more').toEqual(silentReport(7));
});

test('KV event reader: when there are no publishers any more, its thread ends, and that is no loss', async () => {
  const { reader, lines, lost } = readerOf(`
    parentPort.on('message', () => parentPort.postMessage({ kind: 'reports', reports: [${JSON.stringify(report)}] }));`);
  reader.watch([publisher]);
  await until('it reports', () => reader.report(7).isConnected);
  reader.watch([]);
  reader.watch([publisher]);
  expect(reader.report(7)).toEqual(silentReport(7));
  await until('a new one reports', () => reader.report(7).isConnected);
  expect([lost(), lines]).toEqual([0, []]);
});
