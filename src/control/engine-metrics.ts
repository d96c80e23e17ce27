import { engineNames, Field, fieldCount, fold, wantedByName } from './engine-names.ts';
import type { EngineName, Wanted } from './engine-names.ts';

/**
 * The numbers worth knowing of an engine, read from its Prometheus text. Engines write hundreds of lines, most of them
 * histogram buckets; of a line that is not wanted only the name is looked at.
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
  /** Prompt tokens looked for in its prefix cache since its start, and found there; 0 where it does not say. */
  readonly prefixTokens: number;
  readonly prefixHitTokens: number;
  /** Null where it does not say: vLLM does not before the first request to one. */
  readonly adapters: EngineAdapters | null;
}

/** LoRA adapters, by the requests the engine has for them now. One without any may be in its memory still. */
export interface EngineAdapters {
  /** Adapters that run at once. */
  readonly slotCount: number;
  readonly running: readonly string[];
  readonly waiting: readonly string[];
}

/** What an Int32 of the fleet table holds; an engine that claims more is not believed to the digit. */
const countMax = 0x7fff_ffff;
/** Below it the share of the cache in use says little about the size of the cache. */
const usageToTellSizeMin = 0.02;
/** Of one row. Engines run tens at once; of a list without end each name would be looked up in every scrape. */
const adaptersMax = 512;

/** What was read of one engine's names: by field, NaN where there was none. */
class Reading {
  readonly values = new Float64Array(fieldCount).fill(Number.NaN);
  readonly #ages = new Float64Array(fieldCount).fill(Number.POSITIVE_INFINITY);

