import { expect, test } from 'vitest';
import type { RequestRelay } from '../../relay/index.ts';
import type { GatewayExchange } from '../gateway-exchange.ts';
import { type LegEvents, LegState, PrefillLeg } from './prefill-leg.ts';

const { none, connecting, waiting, answering, over } = LegState;

/** The drawing, as pairs. */
const legal = new Set(
  [
    [none, connecting],
    [connecting, connecting],
    [connecting, waiting],
    [connecting, over],
    [connecting, none],
    [waiting, answering],
    [waiting, over],
    [waiting, none],
    [answering, over],
    [answering, none],
    [over, none],
  ].map(([from, to]) => `${from} ${to}`),
);
const ways: Readonly<Record<LegState, readonly LegState[]>> = {
  [none]: [],
  [connecting]: [connecting],
  [waiting]: [connecting, waiting],
  [answering]: [connecting, waiting, answering],
  [over]: [connecting, over],
};

test('leg: when any state is to follow any other, only those of the drawing may', () => {
  for (const from of Object.values(LegState)) {
    for (const to of Object.values(LegState)) {
      const leg = new PrefillLeg({} as GatewayExchange, {} as RequestRelay, {} as LegEvents, () => {});
      for (const state of ways[from]) leg.become(state);
      expect(leg.isRunning).toBe(from === connecting || from === waiting || from === answering);
      if (legal.has(`${from} ${to}`)) leg.become(to);
      else expect(() => leg.become(to), `${from} to ${to}`).toThrow(/illegal transition/);
    }
  }
});
