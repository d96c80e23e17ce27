/** CPU time of the gateway, of the engines and of this process, over one phase: who was busy, and who merely waited. */
import { readFileSync } from 'node:fs';

/** Linux counts in ticks of 1/100 s (USER_HZ) whatever the kernel's own rate is. */
const ticksPerSecond = 100;

/**
 * utime + stime of a process with all its threads, the ended ones included, in seconds. proc(5).
 * @param {number} pid
 */
function cpuSecondsOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the name in brackets and may hold blanks; the third follows the last bracket.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** @param {readonly number[]} pids */
function sumSeconds(pids) {
  return pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0);
}

export class CpuMeter {
  #pids;
  #gatewayStartS;
  #enginesStartS;
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
    return {
      gatewayCpuUsPerRequest: gatewayS === null || requests === 0 ? null : (gatewayS * 1e6) / requests,
      gatewayCpuRatio: gatewayS === null ? null : gatewayS / wallS,
      enginesCpuRatio: enginesS === null ? null : enginesS / wallS,
      generatorCpuRatio: (own.user + own.system) / 1e6 / wallS,
    };
  }
}
