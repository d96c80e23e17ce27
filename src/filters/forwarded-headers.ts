import type { Filter, FilterContext } from './filter.ts';

/**
 * Tells the endpoint who asked: appends the client's address to `x-forwarded-for`, sets `x-forwarded-proto` and
 * `x-forwarded-host`. Without this filter such fields of the client are dropped, because anybody can write them.
 */
export function forwardedHeadersFilter(context: FilterContext): Filter {
  return {
    onRequestHead(exchange) {
      const { head } = exchange;
      head.sendsForwarded = true;
      const earlier = head.get('x-forwarded-for');
      const address = context.remoteAddress(exchange);
      head.set('x-forwarded-for', earlier === null ? address : `${earlier}, ${address}`);
      if (head.get('x-forwarded-proto') === null) head.set('x-forwarded-proto', context.isTls ? 'https' : 'http');
      if (head.get('x-forwarded-host') === null) head.set('x-forwarded-host', head.get('host') ?? '');
    },
  };
}
