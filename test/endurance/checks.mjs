/** What a run is held to. */

export class Checks {
  /** @type {import('./types.d.ts').Check[]} */
  list = [];

  /** Broken, it fails the run. @param {string} text @param {boolean} isKept @param {string | number} seen */
  promise(text, isKept, seen) {
    this.list.push({ kind: 'promise', text, isKept, seen: String(seen) });
  }

  /** Missed, it is reported. @param {string} text @param {boolean} isKept @param {string | number} seen */
  target(text, isKept, seen) {
    this.list.push({ kind: 'target', text, isKept, seen: String(seen) });
  }

  /** @param {Awaited<ReturnType<import('./gateway.mjs').Gateway['leftovers']>>} left */
  nothingLeft(left) {
    for (const [name, text] of /** @type {const} */ ([
      ['leases', 'leases outstanding afterwards: 0'],
      ['exchanges', 'exchanges open afterwards: 0'],
      ['slabs', 'slabs in use afterwards: 0'],
      ['bufferedBytes', 'bytes of bodies held afterwards: 0'],
      ['connections', 'client connections open afterwards: 0'],
      ['inflight', 'requests in flight by the table of endpoints afterwards: 0'],
      ['inflightTokens', 'tokens in flight by the table of endpoints afterwards: 0'],
      ['queued', 'requests queued afterwards: 0'],
      ['bugs', 'penstock_bug_total: 0'],
    ])) {
      this.promise(text, left[name] === 0, left[name]);
    }
    // Without a baseline there is nothing to say of them.
    if (!Number.isFinite(left.fdsAboveBaseline)) return;
    // The control thread's own connections to engines come and go beside all this.
    this.promise(
      'file descriptors afterwards: at most two more than before',
      left.fdsAboveBaseline <= 2,
      signed(left.fdsAboveBaseline),
    );
  }

  /**
   * The delay of the shards' timers. A target, because on a machine that is full the kernel's scheduler decides it: what the
   * threads waited for a processor is said beside it, and what a timer met that had nothing to do. Where that one was later
   * than the target asks, this machine cannot say whether it is met.
   * @param {Awaited<ReturnType<import('./delays.mjs').Delays['end']>>} delays
   */
  delays({ shards, cpuWaitRatio, bareP99_9Ms }) {
    this.target(
      'event-loop delay, 99.9th percentile: at most 5 ms',
      shards.p99_9Ms <= 5,
      `${shards.p99_9Ms.toFixed(1)} ms (median ${shards.p50Ms.toFixed(2)}, p99 ${shards.p99Ms.toFixed(1)}, longest ${shards.maxMs.toFixed(1)}; ` +
        `${shards.count} values; the gateway's threads waited for a processor ${(cpuWaitRatio * 100).toFixed(0)} % of the time, added up); ` +
        `a thread with nothing but a timer, beside it: ${bareP99_9Ms.toFixed(1)} ms`,
    );
  }
}

/** @param {number} value */
function signed(value) {
  return value > 0 ? `+${value}` : String(value);
}
