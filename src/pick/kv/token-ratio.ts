/**
 * How many tokens a byte of prompt is, learned by model from what engines report: texts, languages and tokenizers differ by
 * a factor of three. One a pool and shard; outlives a reload.
 */
const initialRatio = 0.27;
const alpha = 0.05;
/** Reports beyond these are of something else than text: an image that is megabytes and counts as a thousand tokens. */
const ratioMin = 0.02;
const ratioMax = 1.5;
/** Clients choose model names where unknown ones are served; further ones share the initial ratio. */
const modelsMax = 256;

export class TokenRatio {
  readonly #ratios = new Map<string, number>();

  of(model: string): number {
    return this.#ratios.get(model) ?? initialRatio;
  }

  learn(model: string, bytes: number, tokens: number): void {
    if (bytes < 256 || tokens <= 0) return;
    const seen = Math.min(ratioMax, Math.max(ratioMin, tokens / bytes));
    const known = this.#ratios.get(model);
    if (known !== undefined) this.#ratios.set(model, known + alpha * (seen - known));
    else if (this.#ratios.size < modelsMax) this.#ratios.set(model, seen);
  }
}
