import { findInvalidUtf8, findJsonFault } from './json-fault.ts';
import type { JsonCheck, TokenCount } from './job.ts';
import { promptTexts } from './prompt-text.ts';
import { countTextTokens } from './token-count.ts';

/**
 * The jobs themselves: pure functions over the assembled bytes of a body, which they only borrow. They never throw for what
 * a client sent, and return a few numbers: an object of the client's shape would cost the caller more to receive than the
 * parse it was spared.
 */

/**
 * A tokenizer does 20 to 40 MB a second on prose, but 1 MB a second on random letters: one hostile body must not keep a thread
 * for long. Over this there is no count.
 */
export const countMillisMax = 2000;

/** A byte-order mark is kept, so that JSON.parse refuses it as upstream parsers do (RFC 8259 section 8.1). */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `body`: one JSON object, a request of any of the understood APIs. */
export function countPromptTokens(body: Uint8Array, millisMax: number = countMillisMax): TokenCount {
  const startedMs = performance.now();
  const tokens = tokensOf(body, startedMs + millisMax);
  return { tokens, millis: performance.now() - startedMs };
}

function tokensOf(body: Uint8Array, deadlineMs: number): number {
  try {
    const request: unknown = JSON.parse(decoder.decode(body));
    if (!isObject(request)) return -1;
    const { texts, tokenIdCount } = promptTexts(request);
    let tokens = tokenIdCount;
    for (const text of texts) {
      const count = countTextTokens(text, deadlineMs);
      if (count < 0) return -1;
      tokens += count;
    }
    return tokens;
  } catch (error) {
    // The decoder's TypeError, JSON.parse's SyntaxError, JSON.stringify's RangeError on deep nesting: all are input.
    if (error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError) return -1;
    throw error;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `body`: any bytes. Accepts exactly what JSON.parse accepts of valid UTF-8. */
export function checkJson(body: Uint8Array): JsonCheck {
  let text: string;
  try {
    text = decoder.decode(body);
  } catch {
    return { ok: false, problem: 'not_utf8', position: findInvalidUtf8(body) };
  }
  try {
    JSON.parse(text);
    return { ok: true, problem: null, position: -1 };
  } catch {
    // What V8 says holds text of the body and seldom a position, so the fault is looked for, once more, by ourselves.
    const { problem, index } = findJsonFault(text);
    return { ok: false, problem, position: Buffer.byteLength(text.slice(0, index)) };
  }
}
