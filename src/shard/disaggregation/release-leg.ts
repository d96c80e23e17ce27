import { Lease, noDeadline } from '../../exchange/index.ts';
import { Probe } from '../../shm/index.ts';
import type { GatewayExchange } from '../gateway-exchange.ts';
import type { ShardParts } from '../shard-state.ts';
import type { WorkMeter } from '../work-meter.ts';
import { LegState } from './prefill-leg.ts';

/**
 * Gives back what computing the prompt has taken: its connection, kept alive where its response is complete and destroyed
 * otherwise, which stops the engine; its place, tokens and probe. `next`: over, when the attempt goes on. Returns whether there
 * was anything.
 */
export function releaseLeg(parts: ShardParts, meter: WorkMeter, exchange: GatewayExchange, next: LegState): boolean {
  const { leg } = exchange;
  if (leg === null || leg.state === LegState.none || leg.state === next) return false;
  const { leases, fleet, clock } = parts;
  const wasRunning = leg.isRunning;
  exchange.prefillDeadlineMs = noDeadline;
  if (leg.connection !== null) {
    leg.connection.release(leg.requestRelay.isFinished, clock.nowMs);
    leg.connection = null;
  }
  leg.requestRelay.stop();
  if (leases.holds(exchange, Lease.prefillConnection)) leases.give(exchange, Lease.prefillConnection);
  if (leases.holds(exchange, Lease.prefillEndpoint)) {
    const { slot } = exchange.pool!.endpoints[leg.endpointIndex]!;
    if (leases.holds(exchange, Lease.prefillProbe)) {
      fleet.health.giveProbes(slot, exchange.modelRow, leg.probes);
      leg.probes = Probe.none;
      leases.give(exchange, Lease.prefillProbe);
    }
    meter.settleLeg(exchange, leg);
    fleet.addTokens(slot, -leg.reservedTokens);
    leases.give(exchange, Lease.prefillTokens);
    fleet.giveInflight(slot);
    leases.give(exchange, Lease.prefillEndpoint);
  }
  leg.expectAnswer(0);
  if (next === LegState.none) leg.members = null;
  leg.become(next);
  return wasRunning;
}
