/** `pools[].disaggregation`: prompts computed at one endpoint, answers streamed from another. */
import { choice, integer, section } from './field.ts';

export const bootstrapPortShape = {
  min: 1,
  max: 65_535,
} as const;

export const disaggregationShape = {
  protocol: choice(['vllm', 'sglang'], {
    doc: 'How the two meet. `vllm`: first the prompt at a `prefill` endpoint, then the answer at a `decode` endpoint with the `kv_transfer_params` of the first (NIXL). `sglang`: both at once, with a `bootstrap_room` in common.',
  }),
  prefill_from_tokens: integer({
    default: 256,
    min: 0,
    max: 10_000_000,
    doc: 'Prompts with fewer tokens to compute are served by one endpoint alone: `decode` or `both` with `vllm`, `both` with `sglang`, whose other endpoints can do nothing alone. Tokens that the endpoint has cached are not counted.',
  }),
  bootstrap_port: integer({
    ...bootstrapPortShape,
    default: 8998,
    doc: 'For `sglang`: where the bootstrap server of a `prefill` endpoint listens, on the host of its URL.',
  }),
};

export const disaggregation = section(disaggregationShape, {
  doc: 'Splits requests between `prefill` and `decode` endpoints. Without it endpoints have no roles. [disaggregation.md](disaggregation.md) says more.',
});
