import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseEngineMetrics } from './engine-metrics.ts';

test('scrape: when the text is a vLLM page, its three gauges, cache and start are read and nothing near them', () => {
  const text = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 18.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 6.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.8125
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="m"} 3.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="19208",num_cpu_blocks="None"} 1.0
process_cpu_seconds_total 12.5
process_start_time_seconds 1.7637e+09
`;
  expect(parseEngineMetrics(text)).toEqual({
    engine: 'vllm',
    queueDepth: 7,
    runningRequests: 18,
    kvCacheUsageRatio: 0.8125,
    cacheTokens: 307_328,
    startedAtSeconds: 1_763_700_000,
    prefixTokens: 0,
    prefixHitTokens: 0,
    adapters: null,
  });
});

test('scrape: when an older vLLM writes the old name of the KV gauge, it is taken; the new name wins where both are', () => {
  const old = 'vllm:num_requests_waiting 1\nvllm:gpu_cache_usage_perc{model_name="m"} 0.25\n';
  expect(parseEngineMetrics(old)?.kvCacheUsageRatio).toBe(0.25);
  expect(parseEngineMetrics(`${old}vllm:kv_cache_usage_perc{model_name="m"} 0.5`)?.kvCacheUsageRatio).toBe(0.5);
  expect(parseEngineMetrics(`vllm:kv_cache_usage_perc 0.5\n${old}`)?.kvCacheUsageRatio).toBe(0.5);
});

test('scrape: when there are several data parallel ranks, counts are added and the fullest KV cache counts', () => {
  const text = `vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
vllm:num_requests_waiting{engine="0"} 0
vllm:num_requests_waiting{engine="1"} 9
vllm:kv_cache_usage_perc{engine="0"} 0.9
vllm:kv_cache_usage_perc{engine="1"} 0.2`;
  expect(parseEngineMetrics(text)).toMatchObject({ queueDepth: 9, runningRequests: 7, kvCacheUsageRatio: 0.9 });
});

test('scrape: when SGLang reports priorities, only the row of all of them counts', () => {
  const text = `sglang:num_running_reqs{model_name="m",priority="",tp_rank="0"} 18.0
