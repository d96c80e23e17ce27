import { expect, test } from 'vitest';
import { flowBits } from '../shm/index.ts';
import { flowOf, servedTokens } from './attempt-facts.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { PoolRuntime } from './runtime.ts';

type Known = Partial<
  Pick<GatewayExchange, 'firstByteMs' | 'promptTokens' | 'cachedTokens' | 'completionTokens' | 'isDownstreamOver'>
>;

/** Of an exchange with a body of 400 bytes, a hundred tokens about, whose answer had 7 events. */
function served(known: Known): number {
  const nothing = { firstByteMs: 0, promptTokens: -1, cachedTokens: -1, completionTokens: -1, isDownstreamOver: false };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- What is read of it is here.
  const exchange = {
    ...nothing,
    ...known,
    body: { receivedBytes: 400 },
    responseRelay: { tap: { eventCount: 7 } },
  } as unknown as GatewayExchange;
  return servedTokens(exchange);
}

test('service: when usage is reported, it is what the engine had to compute', () => {
  expect(served({ firstByteMs: 1, promptTokens: 1000, cachedTokens: 900, completionTokens: 50 })).toBe(150);
  expect(served({ firstByteMs: 1, promptTokens: 1000, cachedTokens: -1, completionTokens: 0 })).toBe(1000);
  expect(served({ firstByteMs: 1, promptTokens: 10, cachedTokens: 900, completionTokens: 5 }), 'nonsense').toBe(5);
});

test('service: when a stream broke off, it is the prompt and what came; when nothing came, it depends on who left', () => {
  expect(served({ firstByteMs: 1 })).toBe(107);
  expect(served({ promptTokens: 1000 }), 'the attempt failed').toBe(0);
  expect(served({ isDownstreamOver: true }), 'the client left').toBe(100);
});

test('service: when tenants are told apart by what they send, each is a flow of its own, and nobody is flow 0', () => {
  const pool = (fairBy: object): PoolRuntime => ({ config: { queue: { fairBy } } }) as unknown as PoolRuntime;
  const from = (tenant: string | null): GatewayExchange =>
    ({ head: { get: (name: string) => (name === 'x-tenant' ? tenant : 'wrong') }, facts: { user: tenant } }) as never;
  for (const fairBy of [
    { source: 'header', name: 'x-tenant' },
    { source: 'body', name: 'user' },
  ]) {
    const flow = (tenant: string | null, seed = 1): number => flowOf(from(tenant), pool(fairBy), seed);
    const flows = Array.from({ length: 200 }, (_, index) => flow(`tenant-${index}`));
    expect(new Set(flows).size).toBe(200);
    expect(flows.every((each) => each >= 0 && each < 2 ** flowBits)).toBe(true);
    expect(flow('tenant-0')).toBe(flows[0]);
    expect(flow('tenant-0', 2), 'another process, another key').not.toBe(flows[0]);
    expect([flow(null), flow('')]).toEqual([0, 0]);
  }
  expect(flowOf(from('a'), pool({ source: 'none' }), 1)).toBe(0);
});
