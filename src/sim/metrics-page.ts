/** GET /metrics: Prometheus text with vLLM's names, labels, order and number format, then the simulator's own counters. */
import type { SimContext } from './context.ts';
import type { Histogram } from './histogram.ts';
import type { Sequence } from './sequence.ts';

type Labels = readonly (readonly [name: string, value: string])[];

/** Adapter sets that were seen, with the time of the last sight; vLLM keeps such rows for good, the newest one counts. */
const adapterRowsMax = 8;

class Page {
  #text = '';
  readonly #common: Labels;
  readonly #createdSeconds: number;

  constructor(model: string, createdSeconds: number) {
    this.#common = [
      ['engine', '0'],
      ['model_name', model],
    ];
    this.#createdSeconds = createdSeconds;
  }

  get text(): string {
    return this.#text;
  }

  head(name: string, help: string, type: 'gauge' | 'counter' | 'histogram'): void {
    this.#text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  }

  row(name: string, value: number | string, labels: Labels = [], common: Labels = this.#common): void {
    const all = [...common, ...labels].map(([label, text]) => `${label}="${escapeLabel(text)}"`);
    this.#text += `${name}${all.length === 0 ? '' : `{${all.join(',')}}`} ${typeof value === 'number' ? float(value) : value}\n`;
  }

  gauge(name: string, help: string, rows: readonly (readonly [number, Labels])[]): void {
    this.head(name, help, 'gauge');
    for (const [value, labels] of rows) this.row(name, value, labels);
  }

  /** `name` without `_total`; brings the `_created` gauge the Python client adds. */
  counter(name: string, help: string, rows: readonly (readonly [number, Labels])[]): void {
    this.head(`${name}_total`, help, 'counter');
    for (const [value, labels] of rows) this.row(`${name}_total`, value, labels);
    this.head(`${name}_created`, help, 'gauge');
    for (const [, labels] of rows) this.row(`${name}_created`, this.#createdSeconds, labels);
  }

  histogram(name: string, help: string, histogram: Histogram): void {
    this.head(name, help, 'histogram');
    let below = 0;
    for (const [index, count] of histogram.counts.entries()) {
      below += count;
      const bound = histogram.bounds[index];
      this.row(`${name}_bucket`, below, [['le', bound === undefined ? '+Inf' : float(bound)]]);
    }
    this.row(`${name}_sum`, histogram.sum);
    this.row(`${name}_count`, histogram.count);
  }
}

/** Floats as Python prints them: 18 is `18.0`. */
function float(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

export function metricsPage(context: SimContext): string {
  const { engine, settings, counters } = context;
  const { cache, metrics } = engine;
  const page = new Page(settings.models[0]!, context.startedAt);
  page.gauge('vllm:num_requests_running', 'Number of requests in model execution batches.', [
    [engine.runningCount, []],
  ]);
  page.gauge('vllm:num_requests_waiting', 'Number of requests waiting to be processed.', [[engine.waitingCount, []]]);
  page.gauge('vllm:num_requests_waiting_by_reason', 'Waiting requests by reason.', [
    [engine.waitingCount, [['reason', 'capacity']]],
    [0, [['reason', 'deferred']]],
  ]);
  page.gauge('vllm:engine_sleep_state', 'Engine sleep state.', [
    [1, [['sleep_state', 'awake']]],
    [0, [['sleep_state', 'weights_offloaded']]],
    [0, [['sleep_state', 'discard_all']]],
  ]);
  page.gauge('vllm:kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.', [[cache.usageRatio, []]]);
  page.counter('vllm:prefix_cache_queries', 'Prefix cache queries, in tokens.', [[metrics.prefixQueryTokens, []]]);
  page.counter('vllm:prefix_cache_hits', 'Prefix cache hits, in cached tokens.', [[metrics.prefixHitTokens, []]]);
  for (const cache of ['external_prefix_cache', 'mm_cache']) {
    page.counter(`vllm:${cache}_queries`, 'Not simulated.', [[0, []]]);
    page.counter(`vllm:${cache}_hits`, 'Not simulated.', [[0, []]]);
  }
  page.counter('vllm:num_preemptions', 'Preemptions so far.', [[metrics.preemptions, []]]);
  page.counter('vllm:prompt_tokens', 'Prefill tokens processed.', [[metrics.promptTokens, []]]);
  page.counter('vllm:prompt_tokens_by_source', 'Prompt tokens by source.', [
    [metrics.promptTokens - metrics.cachedTokens, [['source', 'local_compute']]],
    [metrics.cachedTokens, [['source', 'local_cache_hit']]],
    [0, [['source', 'external_kv_transfer']]],
  ]);
  page.counter('vllm:prompt_tokens_cached', 'Cached prompt tokens.', [[metrics.cachedTokens, []]]);
  page.counter('vllm:generation_tokens', 'Generation tokens processed.', [[metrics.completionTokens, []]]);
  page.counter('vllm:request_success', 'Requests finished.', [
    [metrics.finished.stop, [['finished_reason', 'stop']]],
    [metrics.finished.length, [['finished_reason', 'length']]],
    [metrics.finished.abort, [['finished_reason', 'abort']]],
    [metrics.finished.error, [['finished_reason', 'error']]],
    [0, [['finished_reason', 'repetition']]],
  ]);
  page.histogram('vllm:request_prompt_tokens', 'Prefill tokens per request.', metrics.requestPromptTokens);
  page.histogram('vllm:request_generation_tokens', 'Generation tokens per request.', metrics.requestGenerationTokens);
  page.histogram('vllm:iteration_tokens_total', 'Tokens per engine step.', metrics.iterationTokens);
  page.histogram('vllm:time_to_first_token_seconds', 'Time to first token in seconds.', metrics.ttft);
  page.histogram('vllm:inter_token_latency_seconds', 'Inter-token latency in seconds.', metrics.interTokenLatency);
  page.histogram(
    'vllm:request_time_per_output_token_seconds',
    'Time per output token per request.',
    metrics.timePerOutputToken,
  );
  page.histogram('vllm:e2e_request_latency_seconds', 'End to end latency in seconds.', metrics.e2eLatency);
  page.histogram('vllm:request_queue_time_seconds', 'Time in the waiting phase.', metrics.queueTime);
  page.histogram('vllm:request_prefill_time_seconds', 'Time in the prefill phase.', metrics.prefillTime);
  page.histogram('vllm:request_decode_time_seconds', 'Time in the decode phase.', metrics.decodeTime);
  writeAdapters(page, context);
  page.head('vllm:cache_config_info', 'Information of the cache configuration.', 'gauge');
  page.row(
    'vllm:cache_config_info',
    1,
    [
      ['block_size', String(cache.blockSize)],
      ['cache_dtype', 'auto'],
      ['enable_prefix_caching', 'True'],
      ['engine', '0'],
      ['gpu_memory_utilization', '0.9'],
      ['num_gpu_blocks', String(cache.blockCount)],
    ],
    [],
  );
  page.head('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.', 'gauge');
  page.row('process_start_time_seconds', context.startedAt, [], []);
  page.head('sim_aborted_total', 'Generations whose client went away, by phase.', 'counter');
  for (const [phase, count] of Object.entries(metrics.aborted))
    page.row('sim_aborted_total', count, [['phase', phase]], []);
  page.head('sim_adapter_loads_total', 'LoRA adapters loaded.', 'counter');
  page.row('sim_adapter_loads_total', engine.adapters.loadCount, [], []);
  page.head('sim_requests_total', 'Requests by path.', 'counter');
  for (const [path, count] of context.requestsByPath) page.row('sim_requests_total', count, [['path', path]], []);
  page.head('sim_active', 'Requests whose response has not ended.', 'gauge');
  page.row('sim_active', counters.active, [], []);
  page.head('sim_faults_total', 'Requests hit by a fault.', 'counter');
  for (const [kind, count] of context.faults.hits) page.row('sim_faults_total', count, [['kind', kind]], []);
  return page.text;
}

/** Rows of `vllm:lora_requests_info`: the value is when the row was last true. Absent until an adapter is used. */
function writeAdapters(page: Page, context: SimContext): void {
  const rows = context.adapterRows;
  const running = adapterNames(context.engine.running());
  const waiting = adapterNames(context.engine.waiting());
  if (rows.size > 0 || running !== '' || waiting !== '') {
    const key = `${running}\n${waiting}`;
    rows.delete(key);
    rows.set(key, context.settings.unixMs() / 1000);
    if (rows.size > adapterRowsMax) rows.delete(rows.keys().next().value!);
  }
  page.head('vllm:lora_requests_info', 'Running stats on lora requests.', 'gauge');
  for (const [key, seconds] of rows) {
    const [runningNames = '', waitingNames = ''] = key.split('\n');
    page.row(
      'vllm:lora_requests_info',
      seconds,
      [
        ['max_lora', String(context.settings.loraCountMax)],
        ['running_lora_adapters', runningNames],
        ['waiting_lora_adapters', waitingNames],
      ],
      [],
    );
  }
}

function adapterNames(sequences: Iterable<Sequence>): string {
  const names = new Set<string>();
  for (const { adapter } of sequences) if (adapter !== '') names.add(adapter);
  return [...names].join(',');
}
