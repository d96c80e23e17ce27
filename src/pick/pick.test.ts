import { expect, test } from 'vitest';
import { EndpointState, Fault, otherRow, Probe } from '../shm/index.ts';
import { Random } from '../sim/random.ts';
import { fleetOf, requestOf } from './fixtures/pool.ts';
import { allFull, pickEndpoint } from './pick.ts';
import { makePicker } from './pickers.ts';
import { openRule, type PickRequest, PoolView } from './pool-view.ts';

const rule = { consecutiveFailures: 1, baseMs: 1000, maxMs: 60_000 };
const pickerNames = ['round_robin', 'random', 'least_request', 'least_load', 'kv_aware', 'consistent_hash'] as const;
type PickerName = (typeof pickerNames)[number];

const endpointCount = 3;

function seeded(seed: number): () => number {
  const random = new Random(seed);
  return () => random.ratio();
}

function pool(pickerName: PickerName, slowStartMs = 10_000, inflightMax = 0) {
  const { control, fleet, endpoints } = fleetOf(endpointCount);
  const view = new PoolView(endpoints, fleet, { ...openRule, inflightMax, slowStartMs });
  const picker = makePicker(pickerName, endpointCount, { random: seeded(7), shardIndex: 0 });
  const pick = (nowMs: number, request: Partial<PickRequest> = {}): number =>
    pickEndpoint(view, picker, { ...requestOf(null), ...request }, nowMs);
  /** One fault, which is enough. */
  const eject = (index: number, nowMs: number): void => {
    const attempt = { slot: endpoints[index]!.slot, row: otherRow, probes: Probe.none, nowMs };
    fleet.health.noteFault({ ...attempt, fault: Fault.status, rule, modelCount: 1, mayEject: true });
  };
  const give = (index: number): void => {
    fleet.health.giveProbes(endpoints[index]!.slot, otherRow, view.probes);
    fleet.giveInflight(endpoints[index]!.slot);
  };
  return { control, fleet, view, endpoints, pick, eject, give };
}

/** How often each endpoint is picked of `count` requests that are over at once. */
function counts(made: ReturnType<typeof pool>, nowMs: number, count = 3000): number[] {
  const picked = [0, 0, 0];
  for (let number = 0; number < count; number++) {
    const index = made.pick(nowMs, { hashKey: Math.imul(number, 0x9e3779b1) >>> 0 });
    picked[index]!++;
    made.give(index);
  }
  return picked;
}

const sharing = pickerNames.filter((name) => name !== 'consistent_hash');
test.each(sharing)('pick: when an endpoint has just come, %s gives it a tenth of its share, then more', (name) => {
  const made = pool(name);
  made.control.health.warmUp(made.endpoints[0]!.slot, 1_000_000);
  // At most: where load decides it is a tenth of what it would be given for having none.
  const shares = [0, 2500, 5000, 10_000].map((ms) => counts(made, 1_000_000 + ms)[0]! / 3000);
  expect(shares[0], String(shares)).toBeLessThan(0.08);
  expect(shares[0], String(shares)).toBeGreaterThan(0.02);
  for (let step = 1; step < shares.length; step++)
    expect(shares[step]!, String(shares)).toBeGreaterThan(shares[step - 1]!);
  expect(shares[3], String(shares)).toBeGreaterThan(0.3);
});

test('pick: when an endpoint has just come, consistent_hash gives it its keys, and moves no other', () => {
  const made = pool('consistent_hash');
  const keys = Array.from({ length: 200 }, (_, number) => Math.imul(number, 0x9e3779b1) >>> 0);
  const places = (nowMs: number): number[] =>
    keys.map((hashKey) => {
      const index = made.pick(nowMs, { hashKey });
      made.give(index);
      return index;
    });
  const before = places(1_000_000);
  made.control.health.warmUp(made.endpoints[0]!.slot, 1_000_000);
  expect(places(1_000_000)).toEqual(before);
});

test.each(sharing)('pick: when an ejection is over, %s sends the next request there, and no second one', (name) => {
  const made = pool(name);
  made.eject(1, 1_000_000);
  expect(counts(made, 1_000_500, 300)[1]).toBe(0);
  expect(made.pick(1_001_000)).toBe(1);
  expect(made.view.probes).toBe(Probe.whole);
  for (let number = 0; number < 300; number++) expect(made.pick(1_001_000)).not.toBe(1);
});

test('pick: when an ejection is over, consistent_hash waits for a key of that endpoint', () => {
  const made = pool('consistent_hash');
  const keys = Array.from({ length: 50 }, (_, number) => Math.imul(number, 0x9e3779b1) >>> 0);
  const homes = keys.map((hashKey) => {
    const index = made.pick(1_000_000, { hashKey });
    made.give(index);
    return index;
  });
  made.eject(1, 1_000_000);
  const own = homes.indexOf(1);
  const foreign = homes.findIndex((home) => home !== 1);
  expect(made.pick(1_001_000, { hashKey: keys[foreign]! })).toBe(homes[foreign]);
  made.give(homes[foreign]!);
  expect(made.pick(1_001_000, { hashKey: keys[own]! })).toBe(1);
});

