import type { JsonProblem } from './job.ts';

/**
 * Where a body that was refused goes wrong. Run on failure only, so it may take its time; it is a plain reader of
 * RFC 8259 without recursion, and stops at the first character that cannot stand where it does.
 */
export interface JsonFault {
  readonly problem: JsonProblem;
  /** Of the character, counted from the start of the text; its length when the text is unfinished. */
  readonly index: number;
}

const white = /[ \t\n\r]*/y;
const scalar = /[^\s,:[\]{}"]*/y;
const validScalar = /^(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/;
/** A number may still become one, when the text ends in it. */
const unfinishedScalar = /^(?:t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|-?(?:0|[1-9][0-9]*)(?:\.|(?:\.[0-9]+)?[eE][+-]?))$/;
const hex4 = /[0-9a-fA-F]{4}/y;

/** `text`: refused by JSON.parse. */
export function findJsonFault(text: string): JsonFault {
  if (text.startsWith('\ufeff')) return { problem: 'bom', index: 0 };
  /** Closing brackets that are due. */
  const due: string[] = [];
  let at = skip(white, text, 0);
  let expectsKey = false;
  let mayClose = false;
  for (;;) {
    // At a value or a key, or at a closing bracket right behind its opening one.
    const char = text[at];
    if (char === undefined) return { problem: 'unfinished', index: at };
    const isClosing = mayClose && char === due.at(-1);
    if (isClosing) {
      due.pop();
      at++;
    } else if (char === '"') {
      const end = stringEnd(text, at + 1);
      if (typeof end !== 'number') return end;
      at = end;
    } else if (expectsKey) {
      return { problem: 'bad_syntax', index: at };
    } else if (char === '{' || char === '[') {
      due.push(char === '{' ? '}' : ']');
      expectsKey = char === '{';
      mayClose = true;
      at = skip(white, text, at + 1);
      continue;
    } else {
      const end = skip(scalar, text, at);
      const word = text.slice(at, end);
      if (!validScalar.test(word)) {
        const isUnfinished = end === text.length && unfinishedScalar.test(word);
        return isUnfinished ? { problem: 'unfinished', index: end } : { problem: 'bad_syntax', index: at };
      }
      at = end;
    }
    at = skip(white, text, at);
    if (expectsKey && !isClosing) {
      if (text[at] !== ':') return faultAt(text, at);
      at = skip(white, text, at + 1);
      expectsKey = false;
      mayClose = false;
      continue;
    }
    while (due.length > 0 && text[at] === due.at(-1)) {
      due.pop();
      at = skip(white, text, at + 1);
    }
    if (due.length === 0) return { problem: 'trailing_bytes', index: at };
    if (text[at] !== ',') return faultAt(text, at);
    at = skip(white, text, at + 1);
    expectsKey = due.at(-1) === '}';
    mayClose = false;
  }
}

function faultAt(text: string, at: number): JsonFault {
  return { problem: at === text.length ? 'unfinished' : 'bad_syntax', index: at };
}

function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  pattern.test(text);
  return Math.max(at, pattern.lastIndex);
}

/** The index behind the string's closing quote; `at` is behind the opening one. */
function stringEnd(text: string, at: number): number | JsonFault {
  for (let index = at; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === 0x22) return index + 1;
    if (code < 0x20) return { problem: 'bad_string', index };
    if (code !== 0x5c) continue;
    const escaped = text[index + 1];
    if (escaped === undefined) break;
    if (escaped === 'u') {
      hex4.lastIndex = index + 2;
      if (!hex4.test(text))
        return text.length < index + 6
          ? { problem: 'unfinished', index: text.length }
          : { problem: 'bad_string', index };
      index += 5;
    } else {
      if (!'"\\/bfnrt'.includes(escaped)) return { problem: 'bad_string', index };
      index++;
    }
  }
  return { problem: 'unfinished', index: text.length };
}

/**
 * Offset of the first byte that is not UTF-8; the length when only the end of the last character is missing. The decoder does
 * not say, so the shortest prefix it refuses is looked for, by halves.
 */
export function findInvalidUtf8(bytes: Uint8Array): number {
  let valid = 0;
  let invalid = bytes.length + 1;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >>> 1;
    if (isUtf8Prefix(bytes.subarray(0, middle))) valid = middle;
    else invalid = middle;
  }
  return invalid - 1;
}

function isUtf8Prefix(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
