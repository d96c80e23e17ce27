import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The library reads certificates from files by name. What it is to read was checked and is held in memory (the file on
 * disk may be another by now, or gone), so it is lent out as files of this user alone, for the length of one call. On
 * Linux they lie in memory: a private key never touches a disk it did not come from.
 */
const folders: readonly string[] = process.platform === 'linux' ? ['/dev/shm', tmpdir()] : [tmpdir()];

/** Calls `use` with a function that makes a file of a text and returns its path. The files are gone when it returns. */
export function withPrivateFiles<Result>(use: (fileOf: (text: string) => string) => Result): Result {
  const folder = makeFolder();
  let count = 0;
  const fileOf = (text: string): string => {
    const path = join(folder, `${count++}.pem`);
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
    return path;
  };
  try {
    return use(fileOf);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function makeFolder(): string {
  const said: string[] = [];
  for (const parent of folders) {
    try {
      return mkdtempSync(join(parent, 'penstock-')); // Mode 0700.
    } catch (error) {
      said.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`no folder for private files: ${said.join('; ')}`);
}
