import { MemberSpans, mergeUsage, parseUsage, RequestScanner, ScanState, type TokenUsage } from '../../http/index.ts';

/** 3 MB of prompt are about 60,000 blocks, half a megabyte of numbers. */
export const answerBytesMax = 1024 * 1024;

/** What vLLM says when it has computed a prompt. */
export interface PrefillAnswer {
  /** The object under `kv_transfer_params`, as it was written; null: the prompt was not kept. */
  readonly params: Buffer | null;
  readonly usage: TokenUsage | null;
}

const openBrace = 0x7b;

/** One for all: an answer is read in one go. */
const spans = new MemberSpans(['kv_transfer_params', 'usage']);
const scanner = new RequestScanner();

/**
 * Reads the whole of a prefill answer; null when it is none. An engine keeps nothing of a prompt whose first token is the
 * last: `kv_transfer_params` is null then, and the other endpoint has to compute it.
 */
export function readPrefillAnswer(bytes: Buffer): PrefillAnswer | null {
  spans.reset();
  scanner.reset(null, spans);
  scanner.push(bytes, 0, bytes.length);
  if (scanner.finish() !== ScanState.complete || spans.isAmbiguous) return null;
  const params = valueOf(bytes, 'kv_transfer_params');
  if (params !== null && params[0] !== openBrace) return null;
  const usage = valueOf(bytes, 'usage');
  const counted = usage === null || usage[0] !== openBrace ? null : parseUsage(usage, 0, usage.length);
  return { params, usage: counted === null ? null : mergeUsage(null, counted) };
}

/** Without white space around it; null where it is absent or null. */
function valueOf(bytes: Buffer, name: string): Buffer | null {
  let start = spans.startOf(name);
  let end = spans.endOf(name);
  if (start < 0) return null;
  while (start < end && bytes[start]! <= 0x20) start++;
  while (end > start && bytes[end - 1]! <= 0x20) end--;
  const value = bytes.subarray(start, end);
  return value.toString('latin1', 0, 8) === 'null' ? null : value;
}
