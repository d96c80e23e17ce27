/** TypeScript with imports into one file that Node runs. */
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const mitata = fileURLToPath(new URL('mitata.mjs', import.meta.url));
const realMitata = fileURLToPath(import.meta.resolve('mitata'));

/**
 * Returns `outFile`.
 * @param {string} entry
 * @param {string} outFile
 */
export async function bundle(entry, outFile) {
  await build({
    input: entry,
    platform: 'node',
    logLevel: 'warn',
    // Asked for by mitata where there is a Bun.
    external: ['bun:jsc'],
    resolve: { alias: { mitata, 'real-mitata': realMitata } },
    output: { file: outFile, format: 'esm', codeSplitting: false },
  });
  return outFile;
}
