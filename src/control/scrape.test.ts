import pino from 'pino';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { Clock } from '../core/index.ts';
import { createSharedMemory, FleetTable } from '../shm/index.ts';
import type { ProbeTarget } from './probe-client.ts';
import { Scraper } from './scrape.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** `answers`: bodies of /metrics, or a status or an error; the last one repeats. */
async function scrapeOne(engine: string, answers: (string | number | Error)[], pool = '') {
  const text = `{ listeners: [{ name: a, address: "127.0.0.1:0" }],
    pools: [{ name: p, engine: ${engine}, ${pool} endpoints: [{ url: "http://a:1" }] }] }`;
  const parsed = parseConfig(text, 'test.yaml', {});
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const memory = createSharedMemory({ shardCount: 1, endpointCountMax: 2, bufferedBytesMax: 1024 });
  const fleet = new FleetTable(memory, -1);
  const slot = fleet.claim();
  const config = parsed.config.pools[0]!;
  const target: ProbeTarget = { slot, pool: config, endpoint: config.endpoints[0]! };
  const askedAtMs: number[] = [];
  const asked: string[] = [];
  const startMs = Date.now();
  const scraper = new Scraper({
    fleet,
    clock: new Clock(() => 5000 + Date.now() - startMs),
    probe: ({ endpoint }, path) => {
      asked.push(endpoint.url + path);
      const answer = answers[Math.min(askedAtMs.length, answers.length - 1)]!;
      askedAtMs.push(Date.now() - startMs);
      if (answer instanceof Error) return Promise.reject(answer);
      return Promise.resolve(typeof answer === 'number' ? { status: answer, text: '' } : { status: 200, text: answer });
    },
    log: pino({ level: 'silent' }),
  });
  scraper.watch([target]);
  await vi.advanceTimersByTimeAsync(0);
  const out = { queueDepth: -1, runningRequests: -1, kvCacheUsageRatio: -1, scrapedAtMs: -1 };
  return { fleet, slot, scraper, target, askedAtMs, asked, out };
}

const idle = 'vllm:num_requests_waiting 0\nvllm:num_requests_running 0\nvllm:kv_cache_usage_perc 0.5\n';
const busy = 'vllm:num_requests_waiting 3\nvllm:num_requests_running 8\nvllm:kv_cache_usage_perc 0.5\n';

test('scrape: when the engine tells its load, it is published with the time it was asked', async () => {
  const { fleet, slot, out, scraper } = await scrapeOne('auto', [busy]);
  expect(fleet.readScrape(slot, out)).toBe(true);
  expect(out).toEqual({ queueDepth: 3, runningRequests: 8, kvCacheUsageRatio: 0.5, scrapedAtMs: 5000 });
  expect(scraper.engine(slot)).toBe('vllm');
});

test('scrape: when nothing changes the interval grows to 2 s, when something waits it is 250 ms again', async () => {
  const { askedAtMs } = await scrapeOne('vllm', [idle, idle, idle, idle, idle, busy, busy, busy]);
  await vi.advanceTimersByTimeAsync(8000);
  const gaps = askedAtMs.slice(1).map((atMs, index) => atMs - askedAtMs[index]!);
  expect(gaps.slice(0, 7)).toEqual([250, 500, 1000, 2000, 2000, 250, 250]);
});

test('scrape: when an endpoint has no metrics, it is asked once a minute and nothing is published', async () => {
  const { askedAtMs, fleet, slot, out } = await scrapeOne('vllm', [404]);
  await vi.advanceTimersByTimeAsync(130_000);
  expect(askedAtMs).toEqual([0, 60_000, 120_000]);
  expect(fleet.readScrape(slot, out)).toBe(false);
});

test('scrape: when the endpoint stops answering, the last numbers stay with their age, and it is asked less often', async () => {
  const { askedAtMs, fleet, slot, out } = await scrapeOne('vllm', [busy, new Error('reset')]);
  await vi.advanceTimersByTimeAsync(40_000);
  expect(fleet.readScrape(slot, out)).toBe(true);
  expect(out.scrapedAtMs).toBe(5000);
  expect(askedAtMs.at(-1)! - askedAtMs.at(-2)!).toBe(10_000);
});

test('scrape: when an endpoint that told its load answers something else for a while, it is asked soon again', async () => {
  const { askedAtMs, fleet, slot, out } = await scrapeOne('vllm', [busy, 503, 503, 503, busy]);
  await vi.advanceTimersByTimeAsync(5000);
  const gaps = askedAtMs.slice(1).map((atMs, index) => atMs - askedAtMs[index]!);
  expect(gaps.slice(0, 5)).toEqual([250, 500, 1000, 2000, 250]);
  expect(fleet.readScrape(slot, out)).toBe(true);
  expect(out.scrapedAtMs).toBeGreaterThan(8000);
});

test('scrape: when the engine is none, nobody is asked; when the endpoint leaves, nobody is any more', async () => {
  expect((await scrapeOne('none', [busy])).askedAtMs).toEqual([]);
  const { askedAtMs, scraper } = await scrapeOne('vllm', [busy]);
  scraper.watch([]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(askedAtMs).toHaveLength(1);
});

test('scrape: when the engine is not known, its metrics are found where known engines have them, and stay found', async () => {
  const { asked, scraper, slot } = await scrapeOne('auto', [404, '[]', idle]);
  expect(asked).toEqual(['http://a:1/metrics', 'http://a:1/prometheus/metrics', 'http://a:1/v1/metrics']);
  expect(scraper.engine(slot)).toBe('vllm');
  await vi.advanceTimersByTimeAsync(300);
  expect(asked.slice(3)).toEqual(['http://a:1/v1/metrics']);
});

test('scrape: when the configuration says where metrics are, they are asked for there and nowhere else', async () => {
  const { asked } = await scrapeOne('triton', [404], 'metrics: { path: /m, port: 8002 },');
  expect(asked).toEqual(['http://a:8002/m']);
});

const asking = (tokens: number, hits: number): string =>
  `${busy}vllm:prefix_cache_queries_total ${tokens}\nvllm:prefix_cache_hits_total ${hits}\n`;

test('scrape: when the engine counts its prefix cache, its hit ratio of late is known, and begins anew with the engine', async () => {
  const answers = [asking(1000, 0), asking(1000, 0), asking(2000, 900), asking(100, 10), asking(300, 30)];
  const { scraper, slot } = await scrapeOne('vllm', answers);
  expect(scraper.hitRatio(slot), 'what was before we came says nothing of late').toBeNull();
  await vi.advanceTimersByTimeAsync(500);
  expect(scraper.hitRatio(slot)).toBe(0.9);
  await vi.advanceTimersByTimeAsync(250);
  expect(scraper.hitRatio(slot)).toBeNull();
  await vi.advanceTimersByTimeAsync(250);
  expect(scraper.hitRatio(slot)).toBe(0.1);
});
