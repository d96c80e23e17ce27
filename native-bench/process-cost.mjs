/** What a process and all its children cost, from /proc: CPU time, memory, page faults. proc(5). */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Linux counts in ticks of 1/100 s (USER_HZ) whatever the kernel's own rate is. */
const ticksPerSecond = 100;

/**
 * `cpuS` is user and system time of every thread. `rssKb` and `rssPeakKb` are sums over the processes.
 * @typedef {{ cpuS: number, rssKb: number, rssPeakKb: number, minorFaults: number, majorFaults: number }} Cost
 */

/**
 * The process and its descendants; empty for 0.
 * @param {number} rootPid
 */
export function treeOf(rootPid) {
  if (rootPid === 0) return [];
  const pids = [rootPid];
  for (let index = 0; index < pids.length; index++) {
    for (const tid of entriesOf(`/proc/${pids[index]}/task`)) {
      const children = readOr(`/proc/${pids[index]}/task/${tid}/children`, '');
      pids.push(...children.split(' ').filter(Boolean).map(Number));
    }
  }
  return pids;
}

/**
 * @param {readonly number[]} pids
 * @returns {Cost}
 */
export function costOf(pids) {
  const cost = { cpuS: 0, rssKb: 0, rssPeakKb: 0, minorFaults: 0, majorFaults: 0 };
  for (const pid of pids) {
    const stat = readOr(`/proc/${pid}/stat`, '');
    // The second field is the name in brackets and may hold blanks; the third follows the last bracket.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    cost.minorFaults += Number(fields[7] ?? 0);
    cost.majorFaults += Number(fields[9] ?? 0);
    cost.cpuS += scheduledS(pid) ?? (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond;
    const status = readOr(`/proc/${pid}/status`, '');
    cost.rssKb += Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    cost.rssPeakKb += Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return cost;
}

/**
 * @param {Cost} before
 * @param {Cost} after
 * @returns {Cost} `rssKb` and `rssPeakKb` as they are after
 */
export function costBetween(before, after) {
  return {
    cpuS: after.cpuS - before.cpuS,
    rssKb: after.rssKb,
    rssPeakKb: after.rssPeakKb,
    minorFaults: after.minorFaults - before.minorFaults,
    majorFaults: after.majorFaults - before.majorFaults,
  };
}

/**
 * Peaks count from here. Without the right to do so they count from the start of the process.
 * @param {readonly number[]} pids
 */
export function resetPeaks(pids) {
  for (const pid of pids) {
    try {
      writeFileSync(`/proc/${pid}/clear_refs`, '5');
    } catch {
      // The report says what the peak is for; nothing else depends on it.
    }
  }
}

/**
 * Time on a CPU in nanoseconds, summed over its threads: exact, where the ticks of `stat` are 10 ms. None of the peers ends
 * threads under load, so none is missed. Null on kernels without it.
 * @param {number} pid
 */
function scheduledS(pid) {
  let ns = 0;
  for (const tid of entriesOf(`/proc/${pid}/task`)) {
    const text = readOr(`/proc/${pid}/task/${tid}/schedstat`, '');
    if (text === '') return null;
    ns += Number(text.split(' ')[0]);
  }
  return ns === 0 ? null : ns / 1e9;
}

/** @param {string} folder */
function entriesOf(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * @param {string} path
 * @param {string} otherwise when the process has gone
 */
function readOr(path, otherwise) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
