/** `pools[].queue`: who waits when the endpoints of a pool are full, for how long, and whose turn it is. docs/limits.md */
import { bytes, choice, decimal, durationMs, integer, parsed, section } from './field.ts';
import type { Reading } from './reading.ts';
import { isHeaderName } from './text-field.ts';

/** What tells one tenant from another: a request header (lower case), the `user` of the body, or nothing. */
export type FlowSource =
  | { readonly source: 'none' }
  | { readonly source: 'header'; readonly name: string }
  | { readonly source: 'body'; readonly name: 'user' };

function readFlowSource(written: string): Reading<FlowSource> {
  if (written === 'none') return { value: { source: 'none' } };
  if (written === 'body:user') return { value: { source: 'body', name: 'user' } };
  const header = written.startsWith('header:') ? written.slice('header:'.length) : '';
  if (!isHeaderName(header)) return { complaint: 'must be header:NAME, body:user or none' };
  return { value: { source: 'header', name: header.toLowerCase() } };
}

function readHeaderName(written: string): Reading<string> {
  return isHeaderName(written) ? { value: written.toLowerCase() } : { complaint: 'is not a header name' };
}

const saturatedAt = section(
  {
    waiting: integer({
      default: 0,
      min: 0,
      max: 1_000_000,
      doc: 'Requests waiting in the engine, as it says itself, and what was sent there since; 0 is not looked at.',
    }),
    kv_usage: decimal({
      default: 0,
      min: 0,
      max: 1,
      doc: 'Share of its KV cache in use, 0 to 1, as the engine says itself; 0 is not looked at.',
    }),
  },
  {
    default: {},
    doc: 'From when on an endpoint counts as full by what its `/metrics` say. Only where `engine` is a known one; numbers older than 5 s count for nothing.',
  },
);

export const queue = section(
  {
    requests_max: integer({
      default: 1024,
      min: 0,
      max: 1_000_000,
      doc: 'Requests waiting at once, over all shards. Beyond it a waiting one of lower priority is given up (429 `shed`); where there is none, the new one spills to the next target or gets 503 `saturated`.',
    }),
    bytes_max: bytes({
      default: '256MiB',
      min: 0,
      max: '64GiB',
      doc: 'Bytes of their bodies, over all shards; a request that would be the only one may always wait. 0 is up to `limits.buffered_bytes_max`.',
    }),
    wait_ms: durationMs({ default: '5s', min: 0, max: '1h', doc: 'The longest a request waits.' }),
    wait_header: parsed(readHeaderName, 'header name', {
      default: 'x-request-timeout-ms',
      doc: 'Request header in which a client may say how many milliseconds after its request an answer is of no use any more; it waits no longer than that, nor than `wait_ms`.',
    }),
    fair_by: parsed(readFlowSource, '`header:NAME`, `body:user` or `none`', {
      default: 'none',
      doc: 'What tells one tenant from another. Requests of one priority are then served in turns of tenants; those that name none are one tenant. A header is only as good as whoever sets it.',
    }),
    fairness: choice(['round_robin', 'least_attained_service'], {
      default: 'round_robin',
      doc: 'Whose turn it is: that of the tenant that was served longest ago, or of the one that has had the fewest tokens lately.',
    }),
    service_half_life_ms: durationMs({
      default: '1m',
      min: '1s',
      max: '1h',
      doc: 'For `least_attained_service`: what a tenant has had counts half as much after this time.',
    }),
    saturated_at: saturatedAt,
  },
  {
    default: {},
    doc: 'Where requests wait when every endpoint is at `inflight_max`, `connections_max`, `pending_tokens_max`, `pending_prefill_ms` or `completion_rate_max`, or saturated.',
  },
);
