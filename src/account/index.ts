/**
 * account: settles an exchange: tokens, latencies, sizes and outcome into the shard's metric cells, one access-log line.
 * Owns the table of metrics and the forms in which they leave the process.
 *
 * Read in this order: metric-row, metrics (the table), accountant (who counts), access-log, exposition (Prometheus text, HDR).
 */
export { AccessLines } from './access-log.ts';
export { Accountant, estimatePromptTokens } from './accountant.ts';
export { counterCell, histogramCell } from './metric-cells.ts';
export { metricById, metricList, metrics } from './metrics.ts';
