/**
 * `npm run faults [-- F05 F2x] [--json FILE] [--docs]`: the fault catalogue against the real program. The suite is TypeScript
 * and shares the peers of test/rig, so it is bundled first; Node 20 runs no TypeScript.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'rolldown';

const entry = fileURLToPath(new URL('suite.ts', import.meta.url));
/** A folder that is ignored already, and gone with the next clean install. */
const outFile = fileURLToPath(new URL('../../node_modules/.penstock-faults/suite.mjs', import.meta.url));

/** Files find what lies beside them (the built program, fixtures) by their own URL, which a bundle would make its own. */
const ownUrls = {
  name: 'own-urls',
  /**
   * @param {string} code
   * @param {string} id
   */
  transform(code, id) {
    if (!code.includes('import.meta.url')) return null;
    return { code: code.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(id).href)), map: null };
  },
};

await build({
  input: entry,
  platform: 'node',
  logLevel: 'warn',
  plugins: [ownUrls],
  output: { file: outFile, format: 'esm', codeSplitting: false },
});
const suite = spawn(process.execPath, [outFile, ...process.argv.slice(2)], { stdio: 'inherit' });
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => suite.kill(signal));
const [code] = await once(suite, 'exit');
process.exitCode = code ?? 1;
