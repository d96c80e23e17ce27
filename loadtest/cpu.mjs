/**
 * CPU time of the gateway, of the engines, of this process and of everybody else on the machine: who was busy, and who
 * merely waited.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts in ticks of 1/100 s (USER_HZ) whatever the kernel's own rate is. */
const ticksPerSecond = 100;

/**
 * CPU time of a process with all its threads in seconds. From the scheduler in nanoseconds where the kernel keeps that: a
 * slice of two seconds may hold no more than a few ticks. A thread that ends takes its nanoseconds with it; the gateway's
 * last as long as the load. proc(5), Documentation/scheduler/sched-stats.rst.
 * @param {number} pid
 */
function cpuSecondsOf(pid) {
  let ns = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    }
    if (ns > 0) return ns / 1e9;
  } catch {
    // No such file, or the thread ended meanwhile: ticks then, which differ by less than one from the truth.
  }
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the name in brackets and may hold blanks; the third follows the last bracket.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** @param {readonly number[]} pids */
function sumSeconds(pids) {
  return pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
}

/**
 * Of the whole machine, what another guest took of it included. Interrupts are left out: they are the network's, which is
 * ours, and belong to no process. proc(5).
 */
function machineSeconds() {
  const text = readFileSync('/proc/stat', 'utf8');
  // The first line: cpu, then user, nice, system, idle, iowait, irq, softirq, steal.
  const [user = 0, nice = 0, system = 0, , , , , steal = 0] = text
    .slice(4, text.indexOf('\n'))
    .trim()
    .split(/ +/)
    .map(Number);
  return (user + nice + system + steal) / ticksPerSecond;
}

export class CpuMeter {
  #pids;
  #gatewayStartS;
  #enginesStartS;
  #machineStartS = machineSeconds();
  #own = process.cpuUsage();
  #startMs = performance.now();

  /** @param {import('./types.d.ts').BackendPids | null} pids null: not ours, not measured */
  constructor(pids) {
    this.#pids = pids;
    this.#gatewayStartS = pids === null ? 0 : cpuSecondsOf(pids.gateway);
    this.#enginesStartS = pids === null ? 0 : sumSeconds(pids.engines);
  }

  /** @param {number} requests answered since the meter was made */
  read(requests) {
    const wallS = (performance.now() - this.#startMs) / 1000;
    const own = process.cpuUsage(this.#own);
    const gatewayS = this.#pids === null ? null : cpuSecondsOf(this.#pids.gateway) - this.#gatewayStartS;
    const enginesS = this.#pids === null ? null : sumSeconds(this.#pids.engines) - this.#enginesStartS;
    const generatorS = (own.user + own.system) / 1e6;
    const ours = gatewayS === null || enginesS === null ? null : gatewayS + enginesS + generatorS;
    return {
      /** Null when it is not known what is ours. */
      othersCpuRatio: ours === null ? null : Math.max(0, machineSeconds() - this.#machineStartS - ours) / wallS,
      gatewayCpuUsPerRequest: gatewayS === null || requests === 0 ? null : (gatewayS * 1e6) / requests,
      gatewayCpuRatio: gatewayS === null ? null : gatewayS / wallS,
      enginesCpuRatio: enginesS === null ? null : enginesS / wallS,
      generatorCpuRatio: generatorS / wallS,
    };
  }
}
