/** Reads what proxy, engine and generator cost over one measurement: the figure, and the proof that there was headroom. */
import { costBetween, costOf, resetPeaks, treeOf } from '../process-cost.mjs';

export class Meter {
  #pids;
  #engine;
  #before;
  #engineBeforeS;
  #startMs = performance.now();

  /**
   * @param {import('../types.d.ts').RunningPeer} peer
   * @param {import('../engine.mjs').Engine} engine
   */
  constructor(peer, engine) {
    this.#pids = treeOf(peer.pid);
    this.#engine = engine;
    resetPeaks(this.#pids);
    this.#before = costOf(this.#pids);
    this.#engineBeforeS = engine.cpuS;
  }

  /** Of the proxy, from the start of the meter. */
  get rssBeforeKb() {
    return this.#before.rssKb;
  }

  /**
   * Without a proxy there is nothing that it could cost.
   * @param {number} units requests or events
   * @param {number} generatorCpuS
   * @returns {import('../types.d.ts').Metrics}
   */
  read(units, generatorCpuS) {
    const wallS = (performance.now() - this.#startMs) / 1000;
    const cost = costBetween(this.#before, costOf(this.#pids));
    const own =
      this.#pids.length === 0
        ? {}
        : {
            cpuUs: (cost.cpuS * 1e6) / units,
            proxyCpuRatio: cost.cpuS / wallS,
            rssKb: cost.rssKb,
            rssPeakKb: cost.rssPeakKb,
            minorFaultsPerUnit: cost.minorFaults / units,
            majorFaults: cost.majorFaults,
          };
    return {
      ...own,
      engineCpuRatio: (this.#engine.cpuS - this.#engineBeforeS) / wallS,
      generatorCpuRatio: generatorCpuS / wallS,
    };
  }
}
