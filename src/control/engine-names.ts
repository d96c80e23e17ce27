/**
 * What engines call the things worth knowing, in their Prometheus text. Newer names first, older ones where releases in use still
 * write them. From the engines' own sources and documents:
 *
 * | Engine          | Source                                                                                                  |
 * | --------------- | ------------------------------------------------------------------------------------------------------- |
 * | vLLM            | vllm/v1/metrics/loggers.py; `gpu_` names until 0.9                                                       |
 * | SGLang          | docs/references/production_metrics.md; pages as labels of `cache_config_info` until 0.5.15, as gauges since |
 * | TensorRT-LLM    | tensorrt_llm/metrics/collector.py, which trtllm-serve shows at /prometheus/metrics: /metrics is JSON      |
 * | Triton          | docs/user_guide/metrics.md; with TensorRT-LLM inside: triton-inference-server/tensorrtllm_backend, README |
 * | TGI             | docs/source/reference/metrics.md                                                                          |
 * | llama.cpp       | tools/server/README.md; the two of the KV cache until the middle of 2025                                  |
 * | NIM             | docs.nvidia.com/nim/large-language-models, Observability: vLLM's names without the prefix, at /v1/metrics |
 */

/** What is read of a page. Several series of one name (ranks, models) become one number: see `fold`. */
export const Field = {
  waiting: 0,
  running: 1,
  /** Of all phases; Triton's releases that do not say how many wait say this. */
  active: 2,
  kvUsage: 3,
  /** Of the KV cache, in tokens. */
  cacheTokens: 4,
  /** Of the KV cache, in use, in tokens. */
  usedTokens: 5,
  blocks: 6,
  usedBlocks: 7,
  freeBlocks: 8,
  blockTokens: 9,
  /** Counters: prompt tokens looked for in the prefix cache, and found there. */
  prefixTokens: 10,
  prefixHitTokens: 11,
  /** The same in blocks, where an engine counts those it reused and those it did not have. */
  prefixHitBlocks: 12,
  prefixMissBlocks: 13,
  startedAt: 14,
  /** Info metrics: what they say is in their labels. */
  cacheInfo: 15,
  adapterInfo: 16,
  /** Requests that wait in front of the engine, in the server around it. */
  pending: 17,
} as const;
export type Field = (typeof Field)[keyof typeof Field];
export const fieldCount = 18;

/** In the order in which a page that could be of two is decided. */
export const engineNames = ['vllm', 'sglang', 'trtllm', 'triton', 'tgi', 'llamacpp', 'nim'] as const;
export type EngineName = (typeof engineNames)[number];

type Names = Readonly<Record<string, readonly string[]>>;

/** A name may ask for a label: `name{label=value}`. */
const vllmNames: Names = {
  waiting: ['num_requests_waiting'],
  running: ['num_requests_running'],
  kvUsage: ['kv_cache_usage_perc', 'gpu_cache_usage_perc'],
  prefixTokens: ['prefix_cache_queries_total', 'gpu_prefix_cache_queries_total'],
  prefixHitTokens: ['prefix_cache_hits_total', 'gpu_prefix_cache_hits_total'],
  cacheInfo: ['cache_config_info'],
  adapterInfo: ['lora_requests_info'],
};
const prefixed = (prefix: string, names: Names): Names =>
  Object.fromEntries(Object.entries(names).map(([field, all]) => [field, all.map((name) => prefix + name)]));
const trtRequests = (type: string): string => `nv_trt_llm_request_metrics{request_type=${type}}`;
const trtBlocks = (type: string): string => `nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=${type}}`;

