import type { PoolView } from './pool-view.ts';

/** What an exchange keeps of the prompt tokens it has an endpoint compute. */
export interface PendingPrompt {
  readonly endpointIndex: number;
  /** Those that count as waiting there: counted in the fleet table. 0 = nothing does. */
  pendingTokens: number;
  /** Tokens that waited there before it. */
  aheadTokens: number;
}

/** The attempt goes to endpoint `index`, which has to compute so many tokens (at least 1) before anything of an answer comes. */
export function addPending(view: PoolView, prompt: PendingPrompt, index: number, tokens: number): void {
  const { slot } = view.endpoints[index]!;
  prompt.aheadTokens = view.pendingTokens(slot);
  prompt.pendingTokens = view.fleet.addPending(slot, tokens);
}

/** Nothing of it waits at its endpoint any more, however that came. */
export function givePending({ fleet, endpoints }: PoolView, prompt: PendingPrompt): void {
  if (prompt.pendingTokens === 0) return;
  fleet.addPending(endpoints[prompt.endpointIndex]!.slot, -prompt.pendingTokens);
  prompt.pendingTokens = 0;
}
