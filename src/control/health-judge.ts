/**
 * Hysteresis of active checks: so many failures in a row make an endpoint unhealthy, so many successes healthy again.
 * The very first check decides alone: before it nothing is known, and waiting would only delay the start.
 */
export interface HealthRule {
  readonly unhealthyAfter: number;
  readonly healthyAfter: number;
}

export class HealthJudge {
  readonly #rule: HealthRule;
  #isHealthy: boolean | null;
  #streak = 0;

  /** `isHealthy`: what is believed before the first check; null lets that check decide. */
  constructor(rule: HealthRule, isHealthy: boolean | null) {
    this.#rule = rule;
    this.#isHealthy = isHealthy;
  }

  get isHealthy(): boolean | null {
    return this.#isHealthy;
  }

  /** True when this result changed the verdict. */
  note(isOk: boolean): boolean {
    if (this.#isHealthy === null) {
      this.#isHealthy = isOk;
      return true;
    }
    if (isOk === this.#isHealthy) {
      this.#streak = 0;
      return false;
    }
    this.#streak++;
    if (this.#streak < (isOk ? this.#rule.healthyAfter : this.#rule.unhealthyAfter)) return false;
    this.#isHealthy = isOk;
    this.#streak = 0;
    return true;
  }
}
