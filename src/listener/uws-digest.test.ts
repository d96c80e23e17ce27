import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { digestProblem } from './uws-digest.ts';

const folder = fileURLToPath(new URL('../../node_modules/uWebSockets.js/dist/bin/', import.meta.url));
const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;

// FAULTS S12.
test('uws digest: when the files are those that were bundled, every one of them is known', () => {
  const names = readdirSync(folder);
  expect(names).toContain(name);
  for (const each of names) expect(digestProblem(join(folder, each)), each).toBeNull();
}, 60_000);

test('uws digest: when one bit of a file differs, or its name, it is refused', () => {
  const copy = mkdtempSync(join(tmpdir(), 'penstock-uws-'));
  onTestFinished(() => rmSync(copy, { recursive: true }));
  const bytes = readFileSync(join(folder, name));
  writeFileSync(join(copy, 'uws_linux_x64_1.node'), bytes);
  expect(digestProblem(join(copy, 'uws_linux_x64_1.node'))).toBe(
    'uws_linux_x64_1.node is no build of the bundled version',
  );
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(join(copy, name), bytes);
  expect(digestProblem(join(copy, name))).toMatch(`${name} is not the file that was bundled: its SHA-256 is `);
});
