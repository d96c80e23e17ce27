import type { Logger } from 'pino';
import type { Admission } from '../shm/index.ts';

/**
 * How much of the container's memory the process uses, told to the shards, which turn new requests away before the
 * system ends the process. Nothing is told where there is no limit.
 */
const periodMs = 250;

export class MemoryWatch {
  readonly #timer: NodeJS.Timeout;

  /** `limitBytes`: 0 or less is none. Tests pass their own numbers. */
  constructor(
    admission: Admission,
    limitBytes: number = containerBytes(),
    usedBytes: () => number = () => process.memoryUsage.rss(),
  ) {
    const look = (): void => admission.setMemoryPercent((usedBytes() / limitBytes) * 100);
    this.#timer = setInterval(look, periodMs).unref();
    if (limitBytes > 0) look();
    else clearInterval(this.#timer);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Of the control group; 0 where it has no limit, which the system says with a number larger than any memory. */
function containerBytes(): number {
  const bytes = process.constrainedMemory();
  return bytes > 0 && bytes < 2 ** 50 ? bytes : 0;
}

/** Bodies are not all that grows with load: sockets, records and the heap need their part, and the budget may be overdrawn. */
const bodyShare = 0.4;
const bodyBytesMin = 16 * 1024 * 1024;

/**
 * `limits.buffered_bytes_max`, or what the container leaves for bodies where that is less: a budget that the system ends
 * the process for using protects nothing.
 */
export function bodyBudgetBytes(
  configuredBytes: number,
  log: Logger,
  limitBytes: number = containerBytes(),
  usedBytes: number = process.memoryUsage.rss(),
): number {
  if (limitBytes <= 0) return configuredBytes;
  const roomBytes = Math.max(bodyBytesMin, Math.floor((limitBytes - usedBytes) * bodyShare));
  if (configuredBytes <= roomBytes) return configuredBytes;
  log.warn(
    { buffered_bytes_max: configuredBytes, used_instead: roomBytes, container_bytes: limitBytes },
    'limits.buffered_bytes_max is more than the memory limit of the container leaves for bodies',
  );
  return roomBytes;
}
