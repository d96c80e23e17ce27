import type { RequestHead } from '../exchange/index.ts';
import { isValidHost } from '../http/index.ts';
import type { Filter, FilterContext } from './filter.ts';

/**
 * Tells the endpoint who asked: appends the client's address to `x-forwarded-for`, sets `x-forwarded-proto` and
 * `x-forwarded-host` where a front proxy has not said them in a form that can be. Without this filter such fields of the
 * client are dropped, because anybody can write them; with it, an endpoint counts `x-forwarded-for` from its end.
 */
export function forwardedHeadersFilter(context: FilterContext): Filter {
  return {
    onRequestHead(exchange) {
      const { head } = exchange;
      head.sendsForwarded = true;
      head.set('x-forwarded-for', `${earlierHops(head)}${context.remoteAddress(exchange)}`);
      const proto = head.get('x-forwarded-proto');
      if (proto !== 'http' && proto !== 'https') head.set('x-forwarded-proto', context.isTls ? 'https' : 'http');
      const host = head.get('x-forwarded-host');
      if (host === null || !isValidHost(host)) head.set('x-forwarded-host', head.get('host') ?? '');
    },
  };
}

/** All lines of the field: with the first one alone, hops that wrote a line of their own would be lost. */
function earlierHops(head: RequestHead): string {
  let hops = '';
  for (let index = 0; index < head.count; index++) {
    if (head.names[index] === 'x-forwarded-for' && head.values[index] !== '') hops += `${head.values[index]!}, `;
  }
  return hops;
}
