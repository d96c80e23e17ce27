import type { Filter, FilterContext } from './filter.ts';

/** Asks account for one log line when the exchange ends. */
export function accessLogFilter(context: FilterContext): Filter {
  return {
    runsOnRefusal: true,
    onRequestHead(exchange) {
      context.wantAccessLog(exchange);
    },
  };
}
