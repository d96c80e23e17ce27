/** Waits of minutes in which nothing may give up: test/soak/, whose tests take as long as what they wait for. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Checks } from '../checks.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const vitest = fileURLToPath(new URL('../../../node_modules/vitest/vitest.mjs', import.meta.url));

/** @type {import('../types.d.ts').Scenario} */
export const waits = {
  name: 'waits',
  summary: 'a 65 s wait for the first token, a 3 minute stream with gaps of 20 s',
  run: async () => {
    const child = spawn(process.execPath, [vitest, 'run', '--config', 'test/soak/vitest.config.ts', '--root', '.'], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const code = await new Promise((resolve) => child.once('exit', resolve));
    const checks = new Checks();
    checks.promise('every token arrives, however late', code === 0, `exit code ${code}`);
    return { figures: {}, checks: checks.list, samples: [], notes: [] };
  },
};
