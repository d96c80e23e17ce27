/**
 * shard: what one accept thread runs. It wires the stages together and owns the order in which they act; the stages
 * themselves never meet but in the exchange record.
 *
 *   listener ─▶ intake ─▶ dispatcher ─▶ (upstream, relay) ─▶ closer
 *
 * Read in this order: shard (the wiring), gateway-exchange (the record), intake (until routable), gate and shedder (who is
 * let in), dispatcher (until answered), flow-control (who may try and who waits) with waiting-room, queue-order and turns,
 * passive-health and retry-budget (what attempts go by), work-meter and busy-clock (what they cost), closer (the ways out), sweeper and slow-clients (deadlines), runtime (a compiled configuration), protocol and thread.
 */
export type {
  ControlToShard,
  ExchangeView,
  ListenPorts,
  PoolPrefixes,
  ShardInit,
  ShardToControl,
  Snapshot,
} from './protocol.ts';
export { Shard } from './shard.ts';
export type { ShardOptions } from './shard.ts';
