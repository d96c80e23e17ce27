/**
 * Requests that share nothing: the lengths of Azure's 2023 traces (AzurePublicDataset), as log-normals through their medians
 * and 90th percentiles. What affinity does here can only do harm.
 */
import { arrivals, Draw } from '../draw.mjs';
import { profiles } from '../profiles.mjs';
import { Names } from '../request.mjs';

const blockTokens = 16;
const none = new Int32Array(0);
/** ln(p90 / p50) / 1.2816 is the sigma. */
const shapes = {
  code: { prompt: [1469, 0.985, 7437], output: [13, 1.125, 252] },
  conversation: { prompt: [1020, 0.77, 4142], output: [129, 0.93, 601] },
};

/** @param {'code' | 'conversation'} kind @param {{ seed: number, perSecond: number, seconds: number }} options @returns {import('./index.mjs').Workload} */
export function azure(kind, { seed, perSecond, seconds }) {
  const draw = new Draw(seed);
  const names = new Names();
  const { prompt, output } = shapes[kind];
  const specs = arrivals(draw, perSecond, seconds * 1000).map((atMs) => {
    const promptTokens = draw.logNormal(prompt[0], prompt[1], 16, prompt[2]);
    const outputTokens = draw.logNormal(output[0], output[1], 1, output[2]);
    const ownName = names.take(Math.ceil((promptTokens + outputTokens) / blockTokens) + 1);
    return { atMs, promptTokens, outputTokens, chain: none, chainCount: 0, ownName, boundaries: [], following: null };
  });
  const profile = profiles['qwen3-32b'];
  return { name: `Azure ${kind} ${perSecond}/s`, profile, blockTokens, specs, nameCount: names.count };
}
