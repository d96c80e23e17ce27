/**
 * The three numbers worth knowing of an engine, read from its Prometheus text. Engines write hundreds of lines, most of
 * them histogram buckets; a line is looked at further only when its first bytes are those of a wanted name.
 */
export interface EngineLoad {
  readonly engine: EngineName;
  readonly queueDepth: number;
  readonly runningRequests: number;
  /** 0..1; 0 where the engine does not say. */
  readonly kvCacheUsageRatio: number;
  /** What the KV cache holds; 0 where the engine does not say. */
  readonly cacheTokens: number;
  /** Start of the process, Unix time; 0 where the engine does not say. */
  readonly startedAtSeconds: number;
}

interface EngineNames {
  readonly waiting: readonly string[];
  readonly running: readonly string[];
  /** Newest name first: an engine in between may write both. */
  readonly kvUsage: readonly string[];
}

/** Gateway API Inference Extension proposal 003, and the engines' own documents; old names where they changed. */
const engines = {
  vllm: {
    waiting: ['vllm:num_requests_waiting'],
    running: ['vllm:num_requests_running'],
    kvUsage: ['vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc'],
  },
  sglang: {
    waiting: ['sglang:num_queue_reqs'],
    running: ['sglang:num_running_reqs'],
    kvUsage: ['sglang:token_usage'],
  },
  trtllm: {
    waiting: ['trtllm_num_requests_waiting'],
    running: ['trtllm_num_requests_running'],
    kvUsage: ['trtllm_kv_cache_utilization'],
  },
  tgi: { waiting: ['tgi_queue_size'], running: ['tgi_batch_current_size'], kvUsage: [] },
  llamacpp: { waiting: ['llamacpp:requests_deferred'], running: ['llamacpp:requests_processing'], kvUsage: [] },
} as const satisfies Record<string, EngineNames>;
export type EngineName = keyof typeof engines;
const engineNames = ['vllm', 'sglang', 'trtllm', 'tgi', 'llamacpp'] as const satisfies readonly EngineName[];

interface Wanted {
  readonly engine: EngineName;
  readonly kind: 'waiting' | 'running' | 'kvUsage';
  /** Position in its list: 0 is the newest name. */
  readonly age: number;
}
const wantedByName = new Map<string, Wanted>();
for (const engine of engineNames) {
  for (const kind of ['waiting', 'running', 'kvUsage'] as const) {
    for (const [age, name] of engines[engine][kind].entries()) wantedByName.set(name, { engine, kind, age });
  }
}
const prefixes = ['vllm:', 'sglang:', 'trtllm_', 'tgi_', 'llamacpp:', 'process_start_time_seconds'] as const;
/** vLLM: an info metric, whose labels say how large the cache is. */
const cacheInfo = 'vllm:cache_config_info';
/** SGLang. */
const cacheTokensName = 'sglang:max_total_num_tokens';
const startName = 'process_start_time_seconds';

export function hasEngineMetrics(engine: string): boolean {
  return engine === 'auto' || Object.hasOwn(engines, engine);
}

/**
 * Null when the text has neither a waiting nor a running count of a known engine. Counts of several series (data
 * parallel ranks, models) are added up, of KV usage the fullest one counts. SGLang's per-priority rows are left out: the
 * row with an empty priority is their total.
 */
export function parseEngineMetrics(text: string): EngineLoad | null {
  let engine: EngineName | null = null;
  let queueDepth = 0;
  let runningRequests = 0;
  let kvCacheUsageRatio = 0;
  let kvUsageAge = Infinity;
  let cacheTokens = 0;
  let startedAtSeconds = 0;
  for (let start = 0; start < text.length;) {
    let end = text.indexOf('\n', start);
    if (end === -1) end = text.length;
    if (prefixes.some((prefix) => text.startsWith(prefix, start))) {
      const line = text.slice(start, end);
      const name = nameOf(line);
      const wanted = wantedByName.get(name);
      if (name === cacheInfo) cacheTokens += cacheTokensOf(line);
      else if (name === cacheTokensName) cacheTokens += Math.max(0, valueOf(line)) || 0;
      else if (name === startName) startedAtSeconds = valueOf(line) || 0;
      const value = wanted === undefined ? NaN : valueOf(line);
      if (wanted !== undefined && value >= 0 && !/[{,]priority="[^"]/.test(line)) {
        engine = wanted.engine;
        if (wanted.kind === 'waiting') queueDepth += value;
        else if (wanted.kind === 'running') runningRequests += value;
        else if (wanted.age < kvUsageAge) {
          kvUsageAge = wanted.age;
          kvCacheUsageRatio = value;
        } else if (wanted.age === kvUsageAge) kvCacheUsageRatio = Math.max(kvCacheUsageRatio, value);
      }
    }
    start = end + 1;
  }
  if (engine === null) return null;
  return {
    engine,
    queueDepth: Math.min(countMax, Math.round(queueDepth)),
    runningRequests: Math.min(countMax, Math.round(runningRequests)),
    kvCacheUsageRatio: Math.min(1, kvCacheUsageRatio),
    cacheTokens,
    startedAtSeconds,
  };
}

/** What an Int32 of the fleet table holds; an engine that claims more is not believed to the digit. */
const countMax = 0x7fff_ffff;

/** 0 when a label is missing or says `None`. */
function cacheTokensOf(line: string): number {
  const blocks = Number(/[{,]num_gpu_blocks="(\d+)"/.exec(line)?.[1] ?? 0);
  return blocks * Number(/[{,]block_size="(\d+)"/.exec(line)?.[1] ?? 0);
}

function nameOf(line: string): string {
  const end = line.search(/[{ \t]/);
  return end === -1 ? line : line.slice(0, end);
}

/** The value of `name{labels} value [timestamp]`. Label values may hold any character, so the last brace ends them. */
function valueOf(line: string): number {
  const rest = line.slice(Math.max(line.lastIndexOf('}'), nameOf(line).length - 1) + 1).trim();
  return rest === '' ? NaN : Number(rest.split(/[ \t]/, 1)[0]);
}