test('pick: when a request could not be sent again, it is no probe while another endpoint is well', () => {
  const made = pool('round_robin');
  made.eject(1, 1_000_000);
  for (let number = 0; number < 50; number++) expect(made.pick(1_001_000, { mayProbe: false })).not.toBe(1);
  for (const index of [0, 2]) made.control.setState(made.endpoints[index]!.slot, EndpointState.unhealthy);
  expect(made.pick(1_001_000, { mayProbe: false })).toBe(1);
});

test('pick: when the only endpoint is being probed, others are told to wait rather than that there is none', () => {
  const made = pool('least_load');
  for (const index of [0, 2]) made.control.setState(made.endpoints[index]!.slot, EndpointState.unhealthy);
  made.eject(1, 1_000_000);
  expect(made.pick(1_001_000)).toBe(1);
  expect(made.pick(1_001_000)).toBe(allFull);
});

test('pick: when an endpoint has weight 0 or drains, it is not picked', () => {
  const made = pool('round_robin');
  made.control.setState(made.endpoints[0]!.slot, EndpointState.draining);
  expect(counts(made, 1_000_000, 300)[0]).toBe(0);
});

test.each(pickerNames)(
  'pick: when a request failed somewhere, %s does not send it there again, in a large pool either',
  (name) => {
    const { control, fleet, endpoints } = fleetOf(50);
    for (const [index, { slot }] of endpoints.entries()) {
      // Two are left: the rest is down.
      if (index !== 40 && index !== 45) control.setState(slot, EndpointState.unhealthy);
    }
    const view = new PoolView(endpoints, fleet, openRule);
    const picker = makePicker(name, 50, { random: seeded(3), shardIndex: 0 });
    const request = requestOf(null, { hashKey: 1 });
    const first = pickEndpoint(view, picker, request, 1000);
    request.tried.add(first);
    expect(pickEndpoint(view, picker, request, 1000)).toBe(first === 40 ? 45 : 40);
    request.tried.add(first === 40 ? 45 : 40);
    expect(pickEndpoint(view, picker, request, 1000)).toBeLessThan(0);
  },
);

test('pick: when prompts wait at two endpoints, the slower one is full with fewer of their tokens', () => {
  const made = pool('round_robin', 0);
  const rates = { of: (url: string) => (url === made.endpoints[0]!.url ? 1000 : 10_000) };
  const view = new PoolView(
    made.endpoints.slice(0, 2),
    made.fleet,
    { ...openRule, pendingPrefillMs: 2000 },
    null,
    rates,
  );
  const wish = requestOf(null);
  const candidates = (): number[] => {
    view.screen(wish, 1000);
    return [...view.candidates.subarray(0, view.count)];
  };
  const pend = (tokens: number): void =>
    made.endpoints.slice(0, 2).forEach(({ slot }) => made.fleet.addPending(slot, tokens));
  pend(1999);
  expect(candidates()).toEqual([0, 1]);
  pend(1);
  expect(candidates()).toEqual([1]);
  expect([view.fullCount, view.hasRoom(1000, null)]).toEqual([1, true]);
  pend(18_000);
  expect(candidates()).toEqual([]);
  expect(view.hasRoom(1000, null)).toBe(false);
  pend(-20_000);
});

test('pick: when an endpoint writes as much as it may with the requests it has, it is full', () => {
  const made = fleetOf(3, [{}, { weight: 2 }]);
  const slots = made.endpoints.map(({ slot }) => slot);
  // Of the third nobody knows how fast it is.
  const paces = { pace: (slot: number) => (slot === slots[2] ? 0 : 50) };
  const rule = { ...openRule, completionRateMax: 200 };
  const view = new PoolView(made.endpoints, made.fleet, rule, null, null, paces);
  const candidates = (): number[] => {
    view.screen(requestOf(null), 1000);
    return [...view.candidates.subarray(0, view.count)];
  };
  const begin = (count: number): void => {
    for (; count > 0; count--) for (const slot of slots) made.fleet.tryTakeInflight(slot, 0);
  };
  begin(3);
  expect(candidates()).toEqual([0, 1, 2]);
  begin(1);
  expect(candidates(), 'four at 50 tokens a second each').toEqual([1, 2]);
  expect(view.fullCount).toBe(1);
  begin(4);
  expect(candidates()).toEqual([2]);
  made.fleet.giveInflight(slots[0]!);
  made.fleet.giveInflight(slots[1]!);
  expect(candidates(), 'a request less').toEqual([1, 2]);
});

test('pick: when other gateways have requests at an endpoint, pickers count them, and limits do not', () => {
  const made = pool('least_request', 0, 1);
  const [first, second, third] = made.endpoints.map(({ slot }) => slot);
  made.fleet.peers.set(first!, { inflight: 7, inflightTokens: 700, pendingTokens: 70 });
  made.fleet.peers.set(third!, { inflight: 3, inflightTokens: 300, pendingTokens: 30 });
  expect([made.view.inflight(first!), made.view.inflightTokens(first!), made.view.pendingTokens(first!)]).toEqual([
    7, 700, 70,
  ]);
  expect(made.fleet.inflight(first!)).toBe(0);
  // Each takes one: whoever has one of ours is full, whatever the others have there.
  expect([made.pick(0), made.pick(0), made.pick(0), made.pick(0)]).toEqual([1, 2, 0, allFull]);
  expect(made.view.inflight(second!)).toBe(1);
});
