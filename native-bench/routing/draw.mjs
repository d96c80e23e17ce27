/** Seeded draws from the distributions that workloads are published as. */
import { Random } from '../../dist/sim/random.js';

export class Draw {
  #random;

  /** @param {number} seed */
  constructor(seed) {
    this.#random = new Random(seed);
  }

  /** [0, 1). */
  ratio() {
    return this.#random.ratio();
  }

  /** @param {number} bound */
  below(bound) {
    return this.#random.below(bound);
  }

  /** @param {number} mean */
  exponential(mean) {
    return -mean * Math.log(1 - this.#random.ratio());
  }

  /** Box and Muller. */
  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.#random.ratio())) * Math.cos(2 * Math.PI * this.#random.ratio());
  }

  /** An integer. @param {number} mean @param {number} deviation @param {number} min @param {number} max */
  normalWithin(mean, deviation, min, max) {
    return clamp(mean + deviation * this.normal(), min, max);
  }

  /** An integer; `sigma` is of the logarithm. @param {number} median @param {number} sigma @param {number} min @param {number} max */
  logNormal(median, sigma, min, max) {
    return clamp(median * Math.exp(sigma * this.normal()), min, max);
  }

  /** An integer of a log-normal with this mean and deviation. @param {number} mean @param {number} deviation @param {number} min @param {number} max */
  logNormalOf(mean, deviation, min, max) {
    const variance = Math.log(1 + (deviation / mean) ** 2);
    return this.logNormal(mean / Math.exp(variance / 2), Math.sqrt(variance), min, max);
  }
}

/** @param {number} value @param {number} min @param {number} max */
function clamp(value, min, max) {
  return Math.round(Math.min(max, Math.max(min, value)));
}

/**
 * Poisson arrivals: times in ms below `durationMs`.
 * @param {Draw} draw
 * @param {number} perSecond
 * @param {number} durationMs
 */
export function arrivals(draw, perSecond, durationMs) {
  const times = [];
  for (let atMs = draw.exponential(1000 / perSecond); atMs < durationMs; atMs += draw.exponential(1000 / perSecond)) {
    times.push(atMs);
  }
  return times;
}
