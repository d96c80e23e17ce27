/** The store that gateways share: a Valkey or Redis of the bench's own, in memory, on loopback. */
import { spawnSync } from 'node:child_process';
import { freePort, Process } from '../../process.mjs';

const programs = ['valkey-server', 'redis-server'];

/** The program found here, or null. */
export const storeProgram = programs.find((name) => spawnSync(name, ['--version']).status === 0) ?? null;

/** @returns {Promise<{ url: string, stop: () => Promise<void> }>} */
export async function startStore() {
  if (storeProgram === null) throw new Error(`none of ${programs.join(', ')} is installed`);
  const port = await freePort();
  const argv = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const server = new Process('the store', storeProgram, argv);
  await server.said(/Ready to accept connections/);
  return { url: `redis://127.0.0.1:${port}`, stop: () => server.stop() };
}
