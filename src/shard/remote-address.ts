import type { FilteredExchange } from '../filters/index.ts';
import type { GatewayExchange } from './gateway-exchange.ts';

/**
 * `readsProxyProtocol`: take the address a PROXY v2 header named. The library reads such a header from anybody, so it is
 * believed only on listeners that stand behind a balancer.
 */
export function remoteAddressOf(exchange: FilteredExchange, readsProxyProtocol: boolean): string {
  const { downstream, isDownstreamOver } = exchange as GatewayExchange;
  if (downstream === null || isDownstreamOver) return '';
  const named = readsProxyProtocol ? Buffer.from(downstream.getProxiedRemoteAddressAsText()).toString('latin1') : '';
  const text = named === '' ? Buffer.from(downstream.getRemoteAddressAsText()).toString('latin1') : named;
  // IPv4 in its IPv6 form, as a dual-stack socket reports it.
  return text.replace(
    /^0000:0000:0000:0000:0000:ffff:([0-9a-f]{2})([0-9a-f]{2}):([0-9a-f]{2})([0-9a-f]{2})$/,
    (_, ...parts: string[]) =>
      parts
        .slice(0, 4)
        .map((part) => parseInt(part, 16))
        .join('.'),
  );
}
