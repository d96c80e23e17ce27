/** How a peer that is one program with one configuration file is started. */
import { freePort, Process } from '../process.mjs';

/**
 * @param {string} name
 * @param {(port: number) => { command: string, argv: string[], env?: Record<string, string>, cwd?: string }} commandFor
 * @param {Record<string, string>} [headers]
 * @returns {Promise<import('../types.d.ts').RunningPeer>}
 */
export async function startProgram(name, commandFor, headers = {}) {
  const port = await freePort();
  const { command, argv, ...options } = commandFor(port);
  const child = new Process(name, command, argv, options);
  await child.listens(port);
  return { port, pid: child.pid, headers, stop: () => child.stop() };
}
