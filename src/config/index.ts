/**
 * config: the one place a setting exists. It owns the schema of the file; types, defaults, checks, the JSON Schema and
 * docs/config.md are all made from it. It reads no environment, watches nothing and keeps no state.
 *
 * Read in this order: schema (the file, with pool-schema, kv-events-schema, queue-schema, sharing-schema and filter-schema), field (what a row can be), load (text →
 * Config or problems), document (YAML with places), relations (what must hold between settings), constraints (which endpoints a target may use), certificates (PEM files), reference.
 */
export { isLoopback } from './address.ts';
export type { Address, EndpointUrl } from './address.ts';
export { certificateFacts, listenerTls } from './certificates.ts';
export type { CertificateFacts, FileTexts, ListenerCertificate, ListenerTls } from './certificates.ts';
export type { Env } from './env.ts';
export { kvEventSources } from './kv-events-schema.ts';
export type { KvEventsConfig, KvEventSource } from './kv-events-schema.ts';
export { loadConfig, parseConfig } from './load.ts';
export type { LoadResult } from './load.ts';
export type { HashSource } from './pool-schema.ts';
export type { FlowSource } from './queue-schema.ts';
export type { StoreAddress } from './sharing-schema.ts';
export { formatProblem } from './problem.ts';
export type { Problem } from './problem.ts';
export type {
  ConditionConfig,
  Config,
  EndpointConfig,
  FilterChainConfig,
  FilterConfig,
  HealthConfig,
  LimitsConfig,
  ListenerConfig,
  ModelConfig,
  PoolConfig,
  TargetConfig,
  TimeoutsConfig,
} from './schema.ts';
export { jsonSchema, referenceMarkdown } from './reference.ts';
export { configFingerprint, maskedConfig, restartChanges } from './snapshot.ts';
