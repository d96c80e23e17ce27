/** `pools[].kv_events`, and the same by endpoint: where engines publish what their KV caches hold. docs/kv-events.md */
import { readAddress } from './address.ts';
import type { Address } from './address.ts';
import { integer, list, parsed, section } from './field.ts';
import type { Field, Section } from './field.ts';
import type { Reading } from './reading.ts';
import { text } from './text-field.ts';

/** Data parallel ranks of one endpoint, each with a publisher of its own. */
const ranksMax = 64;

function readTcpUrl(written: string): Reading<Address> {
  const reading = written.startsWith('tcp://') ? readAddress(written.slice('tcp://'.length)) : null;
  if (reading === null || 'complaint' in reading || reading.value.port === 0) {
    return { complaint: 'must be an address such as tcp://10.0.0.1:5557' };
  }
  return reading;
}

function urls(doc: string): Field<readonly Address[]> {
  return list(parsed(readTcpUrl, 'tcp URL', { doc: '' }), '`tcp://host:port`', { default: [], max: ranksMax, doc });
}

/** Of an endpoint. */
export const kvEventsEndpointShape = {
  kv_events_urls: urls(
    'Where it publishes KV events, one for each data parallel rank, in place of its host and the ports of `kv_events`.',
  ),
  kv_events_replay_urls: urls('Where it answers for events that were missed, in the order of `kv_events_urls`.'),
};

export const portMax = 65_535;

export const kvEventsShape = {
  port: integer({
    default: 5557,
    min: 1,
    max: portMax,
    doc: 'Port on which each endpoint publishes them; further ranks have the ports behind.',
  }),
  replay_port: integer({
    default: 0,
    min: 0,
    max: portMax,
    doc: 'Port on which each endpoint answers for events that were missed; 0 = none.',
  }),
  ranks: integer({ default: 1, min: 1, max: ranksMax, doc: 'Data parallel ranks of each endpoint.' }),
  topic: text({ default: '', doc: 'What the topics to follow begin with; empty follows all.' }),
};

export type KvEventsConfig = Section<typeof kvEventsShape>;

export const kvEvents = section(kvEventsShape, {
  doc: 'Follows the KV events of vLLM and SGLang (ZeroMQ), so that the prefix index knows when a cache was cleared, and what others fill it with. Without this section only of endpoints with `kv_events_urls`. See [kv-events.md](kv-events.md).',
});

/** One publisher. */
export interface KvEventSource {
  readonly address: Address;
  readonly replayAddress: Address | null;
}

/** The publishers of an endpoint, by rank; none where its events are not followed. */
export function kvEventSources(
  settings: KvEventsConfig | null,
  endpoint: {
    readonly host: string;
    readonly kvEventsUrls: readonly Address[];
    readonly kvEventsReplayUrls: readonly Address[];
  },
): KvEventSource[] {
  const { host, kvEventsUrls, kvEventsReplayUrls } = endpoint;
  if (kvEventsUrls.length > 0)
    return kvEventsUrls.map((address, rank) => ({ address, replayAddress: kvEventsReplayUrls[rank] ?? null }));
  if (settings === null) return [];
  const { port, replayPort, ranks } = settings;
  return Array.from({ length: ranks }, (_, rank) => ({
    address: { host, port: port + rank },
    replayAddress: replayPort === 0 ? null : { host, port: replayPort + rank },
  }));
}