const namesOf: Readonly<Record<EngineName, Names>> = {
  vllm: prefixed('vllm:', vllmNames),
  sglang: prefixed('sglang:', {
    waiting: ['num_queue_reqs'],
    running: ['num_running_reqs'],
    kvUsage: ['token_usage'],
    cacheTokens: ['max_total_num_tokens'],
    blocks: ['num_pages'],
    blockTokens: ['page_size'],
    cacheInfo: ['cache_config_info'],
    prefixTokens: ['prompt_tokens_total'],
    prefixHitTokens: ['cached_tokens_total'],
  }),
  trtllm: prefixed('trtllm_', {
    waiting: ['num_requests_waiting'],
    running: ['num_requests_running'],
    kvUsage: ['kv_cache_utilization'],
    blocks: ['kv_cache_max_blocks'],
    usedBlocks: ['kv_cache_used_blocks'],
    freeBlocks: ['kv_cache_free_blocks'],
    blockTokens: ['kv_cache_tokens_per_block'],
    prefixHitBlocks: ['kv_cache_reused_blocks_total'],
    prefixMissBlocks: ['kv_cache_missed_blocks_total'],
  }),
  triton: {
    waiting: [trtRequests('waiting')],
    running: [trtRequests('scheduled')],
    active: [trtRequests('active')],
    pending: ['nv_inference_pending_request_count'],
    kvUsage: [trtBlocks('fraction')],
    blocks: [trtBlocks('max')],
    usedBlocks: [trtBlocks('used')],
    freeBlocks: [trtBlocks('free')],
    blockTokens: [trtBlocks('tokens_per')],
  },
  tgi: { waiting: ['tgi_queue_size'], running: ['tgi_batch_current_size'] },
  llamacpp: prefixed('llamacpp:', {
    waiting: ['requests_deferred'],
    running: ['requests_processing'],
    kvUsage: ['kv_cache_usage_ratio'],
    usedTokens: ['kv_cache_tokens'],
  }),
  nim: vllmNames,
};

export interface Wanted {
  readonly engine: EngineName;
  readonly field: Field;
  /** Position among the names of the field: 0 is the newest, which counts where a page has several. */
  readonly age: number;
  /** How the labels must read, or null. */
  readonly label: RegExp | null;
}

/** By the name in front of the labels. */
export const wantedByName: ReadonlyMap<string, readonly Wanted[]> = wantedNames();

function wantedNames(): Map<string, Wanted[]> {
  const wanted = new Map<string, Wanted[]>();
  for (const engine of engineNames) {
    for (const [field, names] of Object.entries(namesOf[engine])) {
      for (const [age, written] of names.entries()) {
        const [, name, label, value] = /^([^{]+)(?:\{(\w+)=(\w+)\})?$/.exec(written)!;
        const row = {
          engine,
          field: Field[field as keyof typeof Field],
          age,
          label: label === undefined ? null : new RegExp(`[{,]${label}="${value}"`),
        };
        wanted.set(name!, [...(wanted.get(name!) ?? []), row]);
      }
    }
  }
  // The same in all engines that are Python programs.
  wanted.set('process_start_time_seconds', [{ engine: 'vllm', field: Field.startedAt, age: 0, label: null }]);
  return wanted;
}

const largest: ReadonlySet<Field> = new Set([
  Field.kvUsage,
  Field.blockTokens,
  Field.startedAt,
  // An ensemble counts a request that waits in one of its steps, and the step does too.
  Field.pending,
]);

/** How the values of several series become one: counts are added up, of ratios and sizes the largest counts. */
export function fold(field: Field, one: number, other: number): number {
  return largest.has(field) ? Math.max(one, other) : one + other;
}

/** Where an engine has its metrics, in the order in which they are asked for. Exact paths of `auto` are what known engines use. */
export function metricsPaths(engine: string): readonly string[] {
  switch (engine) {
    case 'auto':
      return ['/metrics', '/prometheus/metrics', '/v1/metrics'];
    case 'trtllm':
      return ['/prometheus/metrics', '/metrics'];
    case 'nim':
      return ['/v1/metrics', '/metrics'];
    default:
      return ['/metrics'];
  }
}

export function hasEngineMetrics(engine: string): boolean {
  return engine === 'auto' || engineNames.some((name) => name === engine);
}
