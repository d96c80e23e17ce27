/**
 * How many tokens a byte of prompt is, learned by model and tenant from what engines report: texts, languages and tokenizers
 * differ by a factor of three. One a pool and shard; outlives a reload.
 */
const initialRatio = 0.27;
/** Of a report, once there were some; the first ones are averaged. */
const weightMin = 0.05;
/** Reports beyond these are of something else than text: an image that is megabytes and counts as a thousand tokens. */
const ratioMin = 0.02;
const ratioMax = 1.5;
/** Clients choose model names where unknown ones are served; further ones share the initial ratio. */
const modelsMax = 256;
/** Over all models; further ones share their model's. */
const tenantsMax = 4096;

class Ratio {
  value: number;
  #reportCount: number;

  constructor(value: number, reportCount: number) {
    this.value = value;
    this.#reportCount = reportCount;
  }

  learn(seen: number): void {
    const weight = Math.max(weightMin, 1 / ++this.#reportCount);
    this.value += weight * (seen - this.value);
  }
}

interface ModelRatio {
  readonly all: Ratio;
  readonly tenants: Map<number, Ratio>;
}

export class TokenRatio {
  readonly #models = new Map<string, ModelRatio>();
  #tenantCount = 0;

  /** `tenant`: as the pool tells them apart; 0 = none is named. */
  of(model: string, tenant: number): number {
    const known = this.#models.get(model);
    if (known === undefined) return initialRatio;
    return ((tenant === 0 ? undefined : known.tenants.get(tenant)) ?? known.all).value;
  }

  learn(model: string, tenant: number, bytes: number, tokens: number): void {
    if (bytes < 256 || tokens <= 0) return;
    const seen = Math.min(ratioMax, Math.max(ratioMin, tokens / bytes));
    let known = this.#models.get(model);
    if (known === undefined) {
      if (this.#models.size === modelsMax) return;
      this.#models.set(model, (known = { all: new Ratio(initialRatio, 0), tenants: new Map() }));
    }
    known.all.learn(seen);
    if (tenant !== 0) this.#learnOfTenant(known, tenant, seen);
  }

  #learnOfTenant({ all, tenants }: ModelRatio, tenant: number, seen: number): void {
    let own = tenants.get(tenant);
    if (own === undefined) {
      if (this.#tenantCount === tenantsMax) return;
      this.#tenantCount++;
      // What all have counts like a report of its own.
      tenants.set(tenant, (own = new Ratio(all.value, 1)));
    }
    own.learn(seen);
  }
}
