/**
 * Every setting of a simulated engine, its unit and its default.
 *
 * The defaults describe Llama-3-8B on one H100 (step-time fit: 6 ms + 0.0195 ms a prompt token + 1e-6 ms a token pair +
 * 5.6e-5 ms a token of resident context + 0.012 ms a sequence), except that context and cache are two million tokens long
 * (FP8 KV), so that any 3 MB prompt fits.
 */
import { Clock } from '../core/index.ts';

/** The only way the simulator waits; a test or a routing study passes virtual time (`ManualTime`). */
export interface SimTimers {
  /** Runs `callback` once, `delayMs` from now at the earliest, never in this turn. Returns what disarms it. */
  arm(callback: () => void, delayMs: number): () => void;
}

export interface SimSettings {
  /** Sent as `x-sim-endpoint` with every response. */
  readonly name: string;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** Served names of the one base model; the first labels the metrics. */
  readonly models: readonly string[];
  readonly loraAdapters: readonly string[];
  /** Adapters that run at once; reported as `max_lora`. */
  readonly loraCountMax: number;
  /** What loading an adapter adds to a step, at speed 1: from a local disk. */
  readonly loraLoadMs: number;
  /** 1 is real time, 10 is ten times faster, 0 answers at once (no delays, same accounting). */
  readonly speed: number;
  /** Prompt tokens a second of one long chunk, before the attention term. */
  readonly prefillTokensPerSecond: number;
  /** Output tokens a second of one sequence alone, with a short context. */
  readonly decodeTokensPerSecond: number;
  /** Added to a step for each decoding sequence: the batch slow-down. */
  readonly decodeMsPerSequence: number;
  /** Added to a step for each token of context that decoding sequences read. */
  readonly decodeMsPerContextToken: number;
  /** Added to a step for each pair of a prompt token and a token before it. */
  readonly prefillMsPerTokenPair: number;
  /** vLLM's `max_num_seqs`. */
  readonly maxBatchSize: number;
  /** vLLM's `max_num_batched_tokens`: prompt and output tokens of one step. */
  readonly maxBatchedTokens: number;
  /** Tokens a KV block. */
  readonly blockSize: number;
  readonly kvBlocks: number;
  /** Prompt and output tokens of one request; never more than the KV cache holds. */
  readonly maxModelLen: number;
  /** How prompts go from one engine to another; `none`: this one knows of no other. */
  readonly transfer: 'none' | 'vllm' | 'sglang';
  /** Of SGLang's engines, which are started for one of the two; vLLM's do as each request says. */
  readonly role: 'both' | 'prefill' | 'decode';
  /** How long the blocks of a prompt are kept for the other engine; vLLM's default. */
  readonly transferLeaseMs: number;
  /** Idle time after which a kept-alive connection is closed; uvicorn's default. */
  readonly keepAliveMs: number;
  /** Where KV events are published, `tcp://host:port`; null = nowhere. vLLM's `--kv-events-config`. */
  readonly kvEvents: string | null;
  /** Where those that were missed are answered for; null = nowhere. */
  readonly kvEventsReplay: string | null;
  readonly kvEventsTopic: string;
  /** `map` as vLLM writes them now; `array` as it did before, and SGLang does. */
  readonly kvEventsForm: 'map' | 'array';
  /** Batches kept for replays. */
  readonly kvEventsKept: number;
  /** Same seed, same requests in the same order: same bytes. */
  readonly seed: number;
  readonly clock: Clock;
  readonly timers: SimTimers;
  /** Wall clock of `created` fields and of `vllm:lora_requests_info`. */
  readonly unixMs: () => number;
}

export type SimOptions = Partial<SimSettings>;

export const simDefaults = {
  name: 'sim',
  host: '127.0.0.1',
  port: 0,
  models: ['meta-llama/Llama-3.1-8B-Instruct'],
  loraAdapters: [],
  loraCountMax: 4,
  loraLoadMs: 300,
  speed: 1,
  prefillTokensPerSecond: 51_300,
  decodeTokensPerSecond: 166,
  decodeMsPerSequence: 0.012,
  decodeMsPerContextToken: 5.6e-5,
  prefillMsPerTokenPair: 1e-6,
  maxBatchSize: 256,
  maxBatchedTokens: 8192,
  blockSize: 16,
  kvBlocks: 131_072,
  maxModelLen: 2_097_152,
  transfer: 'none',
  role: 'both',
  transferLeaseMs: 30_000,
  keepAliveMs: 5000,
  kvEvents: null,
  kvEventsReplay: null,
  kvEventsTopic: '',
  kvEventsForm: 'map',
  kvEventsKept: 10_000,
  seed: 1,
} as const satisfies SimOptions;

export const systemTimers: SimTimers = {
  arm(callback, delayMs) {
    if (delayMs <= 0) {
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    // Rounded up, because Node rounds down and would fire early.
    const timeout = setTimeout(callback, Math.ceil(delayMs));
    return () => clearTimeout(timeout);
  },
};

/** Fills in defaults. Throws RangeError for a number out of range. */
export function resolveSettings(options: SimOptions): SimSettings {
  const settings = {
    ...simDefaults,
    clock: options.clock ?? new Clock(),
    timers: systemTimers,
    unixMs: Date.now,
    ...options,
  };
  const positive = [
    'prefillTokensPerSecond',
    'decodeTokensPerSecond',
    'maxBatchSize',
    'maxBatchedTokens',
    'blockSize',
    'kvBlocks',
    'maxModelLen',
    'loraCountMax',
  ] as const;
  for (const key of positive) {
    if (!(settings[key] > 0)) throw new RangeError(`${key} must be above 0`);
  }
  if (!(settings.loraLoadMs >= 0)) throw new RangeError('loraLoadMs must be 0 or above');
  if (!(settings.speed >= 0)) throw new RangeError('speed must be 0 or above');
  if (settings.models.length === 0) throw new RangeError('models must name at least one model');
  return { ...settings, maxModelLen: Math.min(settings.maxModelLen, settings.kvBlocks * settings.blockSize) };
}
