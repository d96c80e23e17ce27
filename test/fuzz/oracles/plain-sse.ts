/**
 * An event stream read by the book (WHATWG HTML section 9.2.6), the whole text at once, line by line, with the two places in
 * which the tap differs on purpose:
 * - a stream whose first line ends with LF or CRLF has no line that ends with CR alone;
 * - what a line says is looked for in its first bytes when it comes in pieces; so a mark that stands further behind, for
 *   example after many spaces, is `maybe` seen.
 */
export interface SseReading {
  readonly eventCount: number;
  readonly oddCount: number;
  readonly isAtBoundary: boolean;
  readonly done: Seen;
  readonly error: Seen;
  readonly lastEvent: Seen;
  readonly finish: Seen;
  /** Usage objects in data lines, each the last of its line, as text from the brace on. */
  readonly usages: readonly string[];
}

export type Seen = 'yes' | 'no' | 'maybe';

/** Bytes the tap keeps of the start of a line that was cut. */
const headBytesMax = 48;

const lastEvents = new Set(['message_stop', 'response.completed', 'response.incomplete', 'response.failed']);

export function readSse(stream: string): SseReading {
  const { lines, rest } = split(stream);
  let eventCount = 0;
  let oddCount = 0;
  let hasData = false;
  let hasField = false;
  const near = { done: false, error: false, lastEvent: false };
  const far = { done: false, error: false, lastEvent: false };
  let isFinished = false;
  const usages: string[] = [];
  lines.forEach((given, index) => {
    const line = index === 0 && given.startsWith('\xef\xbb\xbf') ? given.slice(3) : given;
    if (line === '') {
      if (hasData) eventCount++;
      hasData = false;
      hasField = false;
      return;
    }
    if (line.startsWith(':')) return;
    hasField = true;
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
    const removed = given.length - line.length;
    if (name === 'data') {
      if (!hasData) {
        if (value[0] !== '{' && !value.startsWith('[DONE]')) oddCount++;
        note(near, dataMarks(value.slice(0, Math.max(0, headBytesMax - removed - (line.length - value.length)))));
        note(far, dataMarks(value));
      }
      hasData = true;
      if (/(?<!\\)(?:\\\\)*"finish_reason"[\0- ]*:[\0- ]*"/.test(line)) isFinished = true;
      const usage = lastUsage(line);
      if (usage !== null) usages.push(usage);
    } else if (name === 'event') {
      note(near, eventMarks(line.slice(6), line.length > headBytesMax - removed));
      note(far, eventMarks(line.slice(6), false));
    }
  });
  const seen = (key: keyof typeof near): Seen =>
    near[key] && far[key] ? 'yes' : near[key] || far[key] ? 'maybe' : 'no';
  return {
    eventCount,
    oddCount,
    isAtBoundary: rest === '' && !hasField,
    done: seen('done'),
    error: seen('error'),
    lastEvent: seen('lastEvent'),
    finish: isFinished ? 'yes' : 'no',
    usages,
  };
}

type Marks = { done: boolean; error: boolean; lastEvent: boolean };

function note(into: Marks, marks: Marks): void {
  into.done ||= marks.done;
  into.error ||= marks.error;
  into.lastEvent ||= marks.lastEvent;
}

function dataMarks(value: string): Marks {
  const type = /^\{ *"type" *: *"([^"]*)"/.exec(value)?.[1] ?? '';
  return {
    done: value.startsWith('[DONE]'),
    error: /^\{ *"error"/.test(value) || type === 'error',
    lastEvent: lastEvents.has(type),
  };
}

/** Any number of spaces behind the colon; the name is the rest of the line, which nobody knows where it was cut. */
function eventMarks(text: string, isCut: boolean): Marks {
  const name = isCut ? '' : text.replace(/^ +/, '');
  return { done: false, error: name === 'error', lastEvent: lastEvents.has(name) };
}

/** The lines that ended, and what is behind the last line end. */
function split(stream: string): { readonly lines: readonly string[]; readonly rest: string } {
  const first = /\r\n|\n|\r/.exec(stream)?.[0];
  const pieces =
    first === '\r'
      ? stream.split(/\r\n|\n|\r/)
      : stream.split('\n').map((line, index, all) =>
          // The CR of a CRLF whose LF has not come belongs to a line that is not over.
          index < all.length - 1 && line.endsWith('\r') ? line.slice(0, -1) : line,
        );
  return { lines: pieces.slice(0, -1), rest: pieces.at(-1)! };
}

function lastUsage(line: string): string | null {
  const found = [...line.matchAll(/(?<!\\)(?:\\\\)*"usage"[\0- ]*:[\0- ]*\{/g)].at(-1);
  return found === undefined ? null : line.slice(found.index + found[0].length - 1);
}
