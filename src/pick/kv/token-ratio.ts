import { encodedBytesCounted } from '../../http/index.ts';

/** A prompt, as far as its tokens can be told from it. */
export interface PromptSize {
  readonly byteCount: number;
  /** Images and the like in it, each of them `encodedBytesCounted` of its bytes. */
  readonly encodedCount: number;
}

/** Tokens of a byte of English. */
const initialRatio = 0.27;
/** Of a report, once there were some; the first ones are averaged. */
const weightMin = 0.05;
/** Reports beyond these are of something else than text. */
const ratioMin = 0.02;
const ratioMax = 1.5;
/** Tokens of an image, until something was reported, and what is believed of reports. */
const initialEncoded = 1100;
const encodedMin = 16;
const encodedMax = 65_536;
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
  /** Tokens of an image. */
  readonly encoded: Ratio;
}

function textBytes({ byteCount, encodedCount }: PromptSize): number {
  // Of a prompt with more blocks than are kept the rest is not counted, its images are.
  return Math.max(0, byteCount - encodedCount * encodedBytesCounted);
}

/**
 * How many tokens a prompt is, learned from what engines report. A byte of text: by model and tenant, as texts, languages and
 * tokenizers differ by a factor of three. An image: by model, as each cuts them up in its own way. One a pool and shard;
 * outlives a reload.
 */
export class TokenRatio {
  readonly #models = new Map<string, ModelRatio>();
  #tenantCount = 0;

  /** Tokens of a byte of text. `tenant`: as the pool tells them apart; 0 = none is named. */
  of(model: string, tenant: number): number {
    const known = this.#models.get(model);
    if (known === undefined) return initialRatio;
    return ((tenant === 0 ? undefined : known.tenants.get(tenant)) ?? known.all).value;
  }

  /** Tokens of a prompt, with fractions. */
  tokens(model: string, tenant: number, size: PromptSize): number {
    const text = textBytes(size) * this.of(model, tenant);
    if (size.encodedCount === 0) return text;
    return text + size.encodedCount * (this.#models.get(model)?.encoded.value ?? initialEncoded);
  }

  learn(model: string, tenant: number, size: PromptSize, tokens: number): void {
    const { byteCount, encodedCount } = size;
    if (byteCount < 256 || tokens <= 0) return;
    let known = this.#models.get(model);
    if (known === undefined) {
      if (this.#models.size === modelsMax) return;
      known = { all: new Ratio(initialRatio, 0), tenants: new Map(), encoded: new Ratio(initialEncoded, 0) };
      this.#models.set(model, known);
    }
    if (encodedCount > 0) {
      const text = textBytes(size) * this.of(model, tenant);
      known.encoded.learn(Math.min(encodedMax, Math.max(encodedMin, (tokens - text) / encodedCount)));
      return;
    }
    const seen = Math.min(ratioMax, Math.max(ratioMin, tokens / byteCount));
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
