/** Penstock as `npm run build` made it, with one and with two shards. All its processes count, the supervisor too. */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort, Process } from '../process.mjs';
import { render } from './template.mjs';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const readyTimeoutMs = 15_000;

/**
 * @param {string} name
 * @param {string} summary
 * @param {number} shards
 * @returns {import('../types.d.ts').Peer}
 */
function penstockWith(name, summary, shards) {
  return {
    name,
    summary,
    find: () => {
      /** @type {{ version: string }} */
      const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
      return version;
    },
    start: async ({ enginePort, folder }) => {
      const port = await freePort();
      const adminPort = await freePort();
      const values = { PORT: port, ADMIN_PORT: adminPort, ENGINE_PORT: enginePort, SHARDS: shards };
      const argv = [cli, 'run', '-c', render('penstock.yaml', folder, values)];
      const child = new Process(name, process.execPath, argv);
      await ready(adminPort);
      return { port, pid: child.pid, headers: {}, stop: () => child.stop() };
    },
  };
}

export const penstock = penstockWith('penstock', 'one shard; routed by the model in the body', 1);
export const penstock2 = penstockWith('penstock-2', 'two shards; routed by the model in the body', 2);

/** @param {number} adminPort */
async function ready(adminPort) {
  const deadline = Date.now() + readyTimeoutMs;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${adminPort}/ready`).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok === true) return;
    if (Date.now() > deadline) throw new Error('the gateway was not ready in time');
    await setTimeout(50);
  }
}
