/** What a scenario found, and how it is told: one line a promise, JSON where it is asked for, exit code 1 on a broken one. */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';

/** @typedef {{ text: string, isKept: boolean, seen: string | number }} Promise_ */
/** @typedef {{ scenario: string, seconds: number, promises: Promise_[], figures: Record<string, unknown> }} Outcome */

/** Whether the kernel hands connections that wait at a closing listener to another one of the port. */
export function migratesRequests() {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').trim() === '1';
  } catch {
    return false;
  }
}

/**
 * The command line of a scenario: `--seconds N --json FILE`.
 * @param {(options: { seconds: number }) => Promise<Outcome>} run @param {number} secondsDefault
 */
export async function main(run, secondsDefault) {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: String(secondsDefault) }, json: { type: 'string' } },
  });
  // Times say little on a machine that does other things: this is how much it did before.
  const [loadAverage] = loadavg();
  const outcome = await run({ seconds: Number(values.seconds) });
  const environment = {
    node: process.version,
    kernel: release(),
    cpus: availableParallelism(),
    load_average: loadAverage,
    tcp_migrate_req: migratesRequests() ? 1 : 0,
  };
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ environment, ...outcome }, null, 2)}\n`);
  console.log(JSON.stringify({ environment, ...outcome.figures }, null, 2));
  for (const { text, isKept, seen } of outcome.promises)
    console.log(`${isKept ? 'kept  ' : 'BROKEN'} ${text}: ${seen}`);
  process.exit(outcome.promises.every(({ isKept }) => isKept) ? 0 : 1);
}
