import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
let schema = '';

/** Whether this version's file has a key of that name. A limit that is not there cannot be set, and its promise is broken. */
export function knowsKey(name: string): boolean {
  if (schema === '') schema = spawnSync(process.execPath, [cli, 'schema'], { encoding: 'utf8' }).stdout;
  return schema.includes(`"${name}"`);
}
