import { type CloseCode, closeReasons, type Exchange, priorityNames } from '../exchange/index.ts';
import type { SseTap, TokenUsage } from '../http/index.ts';
import type { SeriesWriter } from '../shm/index.ts';
import { counterCell, histogramCell } from './metric-cells.ts';
import { metrics } from './metrics.ts';

/** Series of one (model, pool), looked up by their labels once. Those an exchange of it does not need do not exist. */
interface Flow {
  readonly model: string;
  readonly pool: string;
  /** Cells of how exchanges ended: by reason, then by listener and status. */
  readonly outcomes: Map<CloseCode | null, Map<number, number>>;
  requestBody: number;
  responseBody: number;
  served: ServedCells | null;
}

/** Series of exchanges that reached a pool. */
interface ServedCells {
  readonly duration: number;
  readonly ttft: number;
  readonly itl: number;
  readonly tokens: Readonly<Record<'prompt' | 'completion' | 'cached', number>>;
  readonly estimatedTokens: Readonly<Record<'prompt' | 'completion', number>>;
  /** By the endpoint's sku, '' where it has none. */
  readonly gpuTime: Map<string, number>;
}

/** What `penstock_upstream_oddities_total` counts. */
export type Oddity = 'half_event' | 'half_character' | 'after_done' | 'after_response';

const noCell = -1;

/** Bytes of prompt text to a token, where nothing better is known. */
const bytesPerToken = 4;

/** Prompt tokens of a body of that size, about: for load and for answers without a usage report. */
export function estimatePromptTokens(bodyBytes: number): number {
  return Math.ceil(bodyBytes / bytesPerToken);
}

/**
 * Counts what an exchange was: latencies, tokens, sizes, outcome. One per shard, writing to the shard's own cells; control
 * renders them when it is asked.
 */
export class Accountant {
  readonly #series: SeriesWriter;
  readonly #listenerNames: readonly string[];
  readonly #flows: Flow[] = [];
  readonly #flowPlaces = new Map<string, number>();
  readonly #overhead: number;

  constructor(series: SeriesWriter, listenerNames: readonly string[]) {
    this.#series = series;
    this.#listenerNames = listenerNames;
    this.#overhead = histogramCell(series, metrics.overhead, []);
  }

  /** The request is on its way. The gateway's own share: from having what routing needs until here. */
  noteDispatch(exchange: Exchange, nowMs: number): void {
    this.#series.record(this.#overhead, micros(nowMs - exchange.routableMs));
  }

  /** The first piece of the response body. Returns the time to first token, in milliseconds. */
  noteFirstByte(exchange: Exchange, nowMs: number): number {
    exchange.firstByteMs = nowMs;
    exchange.lastEventMs = nowMs;
    const ttftMs = nowMs - exchange.startedMs;
    if (exchange.isEventStream) this.#series.record(this.#served(exchange).ttft, micros(ttftMs));
    return ttftMs;
  }

  /** @hot per chunk. A later piece of an event stream that completed at least one event. */
  noteEvents(exchange: Exchange, nowMs: number): void {
    this.#series.record(this.#served(exchange).itl, micros(nowMs - exchange.lastEventMs));
    exchange.lastEventMs = nowMs;
  }

  /** The exchange joins (+1) or leaves (-1) a pool's queue. */
  noteQueue(exchange: Exchange, poolName: string, delta: 1 | -1, waitedMs: number): void {
    const labels = [poolName, priorityNames[exchange.priority]] as const;
    this.#series.add(counterCell(this.#series, metrics.queueDepth, labels), delta);
    if (delta < 0) this.#series.record(histogramCell(this.#series, metrics.queueWait, labels), micros(waitedMs));
  }

  /** The request leaves a queue without having been served, or did not get into it. */
  noteShed(exchange: Exchange, reason: string): void {
    this.#series.add(counterCell(this.#series, metrics.shed, [reason, priorityNames[exchange.priority]]), 1);
  }

  noteUsage(exchange: Exchange, usage: TokenUsage | null, eventCount: number): void {
    const flow = this.#served(exchange);
    if (usage !== null) {
      exchange.promptTokens = usage.promptTokens;
      exchange.completionTokens = usage.completionTokens;
      exchange.cachedTokens = usage.cachedTokens;
      this.#series.add(flow.tokens.prompt, usage.promptTokens);
      this.#series.add(flow.tokens.completion, usage.completionTokens);
      this.#series.add(flow.tokens.cached, usage.cachedTokens);
      return;
    }
    // No report: an event carries about a token. An exact count of the prompt may be here already.
    if (exchange.promptTokens < 0) exchange.promptTokens = estimatePromptTokens(exchange.body.receivedBytes);
    if (exchange.isEventStream) exchange.completionTokens = eventCount;
    this.#series.add(flow.estimatedTokens.prompt, exchange.promptTokens);
    if (exchange.completionTokens > 0) this.#series.add(flow.estimatedTokens.completion, exchange.completionTokens);
  }

