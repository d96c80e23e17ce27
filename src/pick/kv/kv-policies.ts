import { Blend } from '../baselines/blend.ts';
import { Lmetric } from '../baselines/lmetric.ts';
import { Sglang } from '../baselines/sglang.ts';
import { Sticky } from '../baselines/sticky.ts';
import type { KvPolicy } from './kv-policy.ts';
import { KvScore } from './kv-score.ts';

type MakePolicy = (hashes: readonly number[], random: () => number) => KvPolicy;

/** By the name in the configuration. `hashes`: of the endpoints' names, by endpoint index. */
const policies: Readonly<Record<string, MakePolicy>> = {
  kv_aware: (hashes) => new KvScore(hashes),
  sglang: ({ length }) => new Sglang(length),
  blend: ({ length }, random) => new Blend(length, random),
  sticky: ({ length }, random) => new Sticky(length, random),
  lmetric: ({ length }, random) => new Lmetric(length, random),
};

/** Whether a picker of that name goes by what KV caches hold. */
export function picksByPrompt(name: string): boolean {
  return Object.hasOwn(policies, name);
}

/** `name`: one that `picksByPrompt`. */
export function makePolicy(name: string, hashes: readonly number[], random: () => number): KvPolicy {
  return policies[name]!(hashes, random);
}