sglang:num_running_reqs{model_name="m",priority="5",tp_rank="0"} 11.0
sglang:num_queue_reqs{model_name="m",priority="",tp_rank="0"} 7.0
sglang:token_usage{model_name="m",priority="",tp_rank="0"} 0.711
sglang:max_total_num_tokens{model_name="m",tp_rank="0"} 500000.0`;
  expect(parseEngineMetrics(text)).toEqual({
    engine: 'sglang',
    queueDepth: 7,
    runningRequests: 18,
    kvCacheUsageRatio: 0.711,
    cacheTokens: 500_000,
    startedAtSeconds: 0,
    prefixTokens: 0,
    prefixHitTokens: 0,
    adapters: null,
  });
});

test('scrape: when the engine has no labels, as TGI and llama.cpp, its lines are read too', () => {
  expect(parseEngineMetrics('tgi_queue_size 7\ntgi_batch_current_size 18\ntgi_queue_size_sum 9')).toMatchObject({
    engine: 'tgi',
    queueDepth: 7,
    runningRequests: 18,
  });
  expect(parseEngineMetrics('llamacpp:requests_processing 2\nllamacpp:requests_deferred 3\n')).toMatchObject({
    engine: 'llamacpp',
    queueDepth: 3,
    runningRequests: 2,
  });
});

test('scrape: when a label value holds braces and quotes, the value after the last brace is read', () => {
  expect(parseEngineMetrics('vllm:num_requests_waiting{model_name="a} 5 {\\"b"} 4 1762000000123')).toMatchObject({
    queueDepth: 4,
  });
});

test('scrape: when the text is something else, damaged, or absurd, nothing is made up', () => {
  for (const text of [
    '',
    '<html>',
    'go_goroutines 5\n',
    'vllm:num_requests_waiting',
    'vllm:num_requests_waiting NaN',
  ]) {
    expect(parseEngineMetrics(text), text).toBeNull();
  }
  expect(parseEngineMetrics('vllm:num_requests_waiting 1e99\nvllm:kv_cache_usage_perc 7')).toMatchObject({
    queueDepth: 0x7fff_ffff,
    kvCacheUsageRatio: 1,
  });
});

const nothing = { kvCacheUsageRatio: 0, cacheTokens: 0, startedAtSeconds: 0, prefixTokens: 0, prefixHitTokens: 0 };
const pages: Readonly<Record<string, object>> = {
  // What waits in the server around the engine waits too; an ensemble and its step count the same request.
  'triton.prom': { engine: 'triton', queueDepth: 5, runningRequests: 4, kvCacheUsageRatio: 0.4, cacheTokens: 399_296 },
  // No row of those that wait: they are the active ones that are not in the batch.
  'triton-23.prom': { engine: 'triton', queueDepth: 5, runningRequests: 4, cacheTokens: 6400 },
  'trtllm.prom': {
    engine: 'trtllm',
    queueDepth: 5,
    runningRequests: 12,
    kvCacheUsageRatio: 0.6,
    cacheTokens: 32_000,
    prefixTokens: 3200,
    prefixHitTokens: 2400,
  },
  'nim.prom': {
    engine: 'nim',
    queueDepth: 2,
    runningRequests: 6,
    kvCacheUsageRatio: 0.35,
    startedAtSeconds: 1_730_000_000,
  },
  'vllm-adapters.prom': {
    engine: 'vllm',
    queueDepth: 1,
    runningRequests: 3,
    kvCacheUsageRatio: 0.4375,
    prefixTokens: 80_000,
    prefixHitTokens: 60_000,
    adapters: { slotCount: 2, running: ['sql', 'chat'], waiting: ['law'] },
  },
  'vllm-0.8.prom': {
    engine: 'vllm',
    queueDepth: 0,
    runningRequests: 1,
    kvCacheUsageRatio: 0.25,
    cacheTokens: 16_000,
    prefixTokens: 1000,
    prefixHitTokens: 400,
  },
  'sglang.prom': {
    engine: 'sglang',
    queueDepth: 1,
    runningRequests: 4,
    kvCacheUsageRatio: 0.5,
    cacheTokens: 200_000,
    prefixTokens: 4096,
    prefixHitTokens: 3072,
  },
  'sglang-0.5.9.prom': { engine: 'sglang', queueDepth: 1, runningRequests: 4, cacheTokens: 200_000 },
  'llamacpp-2024.prom': {
    engine: 'llamacpp',
    queueDepth: 3,
    runningRequests: 2,
    kvCacheUsageRatio: 0.25,
    cacheTokens: 32_768,
  },
};
test.each(Object.entries(pages))('scrape: when the page is %s, all it says of load is read', (file, expected) => {
  const text = readFileSync(new URL(`fixtures/${file}`, import.meta.url), 'latin1');
  expect(parseEngineMetrics(text)).toEqual({ ...nothing, adapters: null, ...expected });
});

test('scrape: when a page has the names of vLLM with and without its prefix, they are one engine, counted once', () => {
  const text = 'num_requests_waiting 3\nvllm:num_requests_waiting 3\nnum_requests_running 1\n';
  expect(parseEngineMetrics(text)).toMatchObject({ engine: 'vllm', queueDepth: 3, runningRequests: 0 });
});

test('scrape: when adapter names are not ASCII, or quoted, they are read as they were written', () => {
  const row = 'vllm:lora_requests_info{running_lora_adapters="naïve, a\\"b",waiting_lora_adapters="",max_lora="4"} 5';
  const text = Buffer.from(`vllm:num_requests_running 0\n${row}`).toString('latin1');
  expect(parseEngineMetrics(text)?.adapters).toEqual({ slotCount: 4, running: ['naïve', 'a"b'], waiting: [] });
});

test('scrape: when an engine names more adapters than any could run, the first of them count', () => {
  const names = Array.from({ length: 100_000 }, (_, at) => `a${at}`);
  const text = `vllm:num_requests_running 0\nvllm:lora_requests_info{running_lora_adapters="${names.join(',')}",waiting_lora_adapters="",max_lora="4"} 5`;
  expect(parseEngineMetrics(text)?.adapters?.running).toEqual(names.slice(0, 512));
});

test('scrape: when the size of a cache is told only by its use, it stays the same while that changes', () => {
  const sizes = [0.05, 0.1002, 0.25, 0.777, 0.999].map((usage) => {
    const tokens = Math.round(40_960 * usage);
    return parseEngineMetrics(
      `llamacpp:requests_processing 1\nllamacpp:kv_cache_usage_ratio ${usage.toFixed(3)}\nllamacpp:kv_cache_tokens ${tokens}`,
    )?.cacheTokens;
  });
  expect(new Set(sizes)).toEqual(new Set([38_968]));
});

// The table of residents keeps it in 32 bits.
test('scrape: when an engine claims more places for adapters than anybody has, it is not believed to the digit', () => {
  const row = (max: string): string =>
    `vllm:num_requests_running 0\nvllm:lora_requests_info{max_lora="${max}",running_lora_adapters="a"} 5`;
  for (const max of ['4294967295', '9'.repeat(400)])
    expect(parseEngineMetrics(row(max))?.adapters?.slotCount, max.slice(0, 10)).toBe(0x7fff_ffff);
});
