/**
 * upstream: connections to model servers. Owns every outgoing socket of a shard, the kept-alive connections per endpoint,
 * and the form of the request head; reports how an attempt ended, but never decides on another.
 *
 * Read in this order: endpoint (who is connected to), connection (one socket, one exchange at a time), turn-batch (when
 * what it reads and writes is passed on), request-head-writer (what the endpoint gets), resolver (names).
 */
export { ConnectionState, UpstreamConnection } from './connection.ts';
export type { UpstreamFailure, UpstreamUser } from './connection.ts';
export { UpstreamEndpoint } from './endpoint.ts';
export type { EndpointAddress, EndpointSettings } from './endpoint.ts';
export { credentialLines, writeRequestHead } from './request-head-writer.ts';
export type { UpstreamHeadOptions } from './request-head-writer.ts';
export { Resolver } from './resolver.ts';
export { TurnBatch } from './turn-batch.ts';
