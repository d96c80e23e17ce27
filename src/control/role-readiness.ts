import type { PoolConfig } from '../config/index.ts';

/** Whether endpoints of `pool` that are available together can answer a request. `available`: by endpoint index. */
export function canServe({ endpoints, disaggregation }: PoolConfig, available: readonly boolean[]): boolean {
  const has = (role: string): boolean => endpoints.some((each, index) => each.role === role && available[index]);
  if (disaggregation === null) return available.includes(true);
  if (has('both')) return true;
  // An SGLang engine that decodes can do nothing without one that computes prompts; a vLLM engine can.
  return has('decode') && (disaggregation.protocol === 'vllm' || has('prefill'));
}
