/**
 * http: pure functions and small state machines over bytes. Nothing here opens a socket, keeps a timer or knows an exchange;
 * input is borrowed for the call, and what is kept is copied into memory of bounded size.
 *
 * Read in this order: bytes (character classes), head-rules and host (what a request head may hold), field-rules (which
 * fields go on), path-reading (how else a path may be read), status-text,
 * response-head and chunk-decoder (the two halves of a response), response-parser (which drives them), json-scanner (what
 * routing needs from a request body), member-spans (where members stand, for who
 * must change them), nested-value, scan-memory and wasm/ (how it skips the rest), prefix-hash (the prompt as
 * routing by KV cache will know it), usage and usage-object, sse-tap and json-tail (what accounting needs from a response
 * body), retry-after, multipart.
 */
export {
  connectionTokens,
  isCleanFieldValue,
  isCleanQuery,
  isCleanTarget,
  isSameToken,
  isToken,
  isValidHost,
  knownMethods,
  parseContentLength,
  trimOws,
} from './head-rules.ts';
export { FieldRule, hopByHop, isNominable, requestFieldRule, responseFieldsDropped } from './field-rules.ts';
export { RequestScanner, ScanState } from './json-scanner.ts';
export { MemberSpans } from './member-spans.ts';
export { UsageTail } from './json-tail.ts';
export { boundaryOf, findMultipartModel } from './multipart.ts';
export { ParserErrorCode } from './parser-error.ts';
export type { ResponseLimits } from './parser-error.ts';
export { looseReading } from './path-reading.ts';
export { BodyKind, ResponseParser } from './response-parser.ts';
export { encodedBytesCounted } from './prefix-hash.ts';
export { PromptPart, PromptParts, promptOrder } from './prompt-parts.ts';
export { retryAfterMs } from './retry-after.ts';
export type { ResponseSink } from './response-parser.ts';
export { SseTap } from './sse-tap.ts';
export { statusLine, statusText } from './status-text.ts';
export { mergeUsage, parseUsage } from './usage.ts';
export type { TokenUsage } from './usage.ts';
