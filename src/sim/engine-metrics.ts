/** What the engine counts. Names follow vLLM's `v1/metrics/loggers.py`; the text page is made in `metrics-page.ts`. */
import { Histogram } from './histogram.ts';
import type { FinishReason, Sequence } from './sequence.ts';

const ttftBounds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const tokenGapBounds = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const requestBounds = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const iterationBounds = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];
/** 1, 2, 5, 10, ... up to the longest context: vLLM's `build_1_2_5_buckets`. */
const tokenBounds = (max: number): number[] =>
  [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]
    .flatMap((power) => [power, 2 * power, 5 * power])
    .filter((bound) => bound <= max);

/** Where a generation was when it was aborted. */
export type AbortPhase = 'queued' | 'prefill' | 'decode';

export class EngineMetrics {
  /** In tokens, as vLLM counts them. */
  prefixQueryTokens = 0;
  prefixHitTokens = 0;
  promptTokens = 0;
  cachedTokens = 0;
  completionTokens = 0;
  preemptions = 0;
  steps = 0;
  readonly finished: Record<FinishReason | 'abort' | 'error', number> = { stop: 0, length: 0, abort: 0, error: 0 };
  readonly aborted: Record<AbortPhase, number> = { queued: 0, prefill: 0, decode: 0 };
  readonly ttft = new Histogram(ttftBounds);
  readonly interTokenLatency = new Histogram(tokenGapBounds);
  readonly timePerOutputToken = new Histogram(tokenGapBounds);
  readonly e2eLatency = new Histogram(requestBounds);
  readonly queueTime = new Histogram(requestBounds);
  readonly prefillTime = new Histogram(requestBounds);
  readonly decodeTime = new Histogram(requestBounds);
  readonly iterationTokens = new Histogram(iterationBounds);
  readonly requestPromptTokens: Histogram;
  readonly requestGenerationTokens: Histogram;

  constructor(maxModelLen: number) {
    this.requestPromptTokens = new Histogram(tokenBounds(maxModelLen));
    this.requestGenerationTokens = new Histogram(tokenBounds(maxModelLen));
  }

  /** Called once a sequence, when it is first admitted; `sequence.cachedTokens` is set. */
  onAdmitted(sequence: Sequence): void {
    this.prefixQueryTokens += sequence.promptTokens;
    this.prefixHitTokens += sequence.cachedTokens;
    this.queueTime.observe(Math.max(0, sequence.admittedMs - sequence.arrivedMs) / 1000);
  }

  onToken(sequence: Sequence, nowMs: number): void {
    this.completionTokens++;
    if (sequence.completionTokens === 1) {
      this.onPrefilled(sequence);
      this.ttft.observe(Math.max(0, nowMs - sequence.arrivedMs) / 1000);
    } else {
      this.interTokenLatency.observe((nowMs - sequence.lastTokenMs) / 1000);
    }
  }

  onPrefilled(sequence: Sequence): void {
    this.promptTokens += sequence.promptTokens;
    this.cachedTokens += sequence.cachedTokens;
  }

  onFinished(sequence: Sequence, reason: FinishReason, nowMs: number): void {
    this.finished[reason]++;
    this.e2eLatency.observe(Math.max(0, nowMs - sequence.arrivedMs) / 1000);
    this.requestPromptTokens.observe(sequence.promptTokens);
    this.requestGenerationTokens.observe(sequence.completionTokens);
    this.prefillTime.observe(Math.max(0, sequence.firstTokenMs - sequence.admittedMs) / 1000);
    const decodeSeconds = (nowMs - sequence.firstTokenMs) / 1000;
    this.decodeTime.observe(decodeSeconds);
    if (sequence.completionTokens > 1) this.timePerOutputToken.observe(decodeSeconds / (sequence.completionTokens - 1));
  }
}
