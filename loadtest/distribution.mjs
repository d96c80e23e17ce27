/** Latencies as HDR histograms: microseconds inside, milliseconds outside. */
import * as hdr from 'hdr-histogram-js';

/** Ten minutes; longer is recorded as that. */
const longestUs = 600_000_000;

export class DistributionRecorder {
  #histogram = hdr.build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: longestUs,
    numberOfSignificantValueDigits: 3,
  });

  /**
   * @param {number} ms
   * @param {number} expectedIntervalMs between two requests of the same sender; a longer value stands for the requests
   *   that could not be sent meanwhile too (coordinated omission). 0 records the value alone.
   */
  record(ms, expectedIntervalMs = 0) {
    const us = Math.min(longestUs, Math.max(0, Math.round(ms * 1000)));
    if (expectedIntervalMs > 0) {
      this.#histogram.recordValueWithExpectedInterval(us, Math.max(1, Math.round(expectedIntervalMs * 1000)));
    } else {
      this.#histogram.recordValue(us);
    }
  }

  get count() {
    return this.#histogram.totalCount;
  }

  /** @returns {import('./types.d.ts').Distribution} */
  finish() {
    /** @param {number} percentile */
    const at = (percentile) => (this.count === 0 ? 0 : this.#histogram.getValueAtPercentile(percentile) / 1000);
    /** @type {[number, number][]} */
    const points = [];
    // Ten points for each nine, as far as there are values to tell them apart.
    for (let step = 0; 10 ** (step / 10) <= Math.max(1, this.count); step++) {
      const percentile = 100 * (1 - 10 ** (-step / 10));
      points.push([Number(percentile.toFixed(6)), at(percentile)]);
    }
    return {
      count: this.count,
      p50: at(50),
      p90: at(90),
      p97_5: at(97.5),
      p99: at(99),
      p99_9: at(99.9),
      max: at(100),
      points,
    };
  }
}
