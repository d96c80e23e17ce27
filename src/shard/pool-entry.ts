import { hashText, modelKeyOf, TriedEndpoints } from '../pick/index.ts';
import { contextTokensOf, flowOf, hashKeyOf, isRepeatable } from './attempt-facts.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { SharedParts } from './shard-state.ts';

/** The exchange turns to the pool of a target: what it brings to that pool's picks, and nothing of an earlier pool. */
export function enterPool(
  exchange: GatewayExchange,
  targetIndex: number,
  { hashSeed, promptSecret }: Pick<SharedParts, 'hashSeed' | 'promptSecret'>,
): void {
  const { poolIndex, upstreamModel, fits } = exchange.route!.targets[targetIndex]!;
  const pool = exchange.runtime!.pools[poolIndex]!;
  exchange.targetIndex = targetIndex;
  exchange.pool = pool;
  exchange.poolName = pool.config.name;
  exchange.poolAttempts = 0;
  exchange.hasTurn = false;
  exchange.flow = flowOf(exchange, pool, hashSeed);
  exchange.tried.clear();
  exchange.fits = fits;
  exchange.modelRow = pool.rowOf(exchange.modelLabel);
  exchange.mayProbe = isRepeatable(exchange);
  exchange.hashKey = pool.config.picker === 'consistent_hash' ? hashKeyOf(exchange, pool) : 0;
  exchange.estimatedTokens = -1;
  exchange.matchedTokens = -1;
  exchange.score = Number.NaN;
  exchange.pickText = '';
  // Hashing a name takes less than finding its hash would.
  const model = upstreamModel ?? exchange.facts.model;
  exchange.modelKey = model === null ? 0 : modelKeyOf(model);
  exchange.contextTokens = pool.view.fit === null ? 0 : contextTokensOf(exchange, pool);
  // Prompts are the same only to the same model.
  exchange.prompt?.seal(hashText(model ?? '') | 0, promptSecret.value);
}

/** What an exchange has done in a pool, for when it enters that again, having been tried in others. */
export class PoolStay {
  readonly #tried = new TriedEndpoints();
  #attempts = 0;
  #hasTurn = false;

  keep({ tried, poolAttempts, hasTurn }: GatewayExchange): void {
    this.#tried.copyFrom(tried);
    this.#attempts = poolAttempts;
    this.#hasTurn = hasTurn;
  }

  restore(exchange: GatewayExchange): void {
    exchange.tried.copyFrom(this.#tried);
    exchange.poolAttempts = this.#attempts;
    exchange.hasTurn = this.#hasTurn;
  }
}
