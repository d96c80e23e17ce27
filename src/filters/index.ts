/**
 * filters: policy. One file per filter; a filter may let an exchange go on, answer it, or change its fields. Routing and
 * the exchange's own state machine are not filters. Owns nothing beyond an exchange.
 *
 * Read in this order: filter (what one can do), chain (how they are compiled), conditions, own-filter (what a user's may leave
 * behind), then any of the filters.
 */
export { compileChain, FilterChain } from './chain.ts';
export type { Answer, Filter, FilterContext, FilteredExchange, FilterModule } from './filter.ts';
