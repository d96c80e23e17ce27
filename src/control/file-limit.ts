import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Config } from '../config/index.ts';

/**
 * How many connections clients may have, so that they cannot use up the file descriptors of the process. When `accept`
 * finds none the acceptor is woken again and again for a connection it cannot take (measured: a core at 100 % until one is
 * free), and endpoints, admin port and log would have none either. So clients get a little less than half: each may need an
 * endpoint's connection.
 */
const clientShare = 0.48;
/** Libraries, log, admin port, event loops: what is open before the first client. Measured: 40 with one shard. */
const ownCount = 64;
const ownCountPerShard = 16;
/** Where the limit cannot be read, and the most there is any use for. */
const connectionsUnknown = 65_536;
const connectionsMost = 1_000_000;
const connectionsLeast = 16;
/** Below it the operator is told at the start: many systems give a process 1024. */
const fileCountLow = 4096;

/** Files the process may have open, which Node has raised to the hard limit by now; null where it cannot be told. */
export function openFilesMax(): number | null {
  let text: string;
  try {
    text = readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return null;
  }
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(text);
  if (found === null) return null;
  return found[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found[1]);
}

export function connectionsFor(filesMax: number | null, shardCount: number): number {
  if (filesMax === null) return connectionsUnknown;
  const forOthers = ownCount + ownCountPerShard * shardCount;
  const count = Math.floor((filesMax - forOthers) * clientShare);
  return Math.max(connectionsLeast, Math.min(connectionsMost, count));
}

/** `limits.connections_max` as a number; says so where the process has too few files for it. */
export function connectionsMaxOf(
  config: Config,
  shardCount: number,
  log: Logger,
  filesMax: number | null = openFilesMax(),
): number {
  const { connectionsMax } = config.limits;
  const fitting = connectionsFor(filesMax, shardCount);
  const files = { open_files_max: filesMax, connections_fitting: fitting };
  if (connectionsMax === 'auto') {
    if (filesMax !== null && filesMax < fileCountLow)
      log.warn(files, 'the limit of open files is low: few clients can be connected at once (ulimit -n)');
    return fitting;
  }
  if (connectionsMax > fitting)
    log.warn(
      { ...files, connections_max: connectionsMax },
      'limits.connections_max is more than the limit of open files leaves room for (ulimit -n)',
    );
  return connectionsMax;
}
