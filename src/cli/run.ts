import { fileURLToPath } from 'node:url';
import pino from 'pino';
import type { Logger } from 'pino';
import pretty from 'pino-pretty';
import { keepEnvironmentOutOfReports, Supervisor } from '../control/index.ts';
import { parseOptions } from './arguments.ts';
import { UsageError } from './output.ts';

/** `penstock run`: this process supervises, a child is the gateway. Returns the exit code. */
export function runCommand(argv: readonly string[]): Promise<number> {
  const { config } = parseOptions('run', argv, { config: { type: 'string', short: 'c' } });
  if (config === undefined) throw new UsageError('-c FILE is required', 'run');
  keepEnvironmentOutOfReports(() => {});
  return new Supervisor({ nodeArguments: gatewayArguments(config), log: supervisorLog() }).run();
}

/**
 * A full collection stops its thread for 5 to 25 ms here, for heaps of 10 MB of which next to nothing is garbage: what an
 * exchange allocates dies young. V8 makes one when a heap passes its first few MB, and two more whenever a thread has been
 * quiet for 8 s, to give memory back. The first are put off until there is something to find, the others are not made.
 */
const collectorFlags = ['--initial-old-space-size=32', '--no-memory-reducer'];

/** Arguments of node for a gateway process; Node's own flags (inspector, heap) are handed on, and come last: they win. */
export function gatewayArguments(configPath: string): string[] {
  return [
    ...collectorFlags,
    ...process.execArgv,
    fileURLToPath(new URL('../main.js', import.meta.url)),
    '-c',
    configPath,
  ];
}

/** The supervisor writes a line only when something dies; not waiting for a slow stdout, so that it cannot block it. */
export function supervisorLog(): Logger {
  const level = process.env['LOG_LEVEL']?.toLowerCase() ?? 'info';
  const options = { level: level === 'silent' || Object.hasOwn(pino.levels.values, level) ? level : 'info' };
  if (process.stdout.isTTY) return pino(options, pretty({ ignore: 'pid,hostname', destination: 1 }));
  return pino(options, pino.destination({ dest: 1, sync: false }));
}
