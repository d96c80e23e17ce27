import { counterCell, metrics } from '../account/index.ts';
import { Loading } from '../pick/index.ts';
import type { SeriesWriter } from '../shm/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';

// What is counted, and noted for all shards, of where an attempt was placed.

/** The endpoint has been picked: it will have the model in memory. */
export function notePlace(series: SeriesWriter, exchange: GatewayExchange, index: number, nowMs: number): void {
  exchange.pool!.residents.place(exchange, index, nowMs);
  if (exchange.loading === Loading.cold) series.add(counterCell(series, metrics.modelLoads, [exchange.poolName]), 1);
}

/** The prompt was looked up. `isHit`: some endpoint had some of it. */
export function noteLookup(series: SeriesWriter, exchange: GatewayExchange, isHit: boolean): void {
  const labels = [exchange.poolName] as const;
  series.add(counterCell(series, metrics.prefixLookups, labels), 1);
  if (isHit) series.add(counterCell(series, metrics.prefixHits, labels), 1);
}