  note({ field, age }: Wanted, value: number): void {
    if (age > this.#ages[field]!) return;
    this.values[field] = age < this.#ages[field]! ? value : fold(field, this.values[field]!, value);
    this.#ages[field] = age;
  }

  /** 0 where the page has none. */
  of(field: Field): number {
    return this.values[field]! || 0;
  }

  has(field: Field): boolean {
    return !Number.isNaN(this.values[field]!);
  }
}

/**
 * Null when the text has neither a waiting nor a running count of a known engine. Counts of several series (data
 * parallel ranks, models) are added up, of KV usage the fullest one counts. SGLang's per-priority rows are left out: the
 * row with an empty priority is their total.
 */
export function parseEngineMetrics(text: string): EngineLoad | null {
  const readings = new Map<EngineName, Reading>();
  let startedAtSeconds = 0;
  let cacheTokens = 0;
  let adapters: EngineAdapters | null = null;
  let adaptersAt = Number.NEGATIVE_INFINITY;
  for (let start = 0; start < text.length;) {
    let end = text.indexOf('\n', start);
    if (end === -1) end = text.length;
    const rows = text.charCodeAt(start) === hash ? undefined : wantedByName.get(nameAt(text, start, end));
    if (rows !== undefined) {
      const line = text.slice(start, end);
      const value = valueOf(line);
      for (const row of rows) {
        if (!(value >= 0) || (row.label !== null && !row.label.test(line)) || otherPriority.test(line)) continue;
        const { field } = row;
        if (field === Field.startedAt) startedAtSeconds = Math.max(startedAtSeconds, value);
        else if (field === Field.cacheInfo) cacheTokens += cacheTokensOf(line);
        else if (field === Field.adapterInfo) {
          // Rows of other moments stay on the page; the value is when a row was true.
          if (value < adaptersAt) continue;
          adaptersAt = value;
          adapters = adaptersOf(line);
        } else readingOf(readings, row.engine).note(row, value);
      }
    }
    start = end + 1;
  }
  const engine = engineNames.find((name) => isEngine(readings.get(name)));
  if (engine === undefined) return null;
  const reading = readings.get(engine)!;
  const { prefixTokens, prefixHitTokens } = prefixCounts(reading);
  return {
    engine,
    queueDepth: count(waitingOf(reading) + reading.of(Field.pending)),
    runningRequests: count(reading.of(Field.running)),
    kvCacheUsageRatio: Math.min(1, reading.of(Field.kvUsage)),
    cacheTokens: cacheTokens > 0 && !reading.has(Field.cacheTokens) ? cacheTokens : cacheSize(reading),
    startedAtSeconds,
    prefixTokens,
    prefixHitTokens,
    adapters,
  };
}

const hash = 35;
const brace = 123;
const space = 32;
const tab = 9;
const otherPriority = /[{,]priority="[^"]/;

function readingOf(readings: Map<EngineName, Reading>, engine: EngineName): Reading {
  let reading = readings.get(engine);
  if (reading === undefined) {
    reading = new Reading();
    readings.set(engine, reading);
  }
  return reading;
}

function isEngine(reading: Reading | undefined): boolean {
  return (
    reading !== undefined && (reading.has(Field.waiting) || reading.has(Field.running) || reading.has(Field.pending))
  );
}

/** Triton did not always say how many wait: they are those of all phases that are not in the batch. */
function waitingOf(reading: Reading): number {
  if (reading.has(Field.waiting)) return reading.of(Field.waiting);
  return Math.max(0, reading.of(Field.active) - reading.of(Field.running));
}

function cacheSize(reading: Reading): number {
  if (reading.of(Field.cacheTokens) > 0) return reading.of(Field.cacheTokens);
  const blocks = reading.of(Field.blocks) || reading.of(Field.usedBlocks) + reading.of(Field.freeBlocks);
  const size = blocks * reading.of(Field.blockTokens);
  if (size > 0) return size;
  const usage = reading.of(Field.kvUsage);
  const estimate = usage < usageToTellSizeMin ? 0 : reading.of(Field.usedTokens) / usage;
  // It differs a little from page to page, and another size is another cache: the nearest quarter of an octave stays the same.
  return estimate < 1 ? 0 : Math.round(2 ** (Math.round(Math.log2(estimate) * 4) / 4));
}

function prefixCounts(reading: Reading): { readonly prefixTokens: number; readonly prefixHitTokens: number } {
  const hitBlocks = reading.of(Field.prefixHitBlocks);
  const blocks = hitBlocks + reading.of(Field.prefixMissBlocks);
  const blockTokens = reading.of(Field.blockTokens);
  const prefixTokens = reading.of(Field.prefixTokens) || blocks * blockTokens;
  const hits = reading.of(Field.prefixHitTokens) || hitBlocks * blockTokens;
  return { prefixTokens, prefixHitTokens: Math.min(hits, prefixTokens) };
}

function count(value: number): number {
  return Math.min(countMax, Math.round(value));
}

/** 0 when a label is missing or says `None`. vLLM: `num_gpu_blocks` of `block_size`; SGLang: `num_pages` of `page_size`. */
function cacheTokensOf(line: string): number {
  const blocks = Number(/[{,]num_(?:gpu_blocks|pages)="(\d+)"/.exec(line)?.[1] ?? 0);
  return blocks * Number(/[{,](?:block|page)_size="(\d+)"/.exec(line)?.[1] ?? 0);
}

function adaptersOf(line: string): EngineAdapters {
  return {
    slotCount: count(Number(/[{,]max_lora="(\d+)"/.exec(line)?.[1] ?? 0)),
    running: namesOf(/[{,]running_lora_adapters="((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? ''),
    waiting: namesOf(/[{,]waiting_lora_adapters="((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? ''),
  };
}

/** The page was read as latin1; a label value has its quotes, backslashes and line ends escaped. */
function namesOf(list: string): string[] {
  return Buffer.from(list, 'latin1')
    .toString('utf8')
    .replace(/\\(["\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
    .split(',', adaptersMax)
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function nameAt(text: string, start: number, end: number): string {
  let at = start;
  for (; at < end; at++) {
    const code = text.charCodeAt(at);
    if (code === brace || code === space || code === tab) break;
  }
  return text.slice(start, at);
}

/** The value of `name{labels} value [timestamp]`. Label values may hold any character, so the last brace ends them. */
function valueOf(line: string): number {
  const rest = line.slice(Math.max(line.lastIndexOf('}'), nameAt(line, 0, line.length).length - 1) + 1).trim();
  return rest === '' ? NaN : Number(rest.split(/[ \t]/, 1)[0]);
}
