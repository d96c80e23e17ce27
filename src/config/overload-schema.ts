/** Rows of `limits` that protect the gateway and what it is doing already from more than it can do. docs/limits.md */
import * as z from 'zod';
import { bytes, choice, durationMs, field, integer, optional, wanted } from './field.ts';
import type { Field, Row } from './field.ts';
import { headerName } from './text-field.ts';
import { readInteger } from './units.ts';

/** A number, or `auto`: the program works it out. */
export function autoOrInteger(row: Row & { readonly min: number; readonly max: number }): Field<'auto' | number> {
  const { min, max } = row;
  const schema = z
    .union(
      [
        z.number().meta({ type: 'integer', minimum: min, maximum: max }),
        z.string().meta({ pattern: String.raw`^(auto|\d+)$|\$\{` }),
      ],
      { error: wanted(`auto or a number from ${min} to ${max}`) },
    )
    .transform((raw, context): 'auto' | number => {
      if (raw === 'auto') return raw;
      const reading = readInteger(raw);
      if ('value' in reading && reading.value >= min && reading.value <= max) return reading.value;
      context.addIssue({ code: 'custom', message: `must be auto or a number from ${min} to ${max}` });
      return z.NEVER;
    });
  return field(schema, row, { type: '`auto` or integer', bounds: `${min} to ${max}` });
}

export const priorityNames = ['low', 'normal', 'high'] as const;

export const overloadShape = {
  connections_max: autoOrInteger({
    default: 'auto',
    min: 1,
    max: 1_000_000,
    reload: 'restart',
    doc: 'Client connections at once, all listeners and shards together; one more is closed as it comes. `auto` is a little less than half of the file descriptors the process may open, so that endpoints, admin port and log always have theirs.',
  }),
  connections_per_address_max: integer({
    default: 0,
    min: 0,
    max: 1_000_000,
    reload: 'restart',
    doc: 'Client connections at once from one IPv4 address or IPv6 /64; one more is closed as it comes. 0 is unlimited. Listeners with `proxy_protocol` are left out: behind a balancer all have its address.',
  }),
  requests_max: integer({
    default: 0,
    min: 0,
    max: 1_000_000,
    doc: 'Requests in the gateway at once, from head to end of the response, all shards together. One more gets 503 `saturated` before its body is read. 0 is unlimited.',
  }),
  shed_delay_ms: durationMs({
    default: '500ms',
    min: 0,
    max: '10s',
    doc: 'A shard whose event loop keeps requests waiting for longer than this, without a break for half a second, answers a growing share of new ones with 429 `shed`: low priority first, then up to 80 % of normal, never high. 0 is never.',
  }),
  shed_memory_percent: integer({
    default: 85,
    min: 0,
    max: 99,
    doc: 'Use of the heap of a shard, or of the memory limit of the container, from which new requests of low priority get 429 `shed`; normal ones from a third of what is left above it, high ones from two thirds. 0 is never.',
  }),
  upload_rate_min_bytes: bytes({
    default: '16KiB',
    min: 0,
    max: '1GiB',
    doc: 'Bytes a second of a request body, over 7 s; a slower client gets 408. 0 is any, as long as `request_ms` allows it.',
  }),
  dispatch_min_bytes: bytes({
    default: 0,
    min: 0,
    max: '1GiB',
    doc: 'Of a body, before its request takes a place at an endpoint; a shorter body when it is complete. 0 is as soon as the route is known. `64KiB` costs a usual client nothing and keeps bodies that come in drips away from the endpoints.',
  }),
  priority_header: optional(
    headerName({
      doc: 'Request header whose value `low`, `normal` or `high` is the priority, over those of model and listener. Only where clients cannot set it themselves.',
    }),
  ),
};

/** Of a listener. */
export const listenerPriority = choice(priorityNames, {
  default: 'normal',
  reload: 'live',
  doc: 'Of its requests: who is shed first, and who is served first from a queue.',
});

/** Of a model. */
export const modelPriority = optional(
  choice(priorityNames, { doc: 'Of its requests, over that of the listener: `low`, `normal` or `high`.' }),
);

export const downstreamWriteMs = durationMs({
  default: '30s',
  min: '100ms',
  max: '24h',
  doc: 'A client that takes no byte of a response held up for it is cut after this long. Meanwhile its endpoint is paused.',
});
