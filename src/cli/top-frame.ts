import type { HistogramSummary } from '../account/exposition.ts';
import type { Status } from '../control/index.ts';

/** What the admin port said at one moment. */
export interface Frame {
  readonly status: Status;
  readonly histograms: readonly HistogramSummary[];
  readonly atMs: number;
}

const shownHistograms: Readonly<Record<string, string>> = {
  penstock_request_duration_seconds: 'duration',
  penstock_ttft_seconds: 'ttft',
  penstock_itl_seconds: 'itl',
  penstock_overhead_seconds: 'overhead',
};

/** One screen of text. Rates need the frame before. */
export function renderFrame(frame: Frame, last: Frame | null): string {
  const { status } = frame;
  const rate = (read: (status: Status) => number): string => {
    if (last === null || last.status.pid !== status.pid) return '-';
    return count(((read(status) - read(last.status)) * 1000) / (frame.atMs - last.atMs));
  };
  const lines = [
    `penstock ${status.version}  ${status.phase}  up ${age(status.uptime_s)}  config v${status.config_version}` +
      `  rss ${bytes(status.rss_bytes)}  buffered ${bytes(status.buffered_bytes)}/${bytes(status.buffered_bytes_max)}`,
    `listening ${status.listeners.map(({ name, address }) => `${name} ${address}`).join(', ')}`,
    `requests ${count(status.requests_total)} (${rate((now) => now.requests_total)}/s)` +
      `  tokens ${count(status.tokens_total)} (${rate((now) => now.tokens_total)}/s)`,
    '',
    ...table(
      ['shard', 'state', 'conns', 'buffered', 'requests', 'restarts', 'up'],
      status.shards.map((shard) => [
        String(shard.index),
        shard.state,
        count(shard.connections),
        bytes(shard.buffered_bytes),
        count(shard.requests_total),
        String(shard.restarts),
        age(shard.uptime_s),
      ]),
    ),
    '',
    ...table(
      [
        'pool',
        'endpoint',
        'state',
        'inflight',
        'tokens',
        'queue',
        'running',
        'kv',
        'ttft ms',
        'in/s',
        'out/s',
        'room in',
        'room out',
        'models',
        'context',
      ],
      status.pools.flatMap((pool) =>
        pool.endpoints.map((endpoint) => [
          pool.name,
          endpoint.url,
          endpoint.state,
          count(endpoint.inflight),
          count(endpoint.inflight_tokens),
          optional(endpoint.queue, count),
          optional(endpoint.running, count),
          optional(endpoint.kv_usage, (ratio) => `${Math.round(ratio * 100)}%`),
          optional(endpoint.ttft_ewma_ms, milliseconds),
          count(endpoint.prompt_tokens_per_second),
          count(endpoint.completion_tokens_per_second),
          optional(endpoint.prompt_headroom, count),
          optional(endpoint.completion_headroom, count),
          ...modelCells(endpoint.catalogue),
        ]),
      ),
    ),
  ];
  const histograms = frame.histograms.filter(
    ({ name, count: samples }) => samples > 0 && Object.hasOwn(shownHistograms, name),
  );
  if (histograms.length > 0) {
    lines.push(
      '',
      ...table(
        ['ms', 'model', 'pool', 'count', 'p50', 'p90', 'p99', 'p99.9', 'max'],
        histograms.map((histogram) => [
          shownHistograms[histogram.name]!,
          histogram.labels['model'] ?? '',
          histogram.labels['pool'] ?? '',
          count(histogram.count),
          ...['p50', 'p90', 'p99', 'p99.9'].map((name) => milliseconds(histogram.percentiles[name] ?? 0)),
          milliseconds(histogram.max),
        ]),
      ),
    );
  }
  return lines.join('\n') + '\n';
}

/** Models, with adapters behind a plus, and tokens of the longest context. */
function modelCells(catalogue: Status['pools'][number]['endpoints'][number]['catalogue']): [string, string] {
  if (catalogue === null) return ['-', '-'];
  const { models, adapters, further } = catalogue;
  const named = adapters.length === 0 ? count(models.length) : `${count(models.length)}+${count(adapters.length)}`;
  return [further === 0 ? named : `${named}..`, optional(catalogue.context_tokens, count)];
}

/** Columns as wide as their widest cell; numbers to the right. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const isNumber = head.map((_, column) => rows.length > 0 && rows.every((row) => /^[-\d]/.test(row[column] ?? '')));
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        isNumber[column] === true ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)];
}

function optional(value: number | null, text: (value: number) => string): string {
  return value === null ? '-' : text(value);
}

function milliseconds(ms: number): string {
  return ms >= 100 ? String(Math.round(ms)) : ms.toPrecision(2);
}

function count(value: number): string {
  if (value < 10_000) return String(Math.round(value));
  return value < 10_000_000 ? `${(value / 1000).toFixed(1)}k` : `${(value / 1e6).toFixed(1)}M`;
}

function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
  let unit = 0;
  let shown = value;
  while (shown >= 1024 && unit < units.length - 1) {
    shown /= 1024;
    unit++;
  }
  return `${unit === 0 || shown >= 100 ? Math.round(shown) : shown.toFixed(1)} ${units[unit]!}`;
}

function age(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${Math.floor(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${Math.floor((seconds % 3600) / 60)}m`;
}
