import { requestIdFrom } from '../core/index.ts';
import type { Filter } from './filter.ts';

/** Takes the client's `x-request-id` for the exchange when it is 1 to 128 visible ASCII characters. */
export function requestIdFilter(): Filter {
  return {
    runsOnRefusal: true,
    onRequestHead(exchange) {
      const value = exchange.head.get('x-request-id');
      const id = value === null ? null : requestIdFrom(value);
      if (id !== null) exchange.requestId = id;
    },
  };
}