  /** An attempt is over: so long an endpoint of that kind worked for it. */
  noteGpuTime(exchange: Exchange, sku: string, ms: number): void {
    const { gpuTime } = this.#served(exchange);
    let cell = gpuTime.get(sku);
    if (cell === undefined) {
      cell = counterCell(this.#series, metrics.gpuSeconds, [exchange.poolName, exchange.modelLabel, sku]);
      gpuTime.set(sku, cell);
    }
    exchange.gpuSeconds += ms / 1000;
    this.#series.add(cell, micros(ms));
  }

  /** The endpoint's event stream is over, in order or not. `tap` has finished. */
  noteStreamEnd(exchange: Exchange, tap: SseTap): void {
    if (!tap.atEventBoundary) this.noteOddity(exchange.poolName, 'half_event');
    if (tap.endsInCharacter) this.noteOddity(exchange.poolName, 'half_character');
    if (tap.hasAfterDone) this.noteOddity(exchange.poolName, 'after_done');
  }

  noteOddity(poolName: string, kind: Oddity): void {
    this.#series.add(counterCell(this.#series, metrics.oddities, [poolName, kind]), 1);
  }

  /** The exchange is over; `exchange.closeCode` says why. */
  noteClose(exchange: Exchange, nowMs: number): void {
    const { closeCode } = exchange;
    const flow = this.#flow(exchange);
    const outcome = this.#outcome(flow, exchange);
    this.#series.add(outcome, 1);
    if (closeCode !== null && closeReasons[closeCode].origin !== 'policy' && exchange.poolName !== '') {
      this.#series.record(this.#served(exchange).duration, micros(nowMs - exchange.startedMs));
    }
    if (exchange.body.receivedBytes > 0) {
      if (flow.requestBody === noCell)
        flow.requestBody = histogramCell(this.#series, metrics.requestBody, [flow.model]);
      this.#series.record(flow.requestBody, exchange.body.receivedBytes);
    }
    if (exchange.responseBytes > 0) {
      if (flow.responseBody === noCell)
        flow.responseBody = histogramCell(this.#series, metrics.responseBody, [flow.model]);
      this.#series.record(flow.responseBody, exchange.responseBytes);
    }
  }

  #outcome(flow: Flow, exchange: Exchange): number {
    const { closeCode, status, listenerIndex } = exchange;
    let cells = flow.outcomes.get(closeCode);
    if (cells === undefined) flow.outcomes.set(closeCode, (cells = new Map()));
    const key = listenerIndex * 1000 + status;
    let cell = cells.get(key);
    if (cell === undefined) {
      const listener = this.#listenerNames[listenerIndex] ?? '';
      cell = counterCell(this.#series, metrics.requests, [
        listener,
        flow.model,
        flow.pool,
        String(status),
        closeCode ?? '',
      ]);
      cells.set(key, cell);
    }
    return cell;
  }

  #flow(exchange: Exchange): Flow {
    const known = this.#flows[exchange.flowPlace];
    if (known !== undefined && known.model === exchange.modelLabel && known.pool === exchange.poolName) return known;
    const key = `${exchange.modelLabel}\n${exchange.poolName}`;
    let place = this.#flowPlaces.get(key);
    if (place === undefined) {
      place = this.#flows.length;
      const { modelLabel: model, poolName: pool } = exchange;
      this.#flows.push({
        model,
        pool,
        outcomes: new Map(),
        requestBody: noCell,
        responseBody: noCell,
        served: null,
      });
      this.#flowPlaces.set(key, place);
    }
    exchange.flowPlace = place;
    return this.#flows[place]!;
  }

  #served(exchange: Exchange): ServedCells {
    const flow = this.#flow(exchange);
    return (flow.served ??= this.#makeServed(flow.model, flow.pool));
  }

  #makeServed(model: string, pool: string): ServedCells {
    const tokens = (kind: string, source: string): number =>
      counterCell(this.#series, metrics.tokens, [model, pool, kind, source]);
    return {
      duration: histogramCell(this.#series, metrics.requestDuration, [model, pool]),
      ttft: histogramCell(this.#series, metrics.ttft, [model, pool]),
      itl: histogramCell(this.#series, metrics.itl, [model, pool]),
      tokens: {
        prompt: tokens('prompt', 'reported'),
        completion: tokens('completion', 'reported'),
        cached: tokens('cached', 'reported'),
      },
      estimatedTokens: { prompt: tokens('prompt', 'estimated'), completion: tokens('completion', 'estimated') },
      gpuTime: new Map(),
    };
  }
}

function micros(ms: number): number {
  return ms <= 0 ? 0 : Math.round(ms * 1000);
}
