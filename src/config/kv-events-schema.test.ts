import { expect, test } from 'vitest';
import { kvEventSources, parseConfig } from './index.ts';
import type { KvEventSource } from './index.ts';

/** By endpoint. */
function sourcesOf(pool: string): KvEventSource[][] {
  const listeners = 'listeners: [{ name: l, address: "127.0.0.1:0" }]\n';
  const parsed = parseConfig(`${listeners}pools: [{ name: p, ${pool} }]`, 'f.yaml', {});
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config.pools.flatMap(({ kvEvents, endpoints }) =>
    endpoints.map((endpoint) => kvEventSources(kvEvents, endpoint)),
  );
}

const at = (host: string, port: number): { host: string; port: number } => ({ host, port });

test('config: when nothing is said of KV events, none are followed', () => {
  expect(sourcesOf('endpoints: [{ url: "http://a:1" }]')).toEqual([[]]);
});

test('config: when a pool says on which ports they are published, it is the hosts of its endpoints, a port for each rank', () => {
  const endpoints = 'endpoints: [{ url: "http://a:1" }, { url: "https://[::1]:2/base" }]';
  expect(sourcesOf(`kv_events: {}, ${endpoints}`)).toEqual([
    [{ address: at('a', 5557), replayAddress: null }],
    [{ address: at('::1', 5557), replayAddress: null }],
  ]);
  expect(sourcesOf(`kv_events: { port: 7000, replay_port: 7100, ranks: 2 }, ${endpoints}`)[0]).toEqual([
    { address: at('a', 7000), replayAddress: at('a', 7100) },
    { address: at('a', 7001), replayAddress: at('a', 7101) },
  ]);
});

test('config: when an endpoint says where they are published, that is it, with a section for the pool or without', () => {
  const endpoint =
    '{ url: "http://a:1", kv_events_urls: ["tcp://b:1", "tcp://[::1]:2"], kv_events_replay_urls: ["tcp://b:3", "tcp://c:4"] }';
  const wanted = [
    { address: at('b', 1), replayAddress: at('b', 3) },
    { address: at('::1', 2), replayAddress: at('c', 4) },
  ];
  expect(sourcesOf(`endpoints: [${endpoint}]`)).toEqual([wanted]);
  expect(sourcesOf(`kv_events: { replay_port: 9 }, endpoints: [${endpoint}, { url: "http://d:1" }]`)).toEqual([
    wanted,
    [{ address: at('d', 5557), replayAddress: at('d', 9) }],
  ]);
});
