/**
 * What one phase of a run measures. Beside the whole, each figure is kept for every slice of the time. The latency of a
 * slice in which somebody else used the machine is not compared with anything; of the others the median counts.
 */
import { CpuMeter } from './cpu.mjs';
import { DistributionRecorder } from './distribution.mjs';
import { FailureList } from './failure-list.mjs';

const sliceCount = 5;
/** A slice with fewer values has no median worth comparing, or no p99. */
const sliceValueCountMin = 10;
const sliceTailCountMin = 50;
/**
 * Share of a core above which others are in the way. Latency on two cores depends on who else wants them: 12 pairs of runs
 * of unchanged code, with others at 0.2 to 0.7 of a core, differed by up to 150 % in p50, and by up to 37 % in CPU per
 * request, which is compared all the same (see verdict.mjs).
 */
const othersCpuRatioMax = 0.25;
/** A figure known from fewer slices has no spread to judge a difference by; it is shown and not compared. */
const slicesMin = 3;

export class PhaseRecorder {
  errors = new FailureList();
  non2xx = new FailureList();
  mismatches = new FailureList();
  timeouts = 0;
  unanswered = 0;
  sentBytes = 0;
  receivedBytes = 0;
  requests = 0;
  #name;
  #pids;
  #cpu;
  #sliceCpu;
  #sliceRequests = 0;
  #sliceTimer;
  #startMs = performance.now();
  #sliceMs;
  #lastSlice;
  /** @type {Map<string, { whole: DistributionRecorder, slices: DistributionRecorder[] }>} */
  #quantities = new Map();
  /** Whether others were in the way, by slice. @type {boolean[]} */
  #disturbed = [];
  /** @type {number[]} */
  #cpuUsOfSlices = [];

  /**
   * The phase begins now.
   * @param {{ name: string, durationS: number, pids: import('./types.d.ts').BackendPids | null, quantities: readonly string[],
   *   sliceS?: number }} options `quantities`: what `record` takes, in the order in which they are shown
   */
  constructor({ name, durationS, pids, quantities, sliceS = durationS / sliceCount }) {
    this.#name = name;
    this.#pids = pids;
    this.#cpu = new CpuMeter(pids);
    this.#sliceCpu = new CpuMeter(pids);
    this.#sliceMs = sliceS * 1000;
    this.#lastSlice = Math.max(1, Math.round(durationS / sliceS)) - 1;
    for (const quantity of quantities)
      this.#quantities.set(quantity, { whole: new DistributionRecorder(), slices: [] });
    this.#sliceTimer = setInterval(() => this.#endSlice(), this.#sliceMs);
    this.#sliceTimer.unref();
  }

  /**
   * @param {string} quantity
   * @param {number} ms
   * @param {number} expectedIntervalMs see DistributionRecorder
   */
  record(quantity, ms, expectedIntervalMs = 0) {
    const recorders = this.#quantities.get(quantity);
    if (recorders === undefined) throw new Error(`${quantity} is not measured here`);
    // What comes after the last start still belongs to the last slice.
    const index = Math.min(this.#lastSlice, Math.floor((performance.now() - this.#startMs) / this.#sliceMs));
    const slice = (recorders.slices[index] ??= new DistributionRecorder());
    recorders.whole.record(ms, expectedIntervalMs);
    slice.record(ms, expectedIntervalMs);
  }

  /** One request has its answer, right or wrong. */
  countAnswer() {
    this.requests++;
  }

  /**
   * @param {{ durationS?: number, figures?: Record<string, number>, slices?: Record<string, number[]> }} [options]
   *   `durationS`: when not everything since the start counts; `figures`: what only this phase knows; `slices`: more to
   *   compare, where the caller knows the slices better
   * @returns {import('./types.d.ts').Phase}
   */
  finish({ durationS = (performance.now() - this.#startMs) / 1000, figures = {}, slices = {} } = {}) {
    clearInterval(this.#sliceTimer);
    // The timer of the last slice may not have come any more.
    if (this.#disturbed.length <= this.#lastSlice) this.#endSlice();
    /** @type {Record<string, import('./types.d.ts').Distribution>} */
    const distributions = {};
    /** @type {Record<string, number[]>} */
    const compared = { ...slices };
    for (const [quantity, recorders] of this.#quantities) {
      distributions[quantity] = recorders.whole.finish();
      const counted = recorders.slices.filter(
        (slice, index) => slice.count >= sliceValueCountMin && !(this.#disturbed[index] ?? false),
      );
      const finished = counted.map((slice) => slice.finish());
      compared[`${quantity}_p50_ms`] = finished.map(({ p50 }) => p50);
      compared[`${quantity}_p99_ms`] = finished.filter(({ count }) => count >= sliceTailCountMin).map(({ p99 }) => p99);
    }
    const cpu = this.#cpu.read(this.requests);
    compared['gateway_cpu_us_per_request'] = this.#cpuUsOfSlices;
    return {
      name: this.#name,
      durationS,
      requests: this.requests,
      requestsPerSecond: this.requests / durationS,
      sentMBps: this.sentBytes / 1e6 / durationS,
      receivedMBps: this.receivedBytes / 1e6 / durationS,
      errors: this.errors.count,
      timeouts: this.timeouts,
      non2xx: this.non2xx.count,
      mismatches: this.mismatches.count,
      unanswered: this.unanswered,
      firstFailures: [...this.errors.first, ...this.non2xx.first, ...this.mismatches.first],
      distributions,
      slices: Object.fromEntries(Object.entries(compared).filter(([, values]) => values.length >= slicesMin)),
      figures,
      disturbedSliceCount: this.#disturbed.filter(Boolean).length,
      gatewayCpuUsPerRequest: cpu.gatewayCpuUsPerRequest,
      gatewayCpuRatio: cpu.gatewayCpuRatio,
      enginesCpuRatio: cpu.enginesCpuRatio,
      generatorCpuRatio: cpu.generatorCpuRatio,
      othersCpuRatio: cpu.othersCpuRatio,
    };
  }

  #endSlice() {
    const requests = this.requests - this.#sliceRequests;
    const { gatewayCpuUsPerRequest, othersCpuRatio } = this.#sliceCpu.read(requests);
    const isDisturbed = (othersCpuRatio ?? 0) > othersCpuRatioMax;
    this.#disturbed.push(isDisturbed);
    if (gatewayCpuUsPerRequest !== null && requests >= sliceValueCountMin) {
      this.#cpuUsOfSlices.push(gatewayCpuUsPerRequest);
    }
    this.#sliceRequests = this.requests;
    this.#sliceCpu = new CpuMeter(this.#pids);
  }
}
